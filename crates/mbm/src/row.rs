//! Single rows from memory: read one at a time, then predicted, explained or embedded in batches.

use std::collections::HashMap;
use std::path::Path;

use mbm_data::{Batch, Cause, Cell, Column, Consequence, Fault, Field, Payload, Unreadable};
use mbm_model::{Sequence, on_worker_pool};

use crate::prediction::{Prediction, argmax};
use crate::predictor::{GoesOn, Predictor};

/// A row whose inputs have been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One payload per input.
    pub payloads: Vec<Payload>,
    /// For each input, why it has no payload or only part of one.
    pub faults: Vec<Option<Fault>>,
}

/// Whether a row gets a prediction, with the text of its `status` column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `ok`, or which inputs are absent or shortened and why, or why the row is skipped.
    pub status: String,
    /// Whether the row gets no prediction.
    pub is_skipped: bool,
}

/// The contribution of an input to a prediction: its Shapley value (Shapley 1953; for modalities: Parcalabescu and Frank 2023).
/// The contributions of all inputs add up to the difference from the prediction without any input.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// The input.
    pub input: String,
    /// For each output, the share in the probability of the predicted class, or in the predicted number. `None` if the output is
    /// not a single number, or the row lacks the input.
    pub shares: Vec<Option<f64>>,
}

/// With more inputs than this, an input's share is the mean of its effect on its own and its effect in addition to all others.
const MAX_EXACT: usize = 6;

/// Formats a row's status: `ok`, or what is absent or shortened and why; `skipped` instead of `absent` if it gets no prediction.
pub(crate) fn status(fields: &[Field], faults: &[Option<Fault>], is_skipped: bool) -> String {
    let faulty = || fields.iter().zip(faults).filter_map(|(field, fault)| Some((&field.name, fault.as_ref()?.cause)));
    let absent = faulty().filter(|(_, cause)| cause.is_absence()).map(|(name, cause)| format!("{name} ({})", cause.as_str()));
    let shortened = faulty().filter(|(_, cause)| !cause.is_absence()).map(|(name, _)| name.clone());
    let parts: [(&str, Vec<String>); 2] =
        [(if is_skipped { "skipped" } else { "absent" }, absent.collect()), ("shortened", shortened.collect())];
    let nonempty = parts.iter().filter(|(_, inputs)| !inputs.is_empty());
    let words: Vec<String> = nonempty.map(|(kind, inputs)| format!("{kind}: {}", inputs.join(", "))).collect();
    if words.is_empty() { "ok".to_owned() } else { words.join("; ") }
}

impl Predictor {
    /// Reads one cell per input, in input order. Unreadable cells become absent.
    pub fn read_row(&self, cells: &[Cell]) -> Row {
        self.read_row_while(cells, &mut |_| true)
    }

    /// As [`Predictor::read_row`]; `begin` is called with the index of each input before it is read, and returns whether to read it.
    pub fn read_row_while(&self, cells: &[Cell], begin: &mut dyn FnMut(usize) -> bool) -> Row {
        let mut row = Row { payloads: Vec::with_capacity(cells.len()), faults: Vec::with_capacity(cells.len()) };
        for (at, (field, cell)) in self.inputs.iter().zip(cells).enumerate() {
            let read = match cell {
                Cell::Empty => Err(Fault::new(Cause::Empty, "")),
                _ if !begin(at) => Err(Fault::new(Cause::Empty, "given up")),
                cell => field.preprocessor.get().payload(cell, Path::new("")),
            };
            let shortened = read.as_ref().ok().and_then(|payload| field.preprocessor.get().shortened(cell, payload));
            let (payload, fault) = read.map_or_else(|fault| (Payload::Missing, Some(fault)), |payload| (payload, shortened));
            row.payloads.push(payload);
            row.faults.push(fault);
        }
        row
    }

    /// Decides whether a row gets a prediction.
    ///
    /// # Errors
    /// Returns every rejected cell with its input.
    pub fn verdict(&self, row: &Row, unreadable: Unreadable) -> Result<Verdict, String> {
        let (mut refused, mut is_skipped) = (Vec::new(), false);
        for (field, fault) in self.inputs.iter().zip(&row.faults) {
            let Some(fault) = fault else { continue };
            match field.consequence(fault, unreadable) {
                Consequence::Stays => {}
                Consequence::Dropped => is_skipped = true,
                Consequence::Refused => refused.push(format!("{}: {fault} (required by the model)", field.name)),
                Consequence::Strict => refused.push(format!("{}: {fault}", field.name)),
            }
        }
        if refused.is_empty() {
            return Ok(Verdict { status: status(&self.inputs, &row.faults, is_skipped), is_skipped });
        }
        Err(refused.join("; "))
    }

