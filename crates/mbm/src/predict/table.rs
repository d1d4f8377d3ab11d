//! Prediction for tables, and evaluation on tables that have the targets.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use mbm_data::{
    Cell, DataError, Dataset, FaultReport, FeatureCache, Precomputed, Prepared, RowStatus, Shape, Table, Unreadable, WeightColumn,
};

use crate::error::Error;
use crate::predict::columns::check_columns;
use crate::predict::explain::Contribution;
use crate::predict::pass::{GeneratedTexts, Pass, Sink, evaluate, evaluate_batch};
use crate::predict::predictor::Predictor;
use crate::predict::sinks::{Rows, Scores, WriteRow};
use crate::predict::writer::OutputValue;

/// How the rows of a table are read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// How cells that hold something unreadable are treated.
    pub unreadable: Unreadable,
    /// The cache for features of encoders that training left unchanged; they are cached in memory only if `None`.
    pub cache: Option<FeatureCache>,
    observer: Option<Observer>,
}

/// Progress of the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowProgress {
    /// Rows read so far, and the total.
    Read(usize, usize),
    /// Rows predicted so far, and the total.
    Predicted(usize, usize),
}

/// A callback that is told how far the rows are.
#[derive(Clone)]
struct Observer(Arc<dyn Fn(RowProgress) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Observer")
    }
}

impl ReadOptions {
    /// Sets how cells that hold something unreadable are treated.
    pub fn unreadable(self, unreadable: Unreadable) -> Self {
        Self { unreadable, ..self }
    }

    /// Sets the cache for features of encoders that training left unchanged.
    pub fn cache(self, cache: Option<FeatureCache>) -> Self {
        Self { cache, ..self }
    }

    /// Sets a callback for progress, called after each batch of rows.
    pub fn on_progress(self, observe: impl Fn(RowProgress) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Observer(Arc::new(observe))), ..self }
    }

    fn report(&self, progress: RowProgress) {
        self.observer.iter().for_each(|Observer(observe)| observe(progress));
    }
}

/// The result of predicting the rows of a table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Predicted {
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Why features are not cached for later runs, if caching failed.
    pub cache_fault: Option<String>,
}

/// What metrics are weighted by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Weighting {
    /// By nothing: the model was trained on rows that count the same.
    #[default]
    None,
    /// By the column that the config names.
    Column(String),
    /// By nothing: the table does not have the column that the config names.
    NoColumn(String),
}

/// The result of evaluating a model on a table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Evaluation {
    /// The metrics of each output: `{"label": {"accuracy": ..}, ..}`.
    pub metrics: BTreeMap<String, BTreeMap<String, f64>>,
    /// Number of rows that were scored.
    pub n_rows: usize,
    /// What the metrics are weighted by.
    pub weighting: Weighting,
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Why features are not cached for later runs, if caching failed.
    pub cache_fault: Option<String>,
}

/// Takes the predicted values of a row, its status, and the contribution of each input; none for a skipped row.
pub(crate) type WriteExplained<'a> = dyn FnMut(Vec<OutputValue>, RowStatus, Vec<Contribution>) -> Result<(), Error> + 'a;

/// Reports how many rows have passed.
struct Passed<'a> {
    options: &'a ReadOptions,
    n_done: usize,
    n_rows: usize,
}

impl<'a> Passed<'a> {
    fn new(options: &'a ReadOptions, n_rows: usize) -> Self {
        Self { options, n_done: 0, n_rows }
    }
}

impl Sink for Passed<'_> {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        self.n_done += pass.batch.len();
        self.options.report(RowProgress::Predicted(self.n_done, self.n_rows));
        Ok(())
    }
}

impl Predictor {
    /// Passes the predicted values of every row of a table and its status to `write`, in order.
    ///
    /// # Errors
    /// Fails if the table has no input's column; on a bad cell of a feature with `missing_value_strategy: error`, or on any
    /// unreadable cell with [`Unreadable::Error`]; and on I/O errors such as a full disk.
    pub fn predict_table(&self, table: Table, options: &ReadOptions, write: &mut WriteRow) -> Result<Predicted, Error> {
        check_columns(&self.inputs, &table)?;
        let mut dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        dataset.unreadable = options.unreadable;
        let frozen = self.frozen_encoders()?;
        let mut ahead = Precomputed::all(&frozen, options.cache.as_ref());
        let (mut prepared, generated) = (Prepared::default(), GeneratedTexts::new(self.outputs.len()));
        let all: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let (mut rows, mut passed) = (Rows::all(write), Passed::new(options, all.len()));
        for chunk in all.chunks(self.batch_size()) {
            let batch = dataset.collate(&dataset.read_ahead(chunk, &mut ahead, &mut prepared)?);
            evaluate_batch(self, &dataset, &batch, &generated, &mut [&mut rows, &mut passed])?;
        }
        let faults = rows.faults;
        prepared.flush(&mut ahead);
        Ok(Predicted { faults, cache_fault: prepared.cache_fault })
    }

