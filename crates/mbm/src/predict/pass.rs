//! A pass of rows through the model: each batch is encoded once, and any number of sinks take what they need from it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use burn::tensor::Tensor;
use mbm_data::{Batch, Dataset, LoadOptions, load};
use mbm_model::{Fused, Sequence, Target, on_worker_pool};

use crate::error::Error;
use crate::learn::ensemble::Others;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;

/// Takes the results of each batch: a loss, metrics, predictions, examples to fit on.
pub(crate) trait Sink {
    /// Whether it masks inputs, and so needs each input encoded on its own.
    fn masks_inputs(&self) -> bool {
        false
    }

    /// Takes the results of a batch.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files and of files that the sink writes.
    fn add(&mut self, pass: &Pass) -> Result<(), Error>;
}

/// Passes rows of a dataset through the model. Batches arrive at the sinks in an order that suits the model.
///
/// # Errors
/// Fails with the first error of a sink, or if a row cannot be read.
pub(crate) fn evaluate(
    predictor: &Predictor,
    dataset: &Dataset,
    rows: &[usize],
    sinks: &mut [&mut dyn Sink],
) -> Result<(), Error> {
    let generated = GeneratedTexts::new(predictor.outputs.len());
    load(&LoadOptions::plain(dataset, &predictor.in_order(dataset, rows), predictor.batch_size()), |_, batch| {
        evaluate_batch(predictor, dataset, &batch, &generated, sinks)
    })
}

/// Passes one batch through the model.
pub(crate) fn evaluate_batch(
    predictor: &Predictor,
    dataset: &Dataset,
    batch: &Batch,
    generated: &GeneratedTexts,
    sinks: &mut [&mut dyn Sink],
) -> Result<(), Error> {
    let masks_inputs = sinks.iter().any(|sink| sink.masks_inputs());
    let encoded = if masks_inputs { predictor.encode(batch) } else { Vec::new() };
    let fused = if masks_inputs { predictor.fused_from(&encoded, batch) } else { predictor.fused_batch(batch) };
    let pass = Pass::new(predictor, dataset, (batch, &encoded, &fused), generated);
    sinks.iter_mut().try_for_each(|sink| sink.add(&pass))
}

/// A batch that has been encoded and fused. What several sinks need is computed when the first of them asks for it.
pub(crate) struct Pass<'a> {
    pub predictor: &'a Predictor,
    pub dataset: &'a Dataset,
    pub batch: &'a Batch,
    /// One sequence per input; empty unless a sink masks inputs.
    pub encoded: &'a [Sequence],
    pub fused: &'a Fused,
    generated: &'a GeneratedTexts,
    targets: OnceCell<Vec<Target>>,
    scores: OnceCell<Vec<Tensor<2>>>,
    predictions: Vec<OnceCell<Vec<Prediction>>>,
    /// Whether each input is masked; empty if none is.
    masked: Vec<bool>,
    others: OnceCell<Option<Others>>,
}

impl<'a> Pass<'a> {
    fn new(
        predictor: &'a Predictor,
        dataset: &'a Dataset,
        (batch, encoded, fused): (&'a Batch, &'a [Sequence], &'a Fused),
        generated: &'a GeneratedTexts,
    ) -> Self {
        let predictions = predictor.outputs.iter().map(|_| OnceCell::new()).collect();
        let (targets, scores, others) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let masked = Vec::new();
        Self { predictor, dataset, batch, encoded, fused, generated, targets, scores, predictions, masked, others }
    }

    /// Returns the same rows with other fused inputs; `masked` says for each input whether it is masked.
    pub fn masked<'b>(&'b self, fused: &'b Fused, masked: Vec<bool>, generated: &'b GeneratedTexts) -> Pass<'b> {
        Pass { masked, ..Pass::new(self.predictor, self.dataset, (self.batch, &[], fused), generated) }
    }

    /// Returns the target of each output; none if the dataset has only inputs.
    pub fn targets(&self) -> &[Target] {
        self.targets.get_or_init(|| self.predictor.targets(self.batch))
    }

    /// Returns the scores of each output, `[rows, width]`; for a text output, the teacher-forcing costs of its targets.
    pub fn scores(&self) -> &[Tensor<2>] {
        self.scores.get_or_init(|| {
            let targets = Some(self.targets()).filter(|targets| !targets.is_empty());
            let (model, fused) = (&self.predictor.model, self.fused);
            on_worker_pool(|| model.decode(fused, targets))
        })
    }

    /// Returns the prediction of each row for an output.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub fn predictions(&self, output: usize) -> Result<&[Prediction], Error> {
        if let Some(predictions) = self.predictions[output].get() {
            return Ok(predictions);
        }
        let predictions = if self.predictor.decoding(output).is_some() {
            let rows: Vec<usize> = (0..self.batch.len()).collect();
            self.texts(output, &rows)?.into_iter().map(Prediction::Texts).collect()
        } else {
            let (predictor, scores, fused) = (self.predictor, self.scores()[output].clone(), self.fused);
            let others = self.others.get_or_init(|| predictor.others(self.batch, &self.masked));
            on_worker_pool(|| predictor.mixed(output, predictor.postprocess(output, scores, fused), others.as_ref()))
        };
        Ok(self.predictions[output].get_or_init(|| predictions))
    }

    /// Returns the texts of some rows of the batch with their scores, best first. Rows with the same inputs share their texts.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub fn texts(&self, output: usize, rows: &[usize]) -> Result<Vec<Vec<(String, f64)>>, Error> {
        let inputs = rows.iter().map(|at| self.dataset.items(self.batch.rows[*at])).collect::<Result<Vec<_>, _>>()?;
        let mut known = self.generated.0[output].borrow_mut();
        if known.len() > MAX_TEXTS {
            known.clear();
        }
        let mut new: Vec<usize> = Vec::new();
        for (at, inputs) in inputs.iter().enumerate() {
            if !known.contains_key(inputs) {
                known.insert(inputs.clone(), Vec::new());
                new.push(at);
            }
        }
        if !new.is_empty() {
            let fused = self.fused.select(&new.iter().map(|at| rows[*at]).collect::<Vec<_>>());
            for (at, texts) in new.iter().zip(self.predictor.generate(output, &fused)) {
                known.insert(inputs[*at].clone(), texts);
            }
        }
        Ok(inputs.iter().map(|inputs| known[inputs].clone()).collect())
    }
}

/// Maximum number of rows of earlier batches whose texts are reused.
const MAX_TEXTS: usize = 1 << 16;

/// Texts generated in a pass, by output and the content of the inputs.
pub(crate) struct GeneratedTexts(Vec<RefCell<TextsByInputs>>);

/// Texts with their scores, by the content ids of the inputs.
type TextsByInputs = HashMap<Vec<u64>, Vec<(String, f64)>>;

impl GeneratedTexts {
    /// Creates an empty collection.
    pub fn new(n_outputs: usize) -> Self {
        Self((0..n_outputs).map(|_| RefCell::default()).collect())
    }
}
