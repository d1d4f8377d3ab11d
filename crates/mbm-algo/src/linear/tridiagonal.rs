//! Symmetric matrices in tridiagonal form, `A = Q T Q'` with orthogonal `Q` (Householder; Golub and Van Loan 2013, section
//! 8.3.1), which solves `(A + shift I) x = b` for many shifts in linear time each. Unlike the eigenvalues, it takes no
//! iterations.

use mbm_kernels::{Matrix as Strided, add_product};

use super::householder::{BLOCK, Panel, Reflection, product};

/// A symmetric matrix in tridiagonal form.
pub(super) struct Tridiagonal {
    /// The diagonal of `T`, `[n]`.
    diagonal: Vec<f64>,
    /// The values next to the diagonal, `[n - 1]`.
    off_diagonal: Vec<f64>,
    /// `Q`, `[n, n]`.
    pub basis: Vec<f64>,
}

/// The decomposition `T + shift I = L D L'`.
pub(super) struct Shifted {
    /// The values of `L` below its diagonal of ones, `[n - 1]`.
    factors: Vec<f64>,
    /// `D`, `[n]`.
    pivots: Vec<f64>,
}

/// Number of quadratic forms that are computed side by side.
const LANES: usize = 8;

impl Tridiagonal {
    /// Reduces a symmetric matrix `[n, n]`, of which the upper triangle is read.
    pub fn reduce(mut matrix: Vec<f64>, n: usize) -> Self {
        let (mut diagonal, mut off_diagonal, mut reflections) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..n).step_by(BLOCK) {
            let mut panel = Panel::default();
            let rows = &mut matrix[first * n..];
            for at in 0..BLOCK.min(n - first) {
                let mut column = rows[at * n + first + at..(at + 1) * n].to_vec(); // [n - first - at]
                panel.apply_to_column(&mut column, at);
                diagonal.push(column[0]);
                if column.len() == 1 {
                    break;
                }
                let reflection = Reflection::new(&column[1..]);
                off_diagonal.push(reflection.length);
                panel.push(rows, n, at, &reflection);
                reflections.push(reflection);
            }
            panel.apply(&mut rows[BLOCK.min(n - first) * n..], n);
        }
        Self { diagonal, off_diagonal, basis: product(&reflections, n) }
    }

    /// Returns `Q' b`, `[n, n_columns]`.
    pub fn transposed_basis_times(&self, b: &[f64], n_columns: usize) -> Vec<f64> {
        self.product(Strided::rows(&self.basis, [self.diagonal.len(); 2]).transposed(), b, n_columns)
    }

    /// Returns `Q b`, `[n, n_columns]`.
    pub fn basis_times(&self, b: &[f64], n_columns: usize) -> Vec<f64> {
        self.product(Strided::rows(&self.basis, [self.diagonal.len(); 2]), b, n_columns)
    }

    fn product(&self, left: Strided<f64>, b: &[f64], n_columns: usize) -> Vec<f64> {
        let mut out = vec![0.0; b.len()];
        add_product(&mut out, n_columns, left, Strided::rows(b, [self.diagonal.len(), n_columns]));
        out
    }

    /// Decomposes `T + shift I`. The matrix is expected to be positive semidefinite, and the shift positive.
    pub fn shifted(&self, shift: f64) -> Shifted {
        // Rounding may leave eigenvalues of zero slightly negative.
        let floor = f64::EPSILON * self.diagonal.iter().fold(f64::MIN_POSITIVE, |top, value| value.abs().max(top));
        let (mut factors, mut pivots) = (Vec::new(), vec![(self.diagonal[0] + shift).max(floor)]);
        for (value, off) in self.diagonal[1..].iter().zip(&self.off_diagonal) {
            let factor = off / pivots[pivots.len() - 1];
            pivots.push((value + shift - off * factor).max(floor));
            factors.push(factor);
        }
        Shifted { factors, pivots }
    }
}

impl Shifted {
    /// Replaces the columns of `b`, `[n, n_columns]`, by the solutions of `(T + shift I) x = b`.
    pub fn solve(&self, b: &mut [f64], n_columns: usize) {
        let n = self.pivots.len();
        for row in 1..n {
            let (before, own) = b.split_at_mut(row * n_columns);
            let before = &before[(row - 1) * n_columns..];
            own.iter_mut().zip(before).for_each(|(x, above)| *x -= self.factors[row - 1] * above);
        }
        b.chunks_exact_mut(n_columns).zip(&self.pivots).for_each(|(row, pivot)| row.iter_mut().for_each(|x| *x /= pivot));
        for row in (0..n - 1).rev() {
            let (own, below) = b.split_at_mut((row + 1) * n_columns);
            own[row * n_columns..].iter_mut().zip(below).for_each(|(x, below)| *x -= self.factors[row] * *below);
        }
    }

