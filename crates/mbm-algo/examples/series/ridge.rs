//! A ridge classifier for few rows with many features, as scikit-learn's `RidgeClassifierCV(alphas=logspace(-3, 3, 10))`.

use mbm_algo::Matrix;
use rayon::prelude::*;

/// One linear model per class.
pub struct RidgeClassifier {
    classes: Vec<String>,
    /// `[classes, columns]`.
    weights: Vec<f32>,
    intercepts: Vec<f64>,
}

/// Divides features by their deviations on the training rows.
pub fn standardize(train: &mut [f32], test: &mut [f32], n_cols: usize) {
    let n_rows = (train.len() / n_cols) as f64;
    let mut sums = vec![(0f64, 0f64); n_cols];
    for row in train.chunks(n_cols) {
        for (sums, value) in sums.iter_mut().zip(row) {
            *sums = (sums.0 + f64::from(*value), sums.1 + f64::from(*value).powi(2));
        }
    }
    let deviation = |(sum, squares): &(f64, f64)| (squares / n_rows - (sum / n_rows).powi(2)).max(0.0).sqrt();
    let deviations: Vec<f64> = sums.iter().map(deviation).map(|it| if it > 1e-7 { it } else { 1.0 }).collect();
    for row in train.chunks_mut(n_cols).chain(test.chunks_mut(n_cols)) {
        row.iter_mut().zip(&deviations).for_each(|(value, deviation)| *value = (f64::from(*value) / deviation) as f32);
    }
}

impl RidgeClassifier {
    /// Fits one model per class to targets of 1 and -1, with the alpha whose squared leave-one-out error is the smallest.
    pub fn fit(x: Matrix, labels: &[String]) -> Self {
        let mut classes = labels.to_vec();
        classes.sort();
        classes.dedup();
        let (n, k) = (x.n_rows(), classes.len());
        let means = means(x);
        let centred: Vec<f32> =
            x.data.chunks(x.n_cols).flat_map(|row| row.iter().zip(&means).map(|(x, mean)| x - *mean as f32)).collect();
        let gram = gram(Matrix { data: &centred, n_cols: x.n_cols });
        let target = |row: usize, class: usize| if labels[row] == classes[class] { 1.0 } else { -1.0 };
        let target_means: Vec<f64> = (0..k).map(|class| (0..n).map(|row| target(row, class)).sum::<f64>() / n as f64).collect();
        // [classes, rows]
        let y: Vec<Vec<f64>> = (0..k).map(|class| (0..n).map(|row| target(row, class) - target_means[class]).collect()).collect();
        let fits: Vec<(f64, Vec<Vec<f64>>)> =
            (0..10).into_par_iter().map(|at| solve(&gram, &y, 10f64.powf(-3.0 + 6.0 * f64::from(at) / 9.0))).collect();
        let (_, dual) = fits.iter().fold(&fits[0], |best, fit| if fit.0 < best.0 { fit } else { best });
        let weights: Vec<f32> = dual.iter().flat_map(|dual| combined(dual, &centred, x.n_cols)).collect();
        let shift = |weights: &[f32]| weights.iter().zip(&means).map(|(w, mean)| f64::from(*w) * mean).sum::<f64>();
        let intercepts = weights.chunks(x.n_cols).zip(&target_means).map(|(weights, mean)| mean - shift(weights)).collect();
        Self { classes, weights, intercepts }
    }

    /// Returns the most probable class of each row.
    pub fn predict(&self, x: Matrix) -> Vec<&String> {
        (0..x.n_rows()).into_par_iter().map(|row| &self.classes[self.best(x.row(row))]).collect()
    }

    fn best(&self, row: &[f32]) -> usize {
        let score = |class: usize| {
            let weights = &self.weights[class * row.len()..(class + 1) * row.len()];
            dot(weights, row) + self.intercepts[class]
        };
        (0..self.classes.len()).max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap_or(0)
    }
}

fn means(x: Matrix) -> Vec<f64> {
    let mut means = vec![0f64; x.n_cols];
    for row in x.data.chunks(x.n_cols) {
        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += f64::from(*value) / x.n_rows() as f64);
    }
    means
}

