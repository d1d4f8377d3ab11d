//! Ablation of modalities: the metrics with subsets of the inputs, with the others masked.

use std::collections::BTreeMap;

use mbm_data::Field;
use mbm_model::{Sequence, on_worker_pool};

use crate::error::Error;
use crate::learn::ensemble::Ensemble;
use crate::predict::pass::{GeneratedTexts, Pass, Sink};
use crate::predict::predictor::Predictor;
use crate::predict::sinks::Scores;

/// Inputs that are masked together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputGroup {
    /// The input's name, or a description of several inputs.
    pub name: String,
    /// Their indices.
    inputs: Vec<usize>,
}

/// The metrics with a subset of the groups.
#[derive(Debug, Clone)]
pub struct Ablated {
    /// Whether each group is present.
    pub groups: Vec<bool>,
    /// For each output, its name and metrics.
    pub metrics: Vec<(String, BTreeMap<String, f64>)>,
}

/// With more groups than this, only all groups, all but one, and single groups are evaluated.
const MAX_GROUPS: usize = 4;

/// With more inputs than this, all inputs of a type are one group: each subset costs a pass over the rows and a line in the
/// report, and the effect of a single column among so many is within the noise of the metrics.
const MAX_INPUTS: usize = 64;

/// How long all subsets of the inputs may take together, in evaluations of one tree; about a second.
const MAX_COST: usize = 30_000_000;

/// Returns the groups of inputs of a model that is evaluated on some rows: one per input, or one per type of input if there are many
/// inputs, or the ensemble would take long.
pub(crate) fn input_groups(predictor: &Predictor, n_rows: usize) -> Vec<InputGroup> {
    let cost = predictor.ensemble.as_ref().map_or(0, Ensemble::cost) * n_rows;
    let max_inputs = MAX_COST.checked_div(2 * cost).unwrap_or(MAX_INPUTS).min(MAX_INPUTS);
    groups(&predictor.inputs, max_inputs)
}

fn groups(fields: &[Field], max_inputs: usize) -> Vec<InputGroup> {
    if fields.len() <= max_inputs {
        return fields.iter().enumerate().map(|(at, field)| InputGroup { name: field.name.clone(), inputs: vec![at] }).collect();
    }
    let mut types: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, field) in fields.iter().enumerate() {
        types.entry(field.preprocessor.type_name()).or_default().push(at);
    }
    types.into_iter().map(|(name, inputs)| InputGroup { name: format!("{} {name} inputs", inputs.len()), inputs }).collect()
}

/// Returns the subsets to evaluate, largest first: every subset of up to [`MAX_GROUPS`] groups.
fn masks(n_groups: usize) -> Vec<Vec<bool>> {
    let mut masks: Vec<Vec<bool>> = if n_groups <= MAX_GROUPS {
        (1..1usize << n_groups).map(|bits| (0..n_groups).map(|group| bits >> group & 1 == 1).collect()).collect()
    } else {
        let all_but_one = (0..n_groups).map(|absent| (0..n_groups).map(|group| group != absent).collect());
        let single = (0..n_groups).map(|present| (0..n_groups).map(|group| group == present).collect());
        std::iter::once(vec![true; n_groups]).chain(all_but_one).chain(single).collect()
    };
    masks.sort_by_key(|mask| std::cmp::Reverse(mask.iter().filter(|is| **is).count()));
    masks
}

/// Evaluates the subsets of the groups in a pass. All rows are evaluated with all groups in any case; where that would take long for
/// the other subsets, they are evaluated on every n-th batch, and so is the set of all groups once more.
pub(crate) struct Ablation<'a> {
    groups: &'a [InputGroup],
    subsets: Vec<Subset>,
    /// Every how many batches are evaluated.
    stride: usize,
    /// Number of batches that were seen.
    n_batches: usize,
    /// Number of rows that were evaluated.
    n_rows: usize,
}

struct Subset {
    mask: Vec<bool>,
    scores: Scores,
    generated: GeneratedTexts,
}

