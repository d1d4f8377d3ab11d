//! The processing stages of rows: reading their cells and running the model.

use std::sync::Arc;

use mbm::{
    Cell, CheckedRow, Contribution, Model, OutputValue, PredictedRow, PreparedRow, RowStatus, RowVectors, ShouldContinue,
    TextListener, Unreadable,
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
    pub row: CheckedRow,
    /// The memory share of its request, which stays reserved while the row exists, even if the request was cancelled.
    pub _held: MemoryShare,
}

/// The result for a row.
#[derive(Debug)]
pub(crate) enum JobResult {
    /// Values of the prediction columns, the status of the row, and contributions of the inputs.
    Predicted { values: Vec<OutputValue>, status: RowStatus, contributions: Vec<Contribution> },
    /// Vectors, and the number of tokens that were read for them.
    Embedded { vectors: RowVectors, n_tokens: usize },
}

/// The result for a row, or why there is none.
pub(crate) type Answer = Result<JobResult, ApiError>;

/// Reads the cells of a row, one per input. The callback is called with the index of the input before each cell and returns
/// whether the row is still wanted.
pub(crate) type Read = dyn Fn(&Model, &[Cell], &mut dyn FnMut(usize) -> bool) -> PreparedRow + Send + Sync;

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
            read: Arc::new(|model, cells, begin| model.prepare_while(cells, begin)),
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
    pub fn new(served: &Arc<LoadedModel>, task: Task, row: PreparedRow) -> Result<Self, ApiError> {
        let row = match task {
            Task::Predict(unreadable) | Task::Explain(unreadable) => served.model.check(row, unreadable),
            Task::Embed => served.model.check_query(row),
        };
        let row = row.map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(Self { served: served.clone(), task, row, _held: MemoryShare::current() })
    }

    /// Creates a job for a row in which all inputs are absent.
    pub fn empty(served: &Arc<LoadedModel>) -> Self {
        let (row, task) = (served.model.empty_row(), Task::Predict(Unreadable::Missing));
        Self { served: served.clone(), task, row, _held: MemoryShare::default() }
    }
}

impl JobResult {
    fn predicted(row: PredictedRow, contributions: Vec<Contribution>) -> Self {
        let (values, status) = row.into_values();
        Self::Predicted { values, status, contributions }
    }
}

fn run(batch: &[Job], should_continue: &ShouldContinue) -> Vec<Answer> {
    let Some(Job { served, .. }) = batch.first() else { return Vec::new() };
    let kinds: [fn(Task) -> bool; 3] =
        [|task| matches!(task, Task::Predict(_)), |task| matches!(task, Task::Explain(_)), |task| matches!(task, Task::Embed)];
    let mut answers: Vec<Option<JobResult>> = batch.iter().map(|_| None).collect();
    for is_it in kinds {
        let places: Vec<usize> = (0..batch.len()).filter(|at| is_it(batch[*at].task)).collect();
        for places in places.chunks(served.model.batch_size()) {
            if !should_continue() {
                break;
            }
            let jobs: Vec<&Job> = places.iter().map(|at| &batch[*at]).collect();
            places.iter().zip(run_alike(&jobs, should_continue)).for_each(|(at, done)| answers[*at] = Some(done));
        }
    }
    answers
        .into_iter()
        .map(|done| done.ok_or_else(|| ApiError::new(ApiErrorKind::Unavailable, "cancelled: no client is waiting for this row")))
        .collect()
}

/// Runs rows with the same kind of task as one batch.
fn run_alike(jobs: &[&Job], should_continue: &ShouldContinue) -> Vec<JobResult> {
    let model = &jobs[0].served.model;
    let rows: Vec<&CheckedRow> = jobs.iter().map(|job| &job.row).collect();
    match jobs[0].task {
        Task::Predict(_) => {
            let predicted = model.predict_batch(&rows, should_continue).into_iter();
            predicted.map(|row| JobResult::predicted(row, Vec::new())).collect()
        }
        Task::Explain(_) => {
            let explained = model.explain_batch(&rows, should_continue).into_iter();
            explained.map(|(row, contributions)| JobResult::predicted(row, contributions)).collect()
        }
        Task::Embed => {
            let embedded = model.embed_batch(&rows).into_iter().zip(&rows);
            embedded.map(|(vectors, row)| JobResult::Embedded { vectors, n_tokens: row.n_tokens() }).collect()
        }
    }
}

fn write(job: &Job, listener: &mut TextListener) -> Answer {
    Ok(JobResult::predicted(job.served.model.predict_streaming(&job.row, listener), Vec::new()))
}
