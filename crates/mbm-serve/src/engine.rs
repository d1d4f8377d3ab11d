//! The engine: reads rows, queues them, and runs the model on batches of rows from many requests.
//!
//! ```text
//! cells --readers--> rows --queue--> batch --model--> each row's answer
//!                    row with streamed texts --writers--> its answer
//! ```
//!
//! A row occupies a slot in the queue from the moment it is accepted until it is answered. If there are not enough free slots, a
//! request is refused immediately instead of waiting. Reader threads turn cells into model inputs, one thread gathers the rows
//! that wait, up to a batch, and runs the model on them, and writer threads generate one streamed text each, so that no batch
//! waits for a text that is being streamed. If work panics, its rows get an error and the server keeps running. If it hangs, its
//! rows are answered with an error and the thread is replaced (see [`crate::workers`]).

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mbm::{Cell, PreparedRow, TextListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::batcher::{Batcher, Queue, Queued, Replies, Reply, unavailable};
use crate::budget::MemoryShare;
use crate::cells::Cells;
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::settings::Settings;
pub(crate) use crate::stages::{Answer, JobResult, Task};
use crate::stages::{FAILED, Job, Stages};
use crate::workers::{self, Spec, WorkerPool, lock, watch};

/// Batching, queue and time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineLimits {
    pub max_size: usize,
    pub max_delay: Duration,
    pub queue_size: usize,
    /// Maximum number of texts that are streamed at the same time.
    pub max_streams: usize,
    /// Time limit for reading the cells of a row.
    pub read_limit: Duration,
    /// Time limit for a batch; for generated texts, for each step.
    pub model_limit: Duration,
}

impl EngineLimits {
    /// Takes the limits from the server's settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            max_size: settings.max_batch_size,
            max_delay: settings.max_batch_delay,
            queue_size: settings.queue_size,
            max_streams: settings.max_streams,
            read_limit: settings.read_limit(),
            model_limit: settings.model_limit(),
        }
    }
}

/// Maximum number of model threads that hang at the same time. Each keeps its cores busy or its memory occupied; if three batches
/// in a row hang, the fourth will, too.
const MAX_HUNG_MODELS: usize = 3;

/// Maximum number of readers that hang at the same time, as a multiple of those at work: a few corrupt files must not prevent all
/// others from being read.
const MAX_HUNG_READERS: usize = 4;

/// Maximum size, in bytes, of a cell that is read inline instead of by a reader thread: a number, a class or a date is shorter.
const LIGHT: usize = 256;

const HANGING_WRITERS: &str = "text generation hangs; restart the server";

/// The queue and the threads behind it.
pub(crate) struct Engine {
    jobs: Sender<Queued>,
    reads: Sender<workers::Task>,
    writes: Sender<workers::Task>,
    stages: Stages,
    batcher: Arc<Batcher>,
    readers: Arc<WorkerPool>,
    models: Arc<WorkerPool>,
    writers: Arc<WorkerPool>,
    slots: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: EngineLimits,
    metrics: Arc<Metrics>,
    #[expect(dead_code, reason = "threads are watched until it is dropped")]
    open: Sender<()>,
}

