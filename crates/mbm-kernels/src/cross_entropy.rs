//! A linear layer over a vocabulary fused with softmax cross-entropy: scores are turned into probabilities in place, and these
//! into gradients.

use rayon::prelude::*;

use crate::functions::{exp, largest, total};
use crate::matrix::{Matrix, multiply};
use crate::{Instructions, Kernel, dispatch};

/// Hidden states of tokens and the layer that scores them.
#[derive(Debug, Clone, Copy)]
pub struct Scoring<'a> {
    /// `[tokens, width]`.
    pub hidden: &'a [f32],
    /// `[vocabulary, width]`.
    pub weight: &'a [f32],
    /// `[vocabulary]`.
    pub bias: &'a [f32],
    /// `[tokens]`: the target ids.
    pub targets: &'a [f32],
    /// Label smoothing: the share of the target that is spread over the whole vocabulary (Szegedy et al. 2016).
    pub smoothing: f32,
}

/// The costs of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenCosts {
    /// `[tokens, 3]`: the smoothed cross-entropy, `-ln p` of the target id, and 1 if the target id is the most probable, else 0.
    pub costs: Vec<f32>,
    /// `[tokens, vocabulary]`.
    pub probabilities: Vec<f32>,
}

/// The gradients of a scoring.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ScoringGradients {
    pub hidden: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Number of costs per token.
const N_COSTS: usize = 3;

impl Scoring<'_> {
    fn width(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// Returns the rows per task: there are as many tasks as threads, so that sums depend on the number of threads only.
    fn share(&self) -> usize {
        self.targets.len().div_ceil(rayon::current_num_threads()).max(1)
    }

    fn check(&self) {
        let (tokens, vocabulary) = (self.targets.len(), self.bias.len());
        assert!(vocabulary > 0 && self.weight.len().is_multiple_of(vocabulary) && self.width() > 0);
        assert!(self.hidden.len() == tokens * self.width(), "{} hidden values do not match {tokens} tokens", self.hidden.len());
        assert!(self.targets.iter().all(|id| *id >= 0.0 && (*id as usize) < vocabulary), "a target id is outside the vocabulary");
    }

    fn hidden(&self) -> Matrix<'_> {
        Matrix::rows(self.hidden, [self.targets.len(), self.width()])
    }

    fn weight(&self) -> Matrix<'_> {
        Matrix::rows(self.weight, [self.bias.len(), self.width()])
    }
}

/// Computes the costs of each token.
///
/// # Panics
/// If the lengths of the slices do not match, or a target id is outside the vocabulary.
pub fn token_costs(scoring: Scoring) -> TokenCosts {
    scoring.check();
    let (vocabulary, share) = (scoring.bias.len(), scoring.share());
    let mut rows = vec![0.0; scoring.targets.len() * vocabulary];
    let mut costs = vec![0.0; scoring.targets.len() * N_COSTS];
    multiply(&mut rows, vocabulary, scoring.hidden(), scoring.weight().transposed(), false, true);
    let parts = rows.par_chunks_mut(share * vocabulary).zip(costs.par_chunks_mut(share * N_COSTS));
    parts.zip(scoring.targets.par_chunks(share)).for_each(|((rows, costs), targets)| {
        dispatch(Forward { rows, bias: scoring.bias, targets, smoothing: scoring.smoothing, costs });
    });
    TokenCosts { costs, probabilities: rows }
}

/// Computes the gradients from the probabilities of the forward pass and the gradient of the smoothed cross-entropy of each
/// token.
///
/// # Panics
/// If the lengths of the slices do not match.
pub fn token_costs_backward(scoring: Scoring, mut probabilities: Vec<f32>, gradient: &[f32]) -> ScoringGradients {
    scoring.check();
    let (tokens, vocabulary, width, share) = (scoring.targets.len(), scoring.bias.len(), scoring.width(), scoring.share());
    assert!(probabilities.len() == tokens * vocabulary && gradient.len() == tokens);
    let parts =
        probabilities.par_chunks_mut(share * vocabulary).zip(gradient.par_chunks(share)).zip(scoring.targets.par_chunks(share));
    let sums: Vec<Vec<f32>> = parts
        .map(|((rows, gradient), targets)| {
            let mut sums = vec![0.0; vocabulary];
            dispatch(Backward { rows, gradient, targets, smoothing: scoring.smoothing, sums: &mut sums });
            sums
        })
        .collect();
    let mut bias = vec![0.0; vocabulary];
    sums.iter().for_each(|sums| bias.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum));
    let slopes = Matrix::rows(&probabilities, [tokens, vocabulary]);
    let (mut hidden, mut weight) = (vec![0.0; tokens * width], vec![0.0; vocabulary * width]);
    multiply(&mut hidden, width, slopes, scoring.weight(), false, true);
    multiply(&mut weight, width, slopes.transposed(), scoring.hidden(), false, true);
    ScoringGradients { hidden, weight, bias }
}

