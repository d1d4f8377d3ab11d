//! Rows that come one by one, from memory: read, then predicted, explained or embedded side by side.

use std::path::Path;

use mbm_data::{Batch, Cause, Cell, Column, Fault, Field, MissingValueStrategy, Payload};
use mbm_model::{Sequence, in_pool};

use crate::prediction::{Prediction, argmax};
use crate::predictor::Predictor;

/// A row whose inputs have been read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One an input.
    pub payloads: Vec<Payload>,
    /// Inputs that the row does not have.
    pub absent: Vec<String>,
}

/// What an input did to a prediction.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// The input.
    pub input: String,
    /// For each output, the prediction with all inputs less the one without this input: of classes the probability of the one that is
    /// predicted, of numbers the number itself. None where the output has no single number, or the row lacks the input.
    pub differences: Vec<Option<f64>>,
}

impl Predictor {
    /// Reads a cell for each input, in their order; an empty one makes its input absent.
    ///
    /// # Errors
    /// Every input whose cell cannot be read, and those that the model cannot do without.
    pub fn read_row(&self, cells: &[Cell]) -> Result<Row, String> {
        let row = self.read_asked(cells)?;
        let needed =
            |field: &&Field| field.missing_value_strategy != MissingValueStrategy::Absent && row.absent.contains(&field.name);
        let needed: Vec<&str> = self.inputs.iter().filter(needed).map(|field| field.name.as_str()).collect();
        if needed.is_empty() { Ok(row) } else { Err(format!("the model needs: {}", needed.join(", "))) }
    }

    /// As [`Predictor::read_row`], even if the model cannot predict without what is absent.
    ///
    /// # Errors
    /// Every input whose cell cannot be read.
    pub fn read_asked(&self, cells: &[Cell]) -> Result<Row, String> {
        let mut row = Row { payloads: Vec::with_capacity(cells.len()), absent: Vec::new() };
        let mut faults = Vec::new();
        for (field, cell) in self.inputs.iter().zip(cells) {
            let payload = match cell {
                Cell::Empty => Err(Fault::new(Cause::Empty, "")),
                cell => field.preprocessor.get().payload(cell, Path::new("")),
            };
            row.payloads.push(payload.unwrap_or_else(|fault| {
                match fault.cause {
                    Cause::Empty => row.absent.push(field.name.clone()),
                    _ => faults.push(format!("{}: {fault}", field.name)),
                }
                Payload::Missing
            }));
        }
        if faults.is_empty() { Ok(row) } else { Err(faults.join("; ")) }
    }

    /// Rows side by side.
    pub fn collate(&self, rows: &[&Row]) -> Batch {
        let column = |at: usize| {
            let payloads: Vec<&Payload> = rows.iter().map(|row| &row.payloads[at]).collect();
            Column::collate(&self.inputs[at].preprocessor, &payloads)
        };
        Batch { rows: (0..rows.len()).collect(), inputs: (0..self.inputs.len()).map(column).collect(), targets: Vec::new() }
    }

    /// The predictions of rows, `[outputs][rows]`, and what each of their inputs did to them, `[rows][inputs]`.
    pub fn explain_batch(&self, rows: &[&Row]) -> (Vec<Vec<Prediction>>, Vec<Vec<Contribution>>) {
        let encoded = self.encode(&self.collate(rows));
        let all = in_pool(|| self.predict_fused(&self.model.fuse(encoded.clone())));
        let without = |input: usize| {
            let mut inputs: Vec<Sequence> = encoded.clone();
            inputs[input] = self.model.absent(input, rows.len(), &self.device);
            in_pool(|| self.predict_fused(&self.model.fuse(inputs)))
        };
        let less: Vec<Vec<Vec<Prediction>>> = (0..self.inputs.len()).map(without).collect();
        let contribution = |at: usize, input: usize| Contribution {
            input: self.inputs[input].name.clone(),
            differences: (0..all.len())
                .map(|output| {
                    let is_there = rows[at].payloads[input] != Payload::Missing;
                    is_there.then(|| difference(&all[output][at], &less[input][output][at])).flatten()
                })
                .collect(),
        };
        let of_row = |at: usize| (0..self.inputs.len()).map(|input| contribution(at, input)).collect();
        let contributions = (0..rows.len()).map(of_row).collect();
        (all, contributions)
    }
}

/// How far a prediction has moved, of classes that of the first prediction's best.
fn difference(with: &Prediction, without: &Prediction) -> Option<f64> {
    match (with, without) {
        (Prediction::Classes(with), Prediction::Classes(without)) => {
            let best = argmax(with);
            Some(f64::from(with[best]) - f64::from(without[best]))
        }
        (Prediction::Number(with), Prediction::Number(without)) => Some(with - without),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_that_of_the_class_that_was_predicted() {
        let classes = |p: f32| Prediction::Classes(vec![1.0 - p, p]);
        assert_eq!(difference(&classes(0.75), &classes(0.25)), Some(0.5));
        assert_eq!(difference(&classes(0.25), &classes(0.75)), Some(0.5));
        assert_eq!(difference(&Prediction::Number(3.0), &Prediction::Number(5.0)), Some(-2.0));
        assert_eq!(difference(&Prediction::Labels(vec![0.5]), &Prediction::Labels(vec![0.5])), None);
    }
}
