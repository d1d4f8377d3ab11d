//! Convolutions over images as matrix products (im2col, Chellapilla et al. 2006): the receptive field of each output position
//! becomes a column, for a block of output rows at a time, so that the columns stay in the cache; 1x1 kernels do not need
//! columns.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::matrix::{Matrix, multiply};
use crate::norm::Affine;
use crate::{Instructions, Kernel, dispatch};

/// The sizes of a convolution of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Number of images.
    pub batch: usize,
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Vertical and horizontal zero padding, on both sides.
    pub padding: [usize; 2],
}

/// Values in a block of columns: half of an L2 cache of one megabyte.
const BLOCK: usize = 1 << 17;

/// Minimum number of output positions per product; with fewer, several images are put next to each other.
const WIDE: usize = 128;

impl ConvShape {
    /// Returns the height and width of the output.
    ///
    /// # Panics
    /// If the kernel is larger than the padded image.
    pub fn out_size(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = self.size[axis] + 2 * self.padding[axis];
            assert!(self.kernel[axis] <= padded, "the kernel {:?} is larger than the padded image", self.kernel);
            (padded - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    fn n_in(&self) -> usize {
        self.channels[0] * self.size[0] * self.size[1]
    }

    fn n_out(&self) -> usize {
        let [rows, columns] = self.out_size();
        self.channels[1] * rows * columns
    }

    /// Returns the number of values in a receptive field.
    fn depth(&self) -> usize {
        self.channels[0] * self.kernel[0] * self.kernel[1]
    }

    /// Whether an image is its own column matrix.
    fn is_plain(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Iterates over blocks of output rows.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [rows, columns] = self.out_size();
        let height = if self.is_plain() { rows } else { (BLOCK / (self.depth() * columns).max(1)).clamp(1, rows) };
        (0..rows).step_by(height).map(move |first| first..(first + height).min(rows))
    }

    /// Returns the number of images in one product.
    fn group(&self) -> usize {
        let n_positions = self.out_size().iter().product::<usize>().max(1);
        (WIDE / n_positions).min(BLOCK / (self.depth() * n_positions).max(1)).max(1)
    }

    /// Fills `out` with the columns of several images, `[depth, images * positions]`.
    fn columns_of_group(&self, images: &[f32], out: &mut Vec<f32>) {
        let [rows, columns] = self.out_size();
        let (n_positions, n_images) = (rows * columns, images.len() / self.n_in());
        out.resize(self.depth() * n_images * n_positions, 0.0);
        // Row by row: values that a run writes beyond its end are overwritten by the next image or the next row.
        for (row, out) in out.chunks_mut(n_images * n_positions).enumerate() {
            for (at, image) in images.chunks(self.n_in()).enumerate() {
                self.fill_columns(image, &(0..rows), row..row + 1, &mut out[at * n_positions..]);
            }
        }
    }

    /// Returns the number of images per thread.
    fn share(&self) -> usize {
        self.batch.div_ceil(rayon::current_num_threads()).max(1)
    }

    /// Returns the output columns for which kernel column `x` lies inside the image, and the image column of the first of them.
    #[inline(always)]
    fn inside(&self, x: usize, columns: usize) -> (Range<usize>, usize) {
        let (pad, stride, width) = (self.padding[1], self.stride[1], self.size[1]);
        let first = pad.saturating_sub(x).div_ceil(stride);
        let last = (width + pad).saturating_sub(x).div_ceil(stride).min(columns);
        (first.min(last)..last, (first * stride + x).saturating_sub(pad))
    }

    /// Calls `take` for each run of output positions in `rows` and each row of the column matrix in `seen`, with the matrix row,
    /// the start of the run in it, the output columns that lie inside the image, and the index of the first of these in the
    /// image; `None` for a run in the padding.
    #[inline(always)]
    fn each_run(&self, seen: Range<usize>, rows: &Range<usize>, mut take: impl FnMut(usize, usize, Range<usize>, Option<usize>)) {
        let [height, width] = self.size;
        let columns = self.out_size()[1];
        for row in seen {
            let (channel, place) = (row / (self.kernel[0] * self.kernel[1]), row % (self.kernel[0] * self.kernel[1]));
            let (ky, kx) = (place / self.kernel[1], place % self.kernel[1]);
            let (inside, first) = self.inside(kx, columns);
            for (at, out_row) in rows.clone().enumerate() {
                let y = (out_row * self.stride[0] + ky).checked_sub(self.padding[0]).filter(|y| *y < height);
                let from = y.map(|y| (channel * height + y) * width + first);
                take(row, at * columns, inside.clone(), from);
            }
        }
    }

    /// Fills `out` with the columns of some output rows of an image, `[depth, positions]`; multithreaded if `shared`.
    fn columns_of(&self, image: &[f32], rows: &Range<usize>, out: &mut Vec<f32>, shared: bool) {
        let n_positions = rows.len() * self.out_size()[1];
        let size = self.depth() * n_positions;
        if out.len() < size {
            out.resize(size, 0.0);
        }
        let out = &mut out[..size];
        let share = if shared { self.depth().div_ceil(rayon::current_num_threads()) } else { self.depth() };
        out.par_chunks_mut(share * n_positions).enumerate().for_each(|(at, out)| {
            self.fill_columns(image, rows, at * share..at * share + out.len() / n_positions, out);
        });
    }

    /// Fills some rows of the column matrix.
    fn fill_columns(&self, image: &[f32], rows: &Range<usize>, seen: Range<usize>, out: &mut [f32]) {
        let (columns, stride, first) = (self.out_size()[1], self.stride[1], seen.start);
        let n_positions = rows.len() * columns;
        self.each_run(seen, rows, |row, place, inside, from| {
            let run = &mut out[(row - first) * n_positions + place..];
            let Some(from) = from.filter(|_| !inside.is_empty()) else { return run[..columns].fill(0.0) };
            run[..inside.start].fill(0.0);
            if stride == 1 {
                copy_or_more(&image[from..], &mut run[inside.start..], inside.len());
            } else {
                copy_every(stride, &image[from..], &mut run[inside.clone()]);
            }
            run[inside.end..columns].fill(0.0);
        });
    }

    /// Adds the columns of some output rows back to the image (col2im); rows of the column matrix are `width` apart.
    fn add_columns(&self, columns: &[f32], width: usize, rows: &Range<usize>, image: &mut [f32]) {
        let stride = self.stride[1];
        self.each_run(0..self.depth(), rows, |row, place, inside, from| {
            let Some(from) = from.filter(|_| !inside.is_empty()) else { return };
            let run = &columns[row * width + place..][inside];
            if stride == 1 {
                image[from..from + run.len()].iter_mut().zip(run).for_each(|(sum, value)| *sum += value);
            } else {
                image[from..].iter_mut().step_by(stride).zip(run).for_each(|(sum, value)| *sum += value);
            }
        });
    }

    fn check(&self, images: &[f32], weight: &[f32]) {
        assert_eq!(images.len(), self.batch * self.n_in(), "the images do not match {self:?}");
        assert_eq!(weight.len(), self.channels[1] * self.depth(), "the weight does not match {self:?}");
    }
}

/// An epilogue that is applied to the output of a convolution while it is still in the cache.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<'a> {
    /// Scales and shifts each channel; the bounds are applied last.
    pub affine: Affine<'a>,
    /// A residual that is added before the bounds are applied: of the size of the output, or empty.
    pub residual: &'a [f32],
}

impl Epilogue<'_> {
    /// Applies the epilogue to some positions of a channel, which begin at `start` of the whole output.
    fn apply(&self, channel: usize, start: usize, out: &mut [f32]) {
        let residual = self.residual.get(start..start + out.len());
        let (scale, shift) = (self.affine.scale[channel], self.affine.shift[channel]);
        dispatch(ApplyEpilogue { out, residual, scale, shift, bounds: self.affine.bounds });
    }
}

