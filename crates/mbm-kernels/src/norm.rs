//! Batch normalization (Ioffe and Szegedy 2015), fused with the ReLU (a clamp to bounds) that often follows it.

use rayon::prelude::*;

use crate::functions::total;
use crate::{Instructions, Kernel, dispatch};

/// The shape of images, `[batch, channels, positions]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormShape {
    /// Number of images.
    pub batch: usize,
    /// Number of channels.
    pub channels: usize,
    /// Number of positions of a channel (height times width).
    pub positions: usize,
}

/// A per-channel affine map, `value * scale + shift`, followed by clamping to bounds, which are infinite for none.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// One value per channel.
    pub scale: &'a [f32],
    /// One value per channel.
    pub shift: &'a [f32],
    /// The smallest and the largest value.
    pub bounds: [f32; 2],
}

/// The inputs and outputs of a completed normalization by batch moments, scale and shift.
#[derive(Debug, Clone, Copy)]
pub struct Normalized<'a> {
    /// The input.
    pub images: &'a [f32],
    /// The batch mean of each channel.
    pub mean: &'a [f32],
    /// The inverse of the batch standard deviation of each channel.
    pub inverse: &'a [f32],
    /// The scale of each channel.
    pub scale: &'a [f32],
    /// The output.
    pub out: &'a [f32],
    /// The bounds to which the output was clamped.
    pub bounds: [f32; 2],
}

/// The gradients of a normalization by batch moments.
#[derive(Debug, Clone, PartialEq)]
pub struct NormGradients {
    /// The gradient of the images.
    pub images: Vec<f32>,
    /// The gradient of the scale of each channel.
    pub scale: Vec<f32>,
    /// The gradient of the shift of each channel.
    pub shift: Vec<f32>,
}

impl NormShape {
    fn n_of_image(&self) -> usize {
        self.channels * self.positions
    }

    /// Returns the number of images per thread.
    fn share(&self) -> usize {
        self.batch.div_ceil(rayon::current_num_threads()).max(1)
    }

    /// Sums two values per plane, which `of_plane` computes from the index and the values of the plane, over the images for each
    /// channel; the order depends on the number of threads only.
    fn sums(&self, images: &[f32], of_plane: impl Fn(usize, &[f32]) -> [f32; 2] + Sync) -> Vec<[f64; 2]> {
        let n_planes = self.share() * self.channels;
        let parts = images.par_chunks(n_planes * self.positions).enumerate().map(|(part, images)| {
            let mut sums = vec![[0.0; 2]; self.channels];
            for (at, plane) in images.chunks(self.positions).enumerate() {
                add(&mut sums[at % self.channels], of_plane(part * n_planes + at, plane).map(f64::from));
            }
            sums
        });
        let parts: Vec<_> = parts.collect();
        let mut total = vec![[0.0; 2]; self.channels];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(total, sums)| add(total, sums));
        }
        total
    }
}

fn add(sums: &mut [f64; 2], [a, b]: [f64; 2]) {
    sums[0] += a;
    sums[1] += b;
}

/// Computes the mean and variance of each channel.
///
/// # Panics
/// If the length of the slice does not match the shape.
pub fn moments(shape: NormShape, images: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(images.len(), shape.batch * shape.n_of_image(), "the images do not match {shape:?}");
    if images.is_empty() {
        return (vec![0.0; shape.channels], vec![0.0; shape.channels]);
    }
    let n = (shape.batch * shape.positions) as f64;
    let sums = shape.sums(images, |_, plane| dispatch(Sums { plane, centre: 0.0 }));
    let mean: Vec<f32> = sums.iter().map(|[sum, _]| (sum / n) as f32).collect();
    let sums = shape.sums(images, |at, plane| dispatch(Sums { plane, centre: mean[at % shape.channels] }));
    let variance = sums.iter().map(|[_, squares]| (squares / n) as f32).collect();
    (mean, variance)
}

/// Scales and shifts each channel and clamps the values to the bounds.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn affine(shape: NormShape, images: &[f32], by: Affine) -> Vec<f32> {
    assert_eq!(images.len(), shape.batch * shape.n_of_image(), "the images do not match {shape:?}");
    let mut out = vec![0.0; images.len()];
    if images.is_empty() {
        return out;
    }
    let n = shape.positions;
    out.par_chunks_mut(n).zip(images.par_chunks(n)).enumerate().with_min_len(8).for_each(|(at, (out, plane))| {
        let channel = at % shape.channels;
        dispatch(Scaled { plane, out, scale: by.scale[channel], shift: by.shift[channel], bounds: by.bounds });
    });
    out
}

