//! Inference with a trained model: from batches to predictions, from tables to files.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use mbm_algo::metric::TeacherForcing;
use mbm_data::{Batch, Cell, Dataset, Fault, FaultReport, Field, Loading, Preprocessor, Sample, Shape, Table, Unreadable, load};
use mbm_model::decoder::Decoding;
use mbm_model::{Fused, Model, Sequence, Target, on_worker_pool};
use rayon::prelude::*;

use crate::bundle::Bundle;
use crate::config::OutputFeature;
use crate::error::Error;
use crate::matching::check_columns;
use crate::plan::Plan;
use crate::postprocessor::Postprocessor;
use crate::prediction::{Prediction, columns};
use crate::row::{self, Row};
use crate::score::Scored;
use crate::texts::TextRows;
use crate::write::{Column, Value, Writer};

/// A trained model, with everything that prediction needs.
pub struct Predictor {
    /// The config it was trained with.
    pub plan: Plan,
    /// Fitted inputs.
    pub inputs: Vec<Field>,
    /// Fitted outputs.
    pub outputs: Vec<Field>,
    /// One per output.
    pub postprocessors: Vec<Postprocessor>,
    /// One per output: how its texts are decoded, if it is a text output.
    pub(crate) decodings: Vec<Option<Decoding>>,
    pub(crate) model: Model,
    pub(crate) device: Device,
}

/// The result of evaluating a model on a table.
#[derive(Debug)]
pub struct Evaluation {
    /// The metrics of each output: `{"label": {"accuracy": ..}, ..}`.
    pub metrics: BTreeMap<String, BTreeMap<String, f64>>,
    /// Number of rows that were scored.
    pub n_rows: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
}

/// A callback for text generation, called after each decoding step of a row with the output and its text so far (`None` if
/// several texts are searched in parallel). Returns whether to continue; after a break, texts are returned as far as they have
/// been generated.
pub type Hear<'a> = dyn FnMut(usize, Option<&str>) -> ControlFlow<()> + Send + 'a;

/// Returns whether the result is still wanted.
pub type GoesOn<'a> = dyn Fn() -> bool + Sync + 'a;

/// As [`Hear`], for batches. The text is passed as a closure, called only if there is a listener, since it costs as much as the
/// step itself.
type Observe<'a> = dyn FnMut(usize, &dyn Fn() -> Option<String>) -> ControlFlow<()> + 'a;

/// Maximum number of rows that are predicted together, and of values in them: more would exceed the processor's caches.
const MAX_ROWS: usize = 256;
const MAX_VALUES: usize = 1 << 21;

/// Minimum number of rows whose texts are generated together: a step for many takes little longer than a step for one.
const MIN_TEXTS: usize = 64;

impl Predictor {
    /// Returns the number of rows that are predicted together: the larger the rows, the fewer.
    pub fn batch_size(&self) -> usize {
        let n_values: usize = self.inputs.iter().map(|field| field.preprocessor.get().shape().n_values()).sum();
        (MAX_VALUES / n_values.max(1)).clamp(if self.writes() { MIN_TEXTS } else { 1 }, MAX_ROWS)
    }

    /// Whether any output is a text.
    fn writes(&self) -> bool {
        self.decodings.iter().any(Option::is_some)
    }

    /// Returns how the texts of an output are decoded, if it is a text output.
    pub fn decoding(&self, output: usize) -> Option<&Decoding> {
        self.decodings[output].as_ref()
    }

    /// Changes how texts of all outputs are decoded; a text never has more tokens than the model has positions.
    pub fn set_decoding(&mut self, change: &dyn Fn(&mut Decoding)) {
        for ((decoding, postprocessor), field) in self.decodings.iter_mut().zip(&mut self.postprocessors).zip(&self.outputs) {
            if let (Some(decoding), Preprocessor::TargetText(fitted)) = (decoding, &field.preprocessor) {
                change(decoding);
                decoding.max_length = decoding.max_length.clamp(1, fitted.max_steps);
                *postprocessor = Postprocessor::Texts { n_texts: decoding.settings.num_return_sequences };
            }
        }
    }

