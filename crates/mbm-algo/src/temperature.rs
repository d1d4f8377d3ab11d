//! Temperature scaling: calibrates probabilities by dividing scores by one number, fitted on held-out rows.

use crate::metric::SampleWeights;

/// Fits the temperature by which scores `[rows, n_classes]` are divided before the softmax, so that the classes of held-out rows
/// are most probable (Guo et al. 2017). A standard normal prior on its logarithm keeps a few rows without errors from driving the
/// probabilities to 0 and 1. Returns 1 for no rows.
pub fn temperature(scores: &[f32], n_classes: usize, classes: &[usize], weights: &SampleWeights) -> f32 {
    if classes.is_empty() {
        return 1.0;
    }
    let (mut low, mut high) = (-7.0, 7.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        *(if slope(scores, n_classes, classes, weights, middle) > 0.0 { &mut low } else { &mut high }) = middle;
    }
    (-low).exp() as f32
}

/// Returns the derivative of the log-posterior with respect to the logarithm of the inverse temperature.
fn slope(scores: &[f32], n_classes: usize, classes: &[usize], weights: &SampleWeights, log_inverse: f64) -> f64 {
    let inverse = log_inverse.exp();
    let of_row = |(row, (scores, class)): (usize, (&[f32], &usize))| weights.of(row) * slope_of_row(scores, *class, inverse);
    let of_rows: f64 = scores.chunks(n_classes).zip(classes).enumerate().map(of_row).sum();
    inverse * of_rows - log_inverse
}

/// Returns the score of the row's class minus the expected score under the softmax.
fn slope_of_row(scores: &[f32], class: usize, inverse: f64) -> f64 {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for score in scores {
        let score = f64::from(score - top);
        let power = (score * inverse).exp();
        sum += power;
        weighted += power * score;
    }
    f64::from(scores[class] - top) - weighted / sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns rows whose class frequencies are the softmax of `scores / temperature`.
    fn rows(scores: [f32; 3], temperature: f32) -> (Vec<f32>, Vec<usize>) {
        let powers = scores.map(|score| (score / temperature).exp());
        let sum: f32 = powers.iter().sum();
        let classes: Vec<usize> =
            (0..3).flat_map(|class| vec![class; (10_000.0 * powers[class] / sum).round() as usize]).collect();
        (classes.iter().flat_map(|_| scores).collect(), classes)
    }

    #[test]
    fn recovers_the_temperature_that_generated_the_classes() {
        for want in [0.5, 1.0, 3.0] {
            let (scores, classes) = rows([2.0, 0.5, -1.0], want);
            let found = temperature(&scores, 3, &classes, &SampleWeights::default());
            // Class counts are rounded, and the prior has a ten-thousandth of the weight of the rows.
            assert!((found / want - 1.0).abs() < 0.01, "{found} is not {want}");
        }
    }

    #[test]
    fn a_few_error_free_rows_change_the_temperature_little() {
        let found = temperature(&[4.0, 0.0, 0.0, 4.0], 2, &[0, 1], &SampleWeights::default());
        assert!(found > 0.85 && found < 1.0, "{found}");
        assert_eq!(temperature(&[], 2, &[], &SampleWeights::default()), 1.0);
        assert_eq!(temperature(&[1.0], 1, &[0], &SampleWeights::default()), 1.0);
    }

    #[test]
    fn weights_count_as_repeated_rows() {
        let scores = [2.0, 0.0, 1.0, 0.0, 0.0, 3.0];
        let weights = SampleWeights::from(Some(vec![2.0, 1.0, 0.0]));
        let repeated = temperature(&[2.0, 0.0, 2.0, 0.0, 1.0, 0.0], 2, &[1, 1, 0], &SampleWeights::default());
        assert!((temperature(&scores, 2, &[1, 0, 1], &weights) - repeated).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn temperature_is_finite_and_positive_for_any_scores(scores in prop::collection::vec(-1e6f32..1e6, 4..40)) {
            let n_rows = scores.len() / 4;
            let found = temperature(&scores[..n_rows * 4], 4, &vec![1; n_rows], &SampleWeights::default());
            prop_assert!(found.is_finite() && found > 0.0);
        }
    }
}