impl<'a> Ablation<'a> {
    pub fn new(predictor: &Predictor, groups: &'a [InputGroup], n_rows: usize) -> Self {
        let subset =
            |mask| Subset { mask, scores: Scores::new(predictor), generated: GeneratedTexts::new(predictor.outputs.len()) };
        let masks = masks(groups.len());
        let cost = predictor.ensemble.as_ref().map_or(0, Ensemble::cost) * n_rows * masks.len();
        let stride = cost.div_ceil(MAX_COST).max(1);
        let subsets = masks.into_iter().filter(|mask| stride > 1 || mask.contains(&false)).map(subset).collect();
        Self { groups, subsets, stride, n_batches: 0, n_rows: 0 }
    }

    /// Returns the number of rows that were evaluated, if they are a sample.
    pub fn sample(&self) -> Option<usize> {
        (self.stride > 1).then_some(self.n_rows)
    }

    /// Returns the metrics of each subset, those of all groups first.
    pub fn metrics(&self, predictor: &Predictor, all: &Scores) -> Vec<Ablated> {
        let ablated = |groups: Vec<bool>, scores: &Scores| Ablated {
            groups,
            metrics: predictor.outputs.iter().zip(&scores.0).map(|(field, it)| (field.name.clone(), it.metrics())).collect(),
        };
        let subsets = self.subsets.iter().map(|subset| ablated(subset.mask.clone(), &subset.scores));
        if self.stride > 1 {
            return subsets.collect();
        }
        std::iter::once(ablated(vec![true; self.groups.len()], all)).chain(subsets).collect()
    }
}

impl Sink for Ablation<'_> {
    fn masks_inputs(&self) -> bool {
        !self.subsets.is_empty()
    }

    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        self.n_batches += 1;
        if !(self.n_batches - 1).is_multiple_of(self.stride) {
            return Ok(());
        }
        self.n_rows += pass.batch.len();
        for Subset { mask, scores, generated } in &mut self.subsets {
            let masked = masked(pass.encoded.len(), self.groups.iter().zip(mask.iter()));
            let inputs = inputs(pass, &masked);
            let fused = on_worker_pool(|| pass.predictor.model.fuse(inputs));
            scores.add(&pass.masked(&fused, masked, generated))?;
        }
        Ok(())
    }
}

/// Returns for each input whether it is masked: those of the groups that are not selected.
fn masked<'a>(n_inputs: usize, groups: impl Iterator<Item = (&'a InputGroup, &'a bool)>) -> Vec<bool> {
    let mut masked = vec![false; n_inputs];
    let inputs = groups.filter(|(_, is_present)| !**is_present).flat_map(|(group, _)| &group.inputs);
    inputs.for_each(|input| masked[*input] = true);
    masked
}

/// Returns the encoded inputs of a batch, with some masked.
fn inputs(pass: &Pass, masked: &[bool]) -> Vec<Sequence> {
    let (predictor, n_rows) = (pass.predictor, pass.batch.len());
    let input = |(at, encoded): (usize, &Sequence)| match masked[at] {
        true => predictor.model.absent(at, n_rows, &predictor.device),
        false => encoded.clone(),
    };
    pass.encoded.iter().enumerate().map(input).collect()
}

#[cfg(test)]
mod tests {
    use mbm_data::feature::{FittedBinary, FittedVector};
    use mbm_data::{MissingValueStrategy, Preprocessor};

    use super::*;

    #[test]
    fn all_subsets_are_evaluated_only_for_few_groups() {
        assert_eq!(masks(2), [vec![true, true], vec![true, false], vec![false, true]]);
        assert_eq!(masks(4).len(), 15);
        assert_eq!(masks(6).len(), 13);
    }

    #[test]
    fn many_inputs_are_grouped_by_type() {
        let vector = Preprocessor::Vector(FittedVector { width: 2 });
        let binary = Preprocessor::Binary(FittedBinary { labels: None, null_values: Default::default() });
        let field = |at: usize| Field {
            name: format!("x{at}"),
            column: format!("x{at}"),
            preprocessor: if at.is_multiple_of(4) { vector.clone() } else { binary.clone() },
            missing_value_strategy: MissingValueStrategy::Absent,
        };
        let fields: Vec<Field> = (0..10_000).map(field).collect();
        let names = |n: usize| groups(&fields[..n], MAX_INPUTS).into_iter().map(|group| group.name).collect::<Vec<_>>();
        assert_eq!(names(3), ["x0", "x1", "x2"]);
        assert_eq!(names(10_000), ["7500 binary inputs", "2500 vector inputs"]);
    }
}
