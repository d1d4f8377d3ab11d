//! What takes the results of a pass: the loss, the metrics, rows of a table of predictions, examples to fit postprocessors on.

use std::collections::BTreeMap;

use mbm_algo::metric::{SampleWeights, TeacherForcing};
use mbm_data::{FaultReport, Field, Payload, Preprocessor, RowStatus};
use mbm_model::{ModelSpec, on_worker_pool};

use crate::config::features::OutputFeature;
use crate::error::Error;
use crate::predict::forward::to_vec;
use crate::predict::pass::{Pass, Sink};
use crate::predict::postprocessor::Examples;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;
use crate::predict::score::MetricSamples;
use crate::predict::text_rows::TextRows;
use crate::predict::writer::OutputValue;

/// The weighted mean of the loss of the rows, without dropout.
pub(crate) struct Loss<'a> {
    spec: &'a ModelSpec,
    sum: f64,
    /// The sum of the weights of the rows.
    total: f64,
}

impl<'a> Loss<'a> {
    pub fn new(spec: &'a ModelSpec) -> Self {
        Self { spec, sum: 0.0, total: 0.0 }
    }

    pub fn mean(&self) -> f64 {
        self.sum / if self.total > 0.0 { self.total } else { 1.0 }
    }
}

impl Sink for Loss<'_> {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        let (model, scores, targets) = (&pass.predictor.model, pass.scores(), pass.targets());
        let loss = on_worker_pool(|| self.spec.loss(model, scores, targets));
        self.sum += f64::from(loss.into_scalar::<f32>()) * pass.batch.len() as f64;
        self.total += pass.batch.weight();
        Ok(())
    }
}

/// Predictions collected with their targets, one collection per output.
pub(crate) struct Scores(pub Vec<MetricSamples>);

impl Scores {
    /// Creates an empty collection for each output.
    pub fn new(predictor: &Predictor) -> Self {
        let inputs: Vec<&str> = predictor.inputs.iter().map(|field| field.name.as_str()).collect();
        let scored =
            |(at, field): (usize, &Field)| MetricSamples::new(&field.preprocessor, &predictor.postprocessors[at], &inputs);
        let mut scored: Vec<MetricSamples> = predictor.outputs.iter().enumerate().map(scored).collect();
        for (scored, feature) in scored.iter_mut().zip(&predictor.plan.config.output_features) {
            if let (MetricSamples::Texts(texts), OutputFeature::Text(feature)) = (scored, feature) {
                texts.written.words = feature.bleu_tokenizer.into();
            }
        }
        Self(scored)
    }

    /// Computes the metrics of each output: `{"label": {"accuracy": ..}, ..}`.
    pub fn metrics(&self, predictor: &Predictor) -> BTreeMap<String, BTreeMap<String, f64>> {
        let names = predictor.outputs.iter().map(|field| field.name.clone());
        names.zip(self.0.iter().map(MetricSamples::metrics)).collect()
    }
}

impl Sink for Scores {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        for (output, scored) in self.0.iter_mut().enumerate() {
            match scored {
                MetricSamples::Texts(texts) => add_texts(texts, output, pass)?,
                scored => {
                    let preprocessor = &pass.predictor.outputs[output].preprocessor;
                    let weights = pass.batch.weights.as_deref();
                    scored.add(pass.predictions(output)?, &pass.batch.targets[output], weights, preprocessor);
                }
            }
        }
        Ok(())
    }
}

/// Adds the rows of a batch that have a target text; all rows with the same inputs share a single text.
fn add_texts(texts: &mut TextRows, output: usize, pass: &Pass) -> Result<(), Error> {
    let present = &pass.batch.targets[output].present;
    let mut new = Vec::new();
    for (at, costs) in to_vec(pass.scores()[output].clone()).chunks(4).enumerate().filter(|(at, _)| present[*at]) {
        let [cross_entropy, n_right, n_tokens] = [costs[1], costs[2], costs[3]].map(f64::from);
        texts.add_costs(TeacherForcing { cross_entropy, n_tokens, n_right });
        let row_idx = pass.batch.rows[at];
        let references = references(pass, output, row_idx)?;
        if texts.add_references(pass.dataset.items(row_idx)?, row_idx, references) {
            new.push(at);
        }
    }
    for generated in pass.texts(output, &new)? {
        texts.written.hypotheses.push(generated.into_iter().next().map_or_else(String::new, |(text, _)| text));
    }
    Ok(())
}

