//! Missing values filled with the median of their column.

use serde::{Deserialize, Serialize};

use super::{map_columns, map_values, quantile};
use crate::{AlgoError, Matrix};

/// A fitted imputer (`SimpleImputer(strategy="median")` of scikit-learn).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MedianImputer {
    /// The median of each column; 0 for a column without values.
    pub medians: Vec<f32>,
}

impl MedianImputer {
    /// Computes the median of the present values of each column.
    ///
    /// # Errors
    /// If there are no rows, or a value is infinite.
    pub fn fit(x: Matrix) -> Result<Self, AlgoError> {
        Ok(Self { medians: map_columns(x, |values| quantile(values, 0.5) as f32)? })
    }

    /// Whether the imputer is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks deserialized ones.
    pub fn suits(&self, n_cols: usize) -> bool {
        self.medians.len() == n_cols && self.medians.iter().all(|median| median.is_finite())
    }

    /// Replaces NaN by the column's median; the rows `[n_rows, n_cols]` are otherwise unchanged.
    pub fn transform(&self, x: Matrix) -> Vec<f32> {
        map_values(x, |column, value| if value.is_nan() { self.medians[column] } else { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_become_the_median() {
        let nan = f32::NAN;
        let x = Matrix { data: &[1.0, nan, 4.0, nan, nan, nan, 2.0, nan], n_cols: 2 };
        let imputer = MedianImputer::fit(x).unwrap();
        assert_eq!(imputer.medians, [2.0, 0.0]);
        assert_eq!(imputer.transform(x), [1.0, 0.0, 4.0, 0.0, 2.0, 0.0, 2.0, 0.0]);
        assert!(imputer.suits(2) && !imputer.suits(1) && !MedianImputer { medians: vec![nan] }.suits(1));
    }
}
