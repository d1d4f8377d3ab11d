//! Curves and areas over scores of positive and negative rows.

/// Rows sorted by falling score, equal scores together: `(threshold, true positives, false positives)` cumulated.
fn thresholds(scores: &[f32], positive: &[bool]) -> Vec<(f32, f64, f64)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut steps: Vec<(f32, f64, f64)> = Vec::new();
    let (mut hits, mut misses) = (0.0, 0.0);
    for idx in order {
        if positive[idx] {
            hits += 1.0
        } else {
            misses += 1.0
        }
        match steps.last_mut() {
            Some(last) if last.0 == scores[idx] => *last = (scores[idx], hits, misses),
            _ => steps.push((scores[idx], hits, misses)),
        }
    }
    steps
}

/// Points `(false positive rate, true positive rate)` from (0, 0) to (1, 1); `None` unless both classes occur.
pub fn roc_curve(scores: &[f32], positive: &[bool]) -> Option<Vec<(f64, f64)>> {
    let steps = thresholds(scores, positive);
    let &(_, hits, misses) = steps.last()?;
    let points = steps.iter().map(|(_, tp, fp)| (fp / misses, tp / hits));
    (hits > 0.0 && misses > 0.0).then(|| std::iter::once((0.0, 0.0)).chain(points).collect())
}

/// Points `(recall, precision)` by falling threshold; `None` without a positive row.
pub fn pr_curve(scores: &[f32], positive: &[bool]) -> Option<Vec<(f64, f64)>> {
    let steps = thresholds(scores, positive);
    let &(_, hits, _) = steps.last()?;
    (hits > 0.0).then(|| steps.iter().map(|(_, tp, fp)| (tp / hits, tp / (tp + fp))).collect())
}

/// Area under the ROC curve.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let points = roc_curve(scores, positive)?;
    Some(points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0).sum())
}

/// Area under the precision-recall curve as average precision: no interpolation between points.
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let both = positive.contains(&true) && positive.contains(&false);
    let points = pr_curve(scores, positive).filter(|_| both)?;
    let starts = std::iter::once(0.0).chain(points.iter().map(|point| point.0));
    Some(points.iter().zip(starts).map(|((recall, precision), before)| (recall - before) * precision).sum())
}

/// Ranks from 1, equal values sharing their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let before = order.partition_point(|&idx| values[idx] < values[group[0]]);
        let rank = before as f64 + (group.len() as f64 + 1.0) / 2.0;
        group.iter().for_each(|&idx| ranks[idx] = rank);
    }
    ranks
}
