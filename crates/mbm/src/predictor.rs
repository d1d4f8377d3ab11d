//! A trained model at work: batches to predictions, tables to files.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use mbm_data::{Batch, Cell, Dataset, Fault, FaultReport, Field, Loading, MissingValueStrategy, Sample, Shape, Table, load};
use mbm_model::{Fused, Model, Sequence, in_pool};
use rayon::prelude::*;

use crate::bundle::Bundle;
use crate::error::Error;
use crate::head::Head;
use crate::plan::Plan;
use crate::prediction::{Prediction, columns};
use crate::score::Scored;
use crate::write::{Column, Value, Writer};

/// A model and all that prediction needs.
pub struct Predictor {
    /// What it was made from.
    pub plan: Plan,
    /// Fitted inputs.
    pub inputs: Vec<Field>,
    /// Fitted outputs.
    pub outputs: Vec<Field>,
    /// One an output.
    pub heads: Vec<Head>,
    pub(crate) model: Model,
    pub(crate) device: Device,
}

/// The metrics of a table.
#[derive(Debug)]
pub struct Evaluation {
    /// `{"label": {"accuracy": ..}, ..}`
    pub metrics: BTreeMap<String, BTreeMap<String, f64>>,
    /// Rows that were scored.
    pub n_rows: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
}

/// The most rows that are predicted at once, and the most numbers in them: more than that leaves the processor's caches.
const MAX_ROWS: usize = 256;
const MAX_VALUES: usize = 1 << 21;

impl Predictor {
    /// Rows that are predicted at once: the fewer, the larger they are.
    pub fn batch_size(&self) -> usize {
        let n_values: usize = self.inputs.iter().map(|field| field.preprocessor.get().shape().n_values()).sum();
        (MAX_VALUES / n_values.max(1)).clamp(1, MAX_ROWS)
    }

    /// Opens a bundle, or the run folder that holds one.
    ///
    /// # Errors
    /// A folder that is no bundle, or a damaged one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Bundle::read(path)?.into_predictor(mbm_model::device())
    }

    /// Each output's predictions for a batch: `[outputs][rows]`.
    pub fn predict_batch(&self, batch: &Batch) -> Vec<Vec<Prediction>> {
        in_pool(|| self.predict_fused(&self.model.fuse(self.encode(batch))))
    }

    /// The inputs of a batch, encoded.
    pub(crate) fn encode(&self, batch: &Batch) -> Vec<Sequence> {
        in_pool(|| self.model.encode(batch, &self.device))
    }

    pub(crate) fn predict_fused(&self, fused: &Fused) -> Vec<Vec<Prediction>> {
        let [_, width] = fused.pooled.dims();
        let vectors = to_vec(fused.pooled.clone());
        let one = |((logits, head), field): ((Tensor<2>, &Head), &Field)| {
            let [_, n_scores] = logits.dims();
            let scores = to_vec(logits);
            let rows = scores.chunks(n_scores).zip(vectors.chunks(width));
            rows.map(|(scores, fused)| head.predict(scores, fused, &field.preprocessor)).collect()
        };
        self.model.decode(fused).into_iter().zip(&self.heads).zip(&self.outputs).map(one).collect()
    }

    /// No rows yet of each output.
    pub(crate) fn unscored(&self) -> Vec<Scored> {
        let inputs: Vec<&str> = self.inputs.iter().map(|field| field.name.as_str()).collect();
        self.outputs.iter().zip(&self.heads).map(|(field, head)| Scored::new(&field.preprocessor, head, &inputs)).collect()
    }

    /// The predictions of prepared rows beside their targets.
    ///
    /// # Errors
    /// A temporary file that fails.
    pub fn score(&self, dataset: &Dataset, rows: &[usize]) -> Result<Vec<Scored>, Error> {
        let mut scored = self.unscored();
        let loading = Loading { dataset, rows, batch_size: self.batch_size(), start: 0, chance: None };
        load::<Error>(&loading, |_, batch| {
            let predictions = self.predict_batch(&batch);
            for (at, scored) in scored.iter_mut().enumerate() {
                scored.add(&predictions[at], &batch.targets[at], &self.outputs[at].preprocessor);
            }
            Ok(())
        })?;
        Ok(scored)
    }

    /// The fused vectors of some rows, `[rows, width]`, and their width.
    ///
    /// # Errors
    /// A temporary file that fails.
    pub fn fused(&self, dataset: &Dataset, rows: &[usize]) -> Result<(Vec<f32>, usize), Error> {
        let (mut vectors, mut width) = (Vec::new(), 1);
        let loading = Loading { dataset, rows, batch_size: self.batch_size(), start: 0, chance: None };
        load::<Error>(&loading, |_, batch| {
            let fused = in_pool(|| self.model.fuse(self.encode(&batch)).pooled);
            width = fused.dims()[1];
            vectors.extend(to_vec(fused));
            Ok(())
        })?;
        Ok((vectors, width))
    }

    /// The columns that predictions are written in, `status` last.
    pub fn columns(&self) -> Vec<Column> {
        let outputs = self.outputs.iter().zip(&self.heads);
        let outputs = outputs.flat_map(|(field, head)| columns(&field.name, &field.preprocessor, head));
        outputs.chain([Column::text("status")]).collect()
    }

    /// Writes a prediction for every row of a table, in its order; a row that is skipped says why.
    ///
    /// # Errors
    /// A bad cell of a feature with `missing_value_strategy: error`; a disk that is full.
    pub fn predict(&self, table: Table, writer: &mut Writer) -> Result<FaultReport, Error> {
        let dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let mut faults = FaultReport::default();
        for chunk in rows.chunks(self.batch_size()) {
            for row in self.predict_rows(&dataset, chunk, &mut faults)? {
                writer.write(row)?;
            }
        }
        Ok(faults)
    }

    /// The values of [`Predictor::columns`] for some rows.
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
            let status = status(&dataset.fields[..dataset.n_inputs], &row_faults[at], sample.row_idx, faults)?;
            let mut line: Vec<Value> = Vec::new();
            for (field, predictions) in self.outputs.iter().zip(&predictions) {
                let values = predictions[at].values(&field.preprocessor);
                line.extend(values.into_iter().map(|value| if status.starts_with("skipped") { Value::Null } else { value }));
            }
            line.push(Value::Text(status));
            lines.push(line);
        }
        Ok(lines)
    }

    /// The metrics of a table that has the output columns.
    ///
    /// # Errors
    /// A table without an output column; data that cannot be read.
    pub fn evaluate(&self, table: Table) -> Result<Evaluation, Error> {
        for output in self.outputs.iter().filter(|output| output.preprocessor.get().shape() != Shape::Items) {
            table.require(&output.column)?;
        }
        let mut dataset = Dataset::new(table, self.inputs.clone(), self.outputs.clone());
        let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let prepared = dataset.prepare(&rows, self.plan.cache_bytes(), &mut [], &mut |_| ())?;
        let scored = self.score(&dataset, &prepared.rows)?;
        let metrics = self.outputs.iter().zip(&scored).map(|(field, scored)| (field.name.clone(), scored.metrics())).collect();
        Ok(Evaluation { metrics, n_rows: prepared.rows.len(), faults: prepared.faults })
    }
}

