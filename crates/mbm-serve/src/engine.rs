//! The queue in front of the model: rows of many requests go through it side by side, and each gets an answer of its own.
//!
//! A row holds a place in the queue from the moment it is accepted to the moment it is answered; when no place is left, a request is
//! refused at once instead of waiting. One thread takes rows off, as many as are there up to a batch, reads and predicts them. A model
//! that panics costs the rows of its batch an error, not the server its life.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mbm::{Cell, Contribution, Payload, Prediction, Predictor, Row, Value, Vectors};
use rayon::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::served::Served;

/// What is asked of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Its predictions.
    Predict,
    /// Its predictions, its texts heard of as they grow.
    Stream,
    /// Its predictions, and what each input did to them.
    Explain,
    /// Its vectors.
    Embed,
}

/// What became of a row.
#[derive(Debug)]
pub(crate) enum Done {
    /// The values of its predictions' columns, the inputs that it lacks, and what the others did.
    Predicted { values: Vec<Value>, status: String, contributions: Vec<Contribution> },
    /// Its vectors and the tokens that were read for them.
    Embedded { vectors: Vectors, n_tokens: usize },
}

/// An answer to a row.
pub(crate) type Answer = Result<Done, Problem>;

/// Hears the number of an output and its text so far.
pub(crate) type Hear = Box<dyn Fn(usize, &str) + Send + Sync>;

/// A row on its way to the model.
pub(crate) struct Job {
    pub served: Arc<Served>,
    pub task: Task,
    /// One an input.
    pub cells: Vec<Cell>,
    hear: Option<Hear>,
    reply: oneshot::Sender<Answer>,
    place: OwnedSemaphorePermit,
}

/// How rows become batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    pub max_size: usize,
    pub max_delay: Duration,
    pub queue_size: usize,
}

/// The queue and the thread behind it.
pub(crate) struct Engine {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    queue_size: usize,
}

const FAILED: &str = "the model failed on this batch; the server's log says more";

impl Engine {
    /// Starts the thread, which ends when the engine is gone and every row is answered. `model` answers jobs that are served by the same
    /// model, in their order; [`answers`] but for tests.
    pub fn start(
        batching: Batching,
        metrics: Arc<Metrics>,
        model: fn(&[Job]) -> Vec<Answer>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let work = move || {
            let mut held = None;
            while let Some(first) = held.take().or_else(|| queue.recv().ok()) {
                let batch;
                (batch, held) = gather(first, &queue, batching);
                answer(batch, &metrics, model);
            }
        };
        let thread = std::thread::Builder::new().name("model".to_owned()).spawn(work)?;
        let queue_size = batching.queue_size;
        Ok((Self { jobs, places: Arc::new(Semaphore::new(queue_size)), queue_size }, thread))
    }

    /// Puts the rows of a request into the queue, all or none, and waits for their answers, in their order.
    ///
    /// # Errors
    /// A queue without room for them.
    pub async fn run(&self, served: &Arc<Served>, task: Task, rows: Vec<Vec<Cell>>) -> Result<Vec<Answer>, Problem> {
        let mut places = self.places(rows.len())?;
        let mut waiting = Vec::with_capacity(rows.len());
        for cells in rows {
            let (reply, answer) = oneshot::channel();
            let place = places.split(1).expect("a place for each row was acquired");
            self.send(Job { served: served.clone(), task, cells, hear: None, reply, place })?;
            waiting.push(answer);
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(answer.await.unwrap_or_else(|_| Err(Problem::new(ProblemKind::Failed, FAILED))));
        }
        Ok(answers)
    }

    /// Puts a row into the queue whose texts are heard of as they grow; what the answer will come through.
    ///
    /// # Errors
    /// A queue without room.
    pub fn stream(&self, served: &Arc<Served>, cells: Vec<Cell>, hear: Hear) -> Result<oneshot::Receiver<Answer>, Problem> {
        let place = self.places(1)?;
        let (reply, answer) = oneshot::channel();
        self.send(Job { served: served.clone(), task: Task::Stream, cells, hear: Some(hear), reply, place })?;
        Ok(answer)
    }