struct ApplyEpilogue<'a> {
    out: &'a mut [f32],
    residual: Option<&'a [f32]>,
    scale: f32,
    shift: f32,
    bounds: [f32; 2],
}

impl Kernel for ApplyEpilogue<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.out.len();
        let (scale, shift) = (I::splat(self.scale), I::splat(self.shift));
        let [low, high] = self.bounds.map(I::splat);
        for at in (0..n).step_by(I::LANES) {
            let mut x = I::fused(I::load_some(&self.out[at..], n - at), scale, shift);
            if let Some(residual) = self.residual {
                x = I::add(x, I::load_some(&residual[at..], n - at));
            }
            I::store_some(I::min(I::max(x, low), high), &mut self.out[at..], n - at);
        }
    }
}

/// Copies `n` values, rounded up to whole vectors where the slices allow it: most runs are short, and the excess is overwritten
/// by the next run.
#[inline(always)]
fn copy_or_more(from: &[f32], to: &mut [f32], n: usize) {
    const WIDE: usize = 16;
    for at in (0..n).step_by(WIDE) {
        match (from[at..].first_chunk::<WIDE>(), to[at..].first_chunk_mut::<WIDE>()) {
            (Some(from), Some(to)) => *to = *from,
            _ => to[at..n].copy_from_slice(&from[at..n]),
        }
    }
}

