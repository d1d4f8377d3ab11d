//! L-BFGS: minimizes a smooth function from its gradients (Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4
//! and 7.5).
//!
//! The line search brackets a step that meets the weak Wolfe conditions (Lewis and Overton 2013, "Nonsmooth optimization via
//! quasi-Newton methods", algorithm 2.6), which keep the curvature of every pair positive. Sums are taken over parts of fixed
//! size in order, so results do not depend on the number of threads.

use std::collections::VecDeque;

use rayon::prelude::*;

/// When the minimization ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopping {
    /// Ends when no component of the gradient is larger.
    pub tolerance: f64,
    /// Ends after this number of steps.
    pub max_iterations: usize,
}

/// Number of stored pairs of steps and changes of the gradient.
const N_PAIRS: usize = 10;
/// Most numbers that the stored pairs may hold; larger problems store fewer pairs, but at least three.
const STORED_NUMBERS: usize = 1 << 26;
/// Share of the decrease predicted by the slope that a step must reach.
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// Share of the slope that must be gone after a step.
const CURVATURE: f64 = 0.9;
/// Factor by which a step grows until it is too long; the first step of a minimization has no scale, so it may be far too short.
const GROWTH: f64 = 4.0;
/// Most evaluations per line search.
const MAX_TRIALS: usize = 40;
/// Number of components per part.
const PART: usize = 1 << 14;

/// A point, the value of the function there, and its gradient.
struct Point {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step, the change of the gradient along it, and the inverse of their inner product.
struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    inverse: f64,
}

/// Minimizes a function from `start`. `objective` returns the value at a point and writes the gradient into its second argument. The
/// search takes place in components divided by `scales`: with one over the square root of the curvature along each component, it takes
/// few steps however much the curvatures differ.
pub(super) fn minimize(
    start: Vec<f64>,
    scales: &[f64],
    stopping: Stopping,
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Vec<f64> {
    let mut evaluate = |x: Vec<f64>| {
        let mut gradient = vec![0.0; x.len()];
        let value = objective(&combine(&x, scales, |x, scale| x * scale), &mut gradient);
        multiply(&mut gradient, scales);
        Point { x, value, gradient }
    };
    let start = combine(&start, scales, |start, scale| start / scale);
    let n_pairs = (STORED_NUMBERS / (2 * start.len().max(1))).clamp(3, N_PAIRS);
    let mut pairs: VecDeque<Pair> = VecDeque::new();
    let mut point = evaluate(start);
    for _ in 0..stopping.max_iterations {
        if largest_quotient(&point.gradient, scales) <= stopping.tolerance {
            break;
        }
        let direction = direction(&point.gradient, &pairs);
        let Some(next) = line_search(&point, &direction, &mut evaluate) else { break };
        let decrease = point.value - next.value;
        if pairs.len() == n_pairs {
            pairs.pop_front();
        }
        pairs.extend(Pair::new(&point, &next));
        point = next;
        // No further progress in double precision; the factor is that of scikit-learn.
        if decrease <= 64.0 * f64::EPSILON * point.value.abs().max(1.0) {
            break;
        }
    }
    multiply(&mut point.x, scales);
    point.x
}

impl Pair {
    /// Returns the pair of two points; none if the curvature between them vanishes.
    fn new(from: &Point, to: &Point) -> Option<Self> {
        let difference = |to: &[f64], from: &[f64]| combine(to, from, |to, from| (to - from) as f32);
        let (step, change) = (difference(&to.x, &from.x), difference(&to.gradient, &from.gradient));
        let curvature = dot(&step, &change);
        (curvature > f64::from(f32::MIN_POSITIVE)).then(|| Self { step, change, inverse: 1.0 / curvature })
    }
}

/// Returns the product of the negative gradient and the approximate inverse Hessian (the two-loop recursion). Without pairs, it
/// has unit length.
fn direction(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let Some(last) = pairs.back() else {
        let length = dot(gradient, gradient).sqrt();
        return gradient.iter().map(|g| -g / length).collect();
    };
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = vec![0.0; pairs.len()];
    for (pair, factor) in pairs.iter().zip(&mut factors).rev() {
        *factor = pair.inverse * dot(&pair.step, &direction);
        add(&mut direction, -*factor, &pair.change);
    }
    let scale = 1.0 / (last.inverse * dot(&last.change, &last.change));
    direction.iter_mut().for_each(|d| *d *= scale);
    for (pair, factor) in pairs.iter().zip(factors) {
        let rest = factor - pair.inverse * dot(&pair.change, &direction);
        add(&mut direction, rest, &pair.step);
    }
    direction
}

/// Returns a point along the direction that meets the weak Wolfe conditions; after the last trial, one that is lower, if there
/// is one.
fn line_search(from: &Point, direction: &[f64], evaluate: &mut impl FnMut(Vec<f64>) -> Point) -> Option<Point> {
    let slope = dot(&from.gradient, direction);
    if slope.is_nan() || slope >= 0.0 {
        return None;
    }
    let (mut low, mut high, mut size, mut lower) = (0.0, f64::INFINITY, 1.0, None);
    for _ in 0..MAX_TRIALS {
        let trial = evaluate(combine(&from.x, direction, |x, d| x + size * d));
        if trial.value.is_nan() || trial.value > from.value + SUFFICIENT_DECREASE * size * slope {
            high = size;
        } else if dot(&trial.gradient, direction) < CURVATURE * slope {
            low = size;
            lower = Some(trial);
        } else {
            return Some(trial);
        }
        size = if high.is_finite() { (low + high) / 2.0 } else { GROWTH * low };
    }
    lower
}

fn largest_quotient(values: &[f64], by: &[f64]) -> f64 {
    let quotients = values.par_iter().zip(by).with_min_len(PART).map(|(value, by)| (value / by).abs());
    quotients.reduce(|| 0.0, f64::max)
}

/// Combines the components of two vectors.
fn combine<T: Send>(a: &[f64], b: &[f64], combined: impl Fn(f64, f64) -> T + Sync) -> Vec<T> {
    let pair = |(a, b): (&f64, &f64)| combined(*a, *b);
    match a.len() <= PART {
        true => a.iter().zip(b).map(pair).collect(),
        false => a.par_iter().zip(b).with_min_len(PART).map(pair).collect(),
    }
}

fn multiply(values: &mut [f64], factors: &[f64]) {
    let parts = values.par_chunks_mut(PART).zip(factors.par_chunks(PART));
    parts.for_each(|(values, factors)| values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor));
}

