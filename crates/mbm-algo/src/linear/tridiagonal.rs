//! Symmetric matrices in tridiagonal form, `A = Q T Q'` with orthogonal `Q` (Householder; Golub and Van Loan 2013, section 8.3.1), which
//! solves `(A + shift I) x = b` for many shifts in linear time each. Unlike the eigenvalues, it takes no iterations.

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

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

/// Number of reflections that are applied as one product.
const BLOCK: usize = 32;
/// Number of rows of the basis that are computed together.
const TILE: usize = 64;
/// Number of quadratic forms that are computed side by side.
const LANES: usize = 8;
/// Number of values that a thread updates at least.
const MIN_UPDATES: usize = 1 << 14;

impl Tridiagonal {
    /// Reduces a symmetric matrix `[n, n]`.
    pub fn reduce(mut matrix: Vec<f64>, n: usize) -> Self {
        let (mut diagonal, mut off_diagonal, mut reflections) = (Vec::new(), Vec::new(), Vec::new());
        let mut pending = Update { v: vec![0.0; n], w: vec![0.0; n] };
        for k in 0..n {
            let mut column = matrix[k * n + k..(k + 1) * n].to_vec(); // [n - k]
            pending.apply_to_row(&mut column, pending.v[0], pending.w[0]);
            diagonal.push(column[0]);
            if k + 1 == n {
                break;
            }
            let reflection = Reflection::new(&column[1..]);
            off_diagonal.push(reflection.length);
            let products = pending.apply(&mut matrix[(k + 1) * n..], n, k + 1, &reflection.v);
            pending = reflection.update(products);
            reflections.push(reflection);
        }
        Self { diagonal, off_diagonal, basis: basis(&reflections, n) }
    }

    /// Returns `Q' b`, `[n, n_columns]`.
    pub fn to_basis(&self, b: &[f64], n_columns: usize) -> Vec<f64> {
        self.product(Strided::rows(&self.basis, [self.diagonal.len(); 2]).transposed(), b, n_columns)
    }