/// Computes the gradients from that of the output.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn norm_backward(shape: NormShape, done: Normalized, gradient: &[f32]) -> NormGradients {
    let Normalized { images, mean, inverse, scale, out, bounds } = done;
    let n_values = shape.batch * shape.n_of_image();
    assert!([images.len(), out.len(), gradient.len()] == [n_values; 3], "the images, output or gradient do not match {shape:?}");
    let mut within = vec![0.0; n_values];
    if n_values == 0 {
        return NormGradients { images: within, scale: vec![0.0; shape.channels], shift: vec![0.0; shape.channels] };
    }
    let n = shape.positions;
    let held = out.par_chunks(n).zip(gradient.par_chunks(n));
    within.par_chunks_mut(n).zip(held).with_min_len(8).for_each(|(place, (out, gradient))| {
        dispatch(Within { out, gradient, bounds, place });
    });
    // Sums of the gradient and of its product with the centered value.
    let sums = shape.sums(images, |at, plane| {
        dispatch(Products { plane, gradient: &within[at * n..(at + 1) * n], centre: mean[at % shape.channels] })
    });
    let count = (shape.batch * n) as f64;
    let of_shift: Vec<f32> = sums.iter().map(|[sum, _]| *sum as f32).collect();
    let of_scale: Vec<f32> =
        sums.iter().zip(inverse).map(|([_, product], inverse)| (product * f64::from(*inverse)) as f32).collect();
    within.par_chunks_mut(n).zip(images.par_chunks(n)).enumerate().with_min_len(8).for_each(|(at, (place, plane))| {
        let channel = at % shape.channels;
        let (by, inverse) = (scale[channel] * inverse[channel], inverse[channel]);
        // by * (g - sum / n - (x - mean) * inverse * product / n), as a linear function of g and x.
        let slope = -by * inverse * (f64::from(of_scale[channel]) / count) as f32;
        let shift = -by * (sums[channel][0] / count) as f32 - slope * mean[channel];
        dispatch(Line { plane, place, by, slope, shift });
    });
    NormGradients { images: within, scale: of_scale, shift: of_shift }
}

/// Sums `x - centre` and its square.
struct Sums<'a> {
    plane: &'a [f32],
    centre: f32,
}

impl Kernel for Sums<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<I: Instructions>(self) -> [f32; 2] {
        let centre = I::splat(self.centre);
        let (mut sum, mut squares) = (I::splat(0.0), I::splat(0.0));
        let chunks = self.plane.chunks_exact(I::LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            let x = I::sub(I::load(chunk), centre);
            sum = I::add(sum, x);
            squares = I::fused(x, x, squares);
        }
        let (mut sum, mut squares) = (total::<I>(sum), total::<I>(squares));
        for x in rest.iter().map(|x| x - self.centre) {
            sum += x;
            squares += x * x;
        }
        [sum, squares]
    }
}

/// Sums the gradient and `gradient * (x - centre)`.
struct Products<'a> {
    plane: &'a [f32],
    gradient: &'a [f32],
    centre: f32,
}

impl Kernel for Products<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<I: Instructions>(self) -> [f32; 2] {
        let centre = I::splat(self.centre);
        let (mut sum, mut products) = (I::splat(0.0), I::splat(0.0));
        let (chunks, gradients) = (self.plane.chunks_exact(I::LANES), self.gradient.chunks_exact(I::LANES));
        let rest = chunks.remainder().iter().zip(gradients.remainder());
        for (chunk, gradient) in chunks.zip(gradients) {
            let gradient = I::load(gradient);
            sum = I::add(sum, gradient);
            products = I::fused(I::sub(I::load(chunk), centre), gradient, products);
        }
        let (mut sum, mut products) = (total::<I>(sum), total::<I>(products));
        for (x, gradient) in rest {
            sum += gradient;
            products += (x - self.centre) * gradient;
        }
        [sum, products]
    }
}

struct Scaled<'a> {
    plane: &'a [f32],
    out: &'a mut [f32],
    scale: f32,
    shift: f32,
    bounds: [f32; 2],
}

impl Kernel for Scaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let (scale, shift) = (I::splat(self.scale), I::splat(self.shift));
        let (low, high) = (I::splat(self.bounds[0]), I::splat(self.bounds[1]));
        let mut chunks = self.plane.chunks_exact(I::LANES);
        let mut outputs = self.out.chunks_exact_mut(I::LANES);
        for (chunk, place) in chunks.by_ref().zip(outputs.by_ref()) {
            I::store(I::min(I::max(I::fused(I::load(chunk), scale, shift), low), high), place);
        }
        for (x, place) in chunks.remainder().iter().zip(outputs.into_remainder()) {
            *place = (x * self.scale + self.shift).max(self.bounds[0]).min(self.bounds[1]);
        }
    }
}

/// Copies the gradient where the output lies within the bounds, and writes 0 elsewhere.
struct Within<'a> {
    out: &'a [f32],
    gradient: &'a [f32],
    bounds: [f32; 2],
    place: &'a mut [f32],
}

impl Kernel for Within<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let [low, high] = self.bounds;
        for (place, (out, gradient)) in self.place.iter_mut().zip(self.out.iter().zip(self.gradient)) {
            *place = if *out > low && *out < high { *gradient } else { 0.0 };
        }
    }
}

