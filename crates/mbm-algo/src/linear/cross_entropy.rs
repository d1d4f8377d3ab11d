//! The objective of logistic regression: the mean cross-entropy with an L2 penalty, and its gradient. `logistic` tests it.

use rayon::prelude::*;

use super::lbfgs::minimize;
use super::products::{Transposed, scores};
use super::{ClassifiedRows, Linear, Logistic, Stopping};
use crate::AlgoError;
use crate::sample_weights::weights_or_ones;

/// The mean cross-entropy with a penalty. A point is the weights `[n_cols, n_scores]`, followed by the intercepts `[n_scores]`.
pub(super) struct CrossEntropy<'a> {
    data: ClassifiedRows<'a>,
    transposed: Transposed<'a>,
    /// The weight of each row; they sum to 1.
    shares: Vec<f64>,
    /// The sum of the sample weights.
    total: f64,
    n_scores: usize,
}

/// Number of rows per part.
const PART: usize = 256;
/// Number of weights per part.
const PART_OF_WEIGHTS: usize = 1 << 14;

impl<'a> CrossEntropy<'a> {
    pub fn new(data: ClassifiedRows<'a>) -> Result<Self, AlgoError> {
        data.rows.check(data.classes.len())?;
        let weights = weights_or_ones(data.sample_weights, data.classes.len())?;
        assert!(data.classes.iter().all(|class| *class < data.n_classes), "a class is not below {}", data.n_classes);
        if data.classes.iter().all(|class| *class == data.classes[0]) {
            return Err(AlgoError::OneClass { rows: data.classes.len() });
        }
        let total: f64 = weights.iter().sum();
        let shares = weights.iter().map(|weight| weight / total).collect();
        Ok(Self { data, transposed: Transposed::new(data.rows), shares, total, n_scores: n_scores(data.n_classes) })
    }

    fn n_weights(&self) -> usize {
        self.data.rows.n_cols() * self.n_scores
    }

    /// Returns the shares of the classes, with half a row more of each.
    fn frequencies(&self) -> Vec<f64> {
        let mut frequencies = vec![0.5 / self.total; self.data.n_classes];
        self.data.classes.iter().zip(&self.shares).for_each(|(class, share)| frequencies[*class] += share);
        frequencies
    }

    /// Returns the point without weights whose intercepts give the frequencies of the classes.
    pub fn start(&self) -> Vec<f64> {
        let frequencies = self.frequencies();
        let mut start = vec![0.0; self.n_weights()];
        match frequencies.as_slice() {
            [negative, positive] => start.push((positive / negative).ln()),
            _ => start.extend(frequencies.iter().map(|frequency| frequency.ln())),
        }
        start
    }

    pub fn minimize(&self, start: Vec<f64>, c: f64, stopping: Stopping) -> Vec<f64> {
        let penalty = 1.0 / (c * self.total);
        minimize(start, &self.scales(penalty), stopping, |x, gradient| self.evaluate(x, penalty, gradient))
    }

    /// Returns one over the square root of the curvature of the objective along each component, without weights.
    fn scales(&self, penalty: f64) -> Vec<f64> {
        let frequencies = self.frequencies();
        let total: f64 = frequencies.iter().sum();
        let of_classes: Vec<f64> = frequencies.iter().map(|share| share / total * (1.0 - share / total)).collect();
        let of_scores = &of_classes[..self.n_scores];
        let curvatures =
            |square: f64, penalty: f64| of_scores.iter().map(move |of_score| (square * of_score + penalty).sqrt().recip());
        let squares = self.data.rows.weighted_squares(&self.shares);
        squares.into_iter().flat_map(|square| curvatures(square, penalty)).chain(curvatures(1.0, 0.0)).collect()
    }

    pub fn model(&self, solution: &[f64]) -> Logistic {
        let (weights, intercepts) = self.split(solution);
        let linear = Linear { n_cols: self.data.rows.n_cols(), n_outputs: self.n_scores, weights, intercepts };
        Logistic { n_classes: self.data.n_classes, linear }
    }

    /// Returns weights and intercepts in single precision.
    fn split(&self, x: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let single = |values: &[f64]| values.par_iter().with_min_len(PART_OF_WEIGHTS).map(|value| *value as f32).collect();
        let (weights, intercepts) = x.split_at(self.n_weights());
        (single(weights), single(intercepts))
    }

    /// Returns the objective at `x` and writes its gradient.
    fn evaluate(&self, x: &[f64], penalty: f64, gradient: &mut [f64]) -> f64 {
        let (weights, intercepts) = self.split(x);
        let mut scores = scores(self.data.rows, &weights, &intercepts);
        let loss = self.replace_by_residuals(&mut scores);
        let (of_weights, of_intercepts) = gradient.split_at_mut(self.n_weights());
        self.transposed.product(&scores, self.n_scores, of_weights);
        let parts = of_weights.par_chunks_mut(PART_OF_WEIGHTS).zip(x[..self.n_weights()].par_chunks(PART_OF_WEIGHTS));
        let squares = parts.map(|(gradient, weights)| {
            gradient.iter_mut().zip(weights).for_each(|(g, weight)| *g += penalty * weight);
            weights.iter().map(|weight| weight * weight).sum::<f64>()
        });
        let squares: Vec<f64> = squares.collect();
        of_intercepts.fill(0.0);
        for residuals in scores.chunks_exact(self.n_scores) {
            of_intercepts.iter_mut().zip(residuals).for_each(|(g, residual)| *g += f64::from(*residual));
        }
        loss + penalty / 2.0 * squares.iter().sum::<f64>()
    }

    /// Returns the mean cross-entropy, and replaces scores `[n_rows, n_scores]` by their derivatives.
    fn replace_by_residuals(&self, scores: &mut [f32]) -> f64 {
        let parts = scores.par_chunks_mut(PART * self.n_scores).enumerate().map(|(part, scores)| {
            let rows = scores.chunks_exact_mut(self.n_scores).enumerate();
            rows.map(|(row, scores)| {
                let row = part * PART + row;
                self.shares[row] * residuals_of_row(scores, self.data.classes[row], self.shares[row])
            })
            .sum::<f64>()
        });
        let losses: Vec<f64> = parts.collect();
        losses.iter().sum()
    }
}

/// Returns the cross-entropy of a row, and replaces its scores by `share` times the derivatives.
fn residuals_of_row(scores: &mut [f32], class: usize, share: f64) -> f64 {
    if let [score] = scores {
        let logit = f64::from(*score);
        let target = class as f64;
        *score = (share * (sigmoid(logit) - target)) as f32;
        return logit.max(0.0) - target * logit + (-logit.abs()).exp().ln_1p();
    }
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let of_class = scores[class] - top;
    scores.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum: f64 = scores.iter().map(|power| f64::from(*power)).sum();
    let factor = (share / sum) as f32;
    scores.iter_mut().for_each(|score| *score *= factor);
    scores[class] -= share as f32;
    sum.ln() - f64::from(of_class)
}

/// Returns the number of outputs of the linear map.
pub(super) fn n_scores(n_classes: usize) -> usize {
    if n_classes == 2 { 1 } else { n_classes }
}

/// Returns the probability of the second of two classes.
pub(super) fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}
