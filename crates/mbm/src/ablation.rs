//! Ablation of modalities: the metrics with subsets of the inputs, with the others masked.

use std::collections::BTreeMap;

use mbm_data::{Dataset, Field, Loading, load};
use mbm_model::Sequence;

use crate::error::Error;
use crate::predictor::Predictor;
use crate::score::Scored;

/// Inputs that are masked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The input's name, or a description of several inputs.
    pub name: String,
    /// Their indices.
    inputs: Vec<usize>,
}

/// The metrics with a subset of the parts.
#[derive(Debug, Clone)]
pub struct Ablated {
    /// Whether each part is present.
    pub parts: Vec<bool>,
    /// For each output, its name and metrics.
    pub metrics: Vec<(String, BTreeMap<String, f64>)>,
}

/// With more parts than this, only all parts, all but one, and single parts are evaluated.
const MAX_PARTS: usize = 4;

/// With more inputs than this, all inputs of a type are one part: each subset costs a pass over the rows and a line in the
/// report, and the effect of a single column among so many is within the noise of the metrics.
const MAX_INPUTS: usize = 64;

/// Returns a part per input, or a part per input type if there are many inputs.
pub(crate) fn parts(fields: &[Field]) -> Vec<Part> {
    if fields.len() <= MAX_INPUTS {
        return fields.iter().enumerate().map(|(at, field)| Part { name: field.name.clone(), inputs: vec![at] }).collect();
    }
    let mut types: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, field) in fields.iter().enumerate() {
        types.entry(field.preprocessor.type_name()).or_default().push(at);
    }
    types.into_iter().map(|(name, inputs)| Part { name: format!("{} {name} inputs", inputs.len()), inputs }).collect()
}

/// Returns the subsets to evaluate, largest first: every subset of up to [`MAX_PARTS`] parts.
fn masks(n_parts: usize) -> Vec<Vec<bool>> {
    let mask = |bits: usize| (0..n_parts).map(|part| bits >> part & 1 == 1).collect::<Vec<bool>>();
    let mut masks: Vec<Vec<bool>> = if n_parts <= MAX_PARTS {
        (1..1usize << n_parts).map(mask).collect()
    } else {
        let single = |part: usize| (0..n_parts).map(|it| it == part).collect();
        let without = |part: usize| (0..n_parts).map(|it| it != part).collect();
        std::iter::once(vec![true; n_parts]).chain((0..n_parts).map(without)).chain((0..n_parts).map(single)).collect()
    };
    masks.sort_by_key(|mask| std::cmp::Reverse(mask.iter().filter(|is| **is).count()));
    masks
}

/// Evaluates every subset of the parts; each input of a batch is encoded once.
pub(crate) fn ablation(predictor: &Predictor, dataset: &Dataset, rows: &[usize], parts: &[Part]) -> Result<Vec<Ablated>, Error> {
    let masks = masks(parts.len());
    let mut scored: Vec<Vec<Scored>> = masks.iter().map(|_| predictor.unscored()).collect();
    let loading = Loading::plain(dataset, rows, predictor.batch_size());
    load::<Error>(&loading, |_, batch| {
        let encoded = if parts.len() > 1 { predictor.encode(&batch) } else { Vec::new() };
        for (mask, scored) in masks.iter().zip(&mut scored) {
            let fused = if mask.iter().all(|is| *is) {
                predictor.fused_batch(&batch)
            } else {
                predictor.model.fuse(masked(predictor, &encoded, batch.len(), parts.iter().zip(mask)))
            };
            predictor.score_fused(scored, &fused, &batch, dataset)?;
        }
        Ok(())
    })?;
    let subset = |(mask, scored): (Vec<bool>, Vec<Scored>)| Ablated {
        parts: mask,
        metrics: predictor.outputs.iter().zip(scored).map(|(field, scored)| (field.name.clone(), scored.metrics())).collect(),
    };
    Ok(masks.into_iter().zip(scored).map(subset).collect())
}

/// Returns the encoded inputs of a batch, with the parts that are not selected masked.
fn masked<'a>(
    predictor: &Predictor,
    encoded: &[Sequence],
    n_rows: usize,
    parts: impl Iterator<Item = (&'a Part, &'a bool)>,
) -> Vec<Sequence> {
    let mut inputs = encoded.to_vec();
    for input in parts.filter(|(_, is_present)| !**is_present).flat_map(|(part, _)| &part.inputs) {
        inputs[*input] = predictor.model.absent(*input, n_rows, &predictor.device);
    }
    inputs
}

#[cfg(test)]
mod tests {
    use mbm_data::feature::{FittedBinary, FittedVector};
    use mbm_data::{MissingValueStrategy, Preprocessor};

    use super::*;

    #[test]
    fn all_subsets_are_evaluated_only_for_few_parts() {
        assert_eq!(masks(2), [vec![true, true], vec![true, false], vec![false, true]]);
        assert_eq!(masks(4).len(), 15);
        assert_eq!(masks(6).len(), 13);
    }

    #[test]
    fn many_inputs_are_grouped_by_type() {
        let vector = Preprocessor::Vector(FittedVector { width: 2 });
        let binary = Preprocessor::Binary(FittedBinary { labels: None });
        let field = |at: usize| Field {
            name: format!("x{at}"),
            column: format!("x{at}"),
            preprocessor: if at.is_multiple_of(4) { vector.clone() } else { binary.clone() },
            missing_value_strategy: MissingValueStrategy::Absent,
        };
        let fields: Vec<Field> = (0..10_000).map(field).collect();
        let names = |n: usize| parts(&fields[..n]).into_iter().map(|part| part.name).collect::<Vec<_>>();
        assert_eq!(names(3), ["x0", "x1", "x2"]);
        assert_eq!(names(10_000), ["7500 binary inputs", "2500 vector inputs"]);
    }
}