/// Copies every `stride`-th value.
#[inline(always)]
fn copy_every(stride: usize, from: &[f32], to: &mut [f32]) {
    if stride != 2 {
        return to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(place, value)| *place = *value);
    }
    // In pairs, which the compiler can vectorize.
    let n_pairs = (from.len() / 2).min(to.len());
    let (pairs, last) = to.split_at_mut(n_pairs);
    pairs.iter_mut().zip(from.chunks_exact(2)).for_each(|(place, pair)| *place = pair[0]);
    last.iter_mut().for_each(|place| *place = from[2 * n_pairs]);
}

thread_local! {
    /// Buffer for the columns of a block, reused by successive convolutions.
    static COLUMNS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    /// Buffer for the output of several images in one product, or for its gradient.
    static SIDE_BY_SIDE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Convolves images `[batch, in, height, width]` with a weight `[out, in, kernel height, kernel width]` and applies `epilogue`, if
/// given: `[batch, out, out height, out width]`.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn conv_forward(shape: ConvShape, images: &[f32], weight: &[f32], epilogue: Option<Epilogue>) -> Vec<f32> {
    shape.check(images, weight);
    let mut out = vec![0.0; shape.batch * shape.n_out()];
    if out.is_empty() || shape.n_in() == 0 {
        return out;
    }
    // With fewer images than threads, each product is divided among threads instead.
    let shared = shape.batch < rayon::current_num_threads();
    let share = if shared { shape.batch } else { shape.share() };
    let (n_in, n_out) = (shape.n_in(), shape.n_out());
    let [rows, columns] = shape.out_size();
    let weight = Matrix::rows(weight, [shape.channels[1], shape.depth()]);
    if let Some(Epilogue { affine, residual }) = epilogue {
        assert!(
            [affine.scale.len(), affine.shift.len()] == [shape.channels[1]; 2]
                && (residual.is_empty() || residual.len() == out.len())
        );
    }
    let group = if shared { 1 } else { shape.group() };
    out.par_chunks_mut(share * n_out).zip(images.par_chunks(share * n_in)).enumerate().for_each(|(part, (out, images))| {
        if group > 1 {
            return shape.forward_in_groups(group, images, weight, out, part * share, epilogue);
        }
        let mut buffer = COLUMNS.take();
        for (at, (out, image)) in out.chunks_mut(n_out).zip(images.chunks(n_in)).enumerate() {
            for block in shape.blocks() {
                let n_positions = block.len() * columns;
                let seen = if shape.is_plain() {
                    image
                } else {
                    shape.columns_of(image, &block, &mut buffer, shared);
                    &buffer
                };
                let seen = Matrix::rows(seen, [shape.depth(), n_positions]);
                multiply(&mut out[block.start * columns..], rows * columns, weight, seen, false, shared);
                let Some(epilogue) = epilogue else { continue };
                let start = (part * share + at) * n_out;
                out.par_chunks_mut(rows * columns).enumerate().with_min_len(if shared { 1 } else { usize::MAX }).for_each(
                    |(channel, out)| {
                        let positions = block.start * columns..block.end * columns;
                        epilogue.apply(channel, start + channel * rows * columns + positions.start, &mut out[positions]);
                    },
                );
            }
        }
        COLUMNS.set(buffer);
    });
    out
}

