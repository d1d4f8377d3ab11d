//! Sparse rows: only the values that are not zero are stored, with their columns (compressed sparse rows, CSR).

/// A matrix of mostly zeros, `[n_rows, n_cols]`. The columns of each row are in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
    n_cols: usize,
}

impl Default for SparseRows {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SparseRows {
    /// Creates a matrix without rows.
    ///
    /// # Panics
    /// If there are more than 2^32 columns.
    pub fn new(n_cols: usize) -> Self {
        assert!(n_cols as u64 <= 1 << 32, "{n_cols} columns exceed 32 bits");
        Self { offsets: vec![0], columns: Vec::new(), values: Vec::new(), n_cols }
    }

    /// Appends a row of pairs of column and value, in ascending order of the columns.
    ///
    /// # Panics
    /// If the columns are not in ascending order or not below `n_cols`.
    pub fn push_row(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        let mut next = 0;
        for (column, value) in row {
            assert!(column as usize >= next && (column as usize) < self.n_cols, "column {column} of {}", self.n_cols);
            next = column as usize + 1;
            self.columns.push(column);
            self.values.push(value);
        }
        self.offsets.push(self.columns.len());
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Returns the number of stored values.
    pub fn n_values(&self) -> usize {
        self.values.len()
    }

    /// Returns the columns of a row, in ascending order, and their values.
    pub fn row(&self, row_idx: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row_idx]..self.offsets[row_idx + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Returns the pairs of column and value of a row.
    pub fn pairs(&self, row_idx: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let (columns, values) = self.row(row_idx);
        columns.iter().zip(values).map(|(column, value)| (*column as usize, *value))
    }

    /// Copies the rows at `idx`.
    pub fn select(&self, idx: &[usize]) -> Self {
        let mut selected = Self::new(self.n_cols);
        for &row_idx in idx {
            let (columns, values) = self.row(row_idx);
            selected.columns.extend_from_slice(columns);
            selected.values.extend_from_slice(values);
            selected.offsets.push(selected.columns.len());
        }
        selected
    }

    /// Joins matrices of the same rows, each with its own columns (scipy's `hstack`): `[n_rows, sum of n_cols]`.
    ///
    /// # Panics
    /// If the numbers of rows differ, or there are more than 2^32 columns.
    pub fn hstack(parts: &[&SparseRows]) -> Self {
        let n_rows = parts.first().map_or(0, |part| part.n_rows());
        assert!(parts.iter().all(|part| part.n_rows() == n_rows), "numbers of rows differ");
        let mut joined = Self::new(parts.iter().map(|part| part.n_cols).sum());
        for row_idx in 0..n_rows {
            let mut first = 0;
            for part in parts {
                let (columns, values) = part.row(row_idx);
                joined.columns.extend(columns.iter().map(|column| column + first));
                joined.values.extend_from_slice(values);
                first += part.n_cols as u32;
            }
            joined.offsets.push(joined.columns.len());
        }
        joined
    }

    /// Returns the transposed matrix, `[n_cols, n_rows]`.
    ///
    /// # Panics
    /// If there are more than 2^32 rows.
    pub fn transposed(&self) -> Self {
        let mut offsets = vec![0; self.n_cols + 1];
        self.columns.iter().for_each(|&column| offsets[column as usize + 1] += 1);
        (0..self.n_cols).for_each(|column| offsets[column + 1] += offsets[column]);
        let mut next = offsets.clone();
        let mut turned =
            Self { columns: vec![0; self.n_values()], values: vec![0.0; self.n_values()], ..Self::new(self.n_rows()) };
        for row_idx in 0..self.n_rows() {
            for (column, value) in self.pairs(row_idx) {
                (turned.columns[next[column]], turned.values[next[column]]) = (row_idx as u32, value);
                next[column] += 1;
            }
        }
        turned.offsets = offsets;
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_dense(values: &[f32], n_cols: usize) -> SparseRows {
        let mut rows = SparseRows::new(n_cols);
        for row in values.chunks_exact(n_cols) {
            rows.push_row(
                row.iter().enumerate().filter(|(_, value)| **value != 0.0).map(|(column, value)| (column as u32, *value)),
            );
        }
        rows
    }

    fn to_dense(rows: &SparseRows) -> Vec<f32> {
        let mut values = vec![0.0; rows.n_rows() * rows.n_cols()];
        for row_idx in 0..rows.n_rows() {
            rows.pairs(row_idx).for_each(|(column, value)| values[row_idx * rows.n_cols() + column] = value);
        }
        values
    }

    #[test]
    fn rows_may_be_empty() {
        let mut rows = SparseRows::new(3);
        rows.push_row([]);
        rows.push_row([(0, 1.0), (2, 2.0)]);
        assert_eq!((rows.n_rows(), rows.n_values(), rows.row(0)), (2, 2, (&[][..], &[][..])));
        assert_eq!(rows.row(1), (&[0, 2][..], &[1.0, 2.0][..]));
    }

    #[test]
    #[should_panic(expected = "column 3 of 3")]
    fn a_column_beyond_the_last_panics() {
        SparseRows::new(3).push_row([(3, 1.0)]);
    }

    #[test]
    #[should_panic(expected = "column 1 of 3")]
    fn a_repeated_column_panics() {
        SparseRows::new(3).push_row([(1, 1.0), (1, 1.0)]);
    }

    proptest::proptest! {
        #[test]
        fn selection_and_transposition_match_dense_rows(
            values in proptest::collection::vec(proptest::sample::select(vec![0f32, 0.0, 1.5, -2.0]), 1..60), n_cols in 1usize..8,
        ) {
            let n_rows = values.len() / n_cols;
            let values = &values[..n_rows * n_cols];
            let rows = from_dense(values, n_cols);
            proptest::prop_assert_eq!(&to_dense(&rows), values);
            let turned = to_dense(&rows.transposed());
            proptest::prop_assert!((0..values.len()).all(|at| turned[at % n_cols * n_rows + at / n_cols] == values[at]));
            proptest::prop_assert_eq!(&rows.transposed().transposed(), &rows);
            let twice = to_dense(&SparseRows::hstack(&[&rows, &rows]));
            let repeated: Vec<f32> = values.chunks(n_cols).flat_map(|row| [row, row].concat()).collect();
            proptest::prop_assert_eq!(twice, repeated);
            let idx: Vec<usize> = (0..n_rows).rev().collect();
            proptest::prop_assert_eq!(rows.select(&idx).select(&idx), rows);
        }
    }
}