impl Engine {
    /// Starts the threads. The returned one exits when the engine has been dropped and every row is answered.
    pub fn start(limits: EngineLimits, metrics: Arc<Metrics>, stages: Stages) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let (reads, to_read) = channel();
        let (writes, to_write) = channel();
        let n_readers = std::thread::available_parallelism().map_or(2, usize::from);
        let batcher = Arc::new(Batcher {
            queue: Mutex::new(Queue { jobs: queue, held: None }),
            unproven: Mutex::new(None),
            limits,
            metrics: metrics.clone(),
            run: stages.run.clone(),
        });
        let pool = |name: &'static str, n_threads: usize, limit: Duration, max_hung: usize, source: workers::Source| {
            WorkerPool::start(Spec { name, n_threads, limit, max_hung }, source, metrics.given_up(name))
        };
        let next = batcher.clone();
        let readers = pool("reader", n_readers, limits.read_limit, MAX_HUNG_READERS * n_readers, source(to_read))?;
        let models = pool("model", 1, limits.model_limit, MAX_HUNG_MODELS, Arc::new(move || next.next()))?;
        let writers = pool("writer", limits.max_streams, limits.model_limit, limits.max_streams, source(to_write))?;
        let (open, is_open) = channel();
        let watched = [readers.clone(), models.clone(), writers.clone()];
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch(&watched, &is_open))?;
        let slots = Arc::new(Semaphore::new(limits.queue_size));
        let streams = Arc::new(Semaphore::new(limits.max_streams));
        let engine =
            Self { jobs, reads, writes, stages, batcher, readers, models, writers, slots, streams, limits, metrics, open };
        Ok((engine, thread))
    }

    /// Queues the rows of a request, all or none, and waits for their answers, which are returned in order.
    ///
    /// # Errors
    /// Returns an error if the queue does not have enough capacity, or if the model hangs.
    pub async fn run<R: Into<Cells>>(
        &self,
        served: &Arc<LoadedModel>,
        task: Task,
        rows: Vec<R>,
    ) -> Result<Vec<Answer>, ApiError> {
        let mut slots = self.slots(rows.len())?;
        if self.models.is_exhausted() {
            return Err(unavailable(self.hanging_model()));
        }
        let rows = rows.into_iter().map(Into::into).collect();
        let mut waiting = Vec::new();
        for row in self.read(served, rows).await {
            let slot = slots.split(1).expect("a slot for each row was acquired");
            let job = row.and_then(|row| Job::new(served, task, row));
            waiting.push(job.map(|job| {
                let (answer, answered) = oneshot::channel();
                // If no thread receives the job, `answer` is dropped; that is reported below.
                let _ = self.jobs.send(Queued { job, reply: Reply { answer, slot } });
                answered
            }));
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for answer in waiting {
            answers.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(ApiError::new(ApiErrorKind::Failed, FAILED))),
                Err(api_error) => Err(api_error),
            });
        }
        Ok(answers)
    }

    /// Reads a row, waits for a free writer, and starts a prediction whose generated texts are passed to `listener` as they grow.
    /// Returns the channel of the answer.
    ///
    /// # Errors
    /// Returns an error if the queue is full, the row is invalid, or the writers hang.
    pub async fn stream(
        &self,
        served: &Arc<LoadedModel>,
        task: Task,
        cells: Cells,
        listener: Box<TextListener<'static>>,
    ) -> Result<oneshot::Receiver<Answer>, ApiError> {
        let slot = self.slots(1)?;
        let row = self.read(served, vec![cells]).await.pop().unwrap_or_else(|| Err(unavailable("the row was not read")))?;
        let job = Job::new(served, task, row)?;
        let turn = self.streams.clone().acquire_owned().await.map_err(|error| unavailable(error.to_string()))?;
        if self.writers.is_exhausted() {
            return Err(unavailable(HANGING_WRITERS));
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.writes.send(self.writing(job, listener, (Reply { answer, slot }, turn)));
        Ok(answered)
    }

    fn writing(&self, job: Job, mut listener: Box<TextListener<'static>>, reply: (Reply, OwnedSemaphorePermit)) -> workers::Task {
        let replies = Replies::new(reply);
        let (left, write, metrics) = (replies.clone(), self.stages.write.clone(), self.metrics.clone());
        let api_error = self.batcher.given_up();
        workers::Task {
            run: Box::new(move |worker| {
                let slot = worker.slot.clone();
                let recipients = replies.clone();
                let mut step = |output: usize, text: Option<&str>| {
                    slot.beat();
                    let is_wanted = recipients.is_wanted(|(reply, _)| !reply.answer.is_closed());
                    if is_wanted { listener(output, text) } else { ControlFlow::Break(()) }
                };
                let written = catch_unwind(AssertUnwindSafe(|| worker.compute(|| write(&job, &mut step))));
                let answer = written.unwrap_or_else(|_| {
                    metrics.panics.inc();
                    Err(ApiError::new(ApiErrorKind::Failed, FAILED))
                });
                answer_text(replies.take(), answer);
            }),
            give_up: Box::new(move || answer_text(left.take(), Err(api_error))),
        }
    }

    /// Reads rows, on reader threads where that may take long.
    async fn read(&self, served: &Arc<LoadedModel>, rows: Vec<Cells>) -> Vec<Result<PreparedRow, ApiError>> {
        let reading: Vec<_> =
            rows.into_iter().map(|Cells { cells, unread }| (self.begin_reading(served, cells), unread)).collect();
        let mut read = Vec::with_capacity(reading.len());
        for (row, unread) in reading {
            let row = row.await.unwrap_or_else(|_| {
                self.metrics.panics.inc();
                Err(ApiError::new(ApiErrorKind::Failed, "reading a cell failed; see the server's log"))
            });
            read.push(row.map(|mut row| {
                unread.into_iter().for_each(|(field, fault)| row.set_fault(field, fault));
                row
            }));
        }
        read
    }

    fn begin_reading(&self, served: &Arc<LoadedModel>, cells: Vec<Cell>) -> oneshot::Receiver<Result<PreparedRow, ApiError>> {
        let (reply, read) = oneshot::channel();
        if is_light(served, &cells) {
            let _ = reply.send(Ok((self.stages.read)(&served.model, &cells, &mut |_| true)));
        } else if self.readers.is_exhausted() {
            let _ = reply.send(Err(unavailable(self.hanging_readers())));
        } else {
            let _ = self.reads.send(self.reading(served.clone(), cells, reply));
        }
        read
    }

    fn reading(
        &self,
        served: Arc<LoadedModel>,
        cells: Vec<Cell>,
        reply: oneshot::Sender<Result<PreparedRow, ApiError>>,
    ) -> workers::Task {
        let replies = Replies::new(reply);
        let at = Arc::new(AtomicUsize::new(0));
        let (left, position, limit) = (replies.clone(), at.clone(), self.limits.read_limit);
        let (read, metrics, of) = (self.stages.read.clone(), self.metrics.clone(), served.clone());
        let held = MemoryShare::current();
        workers::Task {
            run: Box::new(move |_| {
                // Keep the memory reserved as long as the cells exist.
                let _held = held;
                let started = Instant::now();
                let mut begin = |input: usize| {
                    at.store(input, Ordering::Relaxed);
                    replies.is_wanted(|reply| !reply.is_closed())
                };
                // Skip the row if its request was cancelled.
                if begin(0) {
                    let row = read(&served.model, &cells, &mut begin);
                    let _ = replies.take().map(|reply| reply.send(Ok(row)));
                    metrics.read_seconds.observe(started.elapsed().as_secs_f64());
                }
            }),
            give_up: Box::new(move || {
                let name = of.model.input_at(position.load(Ordering::Relaxed)).name();
                let api_error = unavailable(format!("{name}: reading took longer than {} s", limit.as_secs_f64()));
                let _ = left.take().map(|reply| reply.send(Err(api_error)));
            }),
        }
    }

    /// Checks whether the queue can ever hold this many rows, before any of them is read.
    ///
    /// # Errors
    /// Returns an error if the request has more rows than the queue has slots.
    pub fn check(&self, n_rows: usize) -> Result<(), ApiError> {
        let size = self.limits.queue_size;
        if n_rows > size {
            return Err(ApiError::new(ApiErrorKind::TooLarge, format!("{n_rows} rows at once, but the queue size is {size}")));
        }
        Ok(())
    }

    fn slots(&self, n_rows: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        self.check(n_rows)?;
        self.slots.clone().try_acquire_many_owned(n_rows as u32).map_err(|_| {
            ApiError::new(ApiErrorKind::Overloaded, format!("the queue has no capacity for {n_rows} more rows; try again later"))
        })
    }

    /// Number of rows that are accepted but not yet answered.
    pub fn n_waiting(&self) -> usize {
        self.limits.queue_size - self.slots.available_permits()
    }

    /// Number of abandoned threads that have not returned, by kind of work.
    pub fn n_hung(&self) -> [(&'static str, usize); 3] {
        [("reader", self.readers.n_hung()), ("model", self.models.n_hung()), ("writer", self.writers.n_hung())]
    }

    /// Checks whether rows can be read and answered.
    ///
    /// # Errors
    /// Returns an error that names what hangs.
    pub fn check_works(&self) -> Result<(), ApiError> {
        match () {
            () if self.models.is_exhausted() => Err(unavailable(self.hanging_model())),
            () if lock(&self.batcher.unproven).is_some() => Err(unavailable("the model hung on a batch and is being restarted")),
            () if self.readers.is_exhausted() => Err(unavailable(self.hanging_readers())),
            () if self.writers.is_exhausted() => Err(unavailable(HANGING_WRITERS)),
            () => Ok(()),
        }
    }

    fn hanging_model(&self) -> String {
        format!("the model hangs on {} batches and is no longer restarted; restart the server", self.models.n_hung())
    }

    fn hanging_readers(&self) -> String {
        format!("{} rows hang while being read; no more rows are read until one of them completes", self.readers.n_hung())
    }
}

/// Sends the answer to a streamed row, and lets the next one have its turn.
fn answer_text(reply: Option<(Reply, OwnedSemaphorePermit)>, answer: Answer) {
    if let Some((reply, turn)) = reply {
        drop(turn);
        reply.send(answer);
    }
}

/// Returns a source that takes work from a channel.
fn source(queue: Receiver<workers::Task>) -> workers::Source {
    let queue = Mutex::new(queue);
    Arc::new(move || lock(&queue).recv().ok())
}

/// Whether reading a row is cheaper than handing it to a reader thread: nothing to decode, and no text to tokenize.
fn is_light(served: &LoadedModel, cells: &[Cell]) -> bool {
    served.model.inputs().zip(cells).all(|(input, cell)| match cell {
        Cell::Empty => true,
        Cell::Number(_) | Cell::Bool(_) => !input.is_costly(),
        Cell::Text(text) => text.len() <= LIGHT && !input.is_costly(),
        Cell::Bytes(_) | Cell::Numbers(_) | Cell::Json(_) | Cell::Words(_) | Cell::NotUtf8(_) => false,
    })
}

#[cfg(test)]
#[path = "../tests/serving/fixture.rs"]
mod fixture;

#[cfg(test)]
mod tests;
