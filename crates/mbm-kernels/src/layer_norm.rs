//! Layer normalization (Ba, Kiros and Hinton 2016): normalizes each row to mean 0 and variance 1, then scales and shifts each
//! column.

use rayon::prelude::*;

use crate::functions::total;
use crate::{Instructions, Kernel, dispatch};

/// Minimum number of rows per task.
const MIN_ROWS: usize = 16;

/// The output, and what the gradient needs.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormOutput {
    /// `[rows, width]`.
    pub out: Vec<f32>,
    /// `[rows, 2]`: the mean of each row and the inverse of its standard deviation.
    pub moments: Vec<f32>,
}

/// The gradients of a layer normalization.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNormGradients {
    /// `[rows, width]`: the gradient of the input.
    pub values: Vec<f32>,
    /// `[width]`: the gradient of the scale.
    pub scale: Vec<f32>,
    /// `[width]`: the gradient of the shift.
    pub shift: Vec<f32>,
}

/// Normalizes rows of the width of `scale` and `shift`; `epsilon` is added to the variance.
///
/// # Panics
/// If the lengths of the slices do not match.
pub fn layer_norm(values: &[f32], scale: &[f32], shift: &[f32], epsilon: f32) -> LayerNormOutput {
    let width = scale.len();
    assert!(shift.len() == width && width > 0 && values.len().is_multiple_of(width));
    let mut out = vec![0.0; values.len()];
    let mut moments = vec![0.0; values.len() / width * 2];
    let share = share(values.len() / width);
    let parts = out.par_chunks_mut(share * width).zip(moments.par_chunks_mut(share * 2)).zip(values.par_chunks(share * width));
    parts.for_each(|((out, moments), values)| dispatch(Forward { values, scale, shift, epsilon, out, moments }));
    LayerNormOutput { out, moments }
}

/// Computes the gradients from the input, the moments of the forward pass and the gradient of `out`.
///
/// # Panics
/// If the lengths of the slices do not match.
pub fn layer_norm_backward(values: &[f32], scale: &[f32], moments: &[f32], gradient: &[f32]) -> LayerNormGradients {
    let width = scale.len();
    assert!(width > 0 && gradient.len() == values.len() && moments.len() * width == values.len() * 2);
    let mut of_values = vec![0.0; values.len()];
    let share = share(values.len() / width);
    let inputs = values.par_chunks(share * width).zip(moments.par_chunks(share * 2)).zip(gradient.par_chunks(share * width));
    let sums: Vec<Vec<f32>> = of_values
        .par_chunks_mut(share * width)
        .zip(inputs)
        .map(|(out, ((values, moments), gradient))| {
            let mut sums = vec![0.0; 2 * width];
            dispatch(Backward { values, scale, moments, gradient, out, sums: &mut sums });
            sums
        })
        .collect();
    let mut total = vec![0.0; 2 * width];
    sums.iter().for_each(|sums| total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum));
    let shift = total.split_off(width);
    LayerNormGradients { values: of_values, scale: total, shift }
}

/// Returns the rows per task: there are as many tasks as threads, so that sums depend on the number of threads only.
fn share(rows: usize) -> usize {
    rows.div_ceil(rayon::current_num_threads()).max(MIN_ROWS)
}

struct Forward<'a> {
    values: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
    moments: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.scale.len();
        let rows = self.values.chunks_exact(n).zip(self.out.chunks_exact_mut(n)).zip(self.moments.chunks_exact_mut(2));
        for ((row, out), moments) in rows {
            let mut sum = I::splat(0.0);
            for at in (0..n).step_by(I::LANES) {
                sum = I::add(sum, I::load_some(&row[at..], n - at));
            }
            let mean = total::<I>(sum) / n as f32;
            let mut squares = I::splat(0.0);
            for at in (0..n).step_by(I::LANES) {
                // Lanes past the end of the row hold the mean and add nothing.
                let x = I::sub(I::load_some_or(&row[at..], n - at, mean), I::splat(mean));
                squares = I::fused(x, x, squares);
            }
            let inverse = 1.0 / (total::<I>(squares) / n as f32 + self.epsilon).sqrt();
            for at in (0..n).step_by(I::LANES) {
                let x = I::mul(I::sub(I::load_some(&row[at..], n - at), I::splat(mean)), I::splat(inverse));
                let (scale, shift) = (I::load_some(&self.scale[at..], n - at), I::load_some(&self.shift[at..], n - at));
                I::store_some(I::fused(x, scale, shift), &mut out[at..], n - at);
            }
            moments.copy_from_slice(&[mean, inverse]);
        }
    }
}

