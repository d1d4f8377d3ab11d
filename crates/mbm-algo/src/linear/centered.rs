//! Rows prepared for least squares with an intercept and sample weights: `A = S (X - mean)`, with the square roots of the
//! weights in `S` and the weighted mean of each column. Computed in double precision, part by part; the sparse columns stay
//! sparse.

use std::ops::Range;

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

use super::Rows;
use crate::SparseRows;

/// Number of rows per part.
const ROWS: usize = 256;
/// Number of columns per part.
const COLUMNS: usize = 64;
/// Minimum number of sparse columns that a thread takes.
const MIN_SPARSE: usize = 256;

/// The matrix `A`, `[n_rows, n_cols]`.
pub(super) struct Centered<'a> {
    pub rows: Rows<'a>,
    /// The sparse columns as rows.
    transposed: Option<SparseRows>,
    /// The weighted mean of each column.
    pub means: Vec<f64>,
    /// The square root of the weight of each row.
    pub roots: Vec<f64>,
    /// The sum of the weights.
    pub total: f64,
}

impl<'a> Centered<'a> {
    pub fn new(rows: Rows<'a>, weights: &[f64]) -> Self {
        let transposed = rows.sparse.map(SparseRows::transposed);
        let total: f64 = weights.iter().sum();
        let mut means = vec![0.0; rows.n_dense()];
        if let Some(dense) = rows.dense {
            for (row, weight) in weights.iter().enumerate() {
                means.iter_mut().zip(dense.row(row)).for_each(|(mean, value)| *mean += weight / total * f64::from(*value));
            }
        }
        if let Some(columns) = &transposed {
            let sum = |column| columns.pairs(column).map(|(row, value)| weights[row] * f64::from(value)).sum::<f64>();
            means.extend((0..columns.n_rows()).map(|column| sum(column) / total));
        }
        Self { rows, transposed, means, roots: weights.iter().map(|weight| weight.sqrt()).collect(), total }
    }

    pub fn n_rows(&self) -> usize {
        self.roots.len()
    }

    pub fn n_cols(&self) -> usize {
        self.means.len()
    }

    /// Returns some dense columns of some rows, `[rows, columns]`.
    fn dense(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<f64> {
        let Some(dense) = self.rows.dense else { return Vec::new() };
        let mut values = Vec::with_capacity(rows.len() * columns.len());
        for row in rows {
            let (root, columns) = (self.roots[row], columns.clone());
            let pairs = dense.row(row)[columns.clone()].iter().zip(&self.means[columns]);
            values.extend(pairs.map(|(value, mean)| root * (f64::from(*value) - mean)));
        }
        values
    }

    /// Computes `A V` for some rows, `[rows, width]`, from `V` `[n_cols, width]`.
    pub fn part_times(&self, rows: Range<usize>, v: &[f64], width: usize) -> Vec<f64> {
        self.part(rows, v, &self.mean_times(v, width))
    }

    /// Returns the mean of the rows of the sparse part, times `V`, `[width]`.
    fn mean_times(&self, v: &[f64], width: usize) -> Vec<f64> {
        let n_dense = self.rows.n_dense();
        let mut mean = vec![0.0; width];
        add_weighted_rows(&mut mean, self.means[n_dense..].iter().copied().enumerate(), &v[n_dense * width..]);
        mean
    }

    /// Computes `A V` for some rows, given [`Centered::mean_times`].
    fn part(&self, rows: Range<usize>, v: &[f64], mean: &[f64]) -> Vec<f64> {
        let (n_rows, n_dense, width) = (rows.len(), self.rows.n_dense(), mean.len());
        let (of_dense, of_sparse) = v.split_at(n_dense * width);
        let mut out = vec![0.0; n_rows * width];
        let dense = self.dense(rows.clone(), 0..n_dense);
        add_product(&mut out, width, Strided::rows(&dense, [n_rows, n_dense]), Strided::rows(of_dense, [n_dense, width]));
        let Some(sparse) = self.rows.sparse else { return out };
        let mut sum = vec![0.0; width];
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            sum.fill(0.0);
            add_weighted_rows(&mut sum, sparse.pairs(row).map(|(column, value)| (column, f64::from(value))), of_sparse);
            out.iter_mut().zip(sum.iter().zip(mean)).for_each(|(out, (sum, mean))| *out += self.roots[row] * (sum - mean));
        }
        out
    }