/// Returns the reference texts of a row: that of the output's column, and those of its reference columns.
fn references(pass: &Pass, output: usize, row_idx: usize) -> Result<Vec<String>, Error> {
    let (Preprocessor::TargetText(fitted), OutputFeature::Text(feature)) =
        (&pass.predictor.outputs[output].preprocessor, &pass.predictor.plan.config.output_features[output])
    else {
        return Ok(Vec::new());
    };
    let table = &pass.dataset.table;
    let row = table.row(row_idx)?;
    let columns = [feature.column.as_ref().unwrap_or(&feature.name)].into_iter().chain(&feature.reference_columns);
    let cells = columns.filter_map(|column| table.position(column)).map(|at| &row[at]);
    Ok(cells.filter_map(|cell| fitted.reference(cell)).collect())
}

/// Takes the predicted values of a row, and its status.
pub(crate) type WriteRow<'a> = dyn FnMut(Vec<OutputValue>, RowStatus) -> Result<(), Error> + 'a;

/// Rows of a table of predictions, written in their order, although they may arrive in another.
pub(crate) struct Rows<'a> {
    write: &'a mut WriteRow<'a>,
    /// The position of each row in the output, if not all rows are written; then the first column is the number of the row.
    positions: Option<BTreeMap<usize, usize>>,
    /// The rows that arrived before their predecessors.
    waiting: BTreeMap<usize, (Vec<OutputValue>, RowStatus)>,
    n_written: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
}

impl<'a> Rows<'a> {
    /// Writes all rows of a table.
    pub fn all(write: &'a mut WriteRow<'a>) -> Self {
        Self { write, positions: None, waiting: BTreeMap::new(), n_written: 0, faults: FaultReport::default() }
    }

    /// Writes some rows, each with its number in front.
    pub fn numbered(write: &'a mut WriteRow<'a>, rows: &[usize]) -> Self {
        let positions = rows.iter().enumerate().map(|(position, row_idx)| (*row_idx, position)).collect();
        Self { positions: Some(positions), ..Self::all(write) }
    }
}

impl Sink for Rows<'_> {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        let (predictor, inputs) = (pass.predictor, &pass.predictor.inputs);
        let outputs = 0..predictor.outputs.len();
        let predictions: Vec<&[Prediction]> = outputs.map(|output| pass.predictions(output)).collect::<Result<_, _>>()?;
        for (at, row_idx) in pass.batch.rows.iter().enumerate() {
            let faults = &pass.batch.faults[at];
            let decision = pass.dataset.decide(*row_idx, faults, &mut self.faults)?;
            let status = RowStatus::new(inputs, faults, decision);
            let number = self.positions.as_ref().map(|_| OutputValue::Number((row_idx + 1) as f64));
            let values: Vec<OutputValue> = number.into_iter().chain(predictor.values(&predictions, at, &status)).collect();
            let position = self.positions.as_ref().map_or(*row_idx, |positions| positions[row_idx]);
            self.waiting.insert(position, (values, status));
        }
        while let Some((values, status)) = self.waiting.remove(&self.n_written) {
            (self.write)(values, status)?;
            self.n_written += 1;
        }
        Ok(())
    }
}

/// Examples of one output that a postprocessor is fitted on.
pub(crate) struct FittingExamples {
    /// The output.
    pub output: usize,
    /// Its examples.
    pub examples: Examples,
}

impl FittingExamples {
    pub fn new(output: usize) -> Self {
        let (fused, scores, targets) = (Vec::new(), Vec::new(), Vec::new());
        Self { output, examples: Examples { fused, width: 1, scores, targets, weights: SampleWeights::default() } }
    }
}

impl Sink for FittingExamples {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        let [n_rows, width] = pass.fused.pooled.dims();
        let (fused, scores) = (to_vec(pass.fused.pooled.clone()), to_vec(pass.scores()[self.output].clone()));
        let n_scores = scores.len() / n_rows;
        self.examples.width = width;
        for (at, row_idx) in pass.batch.rows.iter().enumerate() {
            let target = pass.dataset.payload_at(*row_idx, pass.dataset.n_inputs + self.output)?;
            if target != Payload::Missing {
                self.examples.fused.extend(&fused[at * width..(at + 1) * width]);
                self.examples.scores.extend(&scores[at * n_scores..(at + 1) * n_scores]);
                self.examples.targets.push(target);
                self.examples.weights.extend(pass.batch.weights.as_ref().map(|weights| [weights[at]]));
            }
        }
        Ok(())
    }
}