/// Returns the inner products of all rows, `[rows, rows]`.
fn gram(x: Matrix) -> Vec<f64> {
    let n = x.n_rows();
    let mut gram = vec![0f64; n * n];
    let row_up_to_diagonal = |(i, row): (usize, &mut [f64])| (0..=i).for_each(|j| row[j] = dot(x.row(i), x.row(j)));
    gram.par_chunks_mut(n).enumerate().for_each(row_up_to_diagonal);
    gram
}

/// Returns the squared leave-one-out error and the dual weights `[classes, rows]` of one alpha.
fn solve(gram: &[f64], y: &[Vec<f64>], alpha: f64) -> (f64, Vec<Vec<f64>>) {
    let n = y[0].len();
    let factor = cholesky(gram, n, alpha);
    let inverse = inverse_of_lower(&factor, n);
    // The intercept is not penalized: without 1 / (alpha n) the constant vector has no part in the inverse.
    let diagonal: Vec<f64> =
        (0..n).map(|i| (i..n).map(|row| inverse[row * n + i].powi(2)).sum::<f64>() - 1.0 / (alpha * n as f64)).collect();
    let dual: Vec<Vec<f64>> = y.iter().map(|y| solve_by_inverse(&inverse, y)).collect();
    let error = |dual: &Vec<f64>| dual.iter().zip(&diagonal).map(|(dual, diagonal)| (dual / diagonal).powi(2)).sum::<f64>();
    (dual.iter().map(error).sum(), dual)
}

/// Returns the lower triangular factor of `gram + alpha`, `[n, n]`.
fn cholesky(gram: &[f64], n: usize, alpha: f64) -> Vec<f64> {
    let mut factor = gram.to_vec();
    for i in 0..n {
        let (above, row) = factor.split_at_mut(i * n);
        for j in 0..i {
            let known = inner(&row[..j], &above[j * n..j * n + j]);
            row[j] = (row[j] - known) / above[j * n + j];
        }
        row[i] = (row[i] + alpha - inner(&row[..i], &row[..i])).max(f64::MIN_POSITIVE).sqrt();
    }
    factor
}

/// Inverts a lower triangular matrix, `[n, n]`.
fn inverse_of_lower(factor: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0f64; n * n];
    for i in 0..n {
        let (above, row) = inverse.split_at_mut(i * n);
        let pivot = factor[i * n + i];
        for k in 0..i {
            let weight = factor[i * n + k] / pivot;
            row[..=k].iter_mut().zip(&above[k * n..=k * n + k]).for_each(|(value, known)| *value -= weight * known);
        }
        row[i] = 1.0 / pivot;
    }
    inverse
}

/// Returns `inverse' inverse y`.
fn solve_by_inverse(inverse: &[f64], y: &[f64]) -> Vec<f64> {
    let n = y.len();
    let mut solution = vec![0f64; n];
    for i in 0..n {
        let row = &inverse[i * n..=i * n + i];
        let weight = inner(row, &y[..=i]);
        solution.iter_mut().zip(row).for_each(|(value, factor)| *value += weight * factor);
    }
    solution
}

/// Returns the weights of the columns: the sum of the rows `[rows, n_cols]`, weighted.
fn combined(dual: &[f64], rows: &[f32], n_cols: usize) -> Vec<f32> {
    let mut weights = vec![0f64; n_cols];
    for (dual, row) in dual.iter().zip(rows.chunks(n_cols)) {
        weights.iter_mut().zip(row).for_each(|(weight, value)| *weight += dual * f64::from(*value));
    }
    weights.into_iter().map(|weight| weight as f32).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        (0..8).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + tail
}

/// Returns the inner product, in parts of 256 values in f32 and their sum in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let part = |(a, b): (&[f32], &[f32])| {
        let mut sums = [0f32; 16];
        for (a, b) in a.chunks(16).zip(b.chunks(16)) {
            sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
        }
        f64::from(sums.iter().sum::<f32>())
    };
    a.chunks(256).zip(b.chunks(256)).map(part).sum()
}
