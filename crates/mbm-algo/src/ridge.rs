//! Ridge regression: least squares with an L2 penalty on the weights.

use serde::{Deserialize, Serialize};

use crate::linear_algebra::{dot, solve_positive_definite};
use crate::sample_weights::weights_or_ones;
use crate::{AlgoError, Matrix};

/// A fitted linear model, `y = w . x + b`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    /// One weight per column.
    pub weights: Vec<f32>,
    /// The intercept, which is not penalized.
    pub intercept: f32,
}

impl Ridge {
    /// Minimizes `|y - Xw - b|^2 + alpha |w|^2` exactly (as scikit-learn's `Ridge`) by solving the centered normal equations; the squared
    /// error of a row is multiplied by its weight, if there are weights.
    ///
    /// # Errors
    /// If the numbers of rows and targets differ, there are no rows, a feature is not finite, or the weights are not usable.
    pub fn fit(x: Matrix, y: &[f32], sample_weights: Option<&[f32]>, alpha: f64) -> Result<Self, AlgoError> {
        x.check(y.len())?;
        let sample_weights = weights_or_ones(sample_weights, y.len())?;
        let (total, width) = (sample_weights.iter().sum::<f64>(), x.n_cols);
        let mut means = vec![0f64; width];
        for (i, weight) in sample_weights.iter().enumerate() {
            x.row(i).iter().zip(&mut means).for_each(|(value, mean)| *mean += weight * f64::from(*value) / total);
        }
        let y_mean = y.iter().zip(&sample_weights).map(|(value, weight)| weight * f64::from(*value)).sum::<f64>() / total;
        let mut gram = vec![0f64; width * width];
        let mut weights = vec![0f64; width];
        let mut centred = vec![0f64; width];
        for (i, target) in y.iter().enumerate() {
            centred.iter_mut().zip(x.row(i)).zip(&means).for_each(|((c, value), mean)| *c = f64::from(*value) - mean);
            for (j, c) in centred.iter().enumerate() {
                let c = sample_weights[i] * c;
                weights[j] += c * (f64::from(*target) - y_mean);
                gram[j * width..=j * width + j].iter_mut().zip(&centred).for_each(|(g, other)| *g += c * other);
            }
        }
        for j in 0..width {
            gram[j * width + j] += alpha;
        }
        solve_positive_definite(&mut gram, &mut weights);
        let intercept = y_mean - weights.iter().zip(&means).map(|(w, mean)| w * mean).sum::<f64>();
        Ok(Self { weights: weights.iter().map(|w| *w as f32).collect(), intercept: intercept as f32 })
    }

    /// Whether the model is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks deserialized models.
    pub fn suits(&self, n_cols: usize) -> bool {
        self.weights.len() == n_cols
    }

    /// Predicts the target of one row, `[n_cols]`.
    pub fn predict(&self, row: &[f32]) -> f32 {
        dot(&self.weights, row) + self.intercept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn gradient_vanishes_at_the_solution(
            n_cols in 1usize..6, alpha in 0.1f64..10.0, values in proptest::collection::vec(-1f32..1.0, 12..90),
        ) {
            let n_rows = values.len() / (n_cols + 1);
            let (x, y) = (&values[..n_rows * n_cols], &values[values.len() - n_rows..]);
            let x = Matrix { data: x, n_cols };
            let ridge = Ridge::fit(x, y, None, alpha).unwrap();
            let errors: Vec<f64> = (0..n_rows).map(|i| f64::from(y[i]) - f64::from(ridge.predict(x.row(i)))).collect();
            proptest::prop_assert!(errors.iter().sum::<f64>().abs() < 1e-4, "gradient of the intercept");
            for j in 0..n_cols {
                let pull: f64 = errors.iter().enumerate().map(|(i, error)| error * f64::from(x.row(i)[j])).sum();
                proptest::prop_assert!((pull - alpha * f64::from(ridge.weights[j])).abs() < 1e-4, "gradient of weight {j}");
            }
        }
    }
}
