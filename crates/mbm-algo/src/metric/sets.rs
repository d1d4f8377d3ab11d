//! Metrics of multilabel classification.

use super::classification::{Tally, macro_mean};
use super::{Metric, average_precision, higher, lower, mean, roc_auc};

/// Rows with their true labels and predicted label probabilities.
#[derive(Debug, Clone, Default)]
pub struct MultiLabelSamples {
    /// `[rows, n_labels]`, row-major.
    pub truth: Vec<bool>,
    /// `[rows, n_labels]`, row-major.
    pub probabilities: Vec<f32>,
    /// Number of labels.
    pub n_labels: usize,
}

metrics! {
    /// The metrics of a set output; a label is predicted if its probability is at least 0.5.
    pub SETS of MultiLabelSamples {
        higher "subset_accuracy" = |scored| mean(scored.rows().map(|(truth, predicted)| f64::from(u8::from(truth == predicted))));
        higher "jaccard" = |scored| mean(scored.rows().map(|(truth, predicted)| jaccard(truth, &predicted)));
        higher "f1_macro" = |scored| (!scored.truth.is_empty()).then(|| macro_mean(&per_label(scored), Tally::f1));
        higher "f1_micro" = |scored| (!scored.truth.is_empty()).then(|| total(&per_label(scored)).f1());
        lower "hamming_loss" = hamming_loss;
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

fn jaccard(truth: &[bool], predicted: &[bool]) -> f64 {
    let both = truth.iter().zip(predicted).filter(|(t, p)| **t && **p).count();
    let either = truth.iter().zip(predicted).filter(|(t, p)| **t || **p).count();
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

fn per_label(scored: &MultiLabelSamples) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); scored.n_labels];
    for (truth, predicted) in scored.rows() {
        for (tally, (t, p)) in tallies.iter_mut().zip(truth.iter().zip(predicted)) {
            tally.actual += f64::from(u8::from(*t));
            tally.predicted += f64::from(u8::from(p));
            tally.hits += f64::from(u8::from(*t && p));
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

fn hamming_loss(scored: &MultiLabelSamples) -> Option<f64> {
    mean(scored.truth.iter().zip(&scored.probabilities).map(|(truth, p)| f64::from(u8::from(*truth != (*p >= 0.5)))))
}

fn over_labels(scored: &MultiLabelSamples, score: fn(&[f32], &[bool]) -> Option<f64>) -> Option<f64> {
    mean((0..scored.n_labels).filter_map(|label| {
        let scores: Vec<f32> = scored.probabilities.iter().skip(label).step_by(scored.n_labels).copied().collect();
        let positive: Vec<bool> = scored.truth.iter().skip(label).step_by(scored.n_labels).copied().collect();
        score(&scores, &positive)
    }))
}