    /// Passes the predicted values of some rows of a table, their status and the contributions of the inputs to `write`, in the given
    /// order.
    ///
    /// # Errors
    /// Fails as [`Predictor::predict_table`] does.
    pub fn explain_table(
        &self,
        table: Table,
        rows: &[usize],
        options: &ReadOptions,
        write: &mut WriteExplained,
    ) -> Result<Predicted, Error> {
        check_columns(&self.inputs, &table)?;
        let mut dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        dataset.unreadable = options.unreadable;
        let frozen = self.frozen_encoders()?;
        let mut ahead = Precomputed::all(&frozen, options.cache.as_ref());
        let (mut prepared, mut faults, mut n_done) = (Prepared::default(), FaultReport::default(), 0);
        for chunk in rows.chunks(self.batch_size()) {
            let samples = dataset.read_ahead(chunk, &mut ahead, &mut prepared)?;
            let (predictions, contributions) = self.explain_batch(&samples, &|| true);
            for (at, (sample, contributions)) in samples.iter().zip(contributions).enumerate() {
                let decision = dataset.decide(sample.row_idx, &sample.faults, &mut faults)?;
                let status = RowStatus::new(&self.inputs, &sample.faults, decision);
                let contributions = if status.is_skipped() { Vec::new() } else { contributions };
                write(self.values(&predictions, at, &status), status, contributions)?;
            }
            n_done += chunk.len();
            options.report(RowProgress::Predicted(n_done, rows.len()));
        }
        prepared.flush(&mut ahead);
        Ok(Predicted { faults, cache_fault: prepared.cache_fault })
    }

    /// Computes the metrics on a table that has the output columns, weighted if it has the column of weights.
    ///
    /// # Errors
    /// Fails if the table lacks an output column or has no input's column, if data cannot be read, on a row whose weight cannot be used,
    /// and on any unreadable cell with [`Unreadable::Error`].
    pub fn evaluate(&self, table: Table, options: &ReadOptions) -> Result<Evaluation, Error> {
        check_columns(&self.inputs, &table)?;
        for output in self.outputs.iter().filter(|output| output.preprocessor.get().shape() != Shape::ContentIds) {
            table.require(&output.column)?;
        }
        let mut dataset = Dataset::new(table, self.inputs.clone(), self.outputs.clone());
        dataset.unreadable = options.unreadable;
        let frozen = self.frozen_encoders()?;
        let mut ahead = Precomputed::all(&frozen, options.cache.as_ref());
        let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
        let mut report = |n_done| options.report(RowProgress::Read(n_done, rows.len()));
        let prepared = dataset.prepare(&rows, self.plan.cache_bytes(), &mut ahead, &mut report)?;
        let weighting = self.weighting(&dataset.table);
        if let Weighting::Column(column) = &weighting {
            dataset.weights = Some(weights(&dataset.table, column, &prepared.rows)?);
        }
        let (mut scores, mut passed) = (Scores::new(self), Passed::new(options, prepared.rows.len()));
        evaluate(self, &dataset, &prepared.rows, &mut [&mut scores, &mut passed])?;
        let (n_rows, faults, cache_fault) = (prepared.rows.len(), prepared.faults, prepared.cache_fault);
        Ok(Evaluation { metrics: scores.metrics(self), n_rows, weighting, faults, cache_fault })
    }

    fn weighting(&self, table: &Table) -> Weighting {
        match self.plan.config.preprocessing.sample_weight.clone() {
            None => Weighting::None,
            Some(column) if table.position(&column).is_none() => Weighting::NoColumn(column),
            Some(column) => Weighting::Column(column),
        }
    }
}

/// Returns the weights of all rows of a table, of mean 1 over those that are scored.
fn weights(table: &Table, column: &str, scored: &[usize]) -> Result<Vec<f32>, DataError> {
    let weights = WeightColumn::read(table, column)?;
    weights.check_rows(scored, "scored")?;
    Ok(weights.scaled_by(scored))
}

/// Parses a table from JSON objects, one per line or a single one over several lines; paths in cells are relative to the working
/// directory.
///
/// # Errors
/// Fails if the text is not a sequence of JSON objects.
pub fn table_from_json(text: &str) -> Result<Table, Error> {
    let mut objects: Vec<serde_json::Map<String, serde_json::Value>> = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter() {
        objects.push(object.map_err(|source| Error::Json { row: objects.len() + 1, source })?);
    }
    let (mut names, mut known): (Vec<String>, HashSet<&str>) = (Vec::new(), HashSet::new());
    for key in objects.iter().flat_map(|object| object.keys()) {
        if known.insert(key) {
            names.push(key.clone());
        }
    }
    let rows = objects
        .into_iter()
        .map(|mut object| names.iter().map(|name| object.remove(name).map_or(Cell::Empty, Cell::json)).collect())
        .collect();
    Ok(Table::from_rows(names.clone(), rows, ".".into())?)
}
