//! Texts about single cells: translations of sentences, captions of images, transcripts of sounds.

use std::ops::ControlFlow;

use mbm_data::{Cause, Cell, Payload, Preprocessor};

use crate::error::Error;
use crate::prediction::Prediction;
use crate::predictor::Predictor;
use crate::row::Row;

/// A model that writes about one of its inputs; the others are absent.
pub struct GenerationSession<'a> {
    predictor: &'a Predictor,
    input: usize,
    output: usize,
}

impl Predictor {
    /// The first text output, and the one input of a type such as `text`.
    ///
    /// # Errors
    /// A model that writes no text, or has no such input, or several.
    pub fn writing(&self, type_name: &str) -> Result<GenerationSession<'_>, Error> {
        let output = (0..self.outputs.len()).find(|output| self.decoding(*output).is_some());
        let output = output.ok_or_else(|| {
            let there: Vec<&str> = self.outputs.iter().map(|field| field.preprocessor.type_name()).collect();
            Error::Incompatible(format!("the model writes no text; its outputs are: {}", there.join(", ")))
        })?;
        let is_asked = |input: &usize| self.inputs[*input].preprocessor.type_name() == type_name;
        let inputs: Vec<usize> = (0..self.inputs.len()).filter(is_asked).collect();
        let [input] = inputs[..] else {
            let there: Vec<String> =
                self.inputs.iter().map(|field| format!("{} ({})", field.name, field.preprocessor.type_name())).collect();
            let message = format!(
                "the model has {} inputs of type {type_name}, and one is needed; there are: {}. 'mbm predict' takes all of them",
                inputs.len(),
                there.join(", ")
            );
            return Err(Error::Incompatible(message));
        };
        Ok(GenerationSession { predictor: self, input, output })
    }
}

/// What was written about a cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneratedText {
    /// The texts with their scores, the best first; none for an empty cell.
    pub texts: Vec<(String, f64)>,
    /// How much of a long cell was read, if not all.
    pub shortened: Option<String>,
}

impl GeneratedText {
    /// Nothing yet.
    fn about(row: &Row) -> Self {
        let shortened = row.faults.iter().flatten().find(|fault| fault.cause == Cause::Shortened);
        Self { texts: Vec::new(), shortened: shortened.map(|fault| fault.detail.clone()) }
    }
}

impl GenerationSession<'_> {
    /// What is written about each cell.
    ///
    /// # Errors
    /// For each cell that cannot be read, why.
    pub fn texts(&self, cells: Vec<Cell>) -> Vec<Result<GeneratedText, String>> {
        let rows: Vec<Result<Row, String>> = cells.into_iter().map(|cell| self.row(cell)).collect();
        let is_there = |at: &usize| rows[*at].as_ref().is_ok_and(|row| !self.is_empty(row));
        // Rows that are alike in length are done together.
        let mut order: Vec<usize> = (0..rows.len()).filter(is_there).collect();
        order.sort_by_key(|at| rows[*at].as_ref().map_or(0, |row| row.payloads[self.input].n_steps()));
        let mut all: Vec<Result<GeneratedText, String>> =
            rows.iter().map(|row| row.as_ref().map(GeneratedText::about).map_err(String::clone)).collect();
        for chunk in order.chunks(self.predictor.batch_size()) {
            let side_by_side: Vec<&Row> = chunk.iter().filter_map(|at| rows[*at].as_ref().ok()).collect();
            let written = self.predictor.predict_batch(&self.predictor.collate(&side_by_side)).swap_remove(self.output);
            for (at, prediction) in chunk.iter().zip(written) {
                if let (Prediction::Texts(texts), Ok(of_cell)) = (prediction, &mut all[*at]) {
                    of_cell.texts = texts;
                }
            }
        }
        all
    }

    /// The text about a cell; `observe` hears what is there so far, where one text is written at a time.
    ///
    /// # Errors
    /// Why the cell cannot be read.
    pub fn stream(&self, cell: Cell, observe: &mut (dyn FnMut(&str) + Send)) -> Result<GeneratedText, String> {
        let row = self.row(cell)?;
        let unwritten = GeneratedText::about(&row);
        if self.is_empty(&row) {
            return Ok(unwritten);
        }
        let mut hear = |output: usize, text: Option<&str>| {
            text.iter().filter(|_| output == self.output).for_each(|text| observe(text));
            ControlFlow::Continue(())
        };
        match self.predictor.predict_row(&row, &mut hear).swap_remove(self.output) {
            Prediction::Texts(texts) => Ok(GeneratedText { texts, ..unwritten }),
            _ => Ok(unwritten),
        }
    }

    /// The tokens that a text is told to begin with.
    pub fn prefix(&self, text: &str) -> Vec<u32> {
        match &self.predictor.outputs[self.output].preprocessor {
            Preprocessor::TargetText(fitted) => fitted.encode(text),
            _ => Vec::new(),
        }
    }

    fn row(&self, cell: Cell) -> Result<Row, String> {
        let mut cells = vec![Cell::Empty; self.predictor.inputs.len()];
        cells[self.input] = cell;
        self.predictor.read_asked(&cells)
    }

    fn is_empty(&self, row: &Row) -> bool {
        row.payloads[self.input] == Payload::Missing
    }
}