/// Computes an inner product in double precision.
fn dot<A, B>(a: &[A], b: &[B]) -> f64
where
    A: Copy + Into<f64> + Sync,
    B: Copy + Into<f64> + Sync,
{
    let part = |a: &[A], b: &[B]| {
        let mut sums = [0.0; 8];
        let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
        let tail: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| (*x).into() * (*y).into()).sum();
        for (x, y) in a_chunks.zip(b_chunks) {
            (0..8).for_each(|lane| sums[lane] += x[lane].into() * y[lane].into());
        }
        sums.iter().sum::<f64>() + tail
    };
    if a.len() <= PART {
        return part(a, b);
    }
    let parts: Vec<f64> = a.par_chunks(PART).zip(b.par_chunks(PART)).map(|(a, b)| part(a, b)).collect();
    parts.iter().sum()
}

/// Computes `to += factor * values`.
fn add<T: Copy + Into<f64> + Sync>(to: &mut [f64], factor: f64, values: &[T]) {
    let part = |to: &mut [f64], values: &[T]| to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * (*value).into());
    if to.len() <= PART {
        return part(to, values);
    }
    to.par_chunks_mut(PART).zip(values.par_chunks(PART)).for_each(|(to, values)| part(to, values));
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIGHT: Stopping = Stopping { tolerance: 1e-8, max_iterations: 500 };

    /// Rosenbrock's function, whose minimum lies at (1, 1) in a curved valley.
    fn rosenbrock(x: &[f64], gradient: &mut [f64]) -> f64 {
        let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
        gradient.copy_from_slice(&[-2.0 * a - 400.0 * b * x[0], 200.0 * b]);
        a * a + 100.0 * b * b
    }

    #[test]
    fn finds_the_minimum_of_a_curved_valley() {
        let x = minimize(vec![-1.2, 1.0], &[1.0, 3.0], TIGHT, rosenbrock);
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn number_of_steps_is_limited() {
        let mut n_evaluations = 0;
        let stopping = Stopping { max_iterations: 3, ..TIGHT };
        minimize(vec![-1.2, 1.0], &[1.0; 2], stopping, |x, gradient| {
            n_evaluations += 1;
            rosenbrock(x, gradient)
        });
        assert!((4..20).contains(&n_evaluations), "{n_evaluations}");
    }

    #[test]
    fn scales_by_curvature_save_steps() {
        let curvatures: Vec<f64> = (0..40).map(|at| 10f64.powf(f64::from(at % 8) - 4.0)).collect();
        let n_evaluations = |scales: &[f64]| {
            let mut n_evaluations = 0;
            let x = minimize(vec![3.0; 40], scales, TIGHT, |x, gradient| {
                n_evaluations += 1;
                gradient.iter_mut().zip(x).zip(&curvatures).for_each(|((g, x), c)| *g = c * (x - 1.0));
                x.iter().zip(&curvatures).map(|(x, c)| 0.5 * c * (x - 1.0).powi(2)).sum()
            });
            assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-3), "{x:?}");
            n_evaluations
        };
        let scaled: Vec<f64> = curvatures.iter().map(|c| 1.0 / c.sqrt()).collect();
        let (with, without) = (n_evaluations(&scaled), n_evaluations(&[1.0; 40]));
        assert!(with < 10 && without > 20, "{with} {without}");
    }

    #[test]
    fn long_vectors_give_the_same_result_with_any_number_of_threads() {
        let n = 3 * PART + 7;
        let solve = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                minimize(vec![0.0; n], &vec![1.0; n], Stopping { max_iterations: 15, ..TIGHT }, |x, gradient| {
                    let scale = |i: usize| 1.0 + (i % 13) as f64;
                    gradient.iter_mut().enumerate().for_each(|(i, g)| *g = scale(i) * (x[i] - 1.0));
                    x.iter().enumerate().map(|(i, x)| 0.5 * scale(i) * (x - 1.0).powi(2)).sum()
                })
            })
        };
        assert_eq!(solve(1), solve(3));
    }

    proptest::proptest! {
        #[test]
        fn finds_the_minimum_of_a_convex_function(scales in proptest::collection::vec(0.1f64..100.0, 1..12), center in -5f64..5.0) {
            let x = minimize(vec![0.0; scales.len()], &vec![1.0; scales.len()], TIGHT, |x, gradient| {
                // log cosh is nearly linear far from its minimum.
                let terms = x.iter().zip(&scales).zip(gradient).map(|((x, scale), g)| {
                    *g = scale * (x - center).tanh();
                    scale * (x - center).cosh().ln()
                });
                terms.sum()
            });
            // The search ends when the value, which is 0 at the minimum, no longer falls by more than its rounding.
            let value: f64 = x.iter().zip(&scales).map(|(x, scale)| scale * (x - center).cosh().ln()).sum();
            proptest::prop_assert!(value < 1e-10, "{x:?} {value}");
        }
    }
}