    /// Opens a bundle, or the run folder that holds one.
    ///
    /// # Errors
    /// Fails if the folder is not a bundle, or the bundle is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Bundle::open(path, &mbm_model::device())
    }

    /// Predicts a batch: `[outputs][rows]`.
    pub fn predict_batch(&self, batch: &Batch) -> Vec<Vec<Prediction>> {
        self.predict_while(batch, &|| true)
    }

    /// As [`Predictor::predict_batch`]. Once `goes_on` returns false, texts are returned as far as they have been generated.
    pub fn predict_while(&self, batch: &Batch, goes_on: &GoesOn) -> Vec<Vec<Prediction>> {
        on_worker_pool(|| self.predict_fused(&self.fused_batch(batch), goes_on))
    }

    /// Encodes and fuses the inputs of a batch.
    pub(crate) fn fused_batch(&self, batch: &Batch) -> Fused {
        on_worker_pool(|| self.model.fused(batch, &self.device))
    }

    /// Encodes each input of a batch.
    pub(crate) fn encode(&self, batch: &Batch) -> Vec<Sequence> {
        on_worker_pool(|| self.model.encode(batch, &self.device))
    }

    pub(crate) fn predict_fused(&self, fused: &Fused, goes_on: &GoesOn) -> Vec<Vec<Prediction>> {
        self.predict_observed(fused, &mut |_, _| continue_while(goes_on))
    }

    /// Predicts one row: one prediction per output.
    pub fn predict_row(&self, row: &Row, hear: &mut Hear) -> Vec<Prediction> {
        let predictions = on_worker_pool(|| {
            let fused = self.fused_batch(&self.collate(&[row]));
            self.predict_observed(&fused, &mut |output, text| hear(output, text().as_deref()))
        });
        predictions.into_iter().map(|mut rows| rows.swap_remove(0)).collect()
    }

    fn predict_observed(&self, fused: &Fused, observe: &mut Observe) -> Vec<Vec<Prediction>> {
        let logits = self.model.decode(fused, None).into_iter().enumerate();
        logits.map(|(output, logits)| self.predictions(output, logits, fused, observe)).collect()
    }

    /// Returns the predictions of one output for a batch.
    fn predictions(&self, output: usize, logits: Tensor<2>, fused: &Fused, observe: &mut Observe) -> Vec<Prediction> {
        if let Some(decoding) = &self.decodings[output] {
            return self.write_texts(output, fused, decoding, observe).into_iter().map(Prediction::Texts).collect();
        }
        let ([_, width], [_, n_scores]) = (fused.pooled.dims(), logits.dims());
        let (vectors, scores) = (to_vec(fused.pooled.clone()), to_vec(logits));
        let rows = scores.chunks(n_scores).zip(vectors.chunks(width));
        let (postprocessor, field) = (&self.postprocessors[output], &self.outputs[output]);
        rows.map(|(scores, fused)| postprocessor.predict(scores, fused, &field.preprocessor)).collect()
    }

    /// Generates the texts of each row with their scores, best first.
    fn write_texts(&self, output: usize, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<(String, f64)>> {
        let Preprocessor::TargetText(fitted) = &self.outputs[output].preprocessor else { return Vec::new() };
        let text = |tokens: &[u32]| fitted.tokenizer.decode(tokens);
        let mut step = |grown: &[(usize, &[u32])]| observe(output, &|| grown.first().map(|(_, tokens)| text(tokens)));
        let found = self.model.generate(output, fused, decoding, &mut step);
        found.into_iter().map(|texts| texts.into_iter().map(|it| (text(&it.tokens), it.score)).collect()).collect()
    }

    /// Returns the targets of a batch.
    pub(crate) fn targets(&self, batch: &Batch) -> Vec<Target> {
        batch.targets.iter().map(|target| Target::new(target, &self.device)).collect()
    }

    /// Predicts from fused inputs, and adds the predictions to `scored` with their targets.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub(crate) fn score_fused(
        &self,
        scored: &mut [Scored],
        fused: &Fused,
        batch: &Batch,
        dataset: &Dataset,
    ) -> Result<(), Error> {
        let logits = on_worker_pool(|| self.model.decode(fused, Some(&self.targets(batch))));
        for ((output, scored), logits) in scored.iter_mut().enumerate().zip(logits) {
            match scored {
                Scored::Texts(texts) => self.score_texts(output, texts, (fused, logits), batch, dataset)?,
                scored => {
                    let predictions =
                        on_worker_pool(|| self.predictions(output, logits, fused, &mut |_, _| ControlFlow::Continue(())));
                    scored.add(&predictions, &batch.targets[output], &self.outputs[output].preprocessor);
                }
            }
        }
        Ok(())
    }

    /// Scores a batch of a text output, generating a single text for all rows with the same inputs.
    fn score_texts(
        &self,
        output: usize,
        texts: &mut TextRows,
        (fused, costs): (&Fused, Tensor<2>),
        batch: &Batch,
        dataset: &Dataset,
    ) -> Result<(), Error> {
        let Some(decoding) = &self.decodings[output] else { return Ok(()) };
        let mut new = Vec::new();
        for (at, costs) in to_vec(costs).chunks(4).enumerate().filter(|(at, _)| batch.targets[output].present[*at]) {
            let [cross_entropy, n_right, n_tokens] = [costs[1], costs[2], costs[3]].map(f64::from);
            texts.add_costs(TeacherForcing { cross_entropy, n_tokens, n_right });
            let row_idx = batch.rows[at];
            let references = self.references(output, dataset, row_idx)?;
            if texts.add_references(dataset.items(row_idx)?, row_idx, references) {
                new.push(at);
            }
        }
        if !new.is_empty() {
            let written =
                on_worker_pool(|| self.write_texts(output, &fused.select(&new), decoding, &mut |_, _| ControlFlow::Continue(())));
            texts
                .written
                .hypotheses
                .extend(written.into_iter().map(|texts| texts.into_iter().next().map_or_else(String::new, |it| it.0)));
        }
        Ok(())
    }

    /// Returns the reference texts of a row: that of the output's column, and those of its reference columns.
    fn references(&self, output: usize, dataset: &Dataset, row_idx: usize) -> Result<Vec<String>, Error> {
        let (Preprocessor::TargetText(fitted), OutputFeature::Text(feature)) =
            (&self.outputs[output].preprocessor, &self.plan.config.output_features[output])
        else {
            return Ok(Vec::new());
        };
        let row = dataset.table.row(row_idx)?;
        let columns = [feature.column.as_ref().unwrap_or(&feature.name)].into_iter().chain(&feature.reference_columns);
        let cells = columns.filter_map(|column| dataset.table.position(column)).map(|at| &row[at]);
        Ok(cells.filter_map(|cell| fitted.reference(cell)).collect())
    }

    /// Returns an empty collection for each output.
    pub(crate) fn unscored(&self) -> Vec<Scored> {
        let inputs: Vec<&str> = self.inputs.iter().map(|field| field.name.as_str()).collect();
        let scored = |(at, field): (usize, &Field)| Scored::new(&field.preprocessor, &self.postprocessors[at], &inputs);
        let mut scored: Vec<Scored> = self.outputs.iter().enumerate().map(scored).collect();
        for (scored, feature) in scored.iter_mut().zip(&self.plan.config.output_features) {
            if let (Scored::Texts(texts), OutputFeature::Text(feature)) = (scored, feature) {
                texts.written.words = feature.bleu_tokenizer.into();
            }
        }
        scored
    }

    /// Predicts prepared rows, and returns the predictions with their targets.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub fn score(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<Scored>, Error> {
        let mut scored = self.unscored();
        load::<Error>(&Loading::plain(dataset, &self.in_order(dataset, rows), self.batch_size()), |_, batch| {
            let fused = self.fused_batch(&batch);
            self.score_fused(&mut scored, &fused, &batch, dataset)
        })?;
        Ok(scored)
    }

    /// Returns the order in which rows are scored: for text outputs, rows of similar length are batched together.
    pub(crate) fn in_order(&self, dataset: &Dataset, rows: &[usize]) -> Vec<usize> {
        let mut rows = rows.to_vec();
        if self.writes() {
            rows.sort_by_key(|row_idx| dataset.length(*row_idx));
        }
        rows
    }

    /// Returns the fused vectors of some rows, `[rows, width]`, and their width.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub fn fused(&self, dataset: &Dataset, rows: &[usize]) -> Result<(Vec<f32>, usize), Error> {
        let (mut vectors, mut width) = (Vec::new(), 1);
        load::<Error>(&Loading::plain(dataset, rows, self.batch_size()), |_, batch| {
            let fused = self.fused_batch(&batch).pooled;
            width = fused.dims()[1];
            vectors.extend(to_vec(fused));
            Ok(())
        })?;
        Ok((vectors, width))
    }

    /// Returns the columns that predictions are written to, `status` last.
    pub fn columns(&self) -> Vec<Column> {
        let outputs = self.outputs.iter().zip(&self.postprocessors);
        let outputs = outputs.flat_map(|(field, postprocessor)| columns(&field.name, &field.preprocessor, postprocessor));
        outputs.chain([Column::text("status")]).collect()
    }

    /// Writes a prediction for every row of a table, in order; the status of a skipped row explains why.
    ///
    /// # Errors
    /// Fails if the table has no input's column; on a bad cell of a feature with `missing_value_strategy: error`, or on any
    /// unreadable cell with [`Unreadable::Error`]; and on I/O errors such as a full disk.
    pub fn predict(&self, table: Table, unreadable: Unreadable, writer: &mut Writer) -> Result<FaultReport, Error> {
        check_columns(&self.inputs, &table)?;
        let mut dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        dataset.unreadable = unreadable;
        let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let mut faults = FaultReport::default();
        for chunk in rows.chunks(self.batch_size()) {
            for row in self.predict_rows(&dataset, chunk, &mut faults)? {
                writer.write(row)?;
            }
        }
        Ok(faults)
    }

    /// Returns the values of [`Predictor::columns`] for some rows.
    pub(crate) fn predict_rows(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        faults: &mut FaultReport,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let read: Vec<(Sample, Vec<Option<Fault>>)> =
            rows.par_iter().map(|row_idx| dataset.sample_with_faults(*row_idx)).collect::<Result<_, _>>()?;
        let (samples, row_faults): (Vec<Sample>, Vec<_>) = read.into_iter().unzip();
        let predictions = self.predict_batch(&Batch::collate(dataset, &samples));
        let mut lines = Vec::with_capacity(rows.len());
        for (at, sample) in samples.iter().enumerate() {
            let fields = &dataset.fields[..dataset.n_inputs];
            let is_skipped = !accept(fields, &row_faults[at], (sample.row_idx, dataset.unreadable), faults)?;
            let mut line = self.values(&predictions, at, is_skipped);
            line.push(Value::Text(row::status(fields, &row_faults[at], is_skipped)));
            lines.push(line);
        }
        Ok(lines)
    }

    /// Returns the values of [`Predictor::columns`] without `status` for row `at` of predictions `[outputs][rows]`; nulls if it
    /// is skipped.
    pub fn values(&self, predictions: &[Vec<Prediction>], at: usize, is_skipped: bool) -> Vec<Value> {
        let outputs = self.outputs.iter().zip(&self.postprocessors).zip(predictions);
        let values = outputs.flat_map(|((field, postprocessor), rows)| rows[at].values(&field.preprocessor, postprocessor));
        values.map(|value| if is_skipped { Value::Null } else { value }).collect()
    }

    /// Computes the metrics on a table that has the output columns.
    ///
    /// # Errors
    /// Fails if the table lacks an output column or has no input's column, if data cannot be read, and on any unreadable cell
    /// with [`Unreadable::Error`].
    pub fn evaluate(&self, table: Table, unreadable: Unreadable) -> Result<Evaluation, Error> {
        check_columns(&self.inputs, &table)?;
        for output in self.outputs.iter().filter(|output| output.preprocessor.get().shape() != Shape::ContentIds) {
            table.require(&output.column)?;
        }
        let mut dataset = Dataset::new(table, self.inputs.clone(), self.outputs.clone());
        dataset.unreadable = unreadable;
        let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let prepared = dataset.prepare(&rows, self.plan.cache_bytes(), &mut [], &mut |_| ())?;
        let scored = self.score(&dataset, &prepared.rows)?;
        let metrics = self.outputs.iter().zip(&scored).map(|(field, scored)| (field.name.clone(), scored.metrics())).collect();
        Ok(Evaluation { metrics, n_rows: prepared.rows.len(), faults: prepared.faults })
    }
}

