//! Platt scaling: maps decision values to probabilities (Platt 1999, with the Newton method of Lin, Lin and Weng 2007).

use serde::{Deserialize, Serialize};

use crate::metric::SampleWeights;

/// `P(positive | f) = 1 / (1 + exp(a f + b))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sigmoid {
    /// The slope; negative where larger decision values mean the positive class.
    pub a: f64,
    /// The offset.
    pub b: f64,
}

/// A row that the sigmoid is fitted on.
struct Example {
    decision: f64,
    target: f64,
    weight: f64,
}

impl Sigmoid {
    /// Fits the sigmoid by maximum likelihood with Platt's smoothed targets.
    pub fn fit(decisions: &[f32], positive: &[bool], weights: &SampleWeights) -> Self {
        let n_of =
            |side: bool| positive.iter().enumerate().filter(|row| *row.1 == side).map(|row| weights.of(row.0)).sum::<f64>();
        let (n_positive, n_negative) = (n_of(true), n_of(false));
        let high = (n_positive + 1.0) / (n_positive + 2.0);
        let low = 1.0 / (n_negative + 2.0);
        let target = |(row, (decision, is)): (usize, (&f32, &bool))| Example {
            decision: f64::from(*decision),
            target: if *is { high } else { low },
            weight: weights.of(row),
        };
        let rows: Vec<Example> = decisions.iter().zip(positive).enumerate().map(target).collect();
        let mut fitted = Self { a: 0.0, b: ((n_negative + 1.0) / (n_positive + 1.0)).ln() };
        let mut loss = fitted.loss(&rows);
        for _ in 0..100 {
            let Some((step_a, step_b, slope)) = fitted.newton(&rows) else { break };
            let mut size = 1.0;
            loop {
                let next = Self { a: fitted.a + size * step_a, b: fitted.b + size * step_b };
                let next_loss = next.loss(&rows);
                if next_loss < loss + 1e-4 * size * slope {
                    (fitted, loss) = (next, next_loss);
                    break;
                }
                size /= 2.0;
                if size < 1e-10 {
                    return fitted;
                }
            }
        }
        fitted
    }

    /// Returns the probability of the positive class for a decision value.
    pub fn probability(&self, decision: f32) -> f32 {
        let z = self.a * f64::from(decision) + self.b;
        let p = if z >= 0.0 { (-z).exp() / (1.0 + (-z).exp()) } else { 1.0 / (1.0 + z.exp()) };
        p as f32
    }

    fn loss(&self, rows: &[Example]) -> f64 {
        rows.iter()
            .map(|Example { decision, target, weight }| {
                let z = self.a * decision + self.b;
                weight * if z >= 0.0 { target * z + (-z).exp().ln_1p() } else { (target - 1.0) * z + z.exp().ln_1p() }
            })
            .sum()
    }

    /// Returns the Newton direction and the slope along it; `None` where the gradient vanishes.
    fn newton(&self, rows: &[Example]) -> Option<(f64, f64, f64)> {
        let (mut h11, mut h22, mut h21, mut g1, mut g2) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for Example { decision: f, target, weight } in rows {
            let z = self.a * f + self.b;
            let p = if z >= 0.0 { (-z).exp() / (1.0 + (-z).exp()) } else { 1.0 / (1.0 + z.exp()) };
            let (d1, d2) = (weight * (target - p), weight * p * (1.0 - p));
            h11 += f * f * d2;
            h22 += d2;
            h21 += f * d2;
            g1 += f * d1;
            g2 += d1;
        }
        if g1.abs() < 1e-5 && g2.abs() < 1e-5 {
            return None;
        }
        let determinant = h11 * h22 - h21 * h21;
        let a = -(h22 * g1 - h21 * g2) / determinant;
        let b = -(-h21 * g1 + h11 * g2) / determinant;
        Some((a, b, g1 * a + g2 * b))
    }
}