struct Backward<'a> {
    values: &'a [f32],
    scale: &'a [f32],
    moments: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
    /// The sums for the scale, then those for the shift.
    sums: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.scale.len();
        let (of_scale, of_shift) = self.sums.split_at_mut(n);
        let rows = self.values.chunks_exact(n).zip(self.gradient.chunks_exact(n));
        for ((row, gradient), (out, moments)) in rows.zip(self.out.chunks_exact_mut(n).zip(self.moments.chunks_exact(2))) {
            let (mean, inverse) = (I::splat(moments[0]), I::splat(moments[1]));
            // Sums of the gradient of the normalized values, and of its product with them.
            let (mut sum, mut product) = (I::splat(0.0), I::splat(0.0));
            for at in (0..n).step_by(I::LANES) {
                let x = I::mul(I::sub(I::load_some(&row[at..], n - at), mean), inverse);
                let slope = I::load_some(&gradient[at..], n - at);
                let of_scale = &mut of_scale[at..];
                I::store_some(I::fused(slope, x, I::load_some(of_scale, n - at)), of_scale, n - at);
                let of_shift = &mut of_shift[at..];
                I::store_some(I::add(slope, I::load_some(of_shift, n - at)), of_shift, n - at);
                let slope = I::mul(slope, I::load_some(&self.scale[at..], n - at));
                sum = I::add(sum, slope);
                product = I::fused(slope, x, product);
            }
            let (sum, product) = (I::splat(total::<I>(sum) / n as f32), I::splat(total::<I>(product) / n as f32));
            for at in (0..n).step_by(I::LANES) {
                let x = I::mul(I::sub(I::load_some(&row[at..], n - at), mean), inverse);
                let slope = I::mul(I::load_some(&gradient[at..], n - at), I::load_some(&self.scale[at..], n - at));
                let x = I::sub(I::sub(slope, sum), I::mul(x, product));
                I::store_some(I::mul(x, inverse), &mut out[at..], n - at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::each;

    fn wave(n: usize, step: f64) -> Vec<f32> {
        (0..n).map(|at| (((at as f64 + 1.0) * step).sin() * 2.0 + 0.5) as f32).collect()
    }

    /// The definition in double precision.
    fn plain(values: &[f64], scale: &[f64], shift: &[f64]) -> Vec<f64> {
        let n = scale.len() as f64;
        let row = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let normal = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt()).collect::<Vec<_>>();
            normal.iter().zip(scale.iter().zip(shift)).map(|(x, (scale, shift))| x * scale + shift).collect::<Vec<_>>()
        };
        values.chunks(scale.len()).flat_map(row).collect()
    }

    /// The ratio of the largest absolute value of each row to its standard deviation, by which the rounding error of the mean is
    /// amplified.
    fn conditions(values: &[f64], width: usize) -> Vec<f64> {
        let condition = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / width as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            row.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / (variance + 1e-5).sqrt()
        };
        values.chunks(width).flat_map(|row| vec![condition(row).max(1.0); width]).collect()
    }

    #[derive(Clone)]
    struct Both {
        inputs: [Vec<f32>; 4],
        rows: usize,
    }
    impl Kernel for Both {
        type Output = [Vec<f32>; 3];
        #[inline(always)]
        fn run<I: Instructions>(self) -> [Vec<f32>; 3] {
            let [values, scale, shift, gradient] = &self.inputs;
            let (mut out, mut moments) = (vec![0.0; values.len()], vec![0.0; 2 * self.rows]);
            Forward { values, scale, shift, epsilon: 1e-5, out: &mut out, moments: &mut moments }.run::<I>();
            let (mut of_values, mut sums) = (vec![0.0; values.len()], vec![0.0; 2 * scale.len()]);
            Backward { values, scale, moments: &moments, gradient, out: &mut of_values, sums: &mut sums }.run::<I>();
            [out, of_values, sums]
        }
    }

    proptest! {
        #[test]
        fn normalization_and_gradients_match_the_definition(rows in 1usize..40, width in 2usize..40, seed in 1u32..50) {
            let values = wave(rows * width, 0.7 + f64::from(seed));
            let (scale, shift, gradient) = (wave(width, 0.3), wave(width, 1.1), wave(rows * width, 0.9));
            let inputs = [values, scale, shift, gradient];
            let wide = inputs.clone().map(|values| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
            let want = plain(&wide[0], &wide[1], &wide[2]);
            let normed = layer_norm(&inputs[0], &inputs[1], &inputs[2], 1e-5);
            let found = layer_norm_backward(&inputs[0], &inputs[1], &normed.moments, &inputs[3]);
            let sums = [found.scale.clone(), found.shift.clone()].concat();
            let mut all = each(Both { inputs, rows });
            all.push([normed.out, found.values, sums]);
            let slope = |which: usize, at: usize| {
                let moved = |by: f64| {
                    let mut wide = wide.clone();
                    wide[which][at] += by;
                    plain(&wide[0], &wide[1], &wide[2]).iter().zip(&wide[3]).map(|(out, gradient)| out * gradient).sum::<f64>()
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            };
            for [out, of_values, sums] in all {
                for ((found, want), condition) in out.iter().zip(&want).zip(conditions(&wide[0], width)) {
                    prop_assert!((f64::from(*found) - want).abs() < 1e-5 * condition, "{found} is not {want}");
                }
                for at in (0..of_values.len()).step_by(7) {
                    let want = slope(0, at);
                    prop_assert!((f64::from(of_values[at]) - want).abs() < 2e-3 * want.abs().max(1.0), "{} is not {want}", of_values[at]);
                }
                for at in 0..width {
                    for (found, want) in [(sums[at], slope(1, at)), (sums[width + at], slope(2, at))] {
                        prop_assert!((f64::from(found) - want).abs() < 1e-3 * want.abs().max(1.0), "{found} is not {want}");
                    }
                }
            }
        }
    }
}