/// Computes the log-sum-exp of each row of `width` values.
///
/// # Panics
/// If the number of values is not a multiple of `width`.
pub fn log_sums(rows: &[f32], width: usize) -> Vec<f32> {
    assert!(width > 0 && rows.len().is_multiple_of(width));
    rows.chunks_exact(width).map(|row| dispatch(LogSum { row })).collect()
}

struct LogSum<'a> {
    row: &'a [f32],
}

impl Kernel for LogSum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Instructions>(self) -> f32 {
        const NOTHING: f32 = f32::NEG_INFINITY;
        let n = self.row.len();
        let mut highest = I::splat(NOTHING);
        for at in (0..n).step_by(I::LANES) {
            highest = I::max(highest, I::load_some_or(&self.row[at..], n - at, NOTHING));
        }
        let highest = largest::<I>(highest);
        let (top, mut sum) = (I::splat(highest), 0.0);
        for at in (0..n).step_by(I::LANES) {
            let x = exp::<I>(I::sub(I::load_some(&self.row[at..], n - at), top));
            let mut lanes = [0.0; 16];
            I::store(x, &mut lanes);
            sum += lanes[..I::LANES.min(n - at)].iter().sum::<f32>();
        }
        highest + sum.ln()
    }
}

/// Adds the bias to scores, turns them into probabilities in place, and computes the costs.
struct Forward<'a> {
    rows: &'a mut [f32],
    bias: &'a [f32],
    targets: &'a [f32],
    smoothing: f32,
    costs: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.bias.len();
        let tokens = self.rows.chunks_exact_mut(n).zip(self.costs.chunks_exact_mut(N_COSTS)).zip(self.targets);
        for ((row, costs), target) in tokens {
            let (mut highest, mut sum_of_scores) = (I::splat(f32::NEG_INFINITY), I::splat(0.0));
            for at in (0..n).step_by(I::LANES) {
                let x = I::add(I::load_some(&row[at..], n - at), I::load_some(&self.bias[at..], n - at));
                sum_of_scores = I::add(sum_of_scores, x);
                I::store_some(x, &mut row[at..], n - at);
                highest = I::max(highest, I::load_some_or(&row[at..], n - at, f32::NEG_INFINITY));
            }
            let (highest, score) = (largest::<I>(highest), row[*target as usize]);
            let (top, mut sum) = (I::splat(highest), I::splat(0.0));
            for at in (0..n).step_by(I::LANES) {
                let x = exp::<I>(I::sub(I::load_some(&row[at..], n - at), top));
                I::store_some(x, &mut row[at..], n - at);
                sum = I::add(sum, I::load_some(&row[at..], n - at));
            }
            let sum = total::<I>(sum);
            let inverse = I::splat(1.0 / sum);
            for at in (0..n).step_by(I::LANES) {
                I::store_some(I::mul(I::load_some(&row[at..], n - at), inverse), &mut row[at..], n - at);
            }
            let log_sum = highest + sum.ln();
            let (cost, mean_cost) = (log_sum - score, log_sum - total::<I>(sum_of_scores) / n as f32);
            let is_correct = if score >= highest { 1.0 } else { 0.0 };
            costs.copy_from_slice(&[cost + self.smoothing * (mean_cost - cost), cost, is_correct]);
        }
    }
}