    /// Computes `A V`, `[n_rows, width]`, from `V` `[n_cols, width]`.
    pub fn times(&self, v: &[f64], width: usize) -> Vec<f64> {
        let starts: Vec<usize> = (0..self.n_rows()).step_by(ROWS).collect();
        let mean = self.mean_times(v, width);
        let part = |start: &usize| self.part(*start..(start + ROWS).min(self.n_rows()), v, &mean);
        starts.par_iter().map(part).collect::<Vec<_>>().concat()
    }

    /// Computes `A' U`, `[n_cols, width]`, from `U` `[n_rows, width]`.
    pub fn transposed_times(&self, u: &[f64], width: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.n_cols() * width];
        let n_dense = self.rows.n_dense();
        let (of_dense, of_sparse) = out.split_at_mut(n_dense * width);
        of_dense.par_chunks_mut(COLUMNS * width).enumerate().for_each(|(part, out)| {
            let columns = part * COLUMNS..part * COLUMNS + out.len() / width;
            for start in (0..self.n_rows()).step_by(ROWS) {
                let rows = start..(start + ROWS).min(self.n_rows());
                let block = self.dense(rows.clone(), columns.clone());
                let block = Strided::rows(&block, [rows.len(), columns.len()]);
                let u = &u[rows.start * width..rows.end * width];
                add_product(out, width, block.transposed(), Strided::rows(u, [rows.len(), width]));
            }
        });
        let Some(columns) = &self.transposed else { return out };
        let mut mean = vec![0.0; width];
        add_weighted_rows(&mut mean, self.roots.iter().copied().enumerate(), u);
        of_sparse.par_chunks_mut(width).with_min_len(MIN_SPARSE).enumerate().for_each(|(column, out)| {
            add_weighted_rows(out, columns.pairs(column).map(|(row, value)| (row, self.roots[row] * f64::from(value))), u);
            let center = self.means[n_dense + column];
            out.iter_mut().zip(&mean).for_each(|(out, mean)| *out -= center * mean);
        });
        out
    }

    /// Returns the squared length of each column of `A`, `[n_cols]`.
    pub fn squared_norms(&self) -> Vec<f64> {
        let n_dense = self.rows.n_dense();
        let mut norms = vec![0.0; n_dense];
        for row in 0..self.n_rows() {
            norms.iter_mut().zip(self.dense(row..row + 1, 0..n_dense)).for_each(|(norm, value)| *norm += value * value);
        }
        if let Some(columns) = &self.transposed {
            let squares =
                |column| columns.pairs(column).map(|(row, value)| (self.roots[row] * f64::from(value)).powi(2)).sum::<f64>();
            let means = self.means[n_dense..].iter().enumerate();
            norms.extend(means.map(|(column, mean)| (squares(column) - self.total * mean * mean).max(0.0)));
        }
        norms
    }

    /// Computes `A' A`, `[n_cols, n_cols]`.
    pub fn covariance(&self) -> Vec<f64> {
        let (n_dense, n_cols) = (self.rows.n_dense(), self.n_cols());
        let mut out = vec![0.0; n_cols * n_cols];
        let (of_dense, of_sparse) = out.split_at_mut(n_dense * n_cols);
        for start in (0..self.n_rows()).step_by(ROWS) {
            let rows = start..(start + ROWS).min(self.n_rows());
            let block = self.dense(rows.clone(), 0..n_dense);
            add_lower_triangle(of_dense, n_cols, Strided::rows(&block, [rows.len(), n_dense]).transposed());
        }
        of_sparse.par_chunks_mut(n_cols).enumerate().for_each(|(column, out)| self.sparse_covariance(column, out));
        mirror(&mut out, n_cols);
        out
    }

    /// Computes the covariances of a sparse column with the columns before it.
    fn sparse_covariance(&self, column: usize, out: &mut [f64]) {
        let (Some(columns), Some(sparse)) = (&self.transposed, self.rows.sparse) else { return };
        let (of_dense, of_sparse) = out.split_at_mut(self.rows.n_dense());
        for (row, value) in columns.pairs(column) {
            let value = self.roots[row] * f64::from(value);
            let dense = self.dense(row..row + 1, 0..of_dense.len());
            of_dense.iter_mut().zip(dense).for_each(|(out, other)| *out += value * other);
            let before = sparse.pairs(row).take_while(|(other, _)| *other <= column);
            before.for_each(|(other, own)| of_sparse[other] += value * self.roots[row] * f64::from(own));
        }
        let means = &self.means[of_dense.len()..];
        let center = self.total * means[column];
        of_sparse[..=column].iter_mut().zip(means).for_each(|(out, mean)| *out -= center * mean);
    }

    /// Computes `A A'`, `[n_rows, n_rows]`.
    pub fn gram(&self) -> Vec<f64> {
        let (n, n_dense) = (self.n_rows(), self.rows.n_dense());
        let mut out = vec![0.0; n * n];
        for start in (0..n_dense).step_by(ROWS) {
            let columns = start..(start + ROWS).min(n_dense);
            let block = self.dense(0..n, columns.clone());
            add_lower_triangle(&mut out, n, Strided::rows(&block, [n, columns.len()]));
        }
        if let Some(sparse) = self.rows.sparse {
            self.add_sparse_gram(sparse, &mut out);
        }
        mirror(&mut out, n);
        out
    }

    /// Adds the products of the sparse part of each row with those of the rows up to it.
    fn add_sparse_gram(&self, sparse: &SparseRows, out: &mut [f64]) {
        let n = self.n_rows();
        let means = &self.means[self.rows.n_dense()..];
        let with_mean = |row| sparse.pairs(row).map(|(column, value)| means[column] * f64::from(value)).sum::<f64>();
        let with_mean: Vec<f64> = (0..n).into_par_iter().map(with_mean).collect();
        let of_means: f64 = means.iter().map(|mean| mean * mean).sum();
        let scattered = || vec![0f64; sparse.n_cols()];
        out.par_chunks_mut(n).enumerate().for_each_init(scattered, |own, (row, out)| {
            sparse.pairs(row).for_each(|(column, value)| own[column] = f64::from(value));
            for (other, out) in out.iter_mut().enumerate().take(row + 1) {
                let product: f64 = sparse.pairs(other).map(|(column, value)| own[column] * f64::from(value)).sum();
                *out += self.roots[row] * self.roots[other] * (product - with_mean[row] - with_mean[other] + of_means);
            }
            sparse.pairs(row).for_each(|(column, _)| own[column] = 0.0);
        });
    }
}

