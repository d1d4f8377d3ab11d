//! Weights count as repeated rows: a row of weight 3 as three rows, one of weight 0 not at all.
#![allow(clippy::unwrap_used)]

use mbm_algo::Matrix;
use mbm_algo::linear::{ClassifiedRows, Logistic, NumberedRows, RidgePath, Stopping};
use mbm_algo::metric::{
    CLASSIFICATION, ClassificationSamples, Metric, MultiLabelSamples, REGRESSION, RegressionSamples, SETS, SampleWeights,
};
use mbm_algo::tree::{
    Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Forest, ForestSettings, MaxFeatures, Objective,
};
use proptest::prelude::*;

/// Repeats each row of `n_values` values as often as its weight says.
fn repeated<T: Copy>(values: &[T], n_values: usize, weights: &[u8]) -> Vec<T> {
    values.chunks(n_values).zip(weights).flat_map(|(row, weight)| row.repeat(usize::from(*weight))).collect()
}

fn single(weights: &[u8]) -> Vec<f32> {
    weights.iter().map(|weight| f32::from(*weight)).collect()
}

fn sample_weights(weights: &[u8]) -> SampleWeights {
    Some(single(weights)).into()
}

fn same<S>(metrics: &[Metric<S>], weighted: &S, repeated: &S) {
    for metric in metrics {
        match ((metric.score)(weighted), (metric.score)(repeated)) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{}: {a} is not {b}", metric.name),
            (a, b) => assert_eq!(a, b, "{}", metric.name),
        }
    }
}

/// Returns columns, targets and weights of rows, the same for every seed.
fn rows(n: usize, n_cols: usize) -> (Vec<f32>, Vec<f32>, Vec<u8>) {
    let x: Vec<f32> = (0..n * n_cols).map(|at| ((at * 37 % 101) as f32 / 101.0 + at as f32 * 0.7).sin()).collect();
    let y = x.chunks(n_cols).enumerate().map(|(row, x)| x[0] * x[1] + x[0] + (row * 13 % 7) as f32 / 20.0).collect();
    (x, y, (0..n).map(|row| (row * 5 % 4) as u8).collect())
}

fn fit_with<T>(x: &[f32], n_cols: usize, y: &[f32], weights: &[f32], fit: impl Fn(&Examples) -> T) -> T {
    let binned = Binned::new(Matrix { data: x, n_cols }, &vec![ColumnKind::Number; n_cols]);
    let rows: Vec<u32> = (0..y.len() as u32).filter(|row| weights[*row as usize] > 0.0).collect();
    fit(&Examples { binned: &binned, targets: y, n_outputs: 1, weights, rows: &rows, validation: &[] })
}

proptest! {
    #[test]
    fn in_metrics_of_classes(rows in prop::collection::vec((0usize..3, [1u8..9, 1..9, 1..9], 0u8..4), 1..12)) {
        let truth: Vec<usize> = rows.iter().map(|row| row.0).collect();
        let probabilities: Vec<f32> = rows.iter().flat_map(|row| {
            let sum: u8 = row.1.iter().sum();
            row.1.map(|share| f32::from(share) / f32::from(sum))
        }).collect();
        let weights: Vec<u8> = rows.iter().map(|row| row.2).collect();
        let repeated = ClassificationSamples {
            truth: repeated(&truth, 1, &weights),
            probabilities: repeated(&probabilities, 3, &weights),
            n_classes: 3,
            weights: SampleWeights::default(),
        };
        same(CLASSIFICATION, &ClassificationSamples { truth, probabilities, n_classes: 3, weights: sample_weights(&weights) }, &repeated);
    }

    #[test]
    fn in_metrics_of_labels(rows in prop::collection::vec(([any::<bool>(), any::<bool>()], [0u8..5, 0..5], 1u8..4), 1..12)) {
        let truth: Vec<bool> = rows.iter().flat_map(|row| row.0).collect();
        let probabilities: Vec<f32> = rows.iter().flat_map(|row| row.1.map(|quarters| f32::from(quarters) / 4.0)).collect();
        let weights: Vec<u8> = rows.iter().map(|row| row.2).collect();
        let repeated = MultiLabelSamples {
            truth: repeated(&truth, 2, &weights),
            probabilities: repeated(&probabilities, 2, &weights),
            n_labels: 2,
            weights: SampleWeights::default(),
        };
        same(SETS, &MultiLabelSamples { truth, probabilities, n_labels: 2, weights: sample_weights(&weights) }, &repeated);
    }

    #[test]
    fn in_metrics_of_numbers(rows in prop::collection::vec((-9i8..9, -9i8..9, 0u8..4), 1..12)) {
        let truth: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
        let predicted: Vec<f64> = rows.iter().map(|row| f64::from(row.1)).collect();
        let weights: Vec<u8> = rows.iter().map(|row| row.2).collect();
        let repeated = RegressionSamples {
            truth: repeated(&truth, 1, &weights),
            predicted: repeated(&predicted, 1, &weights),
            weights: SampleWeights::default(),
        };
        same(REGRESSION, &RegressionSamples { truth, predicted, weights: sample_weights(&weights) }, &repeated);
    }
}

