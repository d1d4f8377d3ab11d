//! The contribution of each input to a prediction.

use std::borrow::Borrow;
use std::collections::HashMap;

use mbm_data::{Payload, Sample};
use mbm_model::{Sequence, on_worker_pool};

use crate::predict::forward::ShouldContinue;
use crate::predict::prediction::{Prediction, argmax};
use crate::predict::predictor::Predictor;

/// The contribution of an input to a prediction: its Shapley value (Shapley 1953; for modalities: Parcalabescu and Frank 2023).
/// The contributions of all inputs add up to the difference from the prediction without any input.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Contribution {
    /// The input.
    pub input: String,
    /// For each output, the share in the probability of the predicted class, or in the predicted number. `None` if the output is
    /// not a single number, or the row lacks the input.
    pub shares: Vec<Option<f64>>,
}

/// With more inputs than this, an input's share is the mean of its effect on its own and its effect in addition to all others.
const MAX_EXACT: usize = 6;

impl Predictor {
    /// Predicts rows, `[outputs][rows]`, and computes the contribution of each input, `[rows][inputs]`. Once `should_continue` returns
    /// false, texts are returned as far as they have been generated.
    pub fn explain_batch<S: Borrow<Sample>>(
        &self,
        rows: &[S],
        should_continue: &ShouldContinue,
    ) -> (Vec<Vec<Prediction>>, Vec<Vec<Contribution>>) {
        let n_inputs = self.inputs.len();
        let batch = self.collate(rows);
        let encoded = self.encode(&batch);
        let absent: Vec<Sequence> = (0..n_inputs).map(|input| self.model.absent(input, rows.len(), &self.device)).collect();
        let mut known: HashMap<Vec<bool>, Vec<Vec<Prediction>>> = HashMap::new();
        let all = vec![true; n_inputs];
        let coalitions: Vec<Vec<Coalition>> = (0..n_inputs).map(|input| coalitions(n_inputs, input)).collect();
        let masks = coalitions.iter().flatten().flat_map(|it| [&it.without, &it.with]);
        for mask in masks.chain([&all]) {
            known.entry(mask.clone()).or_insert_with(|| {
                let inputs = mask.iter().enumerate().map(|(at, is)| if *is { &encoded[at] } else { &absent[at] });
                let inputs: Vec<Sequence> = inputs.cloned().collect();
                let others = self.others(&batch, &mask.iter().map(|is_present| !is_present).collect::<Vec<_>>());
                on_worker_pool(|| self.predict_fused(&self.model.fuse(inputs), others.as_ref(), should_continue))
            });
        }
        let share = |row: usize, input: usize, output: usize| {
            let best = &known[&all][output][row];
            let of = |mask: &Vec<bool>| value(&known[mask][output][row], best);
            coalitions[input].iter().map(|it| Some(it.weight * (of(&it.with)? - of(&it.without)?))).sum::<Option<f64>>()
        };
        let contribution = |row: usize, input: usize| {
            let is_present = rows[row].borrow().payloads[input] != Payload::Missing;
            let shares = (0..self.outputs.len()).map(|output| if is_present { share(row, input, output) } else { None });
            Contribution { input: self.inputs[input].name.clone(), shares: shares.collect() }
        };
        let contributions = (0..rows.len()).map(|row| (0..n_inputs).map(|input| contribution(row, input)).collect()).collect();
        (known.remove(&all).unwrap_or_default(), contributions)
    }
}

/// A subset of the other inputs, without and with the input in question, and its weight.
struct Coalition {
    without: Vec<bool>,
    with: Vec<bool>,
    weight: f64,
}

/// Returns the coalitions whose weighted mean effect is an input's share.
fn coalitions(n_inputs: usize, input: usize) -> Vec<Coalition> {
    let coalition = |without: Vec<bool>, weight: f64| {
        let mut with = without.clone();
        with[input] = true;
        Coalition { without, with, weight }
    };
    if n_inputs > MAX_EXACT {
        let others = (0..n_inputs).map(|at| at != input).collect();
        return vec![coalition(vec![false; n_inputs], 0.5), coalition(others, 0.5)];
    }
    let masks = (0..1usize << n_inputs).filter(|bits| bits >> input & 1 == 0);
    let weighted = masks.map(|bits| {
        // size! (n - size - 1)! / n!
        let size = bits.count_ones() as usize;
        let weight = (1..=size).map(|k| k as f64 / (n_inputs - k) as f64).product::<f64>() / n_inputs as f64;
        coalition((0..n_inputs).map(|at| bits >> at & 1 == 1).collect(), weight)
    });
    weighted.collect()
}

/// Returns the number that shares refer to; for classes, the probability of the most probable class of `best`.
fn value(prediction: &Prediction, best: &Prediction) -> Option<f64> {
    match (prediction, best) {
        (Prediction::Classes(p), Prediction::Classes(best)) => Some(f64::from(p[argmax(best)])),
        (Prediction::Number(number), _) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the shares of inputs in a game with the given value function.
    fn shares(n_inputs: usize, value: impl Fn(&[bool]) -> f64) -> Vec<f64> {
        let share = |input| coalitions(n_inputs, input).iter().map(|it| it.weight * (value(&it.with) - value(&it.without))).sum();
        (0..n_inputs).map(share).collect()
    }

    #[test]
    fn shares_equal_known_shapley_values() {
        // Any two of the three inputs suffice.
        let two_of_three = |present: &[bool]| f64::from(u8::from(present.iter().filter(|is| **is).count() >= 2));
        for share in shares(3, two_of_three) {
            assert!((share - 1.0 / 3.0).abs() < 1e-12, "{share}");
        }
        // Shapley's glove game: one left glove, two right ones.
        let pair = |present: &[bool]| f64::from(u8::from(present[0] && (present[1] || present[2])));
        let gloves = shares(3, pair);
        let want = [2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0];
        assert!(gloves.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{gloves:?}");
    }

    #[test]
    fn additive_effects_are_the_shares_for_any_number_of_inputs() {
        let sum = |present: &[bool]| present.iter().enumerate().map(|(at, is)| if *is { at as f64 } else { 0.0 }).sum::<f64>();
        for n_inputs in [1, 2, 6, 9] {
            for (at, share) in shares(n_inputs, sum).iter().enumerate() {
                assert!((share - at as f64).abs() < 1e-12, "{n_inputs}: {share}");
            }
        }
    }

    #[test]
    fn value_is_the_probability_of_the_predicted_class() {
        let classes = |p: f32| Prediction::Classes(vec![1.0 - p, p]);
        assert_eq!(value(&classes(0.25), &classes(0.75)), Some(0.25));
        assert_eq!(value(&Prediction::Number(3.0), &Prediction::Number(5.0)), Some(3.0));
        assert_eq!(value(&Prediction::Labels(vec![0.5]), &Prediction::Labels(vec![0.5])), None);
    }
}