/// Replaces `place` by `place * by + x * slope + shift`.
struct Line<'a> {
    plane: &'a [f32],
    place: &'a mut [f32],
    by: f32,
    slope: f32,
    shift: f32,
}

impl Kernel for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let (by, slope, shift) = (I::splat(self.by), I::splat(self.slope), I::splat(self.shift));
        let mut chunks = self.plane.chunks_exact(I::LANES);
        let mut outputs = self.place.chunks_exact_mut(I::LANES);
        for (chunk, place) in chunks.by_ref().zip(outputs.by_ref()) {
            let line = I::fused(I::load(chunk), slope, shift);
            I::store(I::fused(I::load(place), by, line), place);
        }
        for (x, place) in chunks.remainder().iter().zip(outputs.into_remainder()) {
            *place = *place * self.by + x * self.slope + self.shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(n: usize, step: f64) -> Vec<f32> {
        (0..n).map(|at| (((at as f64 + 1.0) * step).sin() * 2.0) as f32).collect()
    }

    /// The definition in double precision: the output, given images, scales and shifts.
    fn plain(shape: NormShape, images: &[f64], scale: &[f64], shift: &[f64], bounds: [f32; 2]) -> Vec<f64> {
        let mut out = images.to_vec();
        for channel in 0..shape.channels {
            let positions: Vec<usize> = (0..out.len()).filter(|at| at / shape.positions % shape.channels == channel).collect();
            let n = positions.len() as f64;
            let mean = positions.iter().map(|at| images[*at]).sum::<f64>() / n;
            let variance = positions.iter().map(|at| (images[*at] - mean).powi(2)).sum::<f64>() / n;
            for at in positions {
                let value = (images[at] - mean) / (variance + 1e-5).sqrt() * scale[channel] + shift[channel];
                out[at] = value.max(f64::from(bounds[0])).min(f64::from(bounds[1]));
            }
        }
        out
    }

    proptest! {
        #[test]
        fn normalization_and_gradients_match_the_definition(
            batch in 1usize..5, channels in 1usize..5, positions in 2usize..40, which in 0usize..3, seed in 1usize..50,
        ) {
            let shape = NormShape { batch, channels, positions };
            let bounds = [[f32::NEG_INFINITY, f32::INFINITY], [0.0, f32::INFINITY], [0.0, 1.0]][which];
            let images = wave(batch * channels * positions, 0.7 + seed as f64);
            let (scale, shift) = (wave(channels, 0.3), wave(channels, 1.1));
            let gradient = wave(images.len(), 0.9);
            let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();

            let (mean, variance) = moments(shape, &images);
            let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + 1e-5).sqrt()).collect();
            let scales: Vec<f32> = scale.iter().zip(&inverse).map(|(scale, inverse)| scale * inverse).collect();
            let shifts: Vec<f32> = shift.iter().zip(&mean).zip(&scales).map(|((shift, mean), scale)| shift - mean * scale).collect();
            let out = affine(shape, &images, Affine { scale: &scales, shift: &shifts, bounds });
            let want = plain(shape, &wide(&images), &wide(&scale), &wide(&shift), bounds);
            prop_assert!(out.iter().zip(&want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-4));

            let found = {
                let done = Normalized { images: &images, mean: &mean, inverse: &inverse, scale: &scale, out: &out, bounds };
                norm_backward(shape, done, &gradient)
            };
            let sum = |images: &[f64], scale: &[f64], shift: &[f64]| -> f64 {
                plain(shape, images, scale, shift, bounds).iter().zip(&gradient).map(|(out, by)| out * f64::from(*by)).sum()
            };
            // By finite differences, unless a value is so close to a bound that a step crosses it.
            let unbounded = [f32::NEG_INFINITY, f32::INFINITY];
            let unclamped = plain(shape, &wide(&images), &wide(&scale), &wide(&shift), unbounded);
            let is_near = unclamped.iter().any(|out| bounds.iter().any(|bound| (out - f64::from(*bound)).abs() < 1e-3));
            if !is_near {
                let (x, by, to) = (wide(&images), wide(&scale), wide(&shift));
                let moved = |values: &[f64], at: usize, step: f64| {
                    let mut values = values.to_vec();
                    values[at] += step;
                    values
                };
                let slope = |of: &dyn Fn(f64) -> f64| (of(1e-5) - of(-1e-5)) / 2e-5;
                let close = |found: f32, want: f64| (f64::from(found) - want).abs() < 2e-3 * want.abs().max(1.0);
                for at in (0..x.len()).step_by(1 + x.len() / 5) {
                    prop_assert!(close(found.images[at], slope(&|step| sum(&moved(&x, at, step), &by, &to))));
                }
                for channel in 0..channels {
                    prop_assert!(close(found.scale[channel], slope(&|step| sum(&x, &moved(&by, channel, step), &to))));
                    prop_assert!(close(found.shift[channel], slope(&|step| sum(&x, &by, &moved(&to, channel, step)))));
                }
            }
        }
    }
}