impl ConvShape {
    /// Convolves small images, several in each product; `first` is the index of the first one in the batch.
    fn forward_in_groups(
        &self,
        group: usize,
        images: &[f32],
        weight: Matrix,
        out: &mut [f32],
        first: usize,
        epilogue: Option<Epilogue>,
    ) {
        let (mut seen, mut products) = (COLUMNS.take(), SIDE_BY_SIDE.take());
        let (n_in, n_out) = (self.n_in(), self.n_out());
        let n_positions = n_out / self.channels[1];
        for (at, (out, images)) in out.chunks_mut(group * n_out).zip(images.chunks(group * n_in)).enumerate() {
            self.columns_of_group(images, &mut seen);
            let width = images.len() / n_in * n_positions;
            products.resize(self.channels[1] * width, 0.0);
            multiply(&mut products, width, weight, Matrix::rows(&seen, [self.depth(), width]), false, false);
            let start = (first + at * group) * n_out;
            for (place, out) in out.chunks_mut(n_positions).enumerate() {
                let (image, channel) = (place / self.channels[1], place % self.channels[1]);
                out.copy_from_slice(&products[channel * width + image * n_positions..][..n_positions]);
                if let Some(epilogue) = epilogue {
                    epilogue.apply(channel, start + place * n_positions, out);
                }
            }
        }
        COLUMNS.set(seen);
        SIDE_BY_SIDE.set(products);
    }
}

/// Computes the gradients of the images, if `of_images`, and of the weight.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn conv_backward(
    shape: ConvShape,
    images: &[f32],
    weight: &[f32],
    gradient: &[f32],
    of_images: bool,
) -> (Option<Vec<f32>>, Vec<f32>) {
    shape.check(images, weight);
    let (n_in, n_out, share) = (shape.n_in(), shape.n_out(), shape.share());
    assert_eq!(gradient.len(), shape.batch * n_out, "the gradient does not match {shape:?}");
    if gradient.is_empty() || n_in == 0 {
        return (of_images.then(|| vec![0.0; images.len()]), vec![0.0; weight.len()]);
    }
    let mut out = vec![0.0; if of_images { images.len() } else { 0 }];
    // The output of each thread; empty if the gradient of the images is not requested.
    let mut parts: Vec<&mut [f32]> = out.chunks_mut(share * n_in).collect();
    parts.resize_with(shape.batch.div_ceil(share), Default::default);
    let inputs = images.par_chunks(share * n_in).zip(gradient.par_chunks(share * n_out));
    let sums: Vec<Vec<f32>> =
        parts.into_par_iter().zip(inputs).map(|(out, (images, gradient))| shape.back(images, weight, gradient, out)).collect();
    // Summed in the order of the images, so that every run gives the same result.
    let mut sums = sums.into_iter();
    let mut total = sums.next().unwrap_or_default();
    sums.for_each(|sum| total.iter_mut().zip(sum).for_each(|(total, value)| *total += value));
    (of_images.then_some(out), total)
}

