//! Metrics and machines against scikit-learn's values on stored cases; `golden.py` made them.
#![allow(clippy::unwrap_used)]

use mbm_algo::metric::{
    CLASSIFICATION, Classified, Metric, MultiLabelled, REGRESSION, Regressed, SETS, TEXTS, TextSamples, WordCut, bleu,
};
use mbm_algo::svm::{Gamma, Svc, SvcOptions, Svr, SvrOptions};
use mbm_algo::{Matrix, Ridge};
use serde_json::Value;

fn stored(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
}

fn singles(value: &Value) -> Vec<f32> {
    floats(value).into_iter().map(|it| it as f32).collect()
}

fn integers(value: &Value) -> Vec<usize> {
    floats(value).into_iter().map(|it| it as usize).collect()
}

fn compare<S>(metrics: &[Metric<S>], scored: &S, want: &Value) {
    assert_eq!(metrics.len(), want.as_object().unwrap().len(), "every metric has a stored value");
    for metric in metrics {
        let (got, want) = ((metric.score)(scored).unwrap(), want[metric.name].as_f64().unwrap());
        assert!((got - want).abs() < 1e-7, "{}: {got} is not {want}", metric.name);
    }
}

#[test]
fn metrics_of_classes_are_those_of_scikit_learn() {
    for case in stored("metrics.json")["classified"].as_array().unwrap() {
        let n_classes = case["n_classes"].as_u64().unwrap() as usize;
        let scored = Classified { truth: integers(&case["truth"]), probabilities: singles(&case["probabilities"]), n_classes };
        compare(CLASSIFICATION, &scored, &case["want"]);
    }
}

#[test]
fn metrics_of_numbers_are_those_of_scikit_learn() {
    for case in stored("metrics.json")["regressed"].as_array().unwrap() {
        let scored = Regressed { truth: floats(&case["truth"]), predicted: floats(&case["predicted"]) };
        compare(REGRESSION, &scored, &case["want"]);
    }
}

#[test]
fn metrics_of_texts_are_those_of_their_reference_implementations() {
    for case in stored("texts.json")["cases"].as_array().unwrap() {
        let words = [WordCut::Mteval13a, WordCut::Zh, WordCut::Char].into_iter().find(|it| it.name() == case["words"]).unwrap();
        let written = TextSamples {
            hypotheses: serde_json::from_value(case["hypotheses"].clone()).unwrap(),
            references: serde_json::from_value(case["references"].clone()).unwrap(),
            words,
            ..TextSamples::default()
        };
        // Token accuracy and perplexity are the model's own; nobody else can count them.
        let metrics: Vec<&Metric<TextSamples>> =
            TEXTS.iter().filter(|it| !["token_accuracy", "perplexity"].contains(&it.name)).collect();
        assert_eq!(metrics.len(), case["want"].as_object().unwrap().len());
        for metric in metrics {
            let (got, want) = ((metric.score)(&written).unwrap(), case["want"][metric.name].as_f64().unwrap());
            assert!((got - want).abs() < 1e-6, "{} of {}: {got} is not {want}", metric.name, words.name());
        }
        let signature = case["signature"].as_str().unwrap().rsplit_once(':').unwrap().0;
        assert_eq!(bleu(&written).unwrap().signature.rsplit_once(':').unwrap().0, signature);
    }
}

#[test]
fn metrics_of_sets_are_those_of_scikit_learn() {
    for case in stored("metrics.json")["labelled"].as_array().unwrap() {
        let truth = case["truth"].as_array().unwrap().iter().map(|it| it.as_bool().unwrap()).collect();
        let n_labels = case["n_labels"].as_u64().unwrap() as usize;
        let scored = MultiLabelled { truth, probabilities: singles(&case["probabilities"]), n_labels };
        compare(SETS, &scored, &case["want"]);
    }
}

#[test]
fn metrics_without_rows_are_undefined_and_do_not_panic() {
    assert!(CLASSIFICATION.iter().all(|metric| (metric.score)(&Classified { n_classes: 3, ..Classified::default() }).is_none()));
    assert!(REGRESSION.iter().all(|metric| (metric.score)(&Regressed::default()).is_none()));
    let one_class = Classified { truth: vec![1, 1], probabilities: vec![0.2, 0.8, 0.4, 0.6], n_classes: 2 };
    let roc_auc = CLASSIFICATION.iter().find(|metric| metric.name == "roc_auc").unwrap();
    assert_eq!((roc_auc.score)(&one_class), None);
}

/// The largest difference; both solvers stop within 1e-6 of the optimum, which moves decision values by less than 1e-3.
fn worst(got: impl Iterator<Item = f32>, want: &Value) -> f64 {
    got.zip(floats(want)).map(|(got, want)| (f64::from(got) - want).abs()).fold(0.0, f64::max)
}

#[test]
fn machines_find_the_optimum_that_scikit_learn_finds() {
    let case = stored("machines.json");
    let n_cols = case["n_cols"].as_u64().unwrap() as usize;
    let (x, probe) = (singles(&case["x"]), singles(&case["probe"]));
    let (x, probe) = (Matrix { data: &x, n_cols }, Matrix { data: &probe, n_cols });
    let rows = || (0..probe.n_rows()).map(|row| probe.row(row));
    let svc =
        Svc::fit(x, &integers(&case["classes"]), 2, SvcOptions { c: 1.0, rbf: Some(Gamma::Scale), tolerance: 1e-6 }).unwrap();
    assert!(worst(rows().map(|row| svc.decisions(row)[0]), &case["svc_rbf"]) < 1e-3);
    let numbers = singles(&case["numbers"]);
    for (name, rbf) in [("svr_rbf", Some(Gamma::Scale)), ("svr_linear", None)] {
        let svr = Svr::fit(x, &numbers, SvrOptions { c: 1.0, epsilon: 0.1, rbf, tolerance: 1e-6 }).unwrap();
        assert!(worst(rows().map(|row| svr.predict(row)), &case[name]) < 1e-3, "{name}");
    }
    let ridge = Ridge::fit(x, &numbers, 2.0).unwrap();
    assert!(worst(rows().map(|row| ridge.predict(row)), &case["ridge"]) < 1e-5);
}
