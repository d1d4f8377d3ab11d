//! Metrics of degenerate rows: none, one, constant ones. A metric is a finite number or absent, and never panics. Values that
//! scikit-learn defines are in `golden.rs`.

use std::collections::BTreeMap;

use mbm_algo::Matrix;
use mbm_algo::metric::{
    CHANCE, CLASSIFICATION, ClassificationSamples, Metric, MultiLabelSamples, REGRESSION, RETRIEVAL, RegressionSamples,
    RetrievalSamples, SETS, SampleWeights, TEXTS, TeacherForcing, TextSamples, WordCut, bleu, confusion_matrix, evaluate,
    pr_curve, ranks, reliability, roc_curve,
};
use proptest::prelude::*;

fn values<S>(metrics: &[Metric<S>], scored: &S) -> BTreeMap<&'static str, f64> {
    let found: BTreeMap<_, _> = evaluate(metrics, scored).into_iter().collect();
    assert!(found.values().all(|value| value.is_finite()), "{found:?}");
    found
}

fn texts(rows: &[(&str, &[&str])]) -> TextSamples {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    TextSamples {
        hypotheses: rows.iter().map(|(text, _)| (*text).to_owned()).collect(),
        references: rows.iter().map(|(_, references)| owned(references)).collect(),
        ..TextSamples::default()
    }
}

#[test]
fn no_metric_is_defined_without_rows() {
    for n in 0..4 {
        assert!(
            values(CLASSIFICATION, &ClassificationSamples { n_classes: n, ..ClassificationSamples::default() }).is_empty(),
            "{n} classes"
        );
        assert!(values(SETS, &MultiLabelSamples { n_labels: n, ..MultiLabelSamples::default() }).is_empty(), "{n} labels");
        let retrieved = RetrievalSamples { ranks: Vec::new(), n_candidates: n };
        assert!(values(RETRIEVAL, &retrieved).is_empty() && values(CHANCE, &retrieved).is_empty(), "{n} candidates");
    }
    assert!(values(REGRESSION, &RegressionSamples::default()).is_empty());
    for words in [WordCut::Mteval13a, WordCut::Zh, WordCut::Char] {
        assert!(values(TEXTS, &TextSamples { words, ..TextSamples::default() }).is_empty(), "{}", words.name());
    }
}

#[test]
fn curves_and_counts_without_rows_are_empty() {
    let none = ClassificationSamples { n_classes: 2, ..ClassificationSamples::default() };
    assert_eq!((confusion_matrix(&none), reliability(&none)), (vec![0; 4], Vec::new()));
    let same = SampleWeights::default();
    assert_eq!((roc_curve(&[], &[], &same), pr_curve(&[], &[], &same)), (None, None));
    assert_eq!((ranks(&[], &same), bleu(&TextSamples::default())), (Vec::new(), None));
}

#[test]
fn curves_of_a_single_class_are_undefined() {
    let (scores, same) = ([0.2, 0.8], SampleWeights::default());
    assert_eq!((roc_curve(&scores, &[true; 2], &same), roc_curve(&scores, &[false; 2], &same)), (None, None));
    assert_eq!(pr_curve(&scores, &[false; 2], &same), None);
    assert_eq!(pr_curve(&scores, &[true; 2], &same), Some(vec![(0.5, 1.0), (1.0, 1.0)]));
}

#[test]
fn constant_targets_leave_only_errors_defined() {
    // The mean of three times 0.1 is not 0.1 in double precision.
    let found = values(
        REGRESSION,
        &RegressionSamples { truth: vec![0.1; 3], predicted: vec![0.1, 0.2, 0.3], ..RegressionSamples::default() },
    );
    let names: Vec<&str> = found.into_keys().collect();
    let errors = ["mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error", "root_mean_squared_error"];
    assert_eq!(names, errors);
}

#[test]
fn queries_without_relevant_candidates_are_left_out() {
    let with = RetrievalSamples { ranks: vec![vec![], vec![2, 3], vec![]], n_candidates: 4 };
    let without = RetrievalSamples { ranks: vec![vec![2, 3]], n_candidates: 4 };
    assert_eq!(values(RETRIEVAL, &with), values(RETRIEVAL, &without));
    assert_eq!(values(CHANCE, &with), values(CHANCE, &without));
    let none = Matrix { data: &[], n_cols: 2 };
    let no_candidates = RetrievalSamples::new(Matrix { data: &[1.0, 0.0], n_cols: 2 }, none, &[vec![]]);
    assert!(values(RETRIEVAL, &no_candidates).is_empty() && values(CHANCE, &no_candidates).is_empty());
}

#[test]
fn equal_candidates_give_the_worst_ranks() {
    let data = [1f32, 0.0].repeat(4);
    let constant = Matrix { data: &data, n_cols: 2 };
    let found = values(RETRIEVAL, &RetrievalSamples::new(constant, constant, &[vec![0], vec![1], vec![2], vec![3]]));
    assert_eq!((found["recall_at_1"], found["median_rank"], found["mean_rank"], found["mrr"]), (0.0, 4.0, 4.0, 0.25));
}