    /// Reads the cells of a query. Unreadable cells are errors, even if the model could do without them.
    ///
    /// # Errors
    /// Returns every input whose cell is present and unreadable.
    pub fn read_asked(&self, cells: &[Cell]) -> Result<Row, String> {
        let row = self.read_row(cells);
        self.check_asked(&row)?;
        Ok(row)
    }

    /// Checks that every cell of a query was read.
    ///
    /// # Errors
    /// Returns every input whose cell is present and unreadable.
    pub fn check_asked(&self, row: &Row) -> Result<(), String> {
        let faults = self.inputs.iter().zip(&row.faults).filter_map(|(field, fault)| Some((&field.name, fault.as_ref()?)));
        let unread = faults.filter(|(_, fault)| fault.cause.is_unreadable());
        let unread: Vec<String> = unread.map(|(name, fault)| format!("{name}: {fault}")).collect();
        if unread.is_empty() { Ok(()) } else { Err(unread.join("; ")) }
    }

    /// Combines rows into a batch.
    pub fn collate(&self, rows: &[&Row]) -> Batch {
        let column = |at: usize| {
            let payloads: Vec<&Payload> = rows.iter().map(|row| &row.payloads[at]).collect();
            Column::collate(&self.inputs[at].preprocessor, &payloads)
        };
        Batch { rows: (0..rows.len()).collect(), inputs: (0..self.inputs.len()).map(column).collect(), targets: Vec::new() }
    }

    /// Predicts rows, `[outputs][rows]`, and computes the contribution of each input, `[rows][inputs]`. Once `goes_on` returns
    /// false, texts are returned as far as they have been generated.
    pub fn explain_batch(&self, rows: &[&Row], goes_on: &GoesOn) -> (Vec<Vec<Prediction>>, Vec<Vec<Contribution>>) {
        let n_inputs = self.inputs.len();
        let encoded = self.encode(&self.collate(rows));
        let absent: Vec<Sequence> = (0..n_inputs).map(|input| self.model.absent(input, rows.len(), &self.device)).collect();
        let mut known: HashMap<Vec<bool>, Vec<Vec<Prediction>>> = HashMap::new();
        let all = vec![true; n_inputs];
        let coalitions: Vec<Vec<Coalition>> = (0..n_inputs).map(|input| coalitions(n_inputs, input)).collect();
        let masks = coalitions.iter().flatten().flat_map(|it| [&it.without, &it.with]);
        for mask in masks.chain([&all]) {
            known.entry(mask.clone()).or_insert_with(|| {
                let inputs = mask.iter().enumerate().map(|(at, is)| if *is { &encoded[at] } else { &absent[at] });
                let inputs: Vec<Sequence> = inputs.cloned().collect();
                on_worker_pool(|| self.predict_fused(&self.model.fuse(inputs), goes_on))
            });
        }
        let share = |row: usize, input: usize, output: usize| {
            let best = &known[&all][output][row];
            let of = |mask: &Vec<bool>| value(&known[mask][output][row], best);
            coalitions[input].iter().map(|it| Some(it.weight * (of(&it.with)? - of(&it.without)?))).sum::<Option<f64>>()
        };
        let contribution = |row: usize, input: usize| {
            let is_present = rows[row].payloads[input] != Payload::Missing;
            let shares = (0..self.outputs.len()).map(|output| if is_present { share(row, input, output) } else { None });
            Contribution { input: self.inputs[input].name.clone(), shares: shares.collect() }
        };
        let of_row = |row: usize| (0..n_inputs).map(|input| contribution(row, input)).collect();
        let contributions = (0..rows.len()).map(of_row).collect();
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
    let weighted = |bits: usize| {
        // size! (n - size - 1)! / n!
        let size = bits.count_ones() as usize;
        let weight = (1..=size).map(|k| k as f64 / (n_inputs - k) as f64).product::<f64>() / n_inputs as f64;
        coalition((0..n_inputs).map(|at| bits >> at & 1 == 1).collect(), weight)
    };
    masks.map(weighted).collect()
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
