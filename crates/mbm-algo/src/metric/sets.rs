//! Metrics of multilabel classification.

use super::classification::{Tally, macro_mean};
use super::{Metric, SampleWeights, average_precision, higher, lower, mean, roc_auc};

/// Rows with their true labels and predicted label probabilities.
#[derive(Debug, Clone, Default)]
pub struct MultiLabelSamples {
    /// `[rows, n_labels]`, row-major.
    pub truth: Vec<bool>,
    /// `[rows, n_labels]`, row-major.
    pub probabilities: Vec<f32>,
    /// Number of labels.
    pub n_labels: usize,
    /// The weight of each row.
    pub weights: SampleWeights,
}

metrics! {
    /// The metrics of a set output; a label is predicted if its probability is at least 0.5.
    pub SETS of MultiLabelSamples {
        higher "subset_accuracy" = |scored| over_rows(scored, |truth, predicted| f64::from(u8::from(truth == predicted)));
        higher "jaccard" = |scored| over_rows(scored, jaccard);
        higher "f1_macro" = |scored| (!scored.truth.is_empty()).then(|| macro_mean(&per_label(scored), Tally::f1));
        higher "f1_micro" = |scored| (!scored.truth.is_empty()).then(|| total(&per_label(scored)).f1());
        lower "hamming_loss" = |scored| over_rows(scored, share_of_errors);
        higher "roc_auc" = |scored| over_labels(scored, roc_auc);
        higher "pr_auc" = |scored| over_labels(scored, average_precision);
    }
}

impl MultiLabelSamples {
    fn rows(&self) -> impl Iterator<Item = (&[bool], Vec<bool>)> {
        let n = self.n_labels.max(1);
        self.truth
            .chunks(n)
            .zip(self.probabilities.chunks(n))
            .map(|(truth, row)| (truth, row.iter().map(|p| *p >= 0.5).collect()))
    }
}

/// Returns the mean of a value per row.
fn over_rows(scored: &MultiLabelSamples, value: fn(&[bool], &[bool]) -> f64) -> Option<f64> {
    scored.weights.mean(scored.rows().map(|(truth, predicted)| value(truth, &predicted)))
}

fn jaccard(truth: &[bool], predicted: &[bool]) -> f64 {
    let both = truth.iter().zip(predicted).filter(|(t, p)| **t && **p).count();
    let either = truth.iter().zip(predicted).filter(|(t, p)| **t || **p).count();
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

fn per_label(scored: &MultiLabelSamples) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); scored.n_labels];
    for (row_idx, (truth, predicted)) in scored.rows().enumerate() {
        let weight = scored.weights.of(row_idx);
        for (tally, (t, p)) in tallies.iter_mut().zip(truth.iter().zip(predicted)) {
            tally.actual += weight * f64::from(u8::from(*t));
            tally.predicted += weight * f64::from(u8::from(p));
            tally.hits += weight * f64::from(u8::from(*t && p));
        }
    }
    tallies
}

fn total(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |sum, tally| Tally {
        hits: sum.hits + tally.hits,
        predicted: sum.predicted + tally.predicted,
        actual: sum.actual + tally.actual,
    })
}

fn share_of_errors(truth: &[bool], predicted: &[bool]) -> f64 {
    truth.iter().zip(predicted).filter(|(t, p)| t != p).count() as f64 / truth.len() as f64
}

fn over_labels(scored: &MultiLabelSamples, score: fn(&[f32], &[bool], &SampleWeights) -> Option<f64>) -> Option<f64> {
    mean((0..scored.n_labels).filter_map(|label| {
        let scores: Vec<f32> = scored.probabilities.iter().skip(label).step_by(scored.n_labels).copied().collect();
        let positive: Vec<bool> = scored.truth.iter().skip(label).step_by(scored.n_labels).copied().collect();
        score(&scores, &positive, &scored.weights)
    }))
}