/// Turns probabilities into the gradients of scores in place, and sums these over tokens.
struct Backward<'a> {
    rows: &'a mut [f32],
    gradient: &'a [f32],
    targets: &'a [f32],
    smoothing: f32,
    sums: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.sums.len();
        for ((row, gradient), target) in self.rows.chunks_exact_mut(n).zip(self.gradient).zip(self.targets) {
            row[*target as usize] -= 1.0 - self.smoothing;
            let (spread, gradient) = (I::splat(self.smoothing / n as f32), I::splat(*gradient));
            for at in (0..n).step_by(I::LANES) {
                let x = I::mul(I::sub(I::load_some(&row[at..], n - at), spread), gradient);
                I::store_some(x, &mut row[at..], n - at);
                I::store_some(I::add(x, I::load_some(&self.sums[at..], n - at)), &mut self.sums[at..], n - at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(n: usize, step: f64) -> Vec<f32> {
        (0..n).map(|at| ((at as f64 + 1.0) * step).sin() as f32).collect()
    }

    /// The definition in double precision: the smoothed cost, plain cost and probabilities of each token.
    fn plain(scoring: Scoring) -> Vec<(f64, f64, Vec<f64>)> {
        let (vocabulary, width) = (scoring.bias.len(), scoring.width());
        let token = |(hidden, target): (&[f32], &f32)| {
            let score = |id: usize| {
                let weight = &scoring.weight[id * width..(id + 1) * width];
                hidden.iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() + f64::from(scoring.bias[id])
            };
            let scores: Vec<f64> = (0..vocabulary).map(score).collect();
            let sum: f64 = scores.iter().map(|score| score.exp()).sum();
            let cost = |id: usize| sum.ln() - scores[id];
            let own = cost(*target as usize);
            let mean = (0..vocabulary).map(cost).sum::<f64>() / vocabulary as f64;
            let smoothing = f64::from(scoring.smoothing);
            ((1.0 - smoothing) * own + smoothing * mean, own, scores.iter().map(|score| score.exp() / sum).collect())
        };
        scoring.hidden.chunks(width).zip(scoring.targets).map(token).collect()
    }

    proptest! {
        #[test]
        fn costs_and_gradients_match_the_definition(
            tokens in 1usize..9, vocabulary in 1usize..40, width in 1usize..6, smoothing in prop_oneof![Just(0f32), Just(0.1)],
        ) {
            let hidden = wave(tokens * width, 0.7);
            let weight: Vec<f32> = wave(vocabulary * width, 0.31).iter().map(|x| 2.0 * x).collect();
            let bias = wave(vocabulary, 1.3);
            let targets: Vec<f32> = (0..tokens).map(|at| (at * 7 % vocabulary) as f32).collect();
            let scoring = Scoring { hidden: &hidden, weight: &weight, bias: &bias, targets: &targets, smoothing };
            let found = token_costs(scoring);
            let want = plain(scoring);
            for (at, (smoothed, cost, probabilities)) in want.iter().enumerate() {
                let costs = &found.costs[at * N_COSTS..(at + 1) * N_COSTS];
                prop_assert!((f64::from(costs[0]) - smoothed).abs() < 1e-5 && (f64::from(costs[1]) - cost).abs() < 1e-5);
                let best = probabilities.iter().copied().fold(0.0, f64::max);
                prop_assert!((probabilities[targets[at] as usize] - best).abs() < 1e-6 || costs[2] == 0.0);
                for (found, want) in found.probabilities[at * vocabulary..].iter().zip(probabilities) {
                    prop_assert!((f64::from(*found) - want).abs() < 1e-6);
                }
            }
            let gradient = wave(tokens, 0.9);
            let slopes = token_costs_backward(scoring, found.probabilities, &gradient);
            // The gradient of each score is `g (p - q)`; the other gradients follow by the chain rule.
            let slope = |at: usize, id: usize| {
                let target = if targets[at] as usize == id { 1.0 - f64::from(smoothing) } else { 0.0 };
                f64::from(gradient[at]) * (want[at].2[id] - target - f64::from(smoothing) / vocabulary as f64)
            };
            for (id, found) in slopes.bias.iter().enumerate() {
                prop_assert!((f64::from(*found) - (0..tokens).map(|at| slope(at, id)).sum::<f64>()).abs() < 1e-5);
            }
            for (place, found) in slopes.hidden.iter().enumerate() {
                let (at, column) = (place / width, place % width);
                let want: f64 = (0..vocabulary).map(|id| slope(at, id) * f64::from(weight[id * width + column])).sum();
                prop_assert!((f64::from(*found) - want).abs() < 1e-5);
            }
            for (place, found) in slopes.weight.iter().enumerate() {
                let (id, column) = (place / width, place % width);
                let want: f64 = (0..tokens).map(|at| slope(at, id) * f64::from(hidden[at * width + column])).sum();
                prop_assert!((f64::from(*found) - want).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn log_sums_match_the_definition() {
        for n in [1, 3, 16, 33] {
            let row = wave(n, 0.7);
            let want = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let found = log_sums(&row.repeat(2), n);
            assert!(found.iter().all(|it| (f64::from(*it) - want).abs() < 1e-6), "{found:?} are not {want}");
        }
        assert_eq!(log_sums(&[1e5, -1e5], 2), [1e5]);
    }

    #[test]
    fn distant_scores_do_not_overflow() {
        let scoring = Scoring { hidden: &[1.0], weight: &[1e4, -1e4], bias: &[0.0, 0.0], targets: &[0.0], smoothing: 0.0 };
        let found = token_costs(scoring);
        assert_eq!(found.costs, [0.0, 0.0, 1.0]);
        assert!(found.probabilities[0] == 1.0 && found.probabilities[1] < 1e-37);
    }
}
