//! Products of rows with weights and of transposed rows with residuals, in single precision.
//!
//! Work is divided into parts of fixed size, and sums over parts are taken in order, so results do not depend on the number of
//! threads.

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

use super::Rows;
use crate::{Matrix, SparseRows};

/// Number of rows per part.
const PART: usize = 256;
/// Number of sums that are computed side by side over the rows of a dense matrix.
const SLABS: usize = 8;

/// Computes `X W + b`, `[n_rows, n_outputs]`, from weights `[n_cols, n_outputs]` and intercepts `[n_outputs]`.
///
/// # Panics
/// If the number of columns and the number of weights differ.
pub(crate) fn scores(rows: Rows, weights: &[f32], intercepts: &[f32]) -> Vec<f32> {
    let n_outputs = intercepts.len();
    assert_eq!(rows.n_cols() * n_outputs, weights.len(), "columns and weights");
    let (of_dense, of_sparse) = weights.split_at(rows.n_dense() * n_outputs);
    let mut out = vec![0.0; rows.n_rows() * n_outputs];
    out.par_chunks_mut(PART * n_outputs).enumerate().for_each(|(part, out)| {
        out.chunks_exact_mut(n_outputs).for_each(|row| row.copy_from_slice(intercepts));
        if let Some(dense) = rows.dense {
            add_dense(out, dense, part * PART, of_dense, n_outputs);
        }
        if let Some(sparse) = rows.sparse {
            let rows = out.chunks_exact_mut(n_outputs).enumerate();
            rows.for_each(|(row, out)| add_sparse(out, sparse.row(part * PART + row), of_sparse));
        }
    });
    out
}

fn add_dense(out: &mut [f32], dense: Matrix, first: usize, weights: &[f32], n_outputs: usize) {
    let n_rows = out.len() / n_outputs;
    let part = &dense.data[first * dense.n_cols..(first + n_rows) * dense.n_cols];
    add_product(out, n_outputs, Strided::rows(part, [n_rows, dense.n_cols]), Strided::rows(weights, [dense.n_cols, n_outputs]));
}

/// Adds the sum of the rows of `weights` at the given indices, each times its value.
fn add_sparse(out: &mut [f32], row: (&[u32], &[f32]), weights: &[f32]) {
    let mut first = 0;
    while first < out.len() {
        first += match out.len() - first {
            16.. => add_outputs::<16>(out, first, row, weights),
            8.. => add_outputs::<8>(out, first, row, weights),
            4.. => add_outputs::<4>(out, first, row, weights),
            2.. => add_outputs::<2>(out, first, row, weights),
            _ => add_outputs::<1>(out, first, row, weights),
        };
    }
}

/// Computes `N` outputs, whose sums stay in registers; returns their number.
fn add_outputs<const N: usize>(out: &mut [f32], first: usize, (columns, values): (&[u32], &[f32]), weights: &[f32]) -> usize {
    let mut sums = [0.0; N];
    for (column, value) in columns.iter().zip(values) {
        let weights = &weights[*column as usize * out.len() + first..][..N];
        (0..N).for_each(|lane| sums[lane] += value * weights[lane]);
    }
    out[first..].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    N
}

/// Rows prepared for products from the left; the sparse part is stored by column.
pub(crate) struct Transposed<'a> {
    dense: Option<Matrix<'a>>,
    sparse: Option<SparseRows>,
}

impl<'a> Transposed<'a> {
    pub fn new(rows: Rows<'a>) -> Self {
        Self { dense: rows.dense, sparse: rows.sparse.map(SparseRows::transposed) }
    }

    /// Computes `X' R`, `[n_cols, n_outputs]`, from `R` `[n_rows, n_outputs]`, into `out`.
    pub fn product(&self, residuals: &[f32], n_outputs: usize, out: &mut [f64]) {
        let (of_dense, of_sparse) = out.split_at_mut(self.dense.map_or(0, |dense| dense.n_cols) * n_outputs);
        if let Some(dense) = self.dense {
            dense_product(dense, residuals, n_outputs, of_dense);
        }
        let Some(sparse) = &self.sparse else { return };
        of_sparse.par_chunks_mut(PART * n_outputs).enumerate().for_each(|(part, out)| {
            let mut sum = vec![0.0; n_outputs];
            for (column, out) in out.chunks_exact_mut(n_outputs).enumerate() {
                sum.fill(0.0);
                add_sparse(&mut sum, sparse.row(part * PART + column), residuals);
                out.iter_mut().zip(&sum).for_each(|(out, sum)| *out = f64::from(*sum));
            }
        });
    }
}

