//! A linear map from rows to outputs: what ridge regression and logistic regression fit.

use serde::{Deserialize, Serialize};

use super::Rows;
use super::products::scores;

/// A linear map with intercepts, `y = x W + b`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Number of columns of a row, dense and sparse.
    pub n_cols: usize,
    /// Number of outputs.
    pub n_outputs: usize,
    /// `W`, `[n_cols, n_outputs]`.
    pub weights: Vec<f32>,
    /// `b`, `[n_outputs]`.
    pub intercepts: Vec<f32>,
}

impl Linear {
    /// Whether the map is consistent with rows of `n_cols` columns and with `n_outputs`, as one fitted on such rows is; checks
    /// deserialized models.
    pub fn suits(&self, n_cols: usize, n_outputs: usize) -> bool {
        (self.n_cols, self.n_outputs, self.intercepts.len()) == (n_cols, n_outputs, n_outputs)
            && n_cols.checked_mul(n_outputs) == Some(self.weights.len())
    }

    /// Returns the outputs of each row, `[n_rows, n_outputs]`.
    ///
    /// # Panics
    /// If the rows do not have `n_cols` columns.
    pub fn predict(&self, rows: Rows) -> Vec<f32> {
        scores(rows, &self.weights, &self.intercepts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, SparseRows};

    #[test]
    fn outputs_sum_dense_and_sparse_columns() {
        let mut sparse = SparseRows::new(2);
        sparse.push_row([(1, 10.0)]);
        sparse.push_row([]);
        let rows = Rows { dense: Some(Matrix { data: &[1.0, 2.0], n_cols: 1 }), sparse: Some(&sparse) };
        let linear = Linear { n_cols: 3, n_outputs: 2, weights: vec![1.0, -1.0, 9.0, 9.0, 2.0, 3.0], intercepts: vec![0.5, 0.0] };
        assert_eq!(linear.predict(rows), [21.5, 29.0, 2.5, -2.0]);
    }

    #[test]
    fn a_model_of_another_size_does_not_suit() {
        let linear = Linear { n_cols: 2, n_outputs: 1, weights: vec![1.0, 2.0], intercepts: vec![0.0] };
        assert!(linear.suits(2, 1) && !linear.suits(1, 1) && !linear.suits(2, 2));
        assert!(!Linear { weights: vec![1.0], ..linear.clone() }.suits(2, 1));
        assert!(!Linear { intercepts: Vec::new(), ..linear }.suits(2, 1));
        let huge = Linear { n_cols: usize::MAX, n_outputs: 3, weights: Vec::new(), intercepts: vec![0.0; 3] };
        assert!(!huge.suits(usize::MAX, 3));
    }
}
