//! Truncated singular value decomposition: the directions along which rows vary most, for latent semantic analysis of sparse
//! texts.

use mbm_kernels::{Matrix as Strided, add_product};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::AlgoError;
use crate::eigen::eigen;
use crate::linear::{Rows, Transposed, scores};

/// The leading right singular vectors of rows, which are not centered (`TruncatedSVD` of scikit-learn).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruncatedSvd {
    /// Number of columns of a row.
    pub n_cols: usize,
    /// The singular values, descending, `[n_components]`.
    pub singular_values: Vec<f32>,
    /// The right singular vectors as columns, `[n_cols, n_components]`; the largest value of each is positive.
    pub components: Vec<f32>,
}

/// Number of directions that are searched in addition to those that are kept (Halko et al. 2011).
const OVERSAMPLING: usize = 10;
/// Number of multiplications with `A' A` that sharpen the directions.
const N_ITERATIONS: usize = 5;
/// Number of rows per part.
const PART: usize = 256;
/// Number of sums that are computed side by side.
const SLABS: usize = 8;
/// A direction that is shorter than this share after subtracting those before it is a combination of them.
const DEPENDENT: f64 = 1e-5;

impl TruncatedSvd {
    /// Finds up to `n_components` singular vectors of rows `A` by randomized subspace iteration (Halko, Martinsson and Tropp
    /// 2011, "Finding Structure with Randomness", algorithms 4.4 and 5.1); fewer, if the rank is lower. The result does not
    /// depend on the number of threads.
    ///
    /// # Errors
    /// If there are no rows, or a value is not finite.
    pub fn fit(rows: Rows, n_components: usize, rng: &mut ChaCha8Rng) -> Result<Self, AlgoError> {
        rows.check(rows.n_rows())?;
        let (n_rows, n_cols) = (rows.n_rows(), rows.n_cols());
        let width = (n_components + OVERSAMPLING).min(n_rows).min(n_cols);
        let transposed = Transposed::new(rows);
        let mut directions = Basis { values: normal_numbers(n_cols * width, rng), width };
        for _ in 0..N_ITERATIONS {
            let of_rows = directions.images(rows).orthonormalized();
            directions = of_rows.images_of_transposed(&transposed, n_cols).orthonormalized();
        }
        let of_rows = directions.images(rows).orthonormalized();
        let projected = of_rows.images_of_transposed(&transposed, n_cols); // [n_cols, width]
        Ok(projected.decompose(n_cols, n_components))
    }

    /// Returns the number of components.
    pub fn n_components(&self) -> usize {
        self.singular_values.len()
    }

    /// Whether the decomposition is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks
    /// deserialized ones.
    pub fn suits(&self, n_cols: usize) -> bool {
        self.n_cols == n_cols && n_cols.checked_mul(self.n_components()) == Some(self.components.len())
    }

