//! Standardization of counts of which most may be zero, as those of Hydra.

use serde::{Deserialize, Serialize};

use crate::{AlgoError, Matrix};

/// Scales non-negative features: square roots, minus the mean, over the deviation, where a zero stays zero.
///
/// The deviation of a feature that is zero in a share `z` of the training rows is increased by `z^4`, so that rare counts weigh less.
/// Source: Dempster, Schmidt and Webb, "Hydra", 2023, section 3.3, and the authors' code (`SparseScaler`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SparseScaler {
    /// The mean of the square roots of each feature.
    pub means: Vec<f32>,
    /// The increased standard deviation of the square roots of each feature.
    pub deviations: Vec<f32>,
}

impl SparseScaler {
    /// Fits the scaling on features `[rows, n_cols]`.
    ///
    /// # Errors
    /// If there are no rows, or a feature is not finite.
    pub fn fit(features: Matrix) -> Result<Self, AlgoError> {
        features.check(features.n_rows())?;
        let n_rows = features.n_rows() as f64;
        let mut columns = vec![Column::default(); features.n_cols];
        for row in 0..features.n_rows() {
            columns.iter_mut().zip(features.row(row)).for_each(|(column, value)| column.add(*value));
        }
        Ok(Self {
            means: columns.iter().map(|column| (column.sum / n_rows) as f32).collect(),
            deviations: columns.iter().map(|column| column.deviation(n_rows) as f32).collect(),
        })
    }

    /// Whether this scales rows of `n_cols` features; checks deserialized scalers.
    pub fn suits(&self, n_cols: usize) -> bool {
        (self.means.len(), self.deviations.len()) == (n_cols, n_cols)
            && self.means.iter().all(|mean| mean.is_finite())
            && self.deviations.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0)
    }

    /// Scales rows of features in place.
    pub fn apply(&self, features: &mut [f32]) {
        for row in features.chunks_mut(self.means.len().max(1)) {
            for ((value, mean), deviation) in row.iter_mut().zip(&self.means).zip(&self.deviations) {
                *value = if *value > 0.0 { (value.sqrt() - mean) / deviation } else { 0.0 };
            }
        }
    }
}

/// Sums over the rows of a column.
#[derive(Debug, Clone, Default)]
struct Column {
    n_zeros: f64,
    sum: f64,
    squares: f64,
}

impl Column {
    fn add(&mut self, value: f32) {
        let root = f64::from(value.max(0.0).sqrt());
        self.n_zeros += f64::from(u8::from(root == 0.0));
        self.sum += root;
        self.squares += root * root;
    }

    /// Returns the deviation of the sample plus the fourth power of the share of zeros; 1 for a constant feature, whose deviation would
    /// be rounding alone.
    fn deviation(&self, n_rows: f64) -> f64 {
        let variance = (self.squares - self.sum * self.sum / n_rows) / (n_rows - 1.0).max(1.0);
        let deviation = variance.max(0.0).sqrt();
        if deviation <= 1e-6 * self.sum / n_rows { 1.0 } else { deviation + (self.n_zeros / n_rows).powi(4) + 1e-8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stay_zero_and_rare_counts_weigh_less() {
        let features = [4.0, 0.0, 9.0, 0.0, 4.0, 0.0, 9.0, 16.0];
        let scaler = SparseScaler::fit(Matrix { data: &features, n_cols: 2 }).unwrap();
        assert_eq!(scaler.means, [2.5, 1.0]);
        let mut scaled = features;
        scaler.apply(&mut scaled);
        assert!((scaled[0] + 0.5 / (1.0f32 / 3.0).sqrt()).abs() < 1e-6, "{scaled:?}");
        // The deviation of 0, 0, 0 and 4 is 2, and three of four are zero.
        assert!((scaled[7] - 3.0 / (2.0 + 0.75f32.powi(4))).abs() < 1e-6 && scaled[1] == 0.0, "{scaled:?}");
    }

    #[test]
    fn a_constant_feature_is_not_magnified() {
        let scaler = SparseScaler::fit(Matrix { data: &[0.1; 7], n_cols: 1 }).unwrap();
        let mut scaled = [0.1, 0.100_001];
        scaler.apply(&mut scaled);
        assert!(scaled.iter().all(|value| value.abs() < 1e-5), "{scaled:?}");
        assert!(!scaler.suits(2) && scaler.suits(1));
    }
}
