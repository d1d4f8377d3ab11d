//! Text generation from single cells: translations of sentences, captions of images, transcripts of audio.

use std::ops::ControlFlow;

use mbm_data::{Cause, Cell, Payload, Preprocessor, Sample};

use crate::predict::cells::CellErrors;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;

/// Generates texts from one input of a model; the other inputs are absent.
pub struct GenerationSession<'a> {
    predictor: &'a Predictor,
    input: usize,
    output: usize,
}

/// A model that cannot generate the requested texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerationError {
    /// It has no text output.
    #[error("the model has no text output; its outputs are: {outputs}")]
    NoTextOutput {
        /// The types of its outputs.
        outputs: String,
    },
    /// It has none or several inputs of the requested type.
    #[error(
        "the model has {n_found} inputs of type {type_name} instead of one: its inputs are {available}; 'mbm predict' accepts all"
    )]
    Input {
        /// The requested type.
        type_name: String,
        /// Number of its inputs of that type.
        n_found: usize,
        /// Its inputs with their types.
        available: String,
    },
}

impl Predictor {
    /// Starts a session for the first text output and the only input of a type such as `text`.
    ///
    /// # Errors
    /// Fails if the model has no text output, or not exactly one such input.
    pub fn writing(&self, type_name: &str) -> Result<GenerationSession<'_>, GenerationError> {
        let output = (0..self.outputs.len()).find(|output| self.decoding(*output).is_some());
        let output = output.ok_or_else(|| {
            let types: Vec<&str> = self.outputs.iter().map(|field| field.preprocessor.type_name()).collect();
            GenerationError::NoTextOutput { outputs: types.join(", ") }
        })?;
        let inputs: Vec<usize> =
            (0..self.inputs.len()).filter(|input| self.inputs[*input].preprocessor.type_name() == type_name).collect();
        let [input] = inputs[..] else {
            let available: Vec<String> =
                self.inputs.iter().map(|field| format!("{} ({})", field.name, field.preprocessor.type_name())).collect();
            let (type_name, available) = (type_name.to_owned(), available.join(", "));
            return Err(GenerationError::Input { type_name, n_found: inputs.len(), available });
        };
        Ok(GenerationSession { predictor: self, input, output })
    }
}

/// The text generated from a cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GeneratedText {
    /// The texts with their scores, best first; none for an empty cell.
    pub texts: Vec<(String, f64)>,
    /// How much of a long cell was read, if not all of it.
    pub shortened: Option<String>,
}

impl GeneratedText {
    /// Creates a result without texts.
    fn about(row: &Sample) -> Self {
        let shortened = row.faults.iter().map(|it| &it.fault).find(|fault| fault.cause == Cause::Shortened);
        Self { texts: Vec::new(), shortened: shortened.map(|fault| fault.detail.clone()) }
    }
}

impl GenerationSession<'_> {
    /// Generates the texts of each cell.
    ///
    /// # Errors
    /// Returns, for each unreadable cell, why it cannot be read.
    pub fn texts(&self, cells: Vec<Cell>) -> Vec<Result<GeneratedText, CellErrors>> {
        let rows: Vec<Result<Sample, CellErrors>> = cells.into_iter().map(|cell| self.row(cell)).collect();
        // Rows of similar length are batched together.
        let mut order: Vec<usize> =
            (0..rows.len()).filter(|at| rows[*at].as_ref().is_ok_and(|row| !self.is_empty(row))).collect();
        order.sort_by_key(|at| rows[*at].as_ref().map_or(0, |row| row.payloads[self.input].n_steps()));
        let mut all: Vec<Result<GeneratedText, CellErrors>> =
            rows.iter().map(|row| row.as_ref().map(GeneratedText::about).map_err(CellErrors::clone)).collect();
        for chunk in order.chunks(self.predictor.batch_size()) {
            let batch: Vec<&Sample> = chunk.iter().filter_map(|at| rows[*at].as_ref().ok()).collect();
            let written = self.predictor.predict_batch(&self.predictor.collate(&batch)).swap_remove(self.output);
            for (at, prediction) in chunk.iter().zip(written) {
                if let (Prediction::Texts(texts), Ok(of_cell)) = (prediction, &mut all[*at]) {
                    of_cell.texts = texts;
                }
            }
        }
        all
    }

    /// Generates the text of a cell. `observe` is called with the partial text after each step, if only one text is generated.
    ///
    /// # Errors
    /// Returns why the cell cannot be read.
    pub fn stream(&self, cell: Cell, observe: &mut (dyn FnMut(&str) + Send)) -> Result<GeneratedText, CellErrors> {
        let row = self.row(cell)?;
        let unwritten = GeneratedText::about(&row);
        if self.is_empty(&row) {
            return Ok(unwritten);
        }
        let mut on_step = |output: usize, text: Option<&str>| {
            text.iter().filter(|_| output == self.output).for_each(|text| observe(text));
            ControlFlow::Continue(())
        };
        match self.predictor.predict_row(&row, &mut on_step).swap_remove(self.output) {
            Prediction::Texts(texts) => Ok(GeneratedText { texts, ..unwritten }),
            _ => Ok(unwritten),
        }
    }

    /// Tokenizes the prefix that a generated text has to begin with.
    pub fn prefix(&self, text: &str) -> Vec<u32> {
        match &self.predictor.outputs[self.output].preprocessor {
            Preprocessor::TargetText(fitted) => fitted.encode(text),
            _ => Vec::new(),
        }
    }

    fn row(&self, cell: Cell) -> Result<Sample, CellErrors> {
        let mut cells = vec![Cell::Empty; self.predictor.inputs.len()];
        cells[self.input] = cell;
        self.predictor.read_query(&cells)
    }

    fn is_empty(&self, row: &Sample) -> bool {
        row.payloads[self.input] == Payload::Missing
    }
}