    /// Projects rows onto the components, `[n_rows, n_components]`.
    ///
    /// # Panics
    /// If the rows do not have `n_cols` columns.
    pub fn transform(&self, rows: Rows) -> Vec<f32> {
        match self.n_components() {
            0 => Vec::new(),
            n_components => scores(rows, &self.components, &vec![0.0; n_components]),
        }
    }
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn normal_numbers(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let pair = |_| {
        let (radius, angle) = ((-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(), std::f64::consts::TAU * rng.random::<f64>());
        [radius * angle.cos(), radius * angle.sin()]
    };
    (0..n.div_ceil(2)).flat_map(pair).take(n).collect()
}

/// Vectors as columns, `[n, width]`.
struct Basis {
    values: Vec<f64>,
    width: usize,
}

impl Basis {
    /// Returns the products with the rows, `[n_rows, width]`.
    fn images(&self, rows: Rows) -> Self {
        if self.width == 0 {
            return Self { values: Vec::new(), width: 0 };
        }
        let images = scores(rows, &single(&self.values), &vec![0.0; self.width]);
        Self { values: images.into_iter().map(f64::from).collect(), width: self.width }
    }

    /// Returns the products with the transposed rows, `[n_cols, width]`.
    fn images_of_transposed(&self, transposed: &Transposed, n_cols: usize) -> Self {
        let mut values = vec![0.0; n_cols * self.width];
        if self.width > 0 {
            transposed.product(&single(&self.values), self.width, &mut values);
        }
        Self { values, width: self.width }
    }

    /// Returns an orthonormal basis of the same space, without the vectors that are combinations of others.
    fn orthonormalized(self) -> Self {
        // Once leaves an error of the square of the condition number; twice is exact (Yamamoto et al. 2015, "Roundoff error
        // analysis of the CholeskyQR2 algorithm").
        let once = self.divided_by_triangle();
        once.divided_by_triangle()
    }

    /// Returns `Y L^-T`, whose columns are orthonormal, with `L L' = Y' Y`.
    fn divided_by_triangle(&self) -> Self {
        let width = self.width;
        let (inverse, is_kept) = inverse_triangle(self.gram(), width);
        let kept: Vec<usize> = (0..width).filter(|column| is_kept[*column]).collect();
        let factors: Vec<f64> =
            (0..width).flat_map(|row| kept.iter().map(move |column| column * width + row)).map(|at| inverse[at]).collect();
        self.times(&factors, kept.len())
    }

    /// Returns the product with `[width, n_columns]`.
    fn times(&self, factors: &[f64], n_columns: usize) -> Self {
        let mut values = vec![0.0; self.values.len() / self.width.max(1) * n_columns];
        if n_columns > 0 {
            let parts = values.par_chunks_mut(PART * n_columns).zip(self.values.par_chunks(PART * self.width));
            parts.for_each(|(out, part)| {
                let part = Strided::rows(part, [out.len() / n_columns, self.width]);
                add_product(out, n_columns, part, Strided::rows(factors, [self.width, n_columns]));
            });
        }
        Self { values, width: n_columns }
    }

    /// Returns the inner products of the vectors, `[width, width]`.
    fn gram(&self) -> Vec<f64> {
        let mut gram = vec![0.0; self.width * self.width];
        if self.values.is_empty() {
            return gram;
        }
        let n_rows = (self.values.len() / self.width).div_ceil(SLABS);
        let product = |slab: &[f64]| {
            let mut sum = vec![0.0; self.width * self.width];
            let slab = Strided::rows(slab, [slab.len() / self.width, self.width]);
            add_product(&mut sum, self.width, slab.transposed(), slab);
            sum
        };
        let sums: Vec<Vec<f64>> = self.values.par_chunks(n_rows * self.width).map(product).collect();
        sums.iter().for_each(|sum| gram.iter_mut().zip(sum).for_each(|(total, value)| *total += value));
        gram
    }

    /// Returns the decomposition of `Q' A`, whose transpose this is, `[n_cols, width]`.
    fn decompose(&self, n_cols: usize, n_components: usize) -> TruncatedSvd {
        let (squares, vectors) = eigen(self.gram(), self.width);
        let largest = squares.first().copied().unwrap_or(0.0);
        let kept = squares.iter().take(n_components).take_while(|square| **square > largest * DEPENDENT * DEPENDENT);
        let singular_values: Vec<f64> = kept.map(|square| square.sqrt()).collect();
        let n_components = singular_values.len();
        let factor = |row: usize, component: usize| vectors[component * self.width + row] / singular_values[component];
        let factors: Vec<f64> = (0..self.width)
            .flat_map(|row| (0..n_components).map(move |component| (row, component)))
            .map(|(r, c)| factor(r, c))
            .collect();
        let mut components = self.times(&factors, n_components).values;
        make_largest_positive(&mut components, n_components);
        TruncatedSvd { n_cols, singular_values: single(&singular_values), components: single(&components) }
    }
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

/// Changes the sign of each column so that its largest value is positive.
fn make_largest_positive(values: &mut [f64], width: usize) {
    let mut largest = vec![0f64; width];
    for row in values.chunks_exact(width.max(1)) {
        largest.iter_mut().zip(row).filter(|(top, value)| value.abs() > top.abs()).for_each(|(top, value)| *top = *value);
    }
    for row in values.chunks_exact_mut(width.max(1)) {
        row.iter_mut().zip(&largest).for_each(|(value, top)| *value *= top.signum());
    }
}

/// Returns `L^-1` of a positive semidefinite matrix `L L'`, and which rows are independent of those before them.
fn inverse_triangle(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<bool>) {
    let mut inverse = vec![0.0; n * n];
    let mut is_kept = vec![false; n];
    for row in 0..n {
        let full = matrix[row * n + row];
        for column in 0..row {
            let known: f64 = (0..column).map(|k| matrix[row * n + k] * matrix[column * n + k]).sum();
            let pivot = matrix[column * n + column];
            matrix[row * n + column] = if is_kept[column] { (matrix[row * n + column] - known) / pivot } else { 0.0 };
        }
        let rest = full - (0..row).map(|k| matrix[row * n + k].powi(2)).sum::<f64>();
        is_kept[row] = rest > full * DEPENDENT * DEPENDENT;
        if !is_kept[row] {
            continue;
        }
        let pivot = rest.sqrt();
        matrix[row * n + row] = pivot;
        for column in 0..row {
            let sum: f64 = (column..row).map(|k| matrix[row * n + k] * inverse[k * n + column]).sum();
            inverse[row * n + column] = -sum / pivot;
        }
        inverse[row * n + row] = 1.0 / pivot;
    }
    (inverse, is_kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;
    use crate::{Matrix, SparseRows};

    fn fit(rows: Rows, n_components: usize) -> TruncatedSvd {
        TruncatedSvd::fit(rows, n_components, &mut ChaCha8Rng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn a_diagonal_matrix_has_its_diagonal_as_singular_values() {
        let mut rows = SparseRows::new(4);
        [3.0, 0.0, 7.0, 2.0].iter().enumerate().for_each(|(at, value)| rows.push_row([(at as u32, *value)]));
        let svd = fit((&rows).into(), 2);
        assert!((svd.singular_values[0] - 7.0).abs() < 1e-5 && (svd.singular_values[1] - 3.0).abs() < 1e-5, "{svd:?}");
        let projected = svd.transform((&rows).into());
        let want = [0.0, 3.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0];
        assert!(projected.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{projected:?}");
        assert!(svd.suits(4) && !svd.suits(3));
    }

    #[test]
    fn there_are_no_more_components_than_the_rank() {
        let data: Vec<f32> = (0..60).map(|at| (1 + at / 6) as f32 * (at % 6) as f32).collect();
        let svd = fit(Matrix { data: &data, n_cols: 6 }.into(), 4);
        assert_eq!(svd.n_components(), 1);
        let zeros = fit(Matrix { data: &[0.0; 6], n_cols: 2 }.into(), 2);
        assert_eq!((zeros.n_components(), zeros.transform(Matrix { data: &[1.0, 2.0], n_cols: 2 }.into())), (0, vec![]));
        let mut empty = SparseRows::new(0);
        empty.push_row([]);
        assert_eq!(fit((&empty).into(), 2).n_components(), 0);
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_components() {
        let data: Vec<f32> = (0..9000).map(|at| ((at * at) as f32 * 0.7).sin()).collect();
        let fitted = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| fit(Matrix { data: &data, n_cols: 9 }.into(), 4))
        };
        assert_eq!(fitted(1), fitted(3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn all_components_reproduce_the_rows(n_rows in 1usize..12, n_cols in 1usize..12, values in prop::collection::vec(-1f32..1.0, 144)) {
            let x = Matrix { data: &values[..n_rows * n_cols], n_cols };
            let svd = fit(x.into(), n_cols);
            let k = svd.n_components();
            let projected = svd.transform(x.into());
            for (at, value) in x.data.iter().enumerate() {
                let (row, column) = (at / n_cols, at % n_cols);
                let found: f32 = (0..k).map(|it| projected[row * k + it] * svd.components[column * k + it]).sum();
                prop_assert!((found - value).abs() < 1e-3, "{found} is not {value}");
            }
        }
    }
}
