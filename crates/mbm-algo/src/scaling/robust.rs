//! Robust scaling with smooth clipping.

use serde::{Deserialize, Serialize};

use super::{map_columns, map_values, quantile};
use crate::{AlgoError, Matrix};

/// Fitted robust scaling with smooth clipping to (-3, 3), the preprocessing of RealMLP (Holzmüller et al. 2024, "Better by
/// Default", section 3): `z = (x - median) / (75 % quantile - 25 % quantile)`, then `z / sqrt(1 + (z / 3)^2)`. Where both
/// quantiles are equal, half of the range takes their place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustClip {
    /// The median of each column.
    pub medians: Vec<f32>,
    /// The factor of each column; 0 if all its values are equal.
    pub factors: Vec<f32>,
}

/// The bound of transformed values.
const BOUND: f64 = 3.0;

impl RobustClip {
    /// Computes median and factor of each column from its present values.
    ///
    /// # Errors
    /// If there are no rows, or a value is infinite.
    pub fn fit(x: Matrix) -> Result<Self, AlgoError> {
        let fitted = map_columns(x, |values| (quantile(values, 0.5) as f32, factor(values)))?;
        let (medians, factors) = fitted.into_iter().unzip();
        Ok(Self { medians, factors })
    }

    /// Whether the scaling is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks deserialized ones.
    pub fn suits(&self, n_cols: usize) -> bool {
        let is_finite = |values: &[f32]| values.len() == n_cols && values.iter().all(|value| value.is_finite());
        is_finite(&self.medians) && is_finite(&self.factors)
    }

    /// Scales and clips rows `[n_rows, n_cols]`; NaN remains NaN.
    pub fn transform(&self, x: Matrix) -> Vec<f32> {
        map_values(x, |column, value| {
            clip(f64::from(self.factors[column]) * (f64::from(value) - f64::from(self.medians[column])))
        })
    }
}

fn factor(values: &[f32]) -> f32 {
    let spread = quantile(values, 0.75) - quantile(values, 0.25);
    let half_range = (quantile(values, 1.0) - quantile(values, 0.0)) / 2.0;
    let spread = if spread > 0.0 { spread } else { half_range };
    if spread > 0.0 { ((1.0 / spread) as f32).min(f32::MAX) } else { 0.0 }
}

fn clip(z: f64) -> f32 {
    // The limit keeps infinite values from becoming NaN; it is far beyond where the function is flat in single precision.
    let z = z.clamp(-1e9, 1e9);
    (z / (1.0 + (z / BOUND).powi(2)).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_centered_scaled_and_clipped() {
        let x = Matrix { data: &[0.0, 1.0, 2.0, 3.0, 4.0], n_cols: 1 };
        let scaling = RobustClip::fit(x).unwrap();
        assert_eq!((scaling.medians[0], scaling.factors[0]), (2.0, 0.5));
        let found = scaling.transform(Matrix { data: &[2.0, 8.0, f32::MAX, f32::INFINITY, f32::NEG_INFINITY], n_cols: 1 });
        assert!((found[1] - 3.0 / 2f32.sqrt()).abs() < 1e-6);
        assert_eq!([found[0], found[2], found[3], found[4]], [0.0, 3.0, 3.0, -3.0]);
    }

    #[test]
    fn half_the_range_replaces_equal_quartiles_and_constants_become_zero() {
        let x = Matrix { data: &[5.0, 7.0, 5.0, 7.0, 5.0, 7.0, 5.0, 7.0, 9.0, 7.0], n_cols: 2 };
        let scaling = RobustClip::fit(x).unwrap();
        assert_eq!((&scaling.factors[..], scaling.transform(x)[1]), (&[0.5, 0.0][..], 0.0));
    }

    #[test]
    fn missing_values_remain_missing() {
        let x = Matrix { data: &[1.0, f32::NAN, 2.0], n_cols: 1 };
        let scaling = RobustClip::fit(x).unwrap();
        assert!(scaling.transform(x)[1].is_nan());
        assert!(scaling.suits(1) && !scaling.suits(2));
        let empty = Matrix { data: &[f32::NAN], n_cols: 1 };
        assert_eq!(RobustClip::fit(empty).unwrap().transform(Matrix { data: &[3.0], n_cols: 1 }), [0.0]);
    }
}
