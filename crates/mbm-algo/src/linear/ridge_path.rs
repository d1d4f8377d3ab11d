//! Ridge regression for several penalties at once, with exact leave-one-out predictions where they can be afforded.

use super::centered::Centered;
use super::conjugate_gradients::solve;
use super::tridiagonal::Tridiagonal;
use super::{Linear, Rows};
use crate::sample_weights::weights_or_ones;
use crate::{AlgoError, Matrix};

/// Rows with one or more numbers each: what ridge regression is fitted on.
#[derive(Debug, Clone, Copy)]
pub struct NumberedRows<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// The numbers to predict, `[n_rows, n_targets]`.
    pub targets: Matrix<'a>,
    /// The weight of each row; `None` weighs all equally.
    pub sample_weights: Option<&'a [f32]>,
}

/// Ridge regression prepared for any penalty, with the leave-one-out predictions of some.
pub struct RidgePath<'a> {
    pub(super) a: Centered<'a>,
    /// The weighted mean of each target.
    pub(super) target_means: Vec<f64>,
    /// The targets minus their means, times the square roots of the weights, `[n_rows, n_targets]`.
    pub(super) targets: Vec<f64>,
    pub(super) n_targets: usize,
    pub(super) form: Form,
    /// For each penalty, the prediction of each row by the model fitted on the others, `[n_rows, n_targets]`; `None` if there
    /// are too many rows and columns.
    pub leave_one_out: Option<Vec<Vec<f32>>>,
}

/// How the normal equations are solved.
pub(super) enum Form {
    /// `A'A + alpha I`, in tridiagonal form.
    Covariance { reduced: Tridiagonal },
    /// `A A' + alpha I`, in tridiagonal form.
    Gram { reduced: Tridiagonal },
    /// By conjugate gradients.
    Iterative,
}

/// Size of the largest matrix that is decomposed.
const MAX_DECOMPOSED: usize = 2048;
/// Most multiplications for computing that matrix; about five seconds on two cores.
const MAX_MULTIPLICATIONS: f64 = 1e11;
impl<'a> RidgePath<'a> {
    /// Prepares the minimization of `sum(weight * |y - xW - b|^2) + alpha |W|^2`, whose intercepts are not penalized
    /// (scikit-learn's `Ridge`), and computes the exact leave-one-out predictions for each of the `alphas` (its `RidgeCV`;
    /// Rifkin and Lippert 2007, "Notes on Regularized Least Squares").
    ///
    /// The latter needs the smaller of the numbers of rows and columns to be at most 2,048, and at most `1e11` multiplications
    /// (values times that number). Otherwise models are found by conjugate gradients, and there are no leave-one-out
    /// predictions.
    ///
    /// # Errors
    /// If the numbers of rows and targets differ, there are no rows, a feature or target is not finite, or a sample weight is
    /// negative or not finite.
    ///
    /// # Panics
    /// If an alpha is not positive.
    pub fn new(data: NumberedRows<'a>, alphas: &[f64]) -> Result<Self, AlgoError> {
        let NumberedRows { rows, targets, sample_weights } = data;
        rows.check(targets.n_rows())?;
        targets.check(rows.n_rows())?;
        let weights = weights_or_ones(sample_weights, rows.n_rows())?;
        let a = Centered::new(rows, &weights);
        let of_targets = Centered::new(targets.into(), &weights);
        let n_targets = targets.n_cols;
        let identity: Vec<f64> = (0..n_targets * n_targets).map(|at| f64::from(u8::from(at % (n_targets + 1) == 0))).collect();
        let centered = of_targets.times(&identity, n_targets);
        let form = Form::new(&a);
        let mut path = Self { a, target_means: of_targets.means, targets: centered, n_targets, form, leave_one_out: None };
        path.leave_one_out = path.leave_one_out(alphas);
        Ok(path)
    }

    /// Returns the model for one penalty, which need not be one of those given before.
    ///
    /// # Panics
    /// If alpha is not positive.
    pub fn model(&self, alpha: f64) -> Linear {
        let weights = self.weights(alpha);
        let mut intercepts = self.target_means.clone();
        for (weights, mean) in weights.chunks_exact(self.n_targets).zip(&self.a.means) {
            intercepts.iter_mut().zip(weights).for_each(|(intercept, weight)| *intercept -= mean * weight);
        }
        let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        Linear { n_cols: self.a.n_cols(), n_outputs: self.n_targets, weights: single(&weights), intercepts: single(&intercepts) }
    }