impl ConvShape {
    /// Returns the contribution of some images to the gradient of the weight, and writes their own gradient to `out` unless it is
    /// empty.
    fn back(&self, images: &[f32], weight: &[f32], gradient: &[f32], out: &mut [f32]) -> Vec<f32> {
        let [rows, columns] = self.out_size();
        let (n_in, n_out, depth) = (self.n_in(), self.n_out(), self.depth());
        let weight = Matrix::rows(weight, [self.channels[1], depth]);
        if self.group() > 1 {
            return self.back_in_groups(images, weight, gradient, out);
        }
        let mut sum = vec![0.0; self.channels[1] * depth];
        let (mut seen, mut of_seen) = (COLUMNS.take(), Vec::new());
        for (at, (image, gradient)) in images.chunks(n_in).zip(gradient.chunks(n_out)).enumerate() {
            for block in self.blocks() {
                let n_positions = block.len() * columns;
                let seen = if self.is_plain() {
                    image
                } else {
                    self.columns_of(image, &block, &mut seen, false);
                    &seen
                };
                let gradient =
                    Matrix::strided(&gradient[block.start * columns..], [self.channels[1], n_positions], rows * columns);
                multiply(&mut sum, depth, gradient, Matrix::rows(seen, [depth, n_positions]).transposed(), true, false);
                let Some(out) = out.get_mut(at * n_in..(at + 1) * n_in) else { continue };
                if self.is_plain() {
                    multiply(out, n_positions, weight.transposed(), gradient, false, false);
                } else {
                    of_seen.resize(depth * n_positions, 0.0);
                    multiply(&mut of_seen, n_positions, weight.transposed(), gradient, false, false);
                    self.add_columns(&of_seen, n_positions, &block, out);
                }
            }
        }
        COLUMNS.set(seen);
        sum
    }