/// Returns how the texts of each output are decoded; `None` for other outputs.
pub(crate) fn decodings(plan: &Plan, outputs: &[Field]) -> Vec<Option<Decoding>> {
    let decoding = |(feature, field): (&OutputFeature, &Field)| {
        let Preprocessor::TargetText(fitted) = &field.preprocessor else { return None };
        let settings = feature.decoder().get().decoding()?.clone();
        let max_length = settings.max_length.unwrap_or(fitted.longest).min(fitted.max_steps);
        Some(Decoding { settings, max_length, prefix: Vec::new(), seed: plan.config.random_seed, is_cached: true })
    };
    plan.config.output_features.iter().zip(outputs).map(decoding).collect()
}

/// Records the faults of a row, and returns whether it gets a prediction.
fn accept(
    fields: &[Field],
    row_faults: &[Option<Fault>],
    (row_idx, unreadable): (usize, Unreadable),
    report: &mut FaultReport,
) -> Result<bool, Error> {
    let mut is_accepted = true;
    for (field, fault) in fields.iter().zip(row_faults) {
        let Some(fault) = fault else { continue };
        report.add(&field.name, row_idx + 1, fault);
        is_accepted &= field.accept(fault, unreadable, row_idx)?;
    }
    Ok(is_accepted)
}

fn continue_while(goes_on: &GoesOn) -> ControlFlow<()> {
    if goes_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Returns the values of a tensor in row-major order.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}

/// Parses a table from JSON objects, one per line or a single one over several lines; paths in cells are relative to the working
/// directory.
///
/// # Errors
/// Fails if the text is not a sequence of JSON objects.
pub fn table_from_json(text: &str) -> Result<Table, Error> {
    let mut objects: Vec<serde_json::Map<String, serde_json::Value>> = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter() {
        objects.push(
            object.map_err(|error| Error::Incompatible(format!("row {} is not a JSON object: {error}", objects.len() + 1)))?,
        );
    }
    let (mut names, mut known): (Vec<String>, HashSet<&str>) = (Vec::new(), HashSet::new());
    for key in objects.iter().flat_map(|object| object.keys()) {
        if known.insert(key) {
            names.push(key.clone());
        }
    }
    let row = |mut object: serde_json::Map<String, serde_json::Value>| {
        names.iter().map(|name| object.remove(name).map_or(Cell::Empty, Cell::json)).collect()
    };
    let rows = objects.into_iter().map(row).collect();
    Ok(Table::from_rows(names.clone(), rows, ".".into())?)
}
