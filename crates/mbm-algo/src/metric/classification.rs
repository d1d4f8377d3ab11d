//! Metrics of single-label classification. Formulas as in scikit-learn's user guide, section "Metrics and scoring".

use super::{Metric, SampleWeights, average_precision, higher, lower, mean, roc_auc};

/// Rows with their true classes and predicted class probabilities.
#[derive(Debug, Clone, Default)]
pub struct ClassificationSamples {
    /// The true class of each row.
    pub truth: Vec<usize>,
    /// `[rows, n_classes]`, row-major.
    pub probabilities: Vec<f32>,
    /// Number of classes.
    pub n_classes: usize,
    /// The weight of each row.
    pub weights: SampleWeights,
}

metrics! {
    /// The metrics of a category or binary output.
    pub CLASSIFICATION of ClassificationSamples {
        higher "accuracy" = accuracy;
        higher "balanced_accuracy" = balanced_accuracy;
        higher "f1_macro" = |scored| per_class(scored).map(|tallies| macro_mean(&tallies, Tally::f1));
        higher "f1_micro" = accuracy;
        higher "precision_macro" = |scored| per_class(scored).map(|tallies| macro_mean(&tallies, Tally::precision));
        higher "recall_macro" = |scored| per_class(scored).map(|tallies| macro_mean(&tallies, Tally::recall));
        higher "hits_at_3" = |scored| hits_at(scored, 3);
        higher "roc_auc" = |scored| one_against_rest(scored, roc_auc);
        higher "pr_auc" = |scored| one_against_rest(scored, average_precision);
        lower "log_loss" = log_loss;
        higher "mcc" = matthews;
        higher "quadratic_kappa" = quadratic_kappa;
        lower "ece" = expected_calibration_error;
    }
}

impl ClassificationSamples {
    /// Returns the class probabilities of one row, `[n_classes]`.
    pub fn row(&self, row_idx: usize) -> &[f32] {
        &self.probabilities[row_idx * self.n_classes..(row_idx + 1) * self.n_classes]
    }

    /// Returns the most probable class of one row; ties go to the first.
    pub fn predicted(&self, row_idx: usize) -> usize {
        let row = self.row(row_idx);
        (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    }

    fn rows(&self) -> impl Iterator<Item = (usize, usize)> {
        self.truth.iter().enumerate().map(|(row_idx, &truth)| (truth, self.predicted(row_idx)))
    }

    fn total(&self) -> f64 {
        self.weights.sum(self.truth.len())
    }
}

/// Computes the confusion matrix, numbers of rows `[true class, predicted class]`, row-major; without weights.
pub fn confusion_matrix(scored: &ClassificationSamples) -> Vec<usize> {
    let mut counts = vec![0; scored.n_classes * scored.n_classes];
    scored.rows().for_each(|(truth, predicted)| counts[truth * scored.n_classes + predicted] += 1);
    counts
}

/// As [`confusion_matrix`], with sums of weights.
fn weighted_confusion(scored: &ClassificationSamples) -> Vec<f64> {
    let mut sums = vec![0.0; scored.n_classes * scored.n_classes];
    for (row_idx, (truth, predicted)) in scored.rows().enumerate() {
        sums[truth * scored.n_classes + predicted] += scored.weights.of(row_idx);
    }
    sums
}

fn accuracy(scored: &ClassificationSamples) -> Option<f64> {
    scored.weights.mean(scored.rows().map(|(truth, predicted)| f64::from(u8::from(truth == predicted))))
}

/// Sums of the weights of one class against the rest.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub hits: f64,
    pub predicted: f64,
    pub actual: f64,
}

impl Tally {
    pub fn precision(&self) -> f64 {
        ratio(self.hits, self.predicted)
    }

    pub fn recall(&self) -> f64 {
        ratio(self.hits, self.actual)
    }

