//! Logistic regression with an L2 penalty: class probabilities from a linear map.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cross_entropy::{CrossEntropy, n_scores, sigmoid};
use super::{Linear, Rows, Stopping};
use crate::AlgoError;

/// Rows with their classes: what a classifier is fitted on.
#[derive(Debug, Clone, Copy)]
pub struct ClassifiedRows<'a> {
    /// The rows.
    pub rows: Rows<'a>,
    /// The class of each row, below `n_classes`.
    pub classes: &'a [usize],
    /// Number of classes.
    pub n_classes: usize,
    /// The weight of each row; `None` weighs all equally.
    pub sample_weights: Option<&'a [f32]>,
}

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// Number of classes.
    pub n_classes: usize,
    /// One output per class; for two classes a single output, the log-odds of the second class.
    pub linear: Linear,
}

impl Default for Stopping {
    /// The defaults of scikit-learn's `LogisticRegression`.
    fn default() -> Self {
        Self { tolerance: 1e-4, max_iterations: 100 }
    }
}

impl Logistic {
    /// Minimizes `c * sum(weight * cross-entropy) + 1/2 |W|^2`, with intercepts that are not penalized, by L-BFGS (the
    /// objective of scikit-learn's `LogisticRegression`). As there, the tolerance refers to the gradient of the objective
    /// divided by `c * sum(weight)`. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// If the numbers of rows and classes differ, there are no rows, a feature is not finite, a sample weight is negative or
    /// not finite, or all rows belong to one class.
    ///
    /// # Panics
    /// If a class is not below `n_classes`.
    pub fn fit(data: ClassifiedRows, c: f64, stopping: Stopping) -> Result<Self, AlgoError> {
        let objective = CrossEntropy::new(data)?;
        let solution = objective.minimize(objective.start(), c, stopping);
        Ok(objective.model(&solution))
    }

    /// Fits one model per value of `C`, each started from the solution of the one before; ascending values take the fewest steps.
    ///
    /// # Errors
    /// As [`Logistic::fit`].
    pub fn fit_path(data: ClassifiedRows, cs: &[f64], stopping: Stopping) -> Result<Vec<Self>, AlgoError> {
        let objective = CrossEntropy::new(data)?;
        let mut solution = objective.start();
        let fit = |c: &f64| {
            solution = objective.minimize(std::mem::take(&mut solution), *c, stopping);
            objective.model(&solution)
        };
        Ok(cs.iter().map(fit).collect())
    }

    /// Whether the model is consistent with rows of `n_cols` columns and `n_classes` classes, as one fitted on such rows is;
    /// checks deserialized models.
    pub fn suits(&self, n_cols: usize, n_classes: usize) -> bool {
        self.n_classes == n_classes && n_classes >= 2 && self.linear.suits(n_cols, n_scores(n_classes))
    }

    /// Returns the class probabilities of each row, `[n_rows, n_classes]`.
    pub fn probabilities(&self, rows: Rows) -> Vec<f32> {
        let mut scores = self.linear.predict(rows);
        if self.n_classes == 2 {
            return scores.iter().map(|score| sigmoid(f64::from(*score)) as f32).flat_map(|p| [1.0 - p, p]).collect();
        }
        scores.par_chunks_mut(self.n_classes).for_each(softmax);
        scores
    }
}