    /// Returns `b (T + shift I)^-1 b'` of each row `b` of a matrix, `[n_rows, n]`.
    pub fn inverse_forms(&self, rows: &[f64]) -> Vec<f64> {
        let n = self.pivots.len();
        let groups = rows.chunks_exact(LANES * n);
        let rest = groups.remainder().chunks_exact(n);
        groups.flat_map(|rows| self.forms::<LANES>(rows)).chain(rest.flat_map(|row| self.forms::<1>(row))).collect()
    }

    /// Computes several rows side by side, because each value depends on the one before.
    fn forms<const N: usize>(&self, rows: &[f64]) -> [f64; N] {
        let n = self.pivots.len();
        let mut x = std::array::from_fn(|lane| rows[lane * n]);
        let mut forms = x.map(|x: f64| x * x / self.pivots[0]);
        for at in 1..n {
            let (factor, inverse) = (self.factors[at - 1], 1.0 / self.pivots[at]);
            for lane in 0..N {
                x[lane] = rows[lane * n + at] - factor * x[lane];
                forms[lane] += x[lane] * x[lane] * inverse;
            }
        }
        forms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns `M M'` of a deterministic `M` `[n, rank]`.
    fn positive(n: usize, rank: usize) -> Vec<f64> {
        let m: Vec<f64> = (0..n * rank).map(|at| ((at * at) as f64 * 0.37 + at as f64).sin()).collect();
        let product = |i: usize, j: usize| (0..rank).map(|k| m[i * rank + k] * m[j * rank + k]).sum();
        (0..n * n).map(|at| product(at / n, at % n)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn solutions_and_forms_match_the_matrix(n in 1usize..90, rank in 1usize..90, shift in 0.1f64..10.0) {
            let matrix = positive(n, rank);
            let reduced = Tridiagonal::reduce(matrix.clone(), n);
            let q = &reduced.basis;
            let orthogonal = |i: usize, j: usize| (0..n).map(|k| q[i * n + k] * q[j * n + k]).sum::<f64>();
            for i in 0..n {
                prop_assert!((0..n).all(|j| (orthogonal(i, j) - f64::from(u8::from(i == j))).abs() < 1e-12));
            }
            let b: Vec<f64> = (0..n).map(|at| (at as f64).cos()).collect();
            let shifted = reduced.shifted(shift);
            let mut x: Vec<f64> = (0..n).flat_map(|k| [(0..n).map(|i| q[i * n + k] * b[i]).sum::<f64>(), 0.0]).collect();
            shifted.solve(&mut x, 2);
            let x: Vec<f64> = (0..n).map(|i| (0..n).map(|k| q[i * n + k] * x[2 * k]).sum()).collect();
            for i in 0..n {
                let got = (0..n).map(|j| matrix[i * n + j] * x[j]).sum::<f64>() + shift * x[i];
                prop_assert!((got - b[i]).abs() < 1e-9, "row {i}: {got} is not {}", b[i]);
            }
            // b' Q (T + shift)^-1 Q' b, of rows b' Q.
            let row: Vec<f64> = (0..n).map(|k| (0..n).map(|i| q[i * n + k] * b[i]).sum()).collect();
            let rows: Vec<f64> = row.iter().copied().cycle().take(11 * n).collect();
            let want: f64 = b.iter().zip(&x).map(|(b, x)| b * x).sum();
            let forms = shifted.inverse_forms(&rows);
            prop_assert_eq!(forms.len(), 11);
            prop_assert!(forms.iter().all(|form| (form - want).abs() < 1e-9 * want.max(1.0)));
        }
    }

    #[test]
    fn a_matrix_of_zeros_is_solved_by_the_shift() {
        let reduced = Tridiagonal::reduce(vec![0.0; 9], 3);
        let mut b = vec![1.0, 2.0, 3.0];
        reduced.shifted(2.0).solve(&mut b, 1);
        assert_eq!(b, [0.5, 1.0, 1.5]);
    }
}