/// Fits a linear model to rows, targets and weights, and predicts.
type Fit<'a> = dyn Fn(Matrix, &[f32], Option<&[f32]>) -> Vec<f32> + 'a;

#[test]
fn in_linear_models() {
    let (x, y, weights) = rows(60, 3);
    let (x_repeated, y_repeated) = (repeated(&x, 3, &weights), repeated(&y, 1, &weights));
    let (x, x_repeated) = (Matrix { data: &x, n_cols: 3 }, Matrix { data: &x_repeated, n_cols: 3 });
    let sample_weights = single(&weights);
    let ridge = |x: Matrix, y: &[f32], sample_weights: Option<&[f32]>| {
        let data = NumberedRows { rows: x.into(), targets: Matrix { data: y, n_cols: 1 }, sample_weights };
        RidgePath::new(data, &[0.5]).unwrap().model(0.5).predict(x_repeated.into())
    };
    let logistic = |x: Matrix, y: &[f32], sample_weights: Option<&[f32]>| {
        let classes: Vec<usize> = y.iter().map(|y| usize::from(*y > 0.3)).collect();
        let data = ClassifiedRows { rows: x.into(), classes: &classes, n_classes: 2, sample_weights };
        let stopping = Stopping { tolerance: 1e-8, max_iterations: 10_000 };
        Logistic::fit(data, 2.0, stopping).unwrap().probabilities(x_repeated.into())
    };
    let models: [&Fit; 2] = [&ridge, &logistic];
    for fit in models {
        let (weighted, repeated) = (fit(x, &y, Some(&sample_weights)), fit(x_repeated, &y_repeated, None));
        assert!(weighted.iter().zip(&repeated).all(|(a, b)| (a - b).abs() < 1e-4), "{weighted:?} {repeated:?}");
    }
}

#[test]
fn in_trees() {
    let (x, y, weights) = rows(120, 2);
    let (x_repeated, y_repeated) = (repeated(&x, 2, &weights), repeated(&y, 1, &weights));
    // All columns are tried, and thresholds lie between the same bins; only the rows of leaves may not be limited, since they are counted.
    let settings = ForestSettings {
        n_trees: 3,
        min_rows: 1,
        max_features: MaxFeatures::Share(1.0),
        bootstrap: false,
        random_thresholds: false,
    };
    let forest = |examples: &Examples| Forest::fit(examples, &settings, 1, &|| true);
    let boosting = BoostingSettings { min_rows: 1, ..BoostingSettings::default() };
    let boosted = |examples: &Examples| BoostedTrees::fit(examples, Objective::Squared, &boosting, 1, &mut |_| true);
    let ones = vec![1.0; y_repeated.len()];
    let forests = [fit_with(&x, 2, &y, &single(&weights), forest), fit_with(&x_repeated, 2, &y_repeated, &ones, forest)];
    let trees = [fit_with(&x, 2, &y, &single(&weights), boosted), fit_with(&x_repeated, 2, &y_repeated, &ones, boosted)];
    for row in x_repeated.chunks(2) {
        let [a, b] = forests.each_ref().map(|forest| forest.predict(row)[0]);
        assert!((a - b).abs() < 1e-3, "forest: {a} is not {b}");
        let [a, b] = trees.each_ref().map(|trees| trees.predict(row)[0]);
        assert!((a - b).abs() < 1e-3, "boosted trees: {a} is not {b}");
    }
}
