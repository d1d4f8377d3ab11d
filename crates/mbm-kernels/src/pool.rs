//! Max pooling of images over square windows.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Instructions, Kernel, dispatch};

/// The sizes of a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolShape {
    /// Number of planes: images times channels.
    pub planes: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Side length of the square window.
    pub kernel: usize,
    /// Stride between windows.
    pub stride: usize,
    /// Padding at each edge; less than the window size.
    pub padding: usize,
}

impl PoolShape {
    /// Returns the height and width of the output.
    ///
    /// # Panics
    /// If a window is larger than the padded image, or can lie entirely in the padding.
    pub fn out_size(&self) -> [usize; 2] {
        assert!(self.padding < self.kernel, "{self:?}");
        self.size.map(|size| {
            assert!(size + 2 * self.padding >= self.kernel, "{self:?}");
            (size + 2 * self.padding - self.kernel) / self.stride + 1
        })
    }

    /// Returns the range of positions along an axis that a window covers.
    #[inline(always)]
    fn window(&self, axis: usize, at: usize) -> Range<usize> {
        let end = (at * self.stride + self.kernel).saturating_sub(self.padding).min(self.size[axis]);
        (at * self.stride).saturating_sub(self.padding).min(end.saturating_sub(1))..end
    }

    fn check(&self, images: &[f32]) {
        assert_eq!(images.len(), self.planes * self.size[0] * self.size[1], "the images do not match {self:?}");
    }
}

/// Pools images `[planes, height, width]` to `[planes, out height, out width]`.
///
/// # Panics
/// If the length of the slice does not match the shape.
pub fn max_pool(shape: PoolShape, images: &[f32]) -> Vec<f32> {
    shape.check(images);
    let [rows, columns] = shape.out_size();
    let mut out = vec![0.0; shape.planes * rows * columns];
    let planes = out.par_chunks_mut(rows * columns).zip(images.par_chunks(shape.size[0] * shape.size[1]));
    planes.with_min_len(8).for_each(|(out, plane)| dispatch(Largest { shape, plane, out }));
    out
}

/// Computes the gradient of the images from the output and its gradient; that of a window goes to its first maximum.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn max_pool_backward(shape: PoolShape, images: &[f32], out: &[f32], gradient: &[f32]) -> Vec<f32> {
    shape.check(images);
    let [rows, columns] = shape.out_size();
    assert!([out.len(), gradient.len()] == [shape.planes * rows * columns; 2], "the output or gradient does not match {shape:?}");
    let mut found = vec![0.0; images.len()];
    let n = shape.size[0] * shape.size[1];
    let held = out.par_chunks(rows * columns).zip(gradient.par_chunks(rows * columns)).zip(images.par_chunks(n));
    found.par_chunks_mut(n).zip(held).with_min_len(8).for_each(|(found, ((out, gradient), plane))| {
        for (at, (largest, gradient)) in out.iter().zip(gradient).enumerate() {
            let (down, across) = (shape.window(0, at / columns), shape.window(1, at % columns));
            let places = down.flat_map(|y| across.clone().map(move |x| y * shape.size[1] + x));
            // NaN equals nothing, so its gradient is dropped.
            if let Some(place) = places.into_iter().find(|place| plane[*place] == *largest) {
                found[place] += gradient;
            }
        }
    });
    found
}

struct Largest<'a> {
    shape: PoolShape,
    plane: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let (width, columns) = (self.shape.size[1], self.shape.out_size()[1]);
        let mut highest = vec![0.0; width];
        for (row, out) in self.out.chunks_exact_mut(columns).enumerate() {
            // The vertical maximum first, over contiguous rows.
            let down = self.shape.window(0, row);
            highest.copy_from_slice(&self.plane[down.start * width..][..width]);
            for y in down.skip(1) {
                let line = &self.plane[y * width..][..width];
                for at in (0..width).step_by(I::LANES) {
                    let n = width - at;
                    let larger = I::max(I::load_some(&highest[at..], n), I::load_some(&line[at..], n));
                    I::store_some(larger, &mut highest[at..], n);
                }
            }
            for (column, place) in out.iter_mut().enumerate() {
                *place = highest[self.shape.window(1, column)].iter().copied().fold(f32::NEG_INFINITY, larger);
            }
        }
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn max_pool_and_its_gradient_match_the_definition(
            planes in 1usize..12, height in 3usize..12, width in 3usize..40, kernel in 1usize..4, stride in 1usize..4, padding in 0usize..3,
        ) {
            prop_assume!(padding < kernel);
            let shape = PoolShape { planes, size: [height, width], kernel, stride, padding };
            // Rounded to halves, so that some windows have ties.
            let images: Vec<f32> = (0..planes * height * width).map(|at| ((at as f32 * 0.7).sin() * 4.0).round() / 2.0).collect();
            let [rows, columns] = shape.out_size();
            let gradient: Vec<f32> = (0..planes * rows * columns).map(|at| (at as f32 * 0.9).cos()).collect();
            let (mut out, mut of_images) = (Vec::new(), vec![0.0f32; images.len()]);
            for (at, gradient) in gradient.iter().enumerate() {
                let (plane, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
                let mut best = (f32::NEG_INFINITY, 0);
                for (ky, kx) in (0..kernel).flat_map(|ky| (0..kernel).map(move |kx| (ky, kx))) {
                    let (y, x) = ((row * stride + ky).wrapping_sub(padding), (column * stride + kx).wrapping_sub(padding));
                    if y < height && x < width && images[(plane * height + y) * width + x] > best.0 {
                        best = (images[(plane * height + y) * width + x], (plane * height + y) * width + x);
                    }
                }
                out.push(best.0);
                of_images[best.1] += gradient;
            }
            let found = max_pool(shape, &images);
            prop_assert_eq!(&found, &out);
            for (found, want) in max_pool_backward(shape, &images, &found, &gradient).iter().zip(&of_images) {
                prop_assert!((found - want).abs() < 1e-5);
            }
        }
    }
}