    pub fn f1(&self) -> f64 {
        ratio(2.0 * self.hits, self.predicted + self.actual)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Tallies the classes that occur among the true or the predicted ones.
fn per_class(scored: &ClassificationSamples) -> Option<Vec<Tally>> {
    let mut tallies = vec![Tally::default(); scored.n_classes];
    for (row_idx, (truth, predicted)) in scored.rows().enumerate() {
        let weight = scored.weights.of(row_idx);
        tallies[truth].actual += weight;
        tallies[predicted].predicted += weight;
        if truth == predicted {
            tallies[truth].hits += weight;
        }
    }
    tallies.retain(|tally| tally.actual + tally.predicted > 0.0);
    (!tallies.is_empty()).then_some(tallies)
}

pub(super) fn macro_mean(tallies: &[Tally], of: fn(&Tally) -> f64) -> f64 {
    tallies.iter().map(of).sum::<f64>() / tallies.len() as f64
}

fn balanced_accuracy(scored: &ClassificationSamples) -> Option<f64> {
    mean(per_class(scored)?.iter().filter(|tally| tally.actual > 0.0).map(Tally::recall))
}

fn hits_at(scored: &ClassificationSamples, k: usize) -> Option<f64> {
    let ahead = scored.truth.iter().enumerate().map(|(row_idx, &truth)| n_ahead(scored.row(row_idx), truth));
    scored.weights.mean(ahead.map(|n_ahead| f64::from(u8::from(n_ahead < k))))
}

/// Returns the number of classes that come before a class; of equal probabilities, the first class comes first.
fn n_ahead(row: &[f32], truth: usize) -> usize {
    (0..row.len()).filter(|&class| row[class] > row[truth] || (row[class] == row[truth] && class < truth)).count()
}

/// Returns the score of the second class for two classes, otherwise the mean one-vs-rest score of the classes with positive and
/// negative rows.
fn one_against_rest(scored: &ClassificationSamples, score: fn(&[f32], &[bool], &SampleWeights) -> Option<f64>) -> Option<f64> {
    let of_class = |class: usize| {
        let scores: Vec<f32> = scored.probabilities.iter().skip(class).step_by(scored.n_classes).copied().collect();
        let positive: Vec<bool> = scored.truth.iter().map(|&truth| truth == class).collect();
        score(&scores, &positive, &scored.weights)
    };
    if scored.n_classes == 2 { of_class(1) } else { mean((0..scored.n_classes).filter_map(of_class)) }
}

fn log_loss(scored: &ClassificationSamples) -> Option<f64> {
    scored.weights.mean(scored.truth.iter().enumerate().map(|(row_idx, &truth)| log_loss_of_row(scored.row(row_idx), truth)))
}

fn log_loss_of_row(row: &[f32], truth: usize) -> f64 {
    let sum: f64 = row.iter().map(|p| f64::from(*p)).sum();
    -(f64::from(row[truth]) / sum).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// Matthews correlation coefficient for several classes (Gorodkin 2004).
fn matthews(scored: &ClassificationSamples) -> Option<f64> {
    let tallies = per_class(scored)?;
    let n = scored.total();
    let hits: f64 = tallies.iter().map(|tally| tally.hits).sum();
    let sum = |of: fn(&Tally) -> f64| tallies.iter().map(of).sum::<f64>();
    let covariance = hits * n - sum(|tally| tally.actual * tally.predicted);
    let spread = (n * n - sum(|tally| tally.predicted.powi(2))) * (n * n - sum(|tally| tally.actual.powi(2)));
    Some(ratio(covariance, spread.sqrt()))
}

/// Cohen's kappa weighted by the squared difference of the class indices.
fn quadratic_kappa(scored: &ClassificationSamples) -> Option<f64> {
    let (k, n) = (scored.n_classes, scored.total());
    let sums = weighted_confusion(scored);
    let actual: Vec<f64> = (0..k).map(|i| (0..k).map(|j| sums[i * k + j]).sum()).collect();
    let predicted: Vec<f64> = (0..k).map(|j| (0..k).map(|i| sums[i * k + j]).sum()).collect();
    let (mut observed, mut expected) = (0.0, 0.0);
    for i in 0..k {
        for j in 0..k {
            let weight = (i as f64 - j as f64).powi(2);
            observed += weight * sums[i * k + j];
            expected += weight * actual[i] * predicted[j] / n;
        }
    }
    (expected > 0.0).then(|| 1.0 - observed / expected)
}

/// Bins rows by confidence into ten equal intervals; returns `(mean confidence, accuracy, sum of the weights)` of each non-empty bin.
pub fn reliability(scored: &ClassificationSamples) -> Vec<(f64, f64, f64)> {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for (row_idx, &truth) in scored.truth.iter().enumerate() {
        let predicted = scored.predicted(row_idx);
        let confidence = f64::from(scored.row(row_idx)[predicted]);
        let bin = &mut bins[((confidence * 10.0).ceil() as usize).clamp(1, 10) - 1];
        let (weight, is_hit) = (scored.weights.of(row_idx), f64::from(u8::from(predicted == truth)));
        *bin = (bin.0 + weight * confidence, bin.1 + weight * is_hit, bin.2 + weight);
    }
    bins.into_iter().filter(|bin| bin.2 > 0.0).map(|(sum, hits, total)| (sum / total, hits / total, total)).collect()
}

/// Expected calibration error over ten bins (Naeini et al. 2015; Guo et al. 2017).
fn expected_calibration_error(scored: &ClassificationSamples) -> Option<f64> {
    let total = scored.total();
    let gaps = reliability(scored).into_iter().map(|(confidence, accuracy, weight)| (confidence - accuracy).abs() * weight);
    (total > 0.0).then(|| gaps.sum::<f64>() / total)
}