fn dense_product(dense: Matrix, residuals: &[f32], n_outputs: usize, out: &mut [f64]) {
    let n_rows = dense.n_rows();
    let slab = n_rows.div_ceil(SLABS).next_multiple_of(PART);
    let sums: Vec<Vec<f32>> = (0..n_rows.div_ceil(slab))
        .into_par_iter()
        .map(|at| slab_product(dense, residuals, n_outputs, at * slab..((at + 1) * slab).min(n_rows)))
        .collect();
    out.fill(0.0);
    sums.iter().for_each(|sum| out.iter_mut().zip(sum).for_each(|(out, sum)| *out += f64::from(*sum)));
}

fn slab_product(dense: Matrix, residuals: &[f32], n_outputs: usize, rows: std::ops::Range<usize>) -> Vec<f32> {
    let mut sum = vec![0.0; dense.n_cols * n_outputs];
    for first in rows.clone().step_by(PART) {
        let n_rows = PART.min(rows.end - first);
        let x = Strided::rows(&dense.data[first * dense.n_cols..][..n_rows * dense.n_cols], [n_rows, dense.n_cols]);
        let r = Strided::rows(&residuals[first * n_outputs..][..n_rows * n_outputs], [n_rows, n_outputs]);
        add_product(&mut sum, n_outputs, x.transposed(), r);
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns deterministic values, about half of them zero.
    fn sparse(n_rows: usize, n_cols: usize) -> SparseRows {
        let mut rows = SparseRows::new(n_cols);
        for row in 0..n_rows {
            let columns = (0..n_cols).filter(|column| (row * 7 + column * 5) % 4 < 2);
            rows.push_row(columns.map(|column| (column as u32, ((row + 3 * column) as f32).sin())));
        }
        rows
    }

    proptest! {
        #[test]
        fn products_match_the_definition(
            n_rows in 1usize..700, n_dense in 0usize..5, n_sparse in 0usize..7, n_outputs in 1usize..33,
        ) {
            prop_assume!(n_dense + n_sparse > 0);
            let number = |at: usize| (at as f32 * 0.37).sin();
            let data: Vec<f32> = (0..n_rows * n_dense).map(number).collect();
            let columns = sparse(n_rows, n_sparse);
            let dense = (n_dense > 0).then_some(Matrix { data: &data, n_cols: n_dense });
            let rows = Rows { dense, sparse: (n_sparse > 0).then_some(&columns) };
            let n_cols = rows.n_cols();
            let mut x = vec![0f64; n_rows * n_cols];
            for row in 0..n_rows {
                (0..n_dense).for_each(|column| x[row * n_cols + column] = f64::from(data[row * n_dense + column]));
                columns.pairs(row).for_each(|(column, value)| x[row * n_cols + n_dense + column] = f64::from(value));
            }
            let weights: Vec<f32> = (0..n_cols * n_outputs).map(|at| number(at + 5)).collect();
            let intercepts: Vec<f32> = (0..n_outputs).map(number).collect();
            for (at, found) in scores(rows, &weights, &intercepts).into_iter().enumerate() {
                let (row, output) = (at / n_outputs, at % n_outputs);
                let want: f64 = (0..n_cols).map(|j| x[row * n_cols + j] * f64::from(weights[j * n_outputs + output])).sum();
                prop_assert!((f64::from(found) - want - f64::from(intercepts[output])).abs() < 1e-5);
            }
            let residuals: Vec<f32> = (0..n_rows * n_outputs).map(|at| number(at + 9)).collect();
            let mut turned = vec![0.5; n_cols * n_outputs];
            Transposed::new(rows).product(&residuals, n_outputs, &mut turned);
            for (at, found) in turned.into_iter().enumerate() {
                let (column, output) = (at / n_outputs, at % n_outputs);
                let want: f64 = (0..n_rows).map(|i| x[i * n_cols + column] * f64::from(residuals[i * n_outputs + output])).sum();
                // Up to 700 terms below 1 in single precision.
                prop_assert!((found - want).abs() < 1e-3, "{found} is not {want}");
            }
        }
    }
}
