//! Greedy ensemble selection (Caruana et al. 2004): the weights of models that minimize a loss of their mean prediction.

use rayon::prelude::*;

/// Returns a weight per model; the weights sum to 1. `predictions` holds the predictions of each model for the same rows, and `loss`
/// rates weighted means of them. Models are picked `n_picks` times, with replacement, each time the one that lowers the loss most; the
/// weights are those of the best number of picks.
///
/// # Panics
/// Panics if models have different numbers of predictions.
pub fn greedy_weights(predictions: &[&[f32]], n_picks: usize, loss: &(dyn Fn(&[f32]) -> f64 + Sync)) -> Vec<f64> {
    let Some(n_values) = predictions.first().map(|of_model| of_model.len()) else { return Vec::new() };
    assert!(predictions.iter().all(|of_model| of_model.len() == n_values), "all models predict the same rows");
    let (mut counts, mut sums) = (vec![0usize; predictions.len()], vec![0f32; n_values]);
    let (mut best, mut best_loss) = (counts.clone(), f64::INFINITY);
    for n_picked in 1..=n_picks {
        let with = |model: usize| -> f64 {
            let mean: Vec<f32> = sums.iter().zip(predictions[model]).map(|(sum, own)| (sum + own) / n_picked as f32).collect();
            loss(&mean)
        };
        let losses: Vec<f64> = (0..predictions.len()).into_par_iter().map(with).collect();
        let pick = (0..losses.len()).fold(0, |best, model| if losses[model] < losses[best] { model } else { best });
        counts[pick] += 1;
        sums.iter_mut().zip(predictions[pick]).for_each(|(sum, own)| *sum += own);
        if losses[pick] < best_loss {
            (best, best_loss) = (counts.clone(), losses[pick]);
        }
    }
    let total = best.iter().sum::<usize>().max(1) as f64;
    best.into_iter().map(|count| count as f64 / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squared_error<'a>(targets: &'a [f32]) -> impl Fn(&[f32]) -> f64 + Sync + 'a {
        move |predicted| predicted.iter().zip(targets).map(|(p, t)| f64::from(p - t).powi(2)).sum()
    }

    #[test]
    fn opposite_errors_are_averaged_out() {
        let targets = [1.0, 2.0, 3.0];
        let (above, below, useless) = ([2.0, 3.0, 4.0], [0.0, 1.0, 2.0], [9.0, 9.0, 9.0]);
        assert_eq!(greedy_weights(&[&above, &useless, &below], 10, &squared_error(&targets)), [0.5, 0.0, 0.5]);
        let third = [0.5, 1.5, 2.5];
        assert_eq!(greedy_weights(&[&above, &third], 9, &squared_error(&targets)), [1.0 / 3.0, 2.0 / 3.0]);
    }

    #[test]
    fn a_single_model_has_all_the_weight() {
        assert_eq!(greedy_weights(&[&[1.0]], 5, &squared_error(&[0.0])), [1.0]);
        assert!(greedy_weights(&[], 5, &|_| 0.0).is_empty());
    }
}