/// `ok`, or what is absent, or why the row is skipped; counts the faults.
fn status(fields: &[Field], row_faults: &[Option<Fault>], row_idx: usize, report: &mut FaultReport) -> Result<String, Error> {
    let (mut absent, mut skipped) = (Vec::new(), false);
    for (field, fault) in fields.iter().zip(row_faults) {
        let Some(fault) = fault else { continue };
        report.add(&field.name, row_idx + 1, fault);
        absent.push(format!("{} ({})", field.name, fault.cause.word()));
        match field.missing_value_strategy {
            MissingValueStrategy::Absent => {}
            MissingValueStrategy::DropRow => skipped = true,
            MissingValueStrategy::Error => {
                return Err(mbm_data::DataError::BadCell {
                    row: row_idx + 1,
                    column: field.column.clone(),
                    fault: fault.to_string(),
                }
                .into());
            }
        }
    }
    Ok(match (absent.is_empty(), skipped) {
        (true, _) => "ok".to_owned(),
        (false, false) => format!("absent: {}", absent.join(", ")),
        (false, true) => format!("skipped: {}", absent.join(", ")),
    })
}

/// The values of a tensor, row-major.
pub(crate) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}

/// A table of JSON objects, one a line or a single one over several lines; paths in cells are relative to the working folder.
///
/// # Errors
/// Text that is not JSON objects.
pub fn table_from_json(text: &str) -> Result<Table, Error> {
    let mut objects: Vec<serde_json::Map<String, serde_json::Value>> = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter() {
        objects.push(object.map_err(|error| Error::Unfit(format!("row {} is not a JSON object: {error}", objects.len() + 1)))?);
    }
    let mut names: Vec<String> = Vec::new();
    for object in &objects {
        let new: Vec<String> = object.keys().filter(|key| !names.contains(key)).cloned().collect();
        names.extend(new);
    }
    let row = |mut object: serde_json::Map<String, serde_json::Value>| {
        names.iter().map(|name| object.remove(name).map_or(Cell::Empty, Cell::json)).collect()
    };
    let rows = objects.into_iter().map(row).collect();
    Ok(Table::from_rows(names.clone(), rows, ".".into())?)
}
