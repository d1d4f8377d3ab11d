//! The Gaussian error linear unit (Hendrycks and Gimpel 2016), `x * Phi(x)` with the standard normal distribution function `Phi`.

use rayon::prelude::*;

use crate::functions::exp;
use crate::{Instructions, Kernel, dispatch};

/// Number of values per task.
const CHUNK: usize = 1 << 14;

/// Computes GELU elementwise, with an error below `5e-7 * max(1, |x|)`.
pub fn gelu(values: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(out, values)| dispatch(Forward { values, out }));
    out
}

/// Computes the gradient of `values` from that of the output.
///
/// # Panics
/// If the lengths of the slices differ.
pub fn gelu_backward(values: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert_eq!(values.len(), gradient.len());
    let mut out = gradient.to_vec();
    out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(out, values)| dispatch(Backward { values, out }));
    out
}

struct Forward<'a> {
    values: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        each::<I, Value>(self.values, self.out);
    }
}

struct Backward<'a> {
    values: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        each::<I, Derivative>(self.values, self.out);
    }
}

/// An elementwise function of a value and the output element it replaces; not a closure, which would not be compiled for the
/// kernel's instruction set.
trait Function {
    fn apply<I: Instructions>(x: I::Vector, place: I::Vector) -> I::Vector;
}

struct Value;

impl Function for Value {
    #[inline(always)]
    fn apply<I: Instructions>(x: I::Vector, _place: I::Vector) -> I::Vector {
        let size = I::max(x, I::sub(I::splat(0.0), x));
        let (tail, _) = tail_and_density::<I>(size);
        I::sub(I::max(x, I::splat(0.0)), I::mul(size, tail))
    }
}

/// The derivative times the gradient in the output element.
struct Derivative;

impl Function for Derivative {
    #[inline(always)]
    fn apply<I: Instructions>(x: I::Vector, gradient: I::Vector) -> I::Vector {
        let size = I::max(x, I::sub(I::splat(0.0), x));
        let (tail, density) = tail_and_density::<I>(size);
        // Phi(x) = 0.5 + sign(x) * (0.5 - tail); at 0 the sign does not matter.
        let side = I::max(I::min(I::mul(x, I::splat(1e30)), I::splat(1.0)), I::splat(-1.0));
        let below = I::fused(side, I::sub(I::splat(0.5), tail), I::splat(0.5));
        I::mul(gradient, I::fused(x, density, below))
    }
}

/// Returns the upper tail probability of the standard normal distribution at non-negative `x` (Abramowitz and Stegun 1964,
/// 26.2.17), and the density.
#[inline(always)]
fn tail_and_density<I: Instructions>(x: I::Vector) -> (I::Vector, I::Vector) {
    const SERIES: [f32; 5] = [1.330_274_4, -1.821_255_9, 1.781_477_9, -0.356_563_78, 0.319_381_54];
    let one = I::splat(1.0);
    let t = I::div(one, I::fused(x, I::splat(0.231_641_9), one));
    let mut sum = I::splat(SERIES[0]);
    for term in &SERIES[1..] {
        sum = I::fused(sum, t, I::splat(*term));
    }
    let density = I::mul(exp::<I>(I::mul(I::mul(x, x), I::splat(-0.5))), I::splat(0.398_942_3));
    (I::mul(I::mul(density, t), sum), density)
}

/// Replaces each element of `out` by a function of it and the value at its position.
#[inline(always)]
fn each<I: Instructions, F: Function>(values: &[f32], out: &mut [f32]) {
    let mut chunks = values.chunks_exact(I::LANES);
    let mut outputs = out.chunks_exact_mut(I::LANES);
    for (chunk, place) in chunks.by_ref().zip(outputs.by_ref()) {
        I::store(F::apply::<I>(I::load(chunk), I::load(place)), place);
    }
    let (rest, outputs) = (chunks.remainder(), outputs.into_remainder());
    let (mut x, mut y) = ([0.0; 16], [0.0; 16]);
    x[..rest.len()].copy_from_slice(rest);
    y[..rest.len()].copy_from_slice(outputs);
    let last = F::apply::<I>(I::load(&x), I::load(&y));
    I::store(last, &mut y);
    outputs.copy_from_slice(&y[..rest.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::each as each_set;

    #[derive(Clone)]
    struct Both(Vec<f32>);
    impl Kernel for Both {
        type Output = [Vec<f32>; 2];
        #[inline(always)]
        fn run<I: Instructions>(self) -> [Vec<f32>; 2] {
            let (mut forward, mut backward) = (vec![0.0; self.0.len()], vec![2.0; self.0.len()]);
            Forward { values: &self.0, out: &mut forward }.run::<I>();
            Backward { values: &self.0, out: &mut backward }.run::<I>();
            [forward, backward]
        }
    }

    /// `Phi(x)` by Simpson's rule from 0.
    fn below(x: f64) -> f64 {
        let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let n = 2000;
        let width = x / f64::from(n);
        let inner = (1..n).map(|at| density(width * f64::from(at)) * if at % 2 == 1 { 4.0 } else { 2.0 });
        0.5 + width / 3.0 * (density(0.0) + density(x) + inner.sum::<f64>())
    }

    #[test]
    fn values_and_gradients_match_the_definition() {
        let x: Vec<f32> = (-333..=333).map(|at| at as f32 * 0.027).collect();
        for [forward, backward] in each_set(Both(x.clone())) {
            for (at, x) in x.iter().map(|x| f64::from(*x)).enumerate() {
                let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let (value, slope) = (x * below(x), below(x) + x * density);
                assert!((f64::from(forward[at]) - value).abs() < 5e-7 * x.abs().max(1.0), "gelu({x}) = {}", forward[at]);
                assert!((f64::from(backward[at]) - 2.0 * slope).abs() < 2e-6, "the gradient at {x} is {}", backward[at]);
            }
        }
        assert_eq!(gelu(&[]), []);
        assert_eq!(gelu_backward(&[0.0], &[4.0]), [2.0]);
    }
}
