//! ROC and precision-recall curves, the areas under them, and ranks.

use super::SampleWeights;

/// Returns cumulative weights `(threshold, true positives, false positives)` by descending score, one entry per distinct score.
fn thresholds(scores: &[f32], positive: &[bool], weights: &SampleWeights) -> Vec<(f32, f64, f64)> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|idx| weights.of(*idx) > 0.0).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut steps: Vec<(f32, f64, f64)> = Vec::new();
    let (mut hits, mut misses) = (0.0, 0.0);
    for idx in order {
        if positive[idx] {
            hits += weights.of(idx)
        } else {
            misses += weights.of(idx)
        }
        match steps.last_mut() {
            Some(last) if last.0 == scores[idx] => *last = (scores[idx], hits, misses),
            _ => steps.push((scores[idx], hits, misses)),
        }
    }
    steps
}

/// Returns points `(false positive rate, true positive rate)` from (0, 0) to (1, 1); `None` unless both classes occur.
pub fn roc_curve(scores: &[f32], positive: &[bool], weights: &SampleWeights) -> Option<Vec<(f64, f64)>> {
    let steps = thresholds(scores, positive, weights);
    let &(_, hits, misses) = steps.last()?;
    let points = steps.iter().map(|(_, tp, fp)| (fp / misses, tp / hits));
    (hits > 0.0 && misses > 0.0).then(|| std::iter::once((0.0, 0.0)).chain(points).collect())
}

/// Returns points `(recall, precision)` by descending threshold; `None` without a positive row.
pub fn pr_curve(scores: &[f32], positive: &[bool], weights: &SampleWeights) -> Option<Vec<(f64, f64)>> {
    let steps = thresholds(scores, positive, weights);
    let &(_, hits, _) = steps.last()?;
    (hits > 0.0).then(|| steps.iter().map(|(_, tp, fp)| (tp / hits, tp / (tp + fp))).collect())
}

/// Computes the area under the ROC curve; `None` unless both classes occur.
pub fn roc_auc(scores: &[f32], positive: &[bool], weights: &SampleWeights) -> Option<f64> {
    let points = roc_curve(scores, positive, weights)?;
    Some(points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0).sum())
}

/// Computes the area under the precision-recall curve as average precision, without interpolation; `None` unless both classes
/// occur.
pub fn average_precision(scores: &[f32], positive: &[bool], weights: &SampleWeights) -> Option<f64> {
    let occurs = |wanted: bool| positive.iter().enumerate().any(|(idx, is)| *is == wanted && weights.of(idx) > 0.0);
    let points = pr_curve(scores, positive, weights).filter(|_| occurs(true) && occurs(false))?;
    let starts = std::iter::once(0.0).chain(points.iter().map(|point| point.0));
    Some(points.iter().zip(starts).map(|((recall, precision), before)| (recall - before) * precision).sum())
}

/// Ranks values from 1; ties share their mean rank. A value of weight 2 takes two ranks.
pub fn ranks(values: &[f64], weights: &SampleWeights) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0.0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let own: f64 = group.iter().map(|&idx| weights.of(idx)).sum();
        let rank = before + (own + 1.0) / 2.0;
        group.iter().for_each(|&idx| ranks[idx] = rank);
        before += own;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn roc_auc_is_the_share_of_ordered_pairs(rows in proptest::collection::vec((0u8..9, proptest::bool::ANY), 0..40)) {
            let (scores, positive): (Vec<f32>, Vec<bool>) = rows.iter().map(|(score, is)| (f32::from(*score), *is)).unzip();
            let side = |wanted: bool| rows.iter().filter(move |row| row.1 == wanted).map(|row| row.0);
            let worth = |a: u8, b: u8| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
            let pairs: Vec<f64> = side(true).flat_map(|a| side(false).map(move |b| worth(a, b))).collect();
            match roc_auc(&scores, &positive, &SampleWeights::default()) {
                None => proptest::prop_assert!(pairs.is_empty()),
                Some(area) => proptest::prop_assert!((area - pairs.iter().sum::<f64>() / pairs.len() as f64).abs() < 1e-9),
            }
        }

        #[test]
        fn ranks_preserve_the_order_and_the_sum_of_positions(values in proptest::collection::vec(-5i8..5, 0..40)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let ranks = ranks(&values, &SampleWeights::default());
            proptest::prop_assert_eq!(ranks.iter().sum::<f64>(), (values.len() * (values.len() + 1)) as f64 / 2.0);
            for (i, j) in (0..values.len()).flat_map(|i| (0..i).map(move |j| (i, j))) {
                proptest::prop_assert_eq!(values[i].partial_cmp(&values[j]), ranks[i].partial_cmp(&ranks[j]));
            }
        }
    }
}
