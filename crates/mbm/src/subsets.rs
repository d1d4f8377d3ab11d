//! What each modality adds: the metrics with every subset of the inputs, the others made absent.

use std::collections::BTreeMap;

use mbm_data::{Dataset, Loading, load};
use mbm_model::Sequence;

use crate::error::Error;
use crate::predictor::Predictor;
use crate::score::Scored;

/// The metrics with some of the inputs.
#[derive(Debug, Clone)]
pub struct Subset {
    /// Which inputs are there.
    pub inputs: Vec<bool>,
    /// For each output, name and metrics.
    pub metrics: Vec<(String, BTreeMap<String, f64>)>,
}

/// With more inputs than this only all, all but one, and single ones are measured.
const MAX_INPUTS: usize = 4;

/// The subsets that are measured: every one of up to four inputs, largest first.
fn masks(n_inputs: usize) -> Vec<Vec<bool>> {
    let mask = |bits: usize| (0..n_inputs).map(|input| bits >> input & 1 == 1).collect::<Vec<bool>>();
    let mut masks: Vec<Vec<bool>> = if n_inputs <= MAX_INPUTS {
        (1..1usize << n_inputs).map(mask).collect()
    } else {
        let single = |input: usize| (0..n_inputs).map(|it| it == input).collect();
        let without = |input: usize| (0..n_inputs).map(|it| it != input).collect();
        std::iter::once(vec![true; n_inputs]).chain((0..n_inputs).map(without)).chain((0..n_inputs).map(single)).collect()
    };
    masks.sort_by_key(|mask| std::cmp::Reverse(mask.iter().filter(|is| **is).count()));
    masks
}

/// Measures every subset; each input of a batch is encoded once.
pub(crate) fn subsets(predictor: &Predictor, dataset: &Dataset, rows: &[usize]) -> Result<Vec<Subset>, Error> {
    let masks = masks(dataset.n_inputs);
    let mut scored: Vec<Vec<Scored>> = masks.iter().map(|_| predictor.unscored()).collect();
    let loading = Loading::plain(dataset, rows, predictor.batch_size());
    load::<Error>(&loading, |_, batch| {
        let encoded = predictor.encode(&batch);
        for (mask, scored) in masks.iter().zip(&mut scored) {
            let absent = |input: usize| predictor.model.absent(input, batch.len(), &predictor.device);
            let inputs: Vec<Sequence> =
                mask.iter().enumerate().map(|(input, is)| if *is { encoded[input].clone() } else { absent(input) }).collect();
            predictor.score_fused(scored, &predictor.model.fuse(inputs), &batch, dataset)?;
        }
        Ok(())
    })?;
    let subset = |(mask, scored): (Vec<bool>, Vec<Scored>)| Subset {
        inputs: mask,
        metrics: predictor.outputs.iter().zip(scored).map(|(field, scored)| (field.name.clone(), scored.metrics())).collect(),
    };
    Ok(masks.into_iter().zip(scored).map(subset).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_inputs_give_every_subset_and_many_give_the_telling_ones() {
        assert_eq!(masks(2), [vec![true, true], vec![true, false], vec![false, true]]);
        assert_eq!(masks(4).len(), 15);
        assert_eq!(masks(6).len(), 13);
    }
}