#[test]
fn one_correct_text_has_the_best_scores() {
    let found = values(TEXTS, &texts(&[("one two three four five", &["one two three four five"])]));
    for (name, want) in [
        ("bleu", 100.0),
        ("chrf", 100.0),
        ("chrf_plus_plus", 100.0),
        ("ter", 0.0),
        ("rouge_1", 1.0),
        ("rouge_2", 1.0),
        ("rouge_l", 1.0),
        // One chunk of five words costs half the cube of a fifth.
        ("meteor", 1.0 - 0.5 / 125.0),
        ("wer", 0.0),
        ("cer", 0.0),
        ("exact_match", 1.0),
    ] {
        assert!((found[name] - want).abs() < 1e-9, "{name}: {} is not {want}", found[name]);
    }
    // One row has no rare words, and nothing is known of the model's own probabilities.
    assert!(["cider_d", "token_accuracy", "perplexity"].iter().all(|name| !found.contains_key(name)), "{found:?}");
}

#[test]
fn empty_texts_have_the_worst_scores() {
    let found = values(TEXTS, &texts(&[("", &["one two three"]), ("", &["four"])]));
    for (name, value) in found {
        // Each of the four words is inserted.
        let want = match name {
            "ter" => 100.0,
            "wer" | "cer" => 1.0,
            _ => 0.0,
        };
        assert_eq!(value, want, "{name}");
    }
}

#[test]
fn empty_references_leave_error_rates_undefined() {
    let found = values(TEXTS, &texts(&[("one two", &[""]), ("", &["", ""])]));
    assert!(!found.contains_key("wer") && !found.contains_key("cer"), "{found:?}");
    assert_eq!((found["ter"], found["bleu"], found["chrf"], found["exact_match"]), (100.0, 0.0, 0.0, 0.5));
}

#[test]
fn teacher_forcing_without_texts_has_its_own_metrics() {
    let forced = TeacherForcing { cross_entropy: 2.0 * 3f64.ln(), n_tokens: 2.0, n_right: 1.0 };
    let found = values(TEXTS, &TextSamples { forced, ..TextSamples::default() });
    assert_eq!((found.len(), found["token_accuracy"]), (2, 0.5));
    assert!((found["perplexity"] - 3.0).abs() < 1e-12, "{found:?}");
}

/// Up to six rows of one to four classes, with probabilities that tie.
fn classified() -> impl Strategy<Value = ClassificationSamples> {
    (1usize..5, 0usize..7).prop_flat_map(|(n_classes, n_rows)| {
        let truth = prop::collection::vec(0..n_classes, n_rows);
        let weights = prop::collection::vec(1u8..4, n_rows * n_classes);
        (truth, weights).prop_map(move |(truth, weights)| {
            let row = |row: &[u8]| {
                let sum: u8 = row.iter().sum();
                row.iter().map(|weight| f32::from(*weight) / f32::from(sum)).collect::<Vec<_>>()
            };
            let probabilities = weights.chunks(n_classes).flat_map(row).collect();
            ClassificationSamples { truth, probabilities, n_classes, weights: SampleWeights::default() }
        })
    })
}

/// Up to six rows of one to three labels.
fn labelled() -> impl Strategy<Value = MultiLabelSamples> {
    (1usize..4, 0usize..7).prop_flat_map(|(n_labels, n_rows)| {
        let rows = prop::collection::vec((any::<bool>(), 0u8..5), n_rows * n_labels);
        rows.prop_map(move |rows| {
            let (truth, quarters): (Vec<bool>, Vec<u8>) = rows.into_iter().unzip();
            let probabilities = quarters.into_iter().map(|it| f32::from(it) / 4.0).collect();
            MultiLabelSamples { truth, probabilities, n_labels, weights: SampleWeights::default() }
        })
    })
}

fn number() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![-7.0, 0.0, 0.1, 0.3, 1.0, 1e6])
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", " ", ".", "a", "a b", "a b a b c", "running runs.", "狗 x"]).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn metrics_of_few_rows_are_finite_or_absent(
        classified in classified(),
        labelled in labelled(),
        numbers in prop::collection::vec((number(), number()), 0..6),
        texts in prop::collection::vec((text(), prop::collection::vec(text(), 1..3)), 0..4),
        relevant in prop::collection::vec(prop::collection::btree_set(1usize..7, 0..4), 0..5),
    ) {
        values(CLASSIFICATION, &classified);
        values(SETS, &labelled);
        let (truth, predicted): (Vec<f64>, Vec<f64>) = numbers.into_iter().unzip();
        values(REGRESSION, &RegressionSamples { truth, predicted, ..RegressionSamples::default() });
        let (hypotheses, references): (Vec<String>, Vec<Vec<String>>) = texts.into_iter().unzip();
        values(TEXTS, &TextSamples { hypotheses, references, ..TextSamples::default() });
        let ranks: Vec<Vec<usize>> = relevant.into_iter().map(|ranks| ranks.into_iter().collect::<Vec<_>>()).collect();
        let retrieved = RetrievalSamples { ranks, n_candidates: 6 };
        values(RETRIEVAL, &retrieved);
        values(CHANCE, &retrieved);
    }
}
