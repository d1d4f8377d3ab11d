//! Losses of boosting: initial scores, derivatives and means over rows.

use serde::{Deserialize, Serialize};

use super::sums::Derivatives;

/// What boosted trees predict, and the loss that they minimize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Numbers, with squared errors.
    Squared,
    /// Independent labels of 0 and 1, with the logistic loss; two classes are one label.
    Logistic,
    /// One of several classes, given as indicators, with the cross-entropy.
    Softmax,
}

/// Lower limit of the second derivatives, so that confident rows do not divide by zero.
const MIN_HESSIAN: f32 = 1e-6;

impl Objective {
    /// Returns the scores that minimize the loss without any tree, `[n_outputs]`.
    pub(super) fn base(self, targets: &[f32], n_outputs: usize, rows: &[u32], weights: &[f32]) -> Vec<f32> {
        let (mut sums, mut total) = (vec![0f64; n_outputs], 0f64);
        for row in rows {
            let (row, weight) = (*row as usize, f64::from(weights[*row as usize]));
            total += weight;
            let target = &targets[row * n_outputs..(row + 1) * n_outputs];
            sums.iter_mut().zip(target).for_each(|(sum, target)| *sum += weight * f64::from(*target));
        }
        let base = |sum: f64| {
            let mean = sum / total.max(f64::MIN_POSITIVE);
            let share = mean.clamp(1e-6, 1.0 - 1e-6);
            match self {
                Self::Squared => mean,
                Self::Logistic => (share / (1.0 - share)).ln(),
                Self::Softmax => share.ln(),
            }
        };
        sums.into_iter().map(|sum| base(sum) as f32).collect()
    }

    /// Turns the scores of a row into its prediction: numbers or probabilities.
    pub fn predictions(self, scores: &mut [f32]) {
        match self {
            Self::Squared => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = sigmoid(*score)),
            Self::Softmax => softmax(scores),
        }
    }

    /// Writes the derivatives of one output for a row, given its predictions.
    pub(super) fn derivatives(self, prediction: f32, target: f32, weight: f32, n_outputs: usize) -> Derivatives {
        let gradient = weight * (prediction - target);
        match self {
            Self::Squared => [gradient, weight],
            Self::Logistic => [gradient, weight * (prediction * (1.0 - prediction)).max(MIN_HESSIAN)],
            Self::Softmax => {
                // The upper bound by which Friedman's and LightGBM's diagonal approximation is scaled.
                let factor = n_outputs as f32 / (n_outputs - 1).max(1) as f32;
                [gradient, weight * factor * (prediction * (1.0 - prediction)).max(MIN_HESSIAN)]
            }
        }
    }

    /// Returns the second derivative of the loss if it is the same for some rows, whatever is predicted.
    pub(super) fn constant_hessian(self, rows: &[u32], weights: &[f32]) -> Option<f32> {
        let first = weights[*rows.first()? as usize];
        let is_constant = self == Self::Squared && rows.iter().all(|row| weights[*row as usize] == first);
        is_constant.then_some(first)
    }

    /// Returns the loss of a row's predictions.
    pub(super) fn loss(self, predictions: &[f32], targets: &[f32]) -> f64 {
        let rows = predictions.iter().zip(targets).map(|(p, t)| (f64::from(*p), f64::from(*t)));
        const MIN: f64 = 1e-7;
        match self {
            Self::Squared => rows.map(|(p, t)| (p - t) * (p - t)).sum(),
            Self::Logistic => rows.map(|(p, t)| -t * p.max(MIN).ln() - (1.0 - t) * (1.0 - p).max(MIN).ln()).sum(),
            Self::Softmax => rows.filter(|(_, t)| *t != 0.0).map(|(p, t)| -t * p.max(MIN).ln()).sum(),
        }
    }
}

fn sigmoid(score: f32) -> f32 {
    1.0 / (1.0 + (-score).exp())
}

fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