/// Replaces scores by probabilities.
fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - top).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Matrix, SparseRows};

    const TIGHT: Stopping = Stopping { tolerance: 1e-7, max_iterations: 2000 };

    fn data<'a>(rows: impl Into<Rows<'a>>, classes: &'a [usize], n_classes: usize) -> ClassifiedRows<'a> {
        ClassifiedRows { rows: rows.into(), classes, n_classes, sample_weights: None }
    }

    #[test]
    fn a_constant_column_gives_the_frequencies_of_the_classes() {
        let classes = [0, 0, 1, 2, 2, 2];
        let x = Matrix { data: &[0.0; 6], n_cols: 1 };
        let model = Logistic::fit(data(x, &classes, 3), 1.0, TIGHT).unwrap();
        let p = model.probabilities(Matrix { data: &[0.0], n_cols: 1 }.into());
        // The start has half a row more per class; the minimum does not.
        let want = [2.0 / 6.0, 1.0 / 6.0, 3.0 / 6.0];
        assert!(p.iter().zip(want).all(|(p, want)| (p - want).abs() < 1e-4), "{p:?}");
    }

    #[test]
    fn a_class_without_rows_is_improbable() {
        let x = Matrix { data: &[-1.0, -2.0, 1.0, 2.0], n_cols: 1 };
        let model = Logistic::fit(data(x, &[0, 0, 2, 2], 4), 1.0, Stopping::default()).unwrap();
        let p = model.probabilities(x.into());
        assert!(p.chunks(4).all(|p| p[1] < 0.1 && p[3] < 0.1), "{p:?}");
        assert!(p[0] > 0.5 && p[14] > 0.5, "{p:?}");
    }

    #[test]
    fn mistakes_in_the_input_are_errors() {
        let x = Matrix { data: &[1.0, 2.0], n_cols: 1 };
        let fit = |data| Logistic::fit(data, 1.0, Stopping::default()).unwrap_err();
        assert_eq!(fit(data(x, &[1, 1], 2)), AlgoError::OneClass { rows: 2 });
        assert_eq!(fit(data(x, &[1], 2)), AlgoError::Shape { rows: 2, targets: 1 });
        let negative = ClassifiedRows { sample_weights: Some(&[1.0, -2.0]), ..data(x, &[0, 1], 2) };
        assert_eq!(fit(negative), AlgoError::SampleWeight { row: 1, weight: -2.0 });
        assert_eq!(fit(data(Matrix { data: &[1.0, f32::NAN], n_cols: 1 }, &[0, 1], 2)), AlgoError::NotFinite { row: 1 });
    }

    #[test]
    fn no_columns_give_the_frequencies_of_the_classes() {
        let mut rows = SparseRows::new(0);
        (0..4).for_each(|_| rows.push_row([]));
        let p = Logistic::fit(data(&rows, &[0, 1, 1, 1], 2), 1.0, TIGHT).unwrap().probabilities((&rows).into());
        assert!(p.chunks(2).all(|p| (p[1] - 0.75).abs() < 1e-4), "{p:?}");
    }

    #[test]
    fn huge_values_leave_a_finite_model() {
        let x = Matrix { data: &[1e38, -1e38, 3e38, 1.0], n_cols: 1 };
        let model = Logistic::fit(data(x, &[0, 1, 2, 1], 3), 1.0, TIGHT).unwrap();
        assert!(model.linear.weights.iter().chain(&model.linear.intercepts).all(|value| value.is_finite()), "{model:?}");
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_model() {
        let values: Vec<f32> = (0..3000).map(|at| (at as f32 * 0.71).sin()).collect();
        let x = Matrix { data: &values, n_cols: 3 };
        let classes: Vec<usize> = (0..1000).map(|row| (row * row + row / 7) % 3).collect();
        let fit = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| Logistic::fit(data(x, &classes, 3), 10.0, TIGHT).unwrap())
        };
        assert_eq!(fit(1), fit(4));
    }

    #[test]
    fn a_model_survives_serialization_and_knows_its_shape() {
        let x = Matrix { data: &[-1.0, 1.0, -2.0, 3.0], n_cols: 1 };
        let model = Logistic::fit(data(x, &[0, 1, 0, 1], 2), 1.0, Stopping::default()).unwrap();
        let stored = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Logistic>(&stored).unwrap(), model);
        assert!(model.suits(1, 2) && !model.suits(2, 2) && !model.suits(1, 3));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sparse_and_dense_columns_give_the_same_model(
            values in prop::collection::vec(prop::sample::select(vec![0f32, 0.0, 1.0, -0.5]), 16..120),
            n_cols in 1usize..4, n_classes in 2usize..5,
        ) {
            let n_rows = values.len() / n_cols;
            let x = Matrix { data: &values[..n_rows * n_cols], n_cols };
            let classes: Vec<usize> = (0..n_rows).map(|row| row % n_classes).collect();
            prop_assume!(n_rows > n_classes);
            let mut sparse = SparseRows::new(n_cols);
            for row in 0..n_rows {
                sparse.push_row(x.row(row).iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(column, v)| (column as u32, *v)));
            }
            let of_dense = Logistic::fit(data(x, &classes, n_classes), 1.0, TIGHT).unwrap().probabilities(x.into());
            let of_sparse = Logistic::fit(data(&sparse, &classes, n_classes), 1.0, TIGHT).unwrap().probabilities(x.into());
            prop_assert!(of_dense.iter().zip(&of_sparse).all(|(a, b)| (a - b).abs() < 1e-4));
            prop_assert!(of_dense.chunks(n_classes).all(|p| (p.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        }

        #[test]
        fn a_weight_of_two_equals_a_repeated_row(values in prop::collection::vec(-2f32..2.0, 8..40), c in 0.01f64..10.0) {
            let n = values.len();
            let classes: Vec<usize> = (0..n).map(|row| (row % 3 == 0).into()).collect();
            let weights: Vec<f32> = (0..n).map(|row| if row < n / 2 { 2.0 } else { 1.0 }).collect();
            let x = Matrix { data: &values, n_cols: 1 };
            let weighted = ClassifiedRows { sample_weights: Some(&weights), ..data(x, &classes, 2) };
            let repeated = [&values[..], &values[..n / 2]].concat();
            let twice = [&classes[..], &classes[..n / 2]].concat();
            let models = [
                Logistic::fit(weighted, c, TIGHT).unwrap(),
                Logistic::fit(data(Matrix { data: &repeated, n_cols: 1 }, &twice, 2), c, TIGHT).unwrap(),
            ];
            let [a, b] = models.map(|model| model.probabilities(x.into()));
            prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3));
        }

        #[test]
        fn a_path_ends_where_single_fits_end(values in prop::collection::vec(-2f32..2.0, 12..60)) {
            let n = values.len() / 2;
            let classes: Vec<usize> = (0..n).map(|row| row % 3).collect();
            let x = Matrix { data: &values[..2 * n], n_cols: 2 };
            let cs = [0.01, 1.0, 10.0];
            let path = Logistic::fit_path(data(x, &classes, 3), &cs, TIGHT).unwrap();
            for (c, model) in cs.iter().zip(path) {
                let own = Logistic::fit(data(x, &classes, 3), *c, TIGHT).unwrap();
                let (a, b) = (model.probabilities(x.into()), own.probabilities(x.into()));
                prop_assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3), "C {c}");
            }
        }
    }
}
