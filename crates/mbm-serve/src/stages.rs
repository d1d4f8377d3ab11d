//! The processing stages of rows: reading their cells and running the model.

use std::sync::Arc;

use mbm::{
    Cell, Contribution, Payload, Prediction, Predictor, RowStatus, RowVectors, Sample, ShouldContinue, TextListener, Unreadable,
    Value,
};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::MemoryShare;
use crate::loaded_model::LoadedModel;

/// What to compute for a row. Predictions also specify how to treat unreadable cells; for vectors, those are always errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Predictions.
    Predict(Unreadable),
    /// Predictions, and the contribution of each input to them.
    Explain(Unreadable),
    /// Vectors.
    Embed,
}

/// A row to run through the model.
pub(crate) struct Job {
    pub served: Arc<LoadedModel>,
    pub task: Task,
    pub row: Sample,
    pub status: RowStatus,
    /// The memory share of its request, which stays reserved while the row exists, even if the request was cancelled.
    pub _held: MemoryShare,
}

/// The result for a row.
#[derive(Debug)]
pub(crate) enum JobResult {
    /// Values of the prediction columns, the status of the row, and contributions of the inputs.
    Predicted { values: Vec<Value>, status: RowStatus, contributions: Vec<Contribution> },
    /// Vectors, and the number of tokens that were read for them.
    Embedded { vectors: RowVectors, n_tokens: usize },
}

/// The result for a row, or why there is none.
pub(crate) type Answer = Result<JobResult, ApiError>;

/// Reads the cells of a row, one per input. The callback is called with the index of the input before each cell and returns
/// whether the row is still wanted.
pub(crate) type Read = dyn Fn(&Predictor, &[Cell], &mut dyn FnMut(usize) -> bool) -> Sample + Send + Sync;

/// Computes the answers of rows of the same model, in order, as long as any of them is still wanted.
pub(crate) type Run = dyn Fn(&[Job], &ShouldContinue) -> Vec<Answer> + Send + Sync;

/// Computes the answer of one row and streams its generated texts.
pub(crate) type Write = dyn Fn(&Job, &mut TextListener) -> Answer + Send + Sync;

/// Implementations of the stages; tests replace them.
#[derive(Clone)]
pub(crate) struct Stages {
    pub read: Arc<Read>,
    pub run: Arc<Run>,
    pub write: Arc<Write>,
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            read: Arc::new(|predictor, cells, begin| predictor.read_cells_while(cells, begin)),
            run: Arc::new(run),
            write: Arc::new(write),
        }
    }
}

/// Message for rows of a batch in which the model panicked.
pub(crate) const FAILED: &str = "the model failed on this batch; see the server's log";

impl Job {
    /// Creates a job for a row that was read.
    ///
    /// # Errors
    /// Returns an error if the row has cells that are not accepted.
    pub fn new(served: &Arc<LoadedModel>, task: Task, row: Sample) -> Result<Self, ApiError> {
        let status = match task {
            Task::Predict(unreadable) | Task::Explain(unreadable) => served.predictor.row_status(&row, unreadable),
            Task::Embed => served.predictor.check_query(&row).map(|()| RowStatus::Complete),
        };
        let status = status.map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(Self { served: served.clone(), task, row, status, _held: MemoryShare::current() })
    }

    /// Creates a job for a row in which all inputs are absent.
    pub fn empty(served: &Arc<LoadedModel>) -> Self {
        let cells = vec![Cell::Empty; served.predictor.inputs.len()];
        let (row, status) = (served.predictor.read_cells(&cells), RowStatus::Complete);
        Self { served: served.clone(), task: Task::Predict(Unreadable::Missing), row, status, _held: MemoryShare::default() }
    }

    /// Builds the result of row `at` from predictions of shape `[outputs][rows]`.
    fn predicted(&self, predictions: &[Vec<Prediction>], at: usize, contributions: Vec<Contribution>) -> JobResult {
        let values = self.served.predictor.values(predictions, at, &self.status);
        let contributions = if self.status.is_skipped() { Vec::new() } else { contributions };
        JobResult::Predicted { values, status: self.status.clone(), contributions }
    }
}

fn run(batch: &[Job], should_continue: &ShouldContinue) -> Vec<Answer> {
    let Some(Job { served, .. }) = batch.first() else { return Vec::new() };
    let kinds: [fn(Task) -> bool; 3] =
        [|task| matches!(task, Task::Predict(_)), |task| matches!(task, Task::Explain(_)), |task| matches!(task, Task::Embed)];
    let mut answers: Vec<Option<JobResult>> = batch.iter().map(|_| None).collect();
    for is_it in kinds {
        let places: Vec<usize> = (0..batch.len()).filter(|at| is_it(batch[*at].task)).collect();
        for places in places.chunks(served.predictor.batch_size()) {
            if !should_continue() {
                break;
            }
            let jobs: Vec<&Job> = places.iter().map(|at| &batch[*at]).collect();
            places.iter().zip(run_alike(&jobs, should_continue)).for_each(|(at, done)| answers[*at] = Some(done));
        }
    }
    let unwanted = || ApiError::new(ApiErrorKind::Unavailable, "cancelled: no client is waiting for this row");
    answers.into_iter().map(|done| done.ok_or_else(unwanted)).collect()
}

/// Runs rows with the same kind of task as one batch.
fn run_alike(jobs: &[&Job], should_continue: &ShouldContinue) -> Vec<JobResult> {
    let predictor = &jobs[0].served.predictor;
    let rows: Vec<&Sample> = jobs.iter().map(|job| &job.row).collect();
    let (predictions, contributions) = match jobs[0].task {
        Task::Embed => {
            let vectors = predictor.embed_batch(&predictor.collate(&rows));
            return vectors
                .into_iter()
                .zip(rows)
                .map(|(vectors, row)| JobResult::Embedded { vectors, n_tokens: n_tokens(row) })
                .collect();
        }
        Task::Explain(_) => predictor.explain_batch(&rows, should_continue),
        Task::Predict(_) => {
            let predictions = predictor.predict_while(&predictor.collate(&rows), should_continue);
            (predictions, jobs.iter().map(|_| Vec::new()).collect())
        }
    };
    let answered = jobs.iter().zip(contributions).enumerate();
    answered.map(|(at, (job, contributions))| job.predicted(&predictions, at, contributions)).collect()
}

fn write(job: &Job, listener: &mut TextListener) -> Answer {
    let predictions = job.served.predictor.predict_row(&job.row, listener);
    let predictions: Vec<_> = predictions.into_iter().map(|prediction| vec![prediction]).collect();
    Ok(job.predicted(&predictions, 0, Vec::new()))
}

fn n_tokens(row: &Sample) -> usize {
    row.payloads.iter().map(|payload| if let Payload::Tokens(ids) = payload { ids.len() } else { 0 }).sum()
}
