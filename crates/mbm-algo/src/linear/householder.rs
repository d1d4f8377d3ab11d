//! Householder reflections: what turns a symmetric matrix into tridiagonal form, and their product. `tridiagonal` tests them.

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

/// Number of reflections that are applied as one product.
const BLOCK: usize = 32;
/// Number of rows of the product that are computed together.
const TILE: usize = 64;
/// Number of values that a thread updates at least.
const MIN_UPDATES: usize = 1 << 14;

/// A Householder reflection `I - beta v v'`, which maps a vector to a multiple of the first unit vector.
pub(super) struct Reflection {
    pub v: Vec<f64>,
    beta: f64,
    /// The multiple.
    pub length: f64,
}

impl Reflection {
    pub fn new(x: &[f64]) -> Self {
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
    pub fn update(&self, mut products: Vec<f64>) -> Update {
        let overlap: f64 = products.iter().zip(&self.v).map(|(p, v)| p * v).sum();
        let half = self.beta / 2.0 * overlap;
        products.iter_mut().zip(&self.v).for_each(|(p, v)| *p = self.beta * (*p - half * v));
        Update { v: self.v.clone(), w: products }
    }

    /// Returns the inner product with the vector of a later reflection.
    fn overlap(&self, later: &Reflection) -> f64 {
        dot(&self.v[self.v.len() - later.v.len()..], &later.v)
    }
}

/// The change `A - v w' - w v'` of a matrix, which is applied together with the next product, in one pass over memory.
pub(super) struct Update {
    v: Vec<f64>,
    w: Vec<f64>,
}

impl Update {
    /// Returns the change of nothing.
    pub fn none(n: usize) -> Self {
        Self { v: vec![0.0; n], w: vec![0.0; n] }
    }

    /// Applies the change to the last columns of the row with index `at`.
    pub fn apply_to_row(&self, row: &mut [f64], at: usize) {
        let (skipped, v, w) = (self.v.len() - row.len(), self.v[at], self.w[at]);
        let columns = self.v[skipped..].iter().zip(&self.w[skipped..]);
        row.iter_mut().zip(columns).for_each(|(x, (v_column, w_column))| *x -= v * w_column + w * v_column);
    }

    /// Applies the change to rows `first..n` of a matrix `[n, n]` and returns the products of the rows with `next`, `[n -
    /// first]`.
    pub fn apply(&self, rows: &mut [f64], n: usize, first: usize, next: &[f64]) -> Vec<f64> {
        let mut products = vec![0.0; next.len()];
        let n_rows = (MIN_UPDATES / next.len()).max(1);
        let parts = rows.par_chunks_mut(n_rows * n).zip(products.par_chunks_mut(n_rows)).enumerate();
        parts.for_each(|(part, (rows, products))| {
            for (at, (row, product)) in rows.chunks_exact_mut(n).zip(products).enumerate() {
                let row = &mut row[first..];
                self.apply_to_row(row, part * n_rows + at + 1);
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

/// Returns the product of all reflections, `[n, n]`.
pub(super) fn product(reflections: &[Reflection], n: usize) -> Vec<f64> {
    let blocks: Vec<Block> = reflections.chunks(BLOCK).enumerate().map(|(block, it)| Block::new(it, block * BLOCK + 1)).collect();
    let mut basis = vec![0.0; n * n];
    basis.par_chunks_mut(TILE * n).enumerate().for_each(|(tile, rows)| {
        rows.chunks_exact_mut(n).enumerate().for_each(|(row, values)| values[tile * TILE + row] = 1.0);
        blocks.iter().for_each(|block| block.multiply(rows, n));
    });
    basis
}
