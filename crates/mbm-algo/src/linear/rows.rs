//! The rows that linear models read: dense columns, sparse columns, or both.

use crate::{AlgoError, Matrix, SparseRows};

/// Borrowed rows, `[n_rows, n_cols]`: the dense columns, followed by the sparse ones.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The first columns.
    pub dense: Option<Matrix<'a>>,
    /// The columns after the dense ones.
    pub sparse: Option<&'a SparseRows>,
}

impl<'a> From<Matrix<'a>> for Rows<'a> {
    fn from(dense: Matrix<'a>) -> Self {
        Self { dense: Some(dense), sparse: None }
    }
}

impl<'a> From<&'a SparseRows> for Rows<'a> {
    fn from(sparse: &'a SparseRows) -> Self {
        Self { dense: None, sparse: Some(sparse) }
    }
}

impl Rows<'_> {
    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.dense.map_or_else(|| self.sparse.map_or(0, SparseRows::n_rows), |dense| dense.n_rows())
    }

    /// Returns the number of dense columns.
    pub fn n_dense(&self) -> usize {
        self.dense.map_or(0, |dense| dense.n_cols)
    }

    /// Returns the number of columns, dense and sparse.
    pub fn n_cols(&self) -> usize {
        self.n_dense() + self.sparse.map_or(0, SparseRows::n_cols)
    }

    /// Returns the number of stored values.
    pub fn n_values(&self) -> usize {
        self.dense.map_or(0, |dense| dense.data.len()) + self.sparse.map_or(0, SparseRows::n_values)
    }

    /// Returns for each column the sum of its squared values, each times the weight of its row.
    pub(crate) fn weighted_squares(&self, weights: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.n_cols()];
        let (of_dense, of_sparse) = sums.split_at_mut(self.n_dense());
        let square = |value: f32| f64::from(value) * f64::from(value);
        for (row, weight) in weights.iter().enumerate() {
            if let Some(dense) = self.dense {
                of_dense.iter_mut().zip(dense.row(row)).for_each(|(sum, value)| *sum += weight * square(*value));
            }
            if let Some(sparse) = self.sparse {
                sparse.pairs(row).for_each(|(column, value)| of_sparse[column] += weight * square(value));
            }
        }
        sums
    }

    /// Checks that there is a row per target, that both parts have the same number of rows, and that all values are finite.
    pub(crate) fn check(&self, n_targets: usize) -> Result<(), AlgoError> {
        let rows = self.n_rows();
        if rows != n_targets || rows == 0 {
            return Err(AlgoError::Shape { rows, targets: n_targets });
        }
        if let Some(dense) = self.dense {
            dense.check(n_targets)?;
        }
        let Some(sparse) = self.sparse else { return Ok(()) };
        if sparse.n_rows() != rows {
            return Err(AlgoError::Parts { dense: rows, sparse: sparse.n_rows() });
        }
        match (0..rows).find(|&row| sparse.row(row).1.iter().any(|value| !value.is_finite())) {
            Some(row) => Err(AlgoError::NotFinite { row }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_shapes_are_checked() {
        let mut sparse = SparseRows::new(3);
        sparse.push_row([(1, 1.0)]);
        let dense = Matrix { data: &[1.0, 2.0, 3.0, 4.0], n_cols: 2 };
        let both = Rows { dense: Some(dense), sparse: Some(&sparse) };
        assert_eq!((both.n_cols(), both.n_values(), both.n_dense()), (5, 5, 2));
        assert_eq!(both.check(2), Err(AlgoError::Parts { dense: 2, sparse: 1 }));
        assert_eq!(both.check(1), Err(AlgoError::Shape { rows: 2, targets: 1 }));
        assert_eq!(Rows::from(&sparse).check(1), Ok(()));
        sparse.push_row([(2, f32::NAN)]);
        assert_eq!(Rows::from(&sparse).check(2), Err(AlgoError::NotFinite { row: 1 }));
        assert_eq!(Rows { dense: None, sparse: None }.check(0), Err(AlgoError::Shape { rows: 0, targets: 0 }));
    }
}