    /// Returns `W` for one penalty, `[n_cols, n_targets]`.
    fn weights(&self, alpha: f64) -> Vec<f64> {
        assert!(alpha > 0.0, "alpha {alpha} is not positive");
        match &self.form {
            Form::Covariance { reduced } => {
                let moments = self.a.transposed_times(&self.targets, self.n_targets);
                reduced.basis_times(&self.solve(reduced, alpha, &moments), self.n_targets)
            }
            Form::Gram { reduced } => {
                let of_rows = reduced.basis_times(&self.solve(reduced, alpha, &self.targets), self.n_targets);
                self.a.transposed_times(&of_rows, self.n_targets)
            }
            Form::Iterative => solve(&self.a, &self.targets, self.n_targets, alpha),
        }
    }

    /// Returns `(T + alpha I)^-1 Q' b`.
    pub(super) fn solve(&self, reduced: &Tridiagonal, alpha: f64, b: &[f64]) -> Vec<f64> {
        let mut solution = reduced.transposed_basis_times(b, self.n_targets);
        reduced.shifted(alpha).solve(&mut solution, self.n_targets);
        solution
    }
}

impl Form {
    fn new(a: &Centered) -> Self {
        let (n_rows, n_cols) = (a.n_rows(), a.n_cols());
        let size = n_rows.min(n_cols);
        if size == 0 || size > MAX_DECOMPOSED || a.rows.n_values() as f64 * size as f64 > MAX_MULTIPLICATIONS {
            return Self::Iterative;
        }
        if n_cols <= n_rows {
            Self::Covariance { reduced: Tridiagonal::reduce(a.covariance(), n_cols) }
        } else {
            Self::Gram { reduced: Tridiagonal::reduce(a.gram(), n_rows) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Ridge, SparseRows};

    fn data<'a>(rows: impl Into<Rows<'a>>, targets: &'a [f32], n_targets: usize) -> NumberedRows<'a> {
        NumberedRows { rows: rows.into(), targets: Matrix { data: targets, n_cols: n_targets }, sample_weights: None }
    }

    fn number(at: usize) -> f32 {
        ((at * at) as f32 * 0.37 + at as f32).sin()
    }

    /// The prediction of each row by a model that is fitted without it, computed by fitting it.
    fn left_out(x: Matrix, y: &[f32], weights: &[f32], alpha: f64) -> Vec<f32> {
        let left_out = |row: usize| {
            let others: Vec<usize> = (0..y.len()).filter(|other| *other != row).collect();
            let rows = x.select(&others);
            let targets: Vec<f32> = others.iter().map(|&other| y[other]).collect();
            let weights: Vec<f32> = others.iter().map(|&other| weights[other]).collect();
            let others =
                NumberedRows { sample_weights: Some(&weights), ..data(Matrix { data: &rows, n_cols: x.n_cols }, &targets, 1) };
            RidgePath::new(others, &[]).unwrap().model(alpha).predict(Matrix { data: x.row(row), n_cols: x.n_cols }.into())[0]
        };
        (0..y.len()).map(left_out).collect()
    }

    #[test]
    fn no_columns_leave_the_mean() {
        let mut rows = SparseRows::new(0);
        rows.push_row([]);
        rows.push_row([]);
        let path = RidgePath::new(data(&rows, &[1.0, 3.0], 1), &[1.0]).unwrap();
        assert_eq!((path.model(1.0).predict((&rows).into()), path.leave_one_out), (vec![2.0; 2], None));
    }

    #[test]
    fn one_row_predicts_its_target() {
        let x = Matrix { data: &[1.0, 2.0], n_cols: 2 };
        let path = RidgePath::new(data(x, &[5.0], 1), &[1.0]).unwrap();
        assert_eq!(path.model(1.0).predict(x.into()), [5.0]);
        assert!(path.leave_one_out.unwrap()[0][0].is_finite());
    }

    #[test]
    fn mistakes_in_the_input_are_errors() {
        let x = Matrix { data: &[1.0, 2.0], n_cols: 1 };
        let error = |data| RidgePath::new(data, &[1.0]).err();
        assert_eq!(error(data(x, &[1.0], 1)), Some(AlgoError::Shape { rows: 2, targets: 1 }));
        assert_eq!(error(data(x, &[1.0, f32::NAN], 1)), Some(AlgoError::NotFinite { row: 1 }));
        let weighted = NumberedRows { sample_weights: Some(&[0.0, 0.0]), ..data(x, &[1.0, 2.0], 1) };
        assert_eq!(error(weighted), Some(AlgoError::SampleWeight { row: 0, weight: 0.0 }));
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_result() {
        let values: Vec<f32> = (0..700 * 300).map(number).collect();
        let targets: Vec<f32> = (0..700).map(|at| number(at + 11)).collect();
        let fit = |n_threads: usize, n_rows: usize| {
            let x = Matrix { data: &values[..n_rows * 300], n_cols: 300 };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let path = RidgePath::new(data(x, &targets[..n_rows], 1), &[1.0]).unwrap();
                (path.model(0.5), path.leave_one_out)
            })
        };
        for n_rows in [700, 280] {
            assert_eq!(fit(1, n_rows), fit(3, n_rows), "{n_rows} rows");
        }
    }

    #[test]
    fn conjugate_gradients_find_the_exact_solution() {
        let (n_rows, n_cols) = (300, 40);
        let values: Vec<f32> = (0..n_rows * n_cols).map(number).collect();
        let targets: Vec<f32> = (0..n_rows * 3).map(|at| number(at + 11)).collect();
        let x = Matrix { data: &values, n_cols };
        let mut path = RidgePath::new(data(x, &targets, 3), &[1.0]).unwrap();
        let exact = path.model(1.0).predict(x.into());
        path.form = Form::Iterative;
        let found = path.model(1.0).predict(x.into());
        assert!(path.leave_one_out(&[1.0]).is_none());
        assert!(exact.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn leave_one_out_predictions_are_those_of_refitted_models(n_rows in 4usize..14, n_cols in 1usize..20, alpha in 0.1f64..10.0) {
            let values: Vec<f32> = (0..n_rows * n_cols).map(number).collect();
            let targets: Vec<f32> = (0..n_rows).map(|at| number(at + 5)).collect();
            // One row has no weight: it is predicted like any other row that is left out.
            let weights: Vec<f32> = (0..n_rows).map(|row| if row == 3 { 0.0 } else { [1.0, 2.0, 0.5][row % 3] }).collect();
            let x = Matrix { data: &values, n_cols };
            let weighted = NumberedRows { sample_weights: Some(&weights), ..data(x, &targets, 1) };
            let found = RidgePath::new(weighted, &[alpha]).unwrap().leave_one_out.unwrap();
            let want = left_out(x, &targets, &weights, alpha);
            prop_assert!(found[0].iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-3), "{:?} is not {want:?}", found[0]);
        }

        #[test]
        fn dense_and_sparse_columns_give_the_model_of_ridge(n_rows in 3usize..40, n_cols in 1usize..50, alpha in 0.1f64..10.0) {
            let values: Vec<f32> = (0..n_rows * n_cols).map(|at| if at % 3 == 0 { 0.0 } else { number(at) }).collect();
            let targets: Vec<f32> = (0..n_rows).map(|at| number(at + 5)).collect();
            let x = Matrix { data: &values, n_cols };
            let ridge = Ridge::fit(x, &targets, None, alpha).unwrap();
            let want: Vec<f32> = (0..n_rows).map(|row| ridge.predict(x.row(row))).collect();
            let n_dense = n_cols / 2;
            let dense: Vec<f32> = (0..n_rows).flat_map(|row| x.row(row)[..n_dense].to_vec()).collect();
            let mut sparse = SparseRows::new(n_cols - n_dense);
            for row in 0..n_rows {
                let values = x.row(row)[n_dense..].iter().enumerate();
                sparse.push_row(values.filter(|(_, value)| **value != 0.0).map(|(column, value)| (column as u32, *value)));
            }
            let dense = (n_dense > 0).then_some(Matrix { data: &dense, n_cols: n_dense });
            for rows in [Rows::from(x), Rows { dense, sparse: Some(&sparse) }] {
                let found = RidgePath::new(data(rows, &targets, 1), &[]).unwrap().model(alpha).predict(rows);
                prop_assert!(found.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} is not {want:?}");
            }
        }
    }
}