    fn send(&self, job: Job) -> Result<(), Problem> {
        self.jobs.send(job).map_err(|_| Problem::new(ProblemKind::Unavailable, "the server is about to stop"))
    }

    /// Looks whether so many rows can ever be in the queue together, before any of them is read.
    ///
    /// # Errors
    /// More rows than the queue has places.
    pub fn check(&self, n_rows: usize) -> Result<(), Problem> {
        let size = self.queue_size;
        if n_rows > size {
            return Err(Problem::new(ProblemKind::TooLarge, format!("{n_rows} rows at once; the queue has room for {size}")));
        }
        Ok(())
    }

    fn places(&self, n_rows: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.check(n_rows)?;
        self.places.clone().try_acquire_many_owned(n_rows as u32).map_err(|_| {
            Problem::new(ProblemKind::Overloaded, format!("the queue has no room for {n_rows} rows now; try again later"))
        })
    }

    /// Rows that are accepted and not yet answered.
    pub fn n_waiting(&self) -> usize {
        self.queue_size - self.places.available_permits()
    }
}

/// The first row and those behind it that go through the same model, and the first one that does not.
fn gather(first: Job, queue: &Receiver<Job>, batching: Batching) -> (Vec<Job>, Option<Job>) {
    let mut batch = vec![first];
    let end = Instant::now() + batching.max_delay;
    while batch.len() < batching.max_size {
        match queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(job) if !Arc::ptr_eq(&job.served, &batch[0].served) => return (batch, Some(job)),
            Ok(job) => batch.push(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    (batch, None)
}

/// Gives every row of a batch its answer, whatever the model does.
fn answer(mut batch: Vec<Job>, metrics: &Metrics, model: fn(&[Job]) -> Vec<Answer>) {
    // Nobody waits for a request that was given up.
    batch.retain(|job| !job.reply.is_closed());
    if batch.is_empty() {
        return;
    }
    metrics.batch_rows.observe(batch.len() as f64);
    let started = Instant::now();
    let answers = catch_unwind(AssertUnwindSafe(|| model(&batch))).unwrap_or_else(|_| {
        metrics.panics.inc();
        batch.iter().map(|_| Err(Problem::new(ProblemKind::Failed, FAILED))).collect()
    });
    metrics.batch_seconds.observe(started.elapsed().as_secs_f64());
    for (Job { reply, place, .. }, answer) in batch.into_iter().zip(answers) {
        // Whoever has an answer may ask again at once and finds the place free.
        drop(place);
        // A client that has gone meanwhile misses its answer.
        let _ = reply.send(answer);
    }
}

/// The answers to jobs that are served by the same model.
pub(crate) fn answers(batch: &[Job]) -> Vec<Answer> {
    let Some(Job { served, .. }) = batch.first() else { return Vec::new() };
    let predictor = &served.predictor;
    let read: Vec<Result<Row, Problem>> = batch.par_iter().map(read).collect();
    let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
    for task in [Task::Predict, Task::Explain, Task::Embed] {
        let is_of_task = |at: &usize| batch[*at].task == task;
        let rows: Vec<(usize, &Row)> =
            (0..batch.len()).filter(is_of_task).filter_map(|at| Some((at, read[at].as_ref().ok()?))).collect();
        for rows in rows.chunks(predictor.batch_size()) {
            let (places, rows): (Vec<usize>, Vec<&Row>) = rows.iter().copied().unzip();
            for (at, done) in places.into_iter().zip(run(predictor, task, &rows)) {
                answers[at] = Some(Ok(done));
            }
        }
    }
    for (at, job) in batch.iter().enumerate() {
        if let (Some(hear), Ok(row)) = (&job.hear, &read[at]) {
            let predictions = predictor.predict_row(row, &mut |output, text| hear(output, text));
            let predictions: Vec<_> = predictions.into_iter().map(|prediction| vec![prediction]).collect();
            answers[at] = Some(Ok(predicted(predictor, &predictions, 0, row, Vec::new())));
        }
    }
    let unread = |read: Result<Row, Problem>| read.err().unwrap_or_else(|| Problem::new(ProblemKind::Failed, FAILED));
    answers.into_iter().zip(read).map(|(answer, read)| answer.unwrap_or_else(|| Err(unread(read)))).collect()
}

fn read(job: &Job) -> Result<Row, Problem> {
    let predictor = &job.served.predictor;
    match job.task {
        Task::Predict | Task::Stream | Task::Explain => predictor.read_row(&job.cells).map_err(Problem::validation),
        Task::Embed => predictor.read_asked(&job.cells).map_err(Problem::validation),
    }
}

fn run(predictor: &Predictor, task: Task, rows: &[&Row]) -> Vec<Done> {
    let (predictions, mut contributions) = match task {
        Task::Embed => {
            let vectors = predictor.embed_batch(&predictor.collate(rows));
            let done = |(vectors, row): (Vectors, &&Row)| Done::Embedded { vectors, n_tokens: n_tokens(row) };
            return vectors.into_iter().zip(rows).map(done).collect();
        }
        Task::Explain => predictor.explain_batch(rows),
        Task::Predict | Task::Stream => {
            (predictor.predict_batch(&predictor.collate(rows)), rows.iter().map(|_| Vec::new()).collect())
        }
    };
    let done = |(at, row): (usize, &&Row)| predicted(predictor, &predictions, at, row, std::mem::take(&mut contributions[at]));
    rows.iter().enumerate().map(done).collect()
}

/// What was predicted, `[outputs][rows]`, of one row.
fn predicted(
    predictor: &Predictor,
    predictions: &[Vec<Prediction>],
    at: usize,
    row: &Row,
    contributions: Vec<Contribution>,
) -> Done {
    let outputs = predictor.outputs.iter().zip(&predictor.heads).zip(predictions);
    let values = outputs.flat_map(|((field, head), rows)| rows[at].values(&field.preprocessor, head));
    Done::Predicted { values: values.collect(), status: row.status(), contributions }
}

fn n_tokens(row: &Row) -> usize {
    row.payloads.iter().map(|payload| if let Payload::Tokens(ids) = payload { ids.len() } else { 0 }).sum()
}

#[cfg(test)]
#[path = "../tests/serving/fixture.rs"]
mod fixture;

#[cfg(test)]
mod tests {
    use super::fixture::fixture;
    use super::*;

    fn failing_on_large_rows(batch: &[Job]) -> Vec<Answer> {
        assert!(batch.iter().all(|job| job.cells != [Cell::Number(13.0)]), "a row that the model cannot take");
        let done = |_| Ok(Done::Predicted { values: Vec::new(), status: String::new(), contributions: Vec::new() });
        batch.iter().map(done).collect()
    }

    #[test]
    fn a_model_that_panics_costs_its_batch_and_not_the_server() {
        let batching = Batching { max_size: 2, max_delay: Duration::ZERO, queue_size: 4 };
        let metrics = Arc::new(Metrics::new());
        let (engine, thread) = Engine::start(batching, metrics.clone(), failing_on_large_rows).unwrap();
        let served = Arc::new(Served::open(Some(&fixture().model()), None).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let run = |numbers: &[f64]| {
            let rows = numbers.iter().map(|x| vec![Cell::Number(*x)]).collect();
            runtime.block_on(engine.run(&served, Task::Predict, rows)).unwrap()
        };
        assert!(run(&[1.0])[0].is_ok());
        assert_eq!(run(&[13.0])[0].as_ref().unwrap_err().message, FAILED);
        assert!(run(&[2.0])[0].is_ok());
        assert_eq!((metrics.panics.get(), engine.n_waiting()), (1, 0));
        drop(engine);
        thread.join().unwrap();
    }
}