    /// Like `back` for small images, several in each product.
    fn back_in_groups(&self, images: &[f32], weight: Matrix, gradient: &[f32], out: &mut [f32]) -> Vec<f32> {
        let (n_in, n_out, depth, group) = (self.n_in(), self.n_out(), self.depth(), self.group());
        let (rows, n_positions) = (self.out_size()[0], n_out / self.channels[1]);
        let (mut seen, mut gathered, mut of_seen) = (COLUMNS.take(), SIDE_BY_SIDE.take(), Vec::new());
        let mut sum = vec![0.0; self.channels[1] * depth];
        for (at, (images, gradient)) in images.chunks(group * n_in).zip(gradient.chunks(group * n_out)).enumerate() {
            self.columns_of_group(images, &mut seen);
            let width = images.len() / n_in * n_positions;
            gathered.resize(self.channels[1] * width, 0.0);
            for (place, gradient) in gradient.chunks(n_positions).enumerate() {
                let (image, channel) = (place / self.channels[1], place % self.channels[1]);
                gathered[channel * width + image * n_positions..][..n_positions].copy_from_slice(gradient);
            }
            let gradient = Matrix::rows(&gathered, [self.channels[1], width]);
            multiply(&mut sum, depth, gradient, Matrix::rows(&seen, [depth, width]).transposed(), true, false);
            if out.is_empty() {
                continue;
            }
            of_seen.resize(depth * width, 0.0);
            multiply(&mut of_seen, width, weight.transposed(), gradient, false, false);
            let out = &mut out[at * group * n_in..][..images.len()];
            for (image, out) in out.chunks_mut(n_in).enumerate() {
                self.add_columns(&of_seen[image * n_positions..], width, &(0..rows), out);
            }
        }
        COLUMNS.set(seen);
        SIDE_BY_SIDE.set(gathered);
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(n: usize, step: f64) -> Vec<f32> {
        (0..n).map(|at| ((at as f64 + 1.0) * step).sin() as f32).collect()
    }

    /// Calls `take` with the indices of the input, the weight and the output of each product of the definition.
    fn each_product(shape: ConvShape, mut take: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = shape.out_size();
        let ([n_in, n_out], [height, width], [kh, kw]) = (shape.channels, shape.size, shape.kernel);
        for (image, to) in (0..shape.batch).flat_map(|image| (0..n_out).map(move |to| (image, to))) {
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                for (from, (ky, kx)) in (0..n_in).flat_map(|from| (0..kh * kw).map(move |place| (from, (place / kw, place % kw))))
                {
                    let y = (row * shape.stride[0] + ky).wrapping_sub(shape.padding[0]);
                    let x = (column * shape.stride[1] + kx).wrapping_sub(shape.padding[1]);
                    if y < height && x < width {
                        let seen = ((image * n_in + from) * height + y) * width + x;
                        let weight = ((to * n_in + from) * kh + ky) * kw + kx;
                        take(seen, weight, ((image * n_out + to) * rows + row) * columns + column);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn convolution_and_its_gradients_match_the_definition(
            batch in 1usize..9, n_in in 1usize..4, n_out in 1usize..5, height in 3usize..9, width in 3usize..9,
            kernel in 1usize..4, stride in 1usize..4, padding in 0usize..3,
        ) {
            let shape = ConvShape {
                batch,
                channels: [n_in, n_out],
                size: [height, width],
                kernel: [kernel, kernel],
                stride: [stride, stride],
                padding: [padding, padding],
            };
            let (images, weight) = (wave(batch * shape.n_in(), 0.7), wave(n_out * shape.depth(), 0.3));
            let gradient = wave(batch * shape.n_out(), 0.9);
            let (mut out, mut of_images, mut of_weight) =
                (vec![0.0f64; gradient.len()], vec![0.0f64; images.len()], vec![0.0f64; weight.len()]);
            each_product(shape, |seen, by, to| {
                out[to] += f64::from(images[seen]) * f64::from(weight[by]);
                of_images[seen] += f64::from(gradient[to]) * f64::from(weight[by]);
                of_weight[by] += f64::from(gradient[to]) * f64::from(images[seen]);
            });
            let close = |found: &[f32], want: &[f64]| found.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 2e-5);
            prop_assert!(close(&conv_forward(shape, &images, &weight, None), &out));
            let (scale, shift, residual) = (wave(n_out, 1.1), wave(n_out, 0.2), wave(out.len(), 0.4));
            for residual in [&residual[..], &[]] {
                let affine = Affine { scale: &scale, shift: &shift, bounds: [-0.5, 0.75] };
                let channel = |at: usize| at / (out.len() / batch / n_out) % n_out;
                let epilogue = |(at, x): (usize, &f64)| {
                    let residual = residual.get(at).map_or(0.0, |x| f64::from(*x));
                    (x * f64::from(scale[channel(at)]) + f64::from(shift[channel(at)]) + residual).clamp(-0.5, 0.75)
                };
                let expected: Vec<f64> = out.iter().enumerate().map(epilogue).collect();
                let found = conv_forward(shape, &images, &weight, Some(Epilogue { affine, residual }));
                prop_assert!(close(&found, &expected));
            }
            let (found, of_kernel) = conv_backward(shape, &images, &weight, &gradient, true);
            prop_assert!(close(&found.unwrap(), &of_images));
            prop_assert!(close(&of_kernel, &of_weight));
            prop_assert!(conv_backward(shape, &images, &weight, &gradient, false).0.is_none());
        }
    }

    #[test]
    fn several_blocks_match_the_definition() {
        // 600 values per position and 40 x 40 positions: more than one block.
        let shape = ConvShape { batch: 1, channels: [24, 2], size: [40, 40], kernel: [5, 5], stride: [1, 1], padding: [2, 2] };
        assert!(shape.blocks().count() > 1);
        let (images, weight) = (wave(shape.n_in(), 0.7), wave(2 * shape.depth(), 0.3));
        let mut out = vec![0.0f64; shape.n_out()];
        each_product(shape, |seen, by, to| out[to] += f64::from(images[seen]) * f64::from(weight[by]));
        for (found, want) in conv_forward(shape, &images, &weight, None).iter().zip(&out) {
            assert!((f64::from(*found) - want).abs() < 1e-4, "{found} is not {want}");
        }
    }
}
