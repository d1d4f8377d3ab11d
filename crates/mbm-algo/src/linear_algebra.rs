//! A row-major matrix view and the few operations that the algorithms need.

use rayon::prelude::*;

use crate::AlgoError;

/// A borrowed row-major matrix, `[rows, n_cols]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// `rows * n_cols` values.
    pub data: &'a [f32],
    /// Number of columns; at least 1.
    pub n_cols: usize,
}

impl<'a> Matrix<'a> {
    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.data.len() / self.n_cols
    }

    /// Returns one row, `[n_cols]`.
    pub fn row(&self, row_idx: usize) -> &'a [f32] {
        &self.data[row_idx * self.n_cols..(row_idx + 1) * self.n_cols]
    }

    /// Copies the rows at `idx`.
    pub fn select(&self, idx: &[usize]) -> Vec<f32> {
        idx.iter().flat_map(|&row_idx| self.row(row_idx).iter().copied()).collect()
    }

    pub(crate) fn check(&self, n_targets: usize) -> Result<(), AlgoError> {
        let rows = self.n_rows();
        if rows != n_targets || rows == 0 {
            return Err(AlgoError::Shape { rows, targets: n_targets });
        }
        match (0..rows).find(|&row| self.row(row).iter().any(|value| !value.is_finite())) {
            Some(row) => Err(AlgoError::NotFinite { row }),
            None => Ok(()),
        }
    }
}

/// Computes an inner product in f32 with sixteen running sums, so that the compiler can use wide registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Computes the squared distance in f32, with sums as those of [`dot`].
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| (x - y) * (x - y)).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            sums[lane] += (x[lane] - y[lane]) * (x[lane] - y[lane]);
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Computes the inner products of all rows of `a` with all rows of `b`: `[a rows, b rows]`.
pub(crate) fn products(a: Matrix, b: Matrix) -> Vec<f32> {
    let mut out = vec![0f32; a.n_rows() * b.n_rows()];
    let n_b = b.n_rows();
    out.par_chunks_mut(n_b * 8).enumerate().for_each(|(block, rows)| {
        for tile in (0..n_b).step_by(32) {
            for (i, row) in rows.chunks_mut(n_b).enumerate() {
                let x = a.row(block * 8 + i);
                let end = (tile + 32).min(n_b);
                row[tile..end].iter_mut().enumerate().for_each(|(j, product)| *product = dot(x, b.row(tile + j)));
            }
        }
    });
    out
}

/// Solves `a x = b` for a symmetric positive definite `a` `[n, n]` by Cholesky decomposition, in place.
pub(crate) fn solve_positive_definite(a: &mut [f64], b: &mut [f64]) {
    let n = b.len();
    for j in 0..n {
        for k in 0..j {
            let factor = a[j * n + k];
            for i in j..n {
                a[i * n + j] -= factor * a[i * n + k];
            }
        }
        let pivot = a[j * n + j].max(f64::MIN_POSITIVE).sqrt();
        for i in j..n {
            a[i * n + j] /= pivot;
        }
    }
    for i in 0..n {
        let known: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - known) / a[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_positive_definite_system() {
        let mut a = [4.0, 2.0, 2.0, 3.0];
        let mut b = [10.0, 9.0];
        solve_positive_definite(&mut a, &mut b);
        assert!((b[0] - 1.5).abs() < 1e-12 && (b[1] - 2.0).abs() < 1e-12, "{b:?}");
    }

    proptest::proptest! {
        #[test]
        fn solution_reproduces_the_right_hand_side(n in 1usize..12, values in proptest::collection::vec(-1f64..1.0, 144)) {
            // M M' + I is positive definite for any M.
            let product = |i: usize, j: usize| (0..n).map(|k| values[i * n + k] * values[j * n + k]).sum::<f64>();
            let a: Vec<f64> = (0..n * n).map(|at| product(at / n, at % n) + f64::from(u8::from(at / n == at % n))).collect();
            let b = &values[..n];
            let (mut factored, mut x) = (a.clone(), b.to_vec());
            solve_positive_definite(&mut factored, &mut x);
            for i in 0..n {
                let got: f64 = (0..n).map(|j| a[i * n + j] * x[j]).sum();
                proptest::prop_assert!((got - b[i]).abs() < 1e-9, "{got} {}", b[i]);
            }
        }

        #[test]
        fn products_match_the_definition(values in proptest::collection::vec(-10i8..10, 40..400), n_cols in 1usize..40) {
            let n_rows = values.len() / n_cols;
            let data: Vec<f32> = values[..n_rows * n_cols].iter().map(|&x| f32::from(x)).collect();
            let matrix = Matrix { data: &data, n_cols };
            let got = products(matrix, matrix);
            for i in 0..n_rows {
                for j in 0..n_rows {
                    let want: f32 = matrix.row(i).iter().zip(matrix.row(j)).map(|(x, y)| x * y).sum();
                    proptest::prop_assert_eq!(got[i * n_rows + j], want);
                }
            }
        }
    }
}
