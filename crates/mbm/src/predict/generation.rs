//! Text generation from single cells: translations of sentences, captions of images, transcripts of audio.

use std::ops::ControlFlow;
use std::sync::Arc;

use mbm_data::{Cause, Cell, Payload, Preprocessor, Sample};

use crate::predict::cells::CellErrors;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;

/// Generates texts from one input of a model; the other inputs are absent.
pub struct GenerationSession {
    predictor: Arc<Predictor>,
    input: usize,
    output: usize,
}

/// A model that cannot generate the requested texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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

/// The text generated from a cell.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct GeneratedText {
    /// The texts with their scores, best first; none for an empty cell.
    pub texts: Vec<(String, f64)>,
    /// How much of a long cell was read, if not all of it.
    pub shortened: Option<String>,
}

impl GeneratedText {
    /// Returns the best text.
    pub fn best(&self) -> Option<&str> {
        self.texts.first().map(|(text, _)| text.as_str())
    }

    /// Creates a result without texts.
    fn about(row: &Sample) -> Self {
        let shortened = row.faults.iter().map(|it| &it.fault).find(|fault| fault.cause == Cause::Shortened);
        Self { texts: Vec::new(), shortened: shortened.map(|fault| fault.detail.clone()) }
    }
}

impl GenerationSession {
    /// Starts a session for the first text output and the only input of a type such as `text`.
    ///
    /// # Errors
    /// Fails if the model has no text output, or not exactly one such input.
    pub(crate) fn new(predictor: Arc<Predictor>, type_name: &str) -> Result<Self, GenerationError> {
        let (inputs, outputs) = (&predictor.inputs, &predictor.outputs);
        let output = (0..outputs.len()).find(|output| predictor.decoding(*output).is_some());
        let output = output.ok_or_else(|| {
            let types: Vec<&str> = outputs.iter().map(|field| field.preprocessor.type_name()).collect();
            GenerationError::NoTextOutput { outputs: types.join(", ") }
        })?;
        let found: Vec<usize> = (0..inputs.len()).filter(|input| inputs[*input].preprocessor.type_name() == type_name).collect();
        let [input] = found[..] else {
            let available = inputs.iter().map(|field| format!("{} ({})", field.name, field.preprocessor.type_name()));
            let available = available.collect::<Vec<_>>().join(", ");
            return Err(GenerationError::Input { type_name: type_name.to_owned(), n_found: found.len(), available });
        };
        Ok(Self { predictor, input, output })
    }

    /// Sets the beginning of every generated text.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/writer")?;
    /// let session = model.generation_session("text")?.prefix("red");
    /// let mut n_steps = 0;
    /// let generated = session.stream("red green blue", &mut |_so_far| n_steps += 1)?;
    /// assert!(n_steps > 0 && generated.best().is_some_and(|text| text.starts_with("red")));
    /// # Ok::<(), mbm::Error>(())
    /// ```
    pub fn prefix(mut self, text: &str) -> Self {
        if let Preprocessor::TargetText(fitted) = &self.predictor.outputs[self.output].preprocessor {
            let tokens = fitted.encode(text);
            Arc::make_mut(&mut self.predictor).set_decoding(&|decoding| decoding.prefix.clone_from(&tokens));
        }
        self
    }

    /// Generates the texts of each cell.
    ///
    /// # Errors
    /// Returns, for each unreadable cell, why it cannot be read.
    pub fn generate<C: Into<Cell>>(&self, cells: impl IntoIterator<Item = C>) -> Vec<Result<GeneratedText, CellErrors>> {
        let rows: Vec<Result<Sample, CellErrors>> = cells.into_iter().map(|cell| self.row(cell.into())).collect();
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
    pub fn stream(&self, cell: impl Into<Cell>, observe: &mut (dyn FnMut(&str) + Send)) -> Result<GeneratedText, CellErrors> {
        let row = self.row(cell.into())?;
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

    fn row(&self, cell: Cell) -> Result<Sample, CellErrors> {
        let mut cells = vec![Cell::Empty; self.predictor.inputs.len()];
        cells[self.input] = cell;
        self.predictor.read_query(&cells)
    }

    fn is_empty(&self, row: &Sample) -> bool {
        row.payloads[self.input] == Payload::Missing
    }
}
