//! Householder reflections: what turns a symmetric matrix into tridiagonal form, and their product. `tridiagonal` tests them.

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

/// Number of reflections that are applied as one product.
pub(super) const BLOCK: usize = 32;
/// Number of rows of the product that are computed together.
const TILE: usize = 64;
/// Number of values from which on several threads multiply.
const MIN_VALUES: usize = 1 << 16;
/// Number of parts of a product.
const MAX_BANDS: usize = 16;

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

    /// Returns the inner product with the vector of a later reflection.
    fn overlap(&self, later: &Reflection) -> f64 {
        dot(&self.v[self.v.len() - later.v.len()..], &later.v)
    }
}

/// Consecutive reflections of a matrix from both sides, `A - V W' - W V'`, which is computed only when they are complete
/// (Dongarra, Sorensen and Hammarling 1989, "Block reduction of matrices to condensed forms").
#[derive(Default)]
pub(super) struct Panel {
    /// Pairs of columns of `V` and `W`; index 0 is the first row of the panel.
    pairs: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Panel {
    /// Applies the reflections to the last values of a column, of which `at` is the index in the panel.
    pub fn apply_to_column(&self, column: &mut [f64], at: usize) {
        for (v, w) in &self.pairs {
            let rows = v[at..].iter().zip(&w[at..]);
            column.iter_mut().zip(rows).for_each(|(x, (v_row, w_row))| *x -= v_row * w[at] + w_row * v[at]);
        }
    }

    /// Adds the reflection of the rows and columns after `at`, given the upper triangle of the matrix `[n, n]` before the panel.
    pub fn push(&mut self, rows: &[f64], n: usize, at: usize, reflection: &Reflection) {
        let (v, beta) = (&reflection.v, reflection.beta);
        let mut w = products(&rows[(at + 1) * n..], n, v);
        for (v_before, w_before) in &self.pairs {
            let (v_before, w_before) = (&v_before[at + 1..], &w_before[at + 1..]);
            let (by_v, by_w) = (dot(w_before, v), dot(v_before, v));
            w.iter_mut().zip(v_before.iter().zip(w_before)).for_each(|(w, (v, own))| *w -= by_v * v + by_w * own);
        }
        let half = beta / 2.0 * dot(&w, v);
        w.iter_mut().zip(v).for_each(|(w, v)| *w = beta * (*w - half * v));
        let padded = |values: &[f64]| [&vec![0.0; at + 1], values].concat();
        self.pairs.push((padded(v), padded(&w)));
    }

    /// Applies the reflections to the upper triangle of the rows of the matrix `[n, n]` that come after the panel.
    pub fn apply(&self, rows: &mut [f64], n: usize) {
        let (width, n_left) = (2 * self.pairs.len(), rows.len() / n);
        if n_left == 0 {
            return;
        }
        let skipped = self.pairs[0].0.len() - n_left;
        let vw = self.pairs.iter().flat_map(|(v, w)| [v, w]).flat_map(|column| column[skipped..].iter().map(|value| -value));
        let wv = self.pairs.iter().flat_map(|(v, w)| [w, v]).flat_map(|column| &column[skipped..]).copied();
        let (left, right) = (vw.collect::<Vec<f64>>(), wv.collect::<Vec<f64>>()); // [width, n_left]
        rows.par_chunks_mut(TILE * n).enumerate().for_each(|(tile, rows)| {
            let first = tile * TILE;
            let left = Strided::strided(&left[first..], [width, rows.len() / n], n_left).transposed();
            let right = Strided::strided(&right[first..], [width, n_left - first], n_left);
            add_product(&mut rows[n - n_left + first..], n, left, right);
        });
    }
}

/// Returns the product of the last rows and columns of a symmetric matrix, of `n` columns and given by its upper triangle, with
/// `v`.
fn products(rows: &[f64], n: usize, v: &[f64]) -> Vec<f64> {
    let size = v.len();
    let n_bands = if size * size < MIN_VALUES { 1 } else { MAX_BANDS };
    // Bands of equal area, each with sums of its own.
    let bound = |band: usize| size - (size as f64 * (1.0 - band as f64 / n_bands as f64).sqrt()) as usize;
    let of_band = |band: usize| {
        let first = bound(band);
        let mut sums = vec![0.0; size - first];
        for row in first..bound(band + 1) {
            let values = &rows[row * n + n - size + row..(row + 1) * n];
            let below = &mut sums[row - first..];
            below[0] += values[0] * v[row];
            let (own, others) = below.split_at_mut(1);
            own[0] += multiply_both(&values[1..], &v[row + 1..], v[row], others);
        }
        sums
    };
    let bands: Vec<Vec<f64>> = (0..n_bands).into_par_iter().map(of_band).collect();
    let mut total = vec![0.0; size];
    for sums in bands {
        total[size - sums.len()..].iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    total
}

/// Returns the inner product of `values` and `v`, and adds `factor` times `values` to `sums`.
fn multiply_both(values: &[f64], v: &[f64], factor: f64, sums: &mut [f64]) -> f64 {
    let ((values, values_tail), (v, v_tail), (sums, sums_tail)) =
        (values.as_chunks::<8>(), v.as_chunks::<8>(), sums.as_chunks_mut::<8>());
    let mut products = [0.0; 8];
    for ((x, v), sum) in values.iter().zip(v).zip(sums) {
        for lane in 0..8 {
            products[lane] += x[lane] * v[lane];
            sum[lane] += factor * x[lane];
        }
    }
    sums_tail.iter_mut().zip(values_tail).for_each(|(sum, x)| *sum += factor * x);
    products.iter().sum::<f64>() + values_tail.iter().zip(v_tail).map(|(x, v)| x * v).sum::<f64>()
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