    /// Returns `Q b`, `[n, n_columns]`.
    pub fn from_basis(&self, b: &[f64], n_columns: usize) -> Vec<f64> {
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

/// A Householder reflection `I - beta v v'`, which maps a vector to a multiple of the first unit vector.
struct Reflection {
    v: Vec<f64>,
    beta: f64,
    /// The multiple.
    length: f64,
}

impl Reflection {
    fn new(x: &[f64]) -> Self {
        let norm = x.iter().map(|value| value * value).sum::<f64>().sqrt();
        if x.len() == 1 || norm == 0.0 {
            return Self { v: vec![0.0; x.len()], beta: 0.0, length: x[0] };
        }
        let length = -norm.copysign(x[0]);
        let mut v = x.to_vec();
        v[0] -= length;
        Self { beta: 1.0 / (norm * (norm + x[0].abs())), v, length }
    }

    /// Returns the change of the matrix `A` by the reflection from both sides, given the products `A v`.
    fn update(&self, mut products: Vec<f64>) -> Update {
        let overlap: f64 = products.iter().zip(&self.v).map(|(p, v)| p * v).sum();
        let half = self.beta / 2.0 * overlap;
        products.iter_mut().zip(&self.v).for_each(|(p, v)| *p = self.beta * (*p - half * v));
        Update { v: self.v.clone(), w: products }
    }
}

/// The change `A - v w' - w v'` of a matrix, which is applied together with the next product, in one pass over memory.
struct Update {
    v: Vec<f64>,
    w: Vec<f64>,
}

impl Update {
    fn apply_to_row(&self, row: &mut [f64], v: f64, w: f64) {
        let skipped = self.v.len() - row.len();
        let columns = self.v[skipped..].iter().zip(&self.w[skipped..]);
        row.iter_mut().zip(columns).for_each(|(x, (v_column, w_column))| *x -= v * w_column + w * v_column);
    }

    /// Applies the change to rows `first..n` of a matrix `[n, n]` and returns the products of the rows with `next`, `[n - first]`.
    fn apply(&self, rows: &mut [f64], n: usize, first: usize, next: &[f64]) -> Vec<f64> {
        let mut products = vec![0.0; next.len()];
        let n_rows = (MIN_UPDATES / next.len()).max(1);
        let parts = rows.par_chunks_mut(n_rows * n).zip(products.par_chunks_mut(n_rows)).enumerate();
        parts.for_each(|(part, (rows, products))| {
            for (at, (row, product)) in rows.chunks_exact_mut(n).zip(products).enumerate() {
                let (row, at) = (&mut row[first..], part * n_rows + at + 1);
                self.apply_to_row(row, self.v[at], self.w[at]);
                *product = dot(row, next);
            }
        });
        products
    }
}

/// Computes an inner product with eight running sums, so that the compiler can use wide registers.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_tail) = a.as_chunks::<8>();
    let (b_chunks, b_tail) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    sums.iter().sum::<f64>() + a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum::<f64>()
}

/// Consecutive reflections as one product, `I + v t v'` (the compact WY representation, Schreiber and Van Loan 1989).
struct Block {
    /// `[n - first, width]`
    v: Vec<f64>,
    /// `[width, width]`
    t: Vec<f64>,
    /// Index of the first coordinate that changes.
    first: usize,
    width: usize,
}

impl Block {
    /// Joins reflections; reflection `k` changes the coordinates from `k + 1` on.
    fn new(reflections: &[Reflection], first: usize) -> Self {
        let (width, n_rows) = (reflections.len(), reflections[0].v.len());
        let mut v = vec![0.0; n_rows * width];
        for (column, reflection) in reflections.iter().enumerate() {
            reflection.v.iter().enumerate().for_each(|(row, value)| v[(row + column) * width + column] = *value);
        }
        let mut t = vec![0.0; width * width];
        for (column, reflection) in reflections.iter().enumerate() {
            let overlaps: Vec<f64> = (0..column).map(|before| reflections[before].overlap(reflection)).collect();
            for row in 0..column {
                let sum: f64 = (row..column).map(|k| t[row * width + k] * overlaps[k]).sum();
                t[row * width + column] = -reflection.beta * sum;
            }
            t[column * width + column] = -reflection.beta;
        }
        Self { v, t, first, width }
    }

    /// Multiplies the rows of a matrix `[n_rows, n]` by the product of the reflections, from the right.
    fn multiply(&self, rows: &mut [f64], n: usize) {
        let (n_rows, n_changed) = (rows.len() / n, n - self.first);
        let v = Strided::rows(&self.v, [n_changed, self.width]);
        let (mut projected, mut turned) = (vec![0.0; n_rows * self.width], vec![0.0; n_rows * self.width]);
        let shape = [n_rows, self.width];
        add_product(&mut projected, self.width, Strided::strided(&rows[self.first..], [n_rows, n_changed], n), v);
        add_product(&mut turned, self.width, Strided::rows(&projected, shape), Strided::rows(&self.t, [self.width; 2]));
        add_product(&mut rows[self.first..], n, Strided::rows(&turned, shape), v.transposed());
    }
}

impl Reflection {
    /// Returns the inner product with the vector of a later reflection.
    fn overlap(&self, later: &Reflection) -> f64 {
        dot(&self.v[self.v.len() - later.v.len()..], &later.v)
    }
}

/// Returns the product of all reflections, `[n, n]`.
fn basis(reflections: &[Reflection], n: usize) -> Vec<f64> {
    let blocks: Vec<Block> = reflections.chunks(BLOCK).enumerate().map(|(block, it)| Block::new(it, block * BLOCK + 1)).collect();
    let mut basis = vec![0.0; n * n];
    basis.par_chunks_mut(TILE * n).enumerate().for_each(|(tile, rows)| {
        rows.chunks_exact_mut(n).enumerate().for_each(|(row, values)| values[tile * TILE + row] = 1.0);
        blocks.iter().for_each(|block| block.multiply(rows, n));
    });
    basis
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