/// Adds the rows of `v` `[n, width]` at the given indices, each times its factor, to a sum `[width]`.
fn add_weighted_rows(sum: &mut [f64], pairs: impl Iterator<Item = (usize, f64)>, v: &[f64]) {
    if let [sum] = sum {
        *sum += pairs.map(|(at, factor)| factor * v[at]).sum::<f64>();
        return;
    }
    let width = sum.len();
    for (at, factor) in pairs {
        sum.iter_mut().zip(&v[at * width..(at + 1) * width]).for_each(|(sum, v)| *sum += factor * v);
    }
}

/// Adds the lower triangle of `B B'` to that of `out`, whose rows are `n_cols` apart, and some values above it.
fn add_lower_triangle(out: &mut [f64], n_cols: usize, b: Strided<f64>) {
    let [n, depth] = b.shape;
    out.par_chunks_mut(COLUMNS * n_cols).enumerate().for_each(|(part, out)| {
        let (first, last) = (part * COLUMNS, ((part + 1) * COLUMNS).min(n));
        let rows = |rows: Range<usize>| Strided {
            values: &b.values[rows.start * b.strides[0]..],
            shape: [rows.len(), depth],
            strides: b.strides,
        };
        add_product(out, n_cols, rows(first..last), rows(0..last).transposed());
    });
}

