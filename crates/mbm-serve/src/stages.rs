//! What threads do with rows: read their cells, and run the model on them.

use std::sync::Arc;

use mbm::{Cell, Contribution, GoesOn, Hear, Payload, Prediction, Predictor, Row, Unreadable, Value, Vectors, Verdict};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::Held;
use crate::loaded_model::LoadedModel;

/// What is asked of a row, and of its predictions what becomes of cells that cannot be read; a vector is made of nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Its predictions.
    Predict(Unreadable),
    /// Its predictions, and what each input did to them.
    Explain(Unreadable),
    /// Its vectors.
    Embed,
}

/// A row that the model takes.
pub(crate) struct Job {
    pub served: Arc<LoadedModel>,
    pub task: Task,
    pub row: Row,
    pub verdict: Verdict,
    /// The memory that its request may take, which is not given back while the row is here, even where nobody waits any more.
    pub _held: Held,
}

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Done {
    /// The values of its predictions' columns, what inputs it lacks and why, and what the others did.
    Predicted { values: Vec<Value>, status: String, contributions: Vec<Contribution> },
    /// Its vectors and the tokens that were read for them.
    Embedded { vectors: Vectors, n_tokens: usize },
}

/// An answer to a row.
pub(crate) type Answer = Result<Done, ApiError>;

/// Reads cells, an input each; hears before each of them which it is and says whether it is still wanted.
pub(crate) type Read = dyn Fn(&Predictor, &[Cell], &mut dyn FnMut(usize) -> bool) -> Row + Send + Sync;

/// Answers rows that are served by the same model, in their order, as long as anyone wants them.
pub(crate) type Run = dyn Fn(&[Job], &GoesOn) -> Vec<Answer> + Send + Sync;

/// Answers one row whose texts are heard of as they grow.
pub(crate) type Write = dyn Fn(&Job, &mut Hear) -> Answer + Send + Sync;

/// What is done with rows; something else in tests.
#[derive(Clone)]
pub(crate) struct Stages {
    pub read: Arc<Read>,
    pub run: Arc<Run>,
    pub write: Arc<Write>,
}

impl Default for Stages {
    fn default() -> Self {
        Self {
            read: Arc::new(|predictor, cells, begin| predictor.read_row_while(cells, begin)),
            run: Arc::new(run),
            write: Arc::new(write),
        }
    }
}

/// What is said where the model or a reader of cells panicked.
pub(crate) const FAILED: &str = "the model failed on this batch; the server's log says more";

impl Job {
    /// A row that was read.
    ///
    /// # Errors
    /// Cells that are not accepted.
    pub fn new(served: &Arc<LoadedModel>, task: Task, row: Row) -> Result<Self, ApiError> {
        let verdict = match task {
            Task::Predict(unreadable) | Task::Explain(unreadable) => served.predictor.verdict(&row, unreadable),
            Task::Embed => served.predictor.check_asked(&row).map(|()| Verdict { status: String::new(), is_skipped: false }),
        };
        let verdict = verdict.map_err(ApiError::validation)?;
        Ok(Self { served: served.clone(), task, row, verdict, _held: Held::current() })
    }

    /// A row without any input.
    pub fn empty(served: &Arc<LoadedModel>) -> Self {
        let cells = vec![Cell::Empty; served.predictor.inputs.len()];
        let row = served.predictor.read_row(&cells);
        let verdict = Verdict { status: String::new(), is_skipped: false };
        Self { served: served.clone(), task: Task::Predict(Unreadable::Missing), row, verdict, _held: Held::default() }
    }

    /// The predictions of its row, `[outputs][rows]`.
    fn predicted(&self, predictions: &[Vec<Prediction>], at: usize, contributions: Vec<Contribution>) -> Done {
        let values = self.served.predictor.values(predictions, at, self.verdict.is_skipped);
        let contributions = if self.verdict.is_skipped { Vec::new() } else { contributions };
        Done::Predicted { values, status: self.verdict.status.clone(), contributions }
    }
}

fn run(batch: &[Job], goes_on: &GoesOn) -> Vec<Answer> {
    let Some(Job { served, .. }) = batch.first() else { return Vec::new() };
    let kinds: [fn(Task) -> bool; 3] =
        [|task| matches!(task, Task::Predict(_)), |task| matches!(task, Task::Explain(_)), |task| matches!(task, Task::Embed)];
    let mut answers: Vec<Option<Done>> = batch.iter().map(|_| None).collect();
    for is_it in kinds {
        let places: Vec<usize> = (0..batch.len()).filter(|at| is_it(batch[*at].task)).collect();
        for places in places.chunks(served.predictor.batch_size()) {
            if !goes_on() {
                break;
            }
            let jobs: Vec<&Job> = places.iter().map(|at| &batch[*at]).collect();
            places.iter().zip(run_alike(&jobs, goes_on)).for_each(|(at, done)| answers[*at] = Some(done));
        }
    }
    let unwanted = || ApiError::new(ApiErrorKind::Unavailable, "given up, since nobody waited for it");
    answers.into_iter().map(|done| done.ok_or_else(unwanted)).collect()
}

/// Rows of which the same is asked, side by side.
fn run_alike(jobs: &[&Job], goes_on: &GoesOn) -> Vec<Done> {
    let predictor = &jobs[0].served.predictor;
    let rows: Vec<&Row> = jobs.iter().map(|job| &job.row).collect();
    let (predictions, contributions) = match jobs[0].task {
        Task::Embed => {
            let vectors = predictor.embed_batch(&predictor.collate(&rows));
            let done = |(vectors, row): (Vectors, &Row)| Done::Embedded { vectors, n_tokens: n_tokens(row) };
            return vectors.into_iter().zip(rows).map(done).collect();
        }
        Task::Explain(_) => predictor.explain_batch(&rows, goes_on),
        Task::Predict(_) => {
            let predictions = predictor.predict_while(&predictor.collate(&rows), goes_on);
            (predictions, jobs.iter().map(|_| Vec::new()).collect())
        }
    };
    let answered = jobs.iter().zip(contributions).enumerate();
    answered.map(|(at, (job, contributions))| job.predicted(&predictions, at, contributions)).collect()
}

fn write(job: &Job, hear: &mut Hear) -> Answer {
    let predictions = job.served.predictor.predict_row(&job.row, hear);
    let predictions: Vec<_> = predictions.into_iter().map(|prediction| vec![prediction]).collect();
    Ok(job.predicted(&predictions, 0, Vec::new()))
}

fn n_tokens(row: &Row) -> usize {
    row.payloads.iter().map(|payload| if let Payload::Tokens(ids) = payload { ids.len() } else { 0 }).sum()
}