/// Copies the lower triangle of a matrix `[n, n]` to the upper one.
fn mirror(matrix: &mut [f64], n: usize) {
    for row in 0..n {
        for column in row + 1..n {
            matrix[row * n + column] = matrix[column * n + row];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Matrix;

    fn near(found: &[f64], want: &[f64]) -> bool {
        found.len() == want.len() && found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    /// Computes `left right`, `[m, n]`, from `[m, k]` and `[k, n]`.
    fn product(left: &[f64], right: &[f64], k: usize) -> Vec<f64> {
        let (m, n) = (left.len() / k, right.len() / k);
        (0..m * n).map(|at| (0..k).map(|i| left[at / n * k + i] * right[i * n + at % n]).sum()).collect()
    }

    fn turned(matrix: &[f64], n_cols: usize) -> Vec<f64> {
        let n_rows = matrix.len() / n_cols;
        (0..matrix.len()).map(|at| matrix[at % n_rows * n_cols + at / n_rows]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn products_match_the_definition(n_rows in 1usize..300, n_dense in 0usize..80, n_sparse in 0usize..6, width in 1usize..4) {
            prop_assume!(n_dense + n_sparse > 0);
            let number = |at: usize| (at as f64 * 0.37).sin();
            let data: Vec<f32> = (0..n_rows * n_dense).map(|at| number(at) as f32 + 3.0).collect();
            let weights: Vec<f64> = (0..n_rows).map(|row| 0.5 + (row % 3) as f64).collect();
            let mut sparse = SparseRows::new(n_sparse);
            for row in 0..n_rows {
                sparse.push_row((0..n_sparse).filter(|it| (it + row) % 3 == 0).map(|it| (it as u32, number(it + row) as f32)));
            }
            let dense = (n_dense > 0).then_some(Matrix { data: &data, n_cols: n_dense });
            let rows = Rows { dense, sparse: (n_sparse > 0).then_some(&sparse) };
            let centered = Centered::new(rows, &weights);
            let n_cols = n_dense + n_sparse;
            let mut a = vec![0.0; n_rows * n_cols];
            for row in 0..n_rows {
                (0..n_dense).for_each(|column| a[row * n_cols + column] = f64::from(data[row * n_dense + column]));
                sparse.pairs(row).for_each(|(column, value)| a[row * n_cols + n_dense + column] = f64::from(value));
            }
            for column in 0..n_cols {
                let sum: f64 = (0..n_rows).map(|row| weights[row] * a[row * n_cols + column]).sum();
                let mean = sum / weights.iter().sum::<f64>();
                (0..n_rows).for_each(|row| a[row * n_cols + column] = (a[row * n_cols + column] - mean) * weights[row].sqrt());
            }
            let (v, u): (Vec<f64>, Vec<f64>) = ((0..n_cols * width).map(number).collect(), (0..n_rows * width).map(number).collect());
            prop_assert!(near(&centered.times(&v, width), &product(&a, &v, n_cols)));
            let a_turned = turned(&a, n_cols);
            prop_assert!(near(&centered.transposed_times(&u, width), &product(&a_turned, &u, n_rows)));
            prop_assert!(near(&centered.covariance(), &product(&a_turned, &a, n_rows)));
            prop_assert!(near(&centered.gram(), &product(&a, &a_turned, n_cols)));
            let norms: Vec<f64> = a_turned.chunks(n_rows).map(|column| column.iter().map(|it| it * it).sum()).collect();
            prop_assert!(near(&centered.squared_norms(), &norms));
        }
    }
}
