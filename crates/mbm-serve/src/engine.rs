//! The queue in front of the model: rows of many requests go through it side by side, and each gets an answer of its own.
//!
//! ```text
//! cells --readers--> rows --queue--> batch --model--> each row's answer
//!                    row whose text is heard of as it grows --writers--> its answer
//! ```
//!
//! A row holds a place from the moment it is accepted to the moment it is answered; when no place is left, a request is refused at once
//! instead of waiting. Readers turn cells into what the model reads, one thread takes the rows that are there up to a batch and runs the
//! model on them, and writers each write one text, so that no batch waits for a text that somebody listens to. What panics costs its rows an
//! error, not the server its life; what does not come back is given up, answered for, and replaced (see [`crate::workers`]).

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mbm::{Cell, Hear, Preprocessor, Row};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::budget::Held;
use crate::cells::Cells;
use crate::line::{Line, Queue, Queued, Replies, Reply, unavailable};
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::settings::Settings;
pub(crate) use crate::stages::{Answer, Done, Task};
use crate::stages::{FAILED, Job, Stages};
use crate::workers::{self, Crew, Spec, Worker, lock, watch};

/// How rows become batches, and how long what is done with them may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batching {
    pub max_size: usize,
    pub max_delay: Duration,
    pub queue_size: usize,
    /// Texts that are heard of as they grow, at a time.
    pub max_streams: usize,
    /// For a row's cells.
    pub read_limit: Duration,
    /// For a batch; of texts for each step.
    pub model_limit: Duration,
}

impl Batching {
    /// What a server is told.
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

/// Threads of the model that may hang at a time. Each keeps its cores busy or its memory; if three batches in a row do not come back, the
/// fourth will not either.
const MAX_HUNG_MODELS: usize = 3;

/// Readers that may hang at a time, as a multiple of those at work: a few damaged files must not stop the reading of all others.
const MAX_HUNG_READERS: usize = 4;

/// Bytes of a cell that is read at once instead of by a reader: a number, a class or a date is shorter.
const LIGHT: usize = 256;

const HANGING_WRITERS: &str = "the texts that are being written hang; restart the server";

/// The queue and the threads behind it.
pub(crate) struct Engine {
    jobs: Sender<Queued>,
    reads: Sender<workers::Task>,
    writes: Sender<workers::Task>,
    stages: Stages,
    line: Arc<Line>,
    readers: Arc<Crew>,
    models: Arc<Crew>,
    writers: Arc<Crew>,
    places: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    limits: Batching,
    metrics: Arc<Metrics>,
    #[expect(dead_code, reason = "threads are watched until it is dropped")]
    open: Sender<()>,
}

impl Engine {
    /// Starts the threads; the one that is returned ends when the engine is gone and every row is answered.
    pub fn start(limits: Batching, metrics: Arc<Metrics>, stages: Stages) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, queue) = channel();
        let (reads, to_read) = channel();
        let (writes, to_write) = channel();
        let n_readers = std::thread::available_parallelism().map_or(2, usize::from);
        let line = Arc::new(Line {
            queue: Mutex::new(Queue { jobs: queue, held: None }),
            unproven: Mutex::new(None),
            limits,
            metrics: metrics.clone(),
            run: stages.run.clone(),
        });
        let crew = |name: &'static str, n_threads: usize, limit: Duration, max_hung: usize, source: workers::Source| {
            Crew::start(Spec { name, n_threads, limit, max_hung }, source, metrics.given_up(name))
        };
        let next = line.clone();
        let readers = crew("reader", n_readers, limits.read_limit, MAX_HUNG_READERS * n_readers, source(to_read))?;
        let models = crew("model", 1, limits.model_limit, MAX_HUNG_MODELS, Arc::new(move || next.next()))?;
        let writers = crew("writer", limits.max_streams, limits.model_limit, limits.max_streams, source(to_write))?;
        let (open, is_open) = channel();
        let watched = [readers.clone(), models.clone(), writers.clone()];
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch(&watched, &is_open))?;
        let places = Arc::new(Semaphore::new(limits.queue_size));
        let streams = Arc::new(Semaphore::new(limits.max_streams));
        let engine = Self { jobs, reads, writes, stages, line, readers, models, writers, places, streams, limits, metrics, open };
        Ok((engine, thread))
    }

    /// Puts the rows of a request into the queue, all or none, and waits for their answers, in their order.
    ///
    /// # Errors
    /// A queue without room for them; a model that hangs.
    pub async fn run<R: Into<Cells>>(
        &self,
        served: &Arc<LoadedModel>,
        task: Task,
        rows: Vec<R>,
    ) -> Result<Vec<Answer>, ApiError> {
        let mut places = self.places(rows.len())?;
        if self.models.is_exhausted() {
            return Err(unavailable(self.hanging_model()));
        }
        let rows = rows.into_iter().map(Into::into).collect();
        let mut waiting = Vec::new();
        for row in self.read(served, rows).await {
            let place = places.split(1).expect("a place for each row was acquired");
            let job = row.and_then(|row| Job::new(served, task, row));
            waiting.push(job.map(|job| {
                let (answer, answered) = oneshot::channel();
                // Without a thread that receives them the answers are gone, and that is told below.
                let _ = self.jobs.send(Queued { job, reply: Reply { answer, place } });
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

    /// Reads a row and waits for its turn to be written about, its texts heard of as they grow; what the answer will come through.
    ///
    /// # Errors
    /// A queue without room; a row that cannot be used; writers that hang.
    pub async fn stream(
        &self,
        served: &Arc<LoadedModel>,
        task: Task,
        cells: Cells,
        hear: Box<Hear<'static>>,
    ) -> Result<oneshot::Receiver<Answer>, ApiError> {
        let place = self.places(1)?;
        let row = self.read(served, vec![cells]).await.pop().unwrap_or_else(|| Err(unavailable("not read")))?;
        let job = Job::new(served, task, row)?;
        let turn = self.streams.clone().acquire_owned().await.map_err(|error| unavailable(error.to_string()))?;
        if self.writers.is_exhausted() {
            return Err(unavailable(HANGING_WRITERS));
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.writes.send(self.writing(job, hear, (Reply { answer, place }, turn)));
        Ok(answered)
    }

    fn writing(&self, job: Job, mut hear: Box<Hear<'static>>, reply: (Reply, OwnedSemaphorePermit)) -> workers::Task {
        let replies = Replies::new(reply);
        let (left, write, metrics) = (replies.clone(), self.stages.write.clone(), self.metrics.clone());
        let run = move |worker: &Worker| {
            let seat = worker.seat.clone();
            let listener = replies.clone();
            let mut step = |output: usize, text: Option<&str>| {
                seat.beat();
                let is_wanted = listener.is_wanted(|(reply, _)| !reply.answer.is_closed());
                if is_wanted { hear(output, text) } else { ControlFlow::Break(()) }
            };
            let written = catch_unwind(AssertUnwindSafe(|| worker.compute(|| write(&job, &mut step))));
            let answer = written.unwrap_or_else(|_| {
                metrics.panics.inc();
                Err(ApiError::new(ApiErrorKind::Failed, FAILED))
            });
            answer_text(replies.take(), answer);
        };
        let api_error = self.line.given_up();
        let give_up = move || answer_text(left.take(), Err(api_error));
        workers::Task { run: Box::new(run), give_up: Box::new(give_up) }
    }

    /// Reads rows, those that may take long on threads of their own.
    async fn read(&self, served: &Arc<LoadedModel>, rows: Vec<Cells>) -> Vec<Result<Row, ApiError>> {
        let reading: Vec<_> =
            rows.into_iter().map(|Cells { cells, unread }| (self.begin_reading(served, cells), unread)).collect();
        let mut read = Vec::with_capacity(reading.len());
        for (row, unread) in reading {
            let row = row.await.unwrap_or_else(|_| {
                self.metrics.panics.inc();
                Err(ApiError::new(ApiErrorKind::Failed, "reading a cell failed; the server's log says more"))
            });
            read.push(row.map(|mut row| {
                unread.into_iter().for_each(|(at, fault)| row.faults[at] = Some(fault));
                row
            }));
        }
        read
    }

    fn begin_reading(&self, served: &Arc<LoadedModel>, cells: Vec<Cell>) -> oneshot::Receiver<Result<Row, ApiError>> {
        let (reply, read) = oneshot::channel();
        if is_light(served, &cells) {
            let _ = reply.send(Ok((self.stages.read)(&served.predictor, &cells, &mut |_| true)));
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
        reply: oneshot::Sender<Result<Row, ApiError>>,
    ) -> workers::Task {
        let replies = Replies::new(reply);
        let at = Arc::new(AtomicUsize::new(0));
        let (left, place, limit) = (replies.clone(), at.clone(), self.limits.read_limit);
        let (read, metrics, of) = (self.stages.read.clone(), self.metrics.clone(), served.clone());
        let held = Held::current();
        let run = move |_: &Worker| {
            // As long as there are cells, their memory is taken.
            let _held = held;
            let started = Instant::now();
            let mut begin = |input: usize| {
                at.store(input, Ordering::Relaxed);
                replies.is_wanted(|reply| !reply.is_closed())
            };
            // Nobody waits for a request that was given up.
            if begin(0) {
                let row = read(&served.predictor, &cells, &mut begin);
                let _ = replies.take().map(|reply| reply.send(Ok(row)));
                metrics.read_seconds.observe(started.elapsed().as_secs_f64());
            }
        };
        let give_up = move || {
            let name = &of.predictor.inputs[place.load(Ordering::Relaxed)].name;
            let api_error = unavailable(format!("{name}: not read in {} s", limit.as_secs_f64()));
            let _ = left.take().map(|reply| reply.send(Err(api_error)));
        };
        workers::Task { run: Box::new(run), give_up: Box::new(give_up) }
    }

    /// Looks whether so many rows can ever be in the queue together, before any of them is read.
    ///
    /// # Errors
    /// More rows than the queue has places.
    pub fn check(&self, n_rows: usize) -> Result<(), ApiError> {
        let size = self.limits.queue_size;
        if n_rows > size {
            return Err(ApiError::new(ApiErrorKind::TooLarge, format!("{n_rows} rows at once; the queue has room for {size}")));
        }
        Ok(())
    }

    fn places(&self, n_rows: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        self.check(n_rows)?;
        self.places.clone().try_acquire_many_owned(n_rows as u32).map_err(|_| {
            ApiError::new(ApiErrorKind::Overloaded, format!("the queue has no room for {n_rows} rows now; try again later"))
        })
    }

    /// Rows that are accepted and not yet answered.
    pub fn n_waiting(&self) -> usize {
        self.limits.queue_size - self.places.available_permits()
    }

    /// Threads that were given up and have not come back, by what they do.
    pub fn n_hung(&self) -> [(&'static str, usize); 3] {
        [("reader", self.readers.n_hung()), ("model", self.models.n_hung()), ("writer", self.writers.n_hung())]
    }

    /// Whether rows can be read and answered.
    ///
    /// # Errors
    /// What hangs.
    pub fn check_works(&self) -> Result<(), ApiError> {
        match () {
            () if self.models.is_exhausted() => Err(unavailable(self.hanging_model())),
            () if lock(&self.line.unproven).is_some() => {
                Err(unavailable("the model hung over a batch and is being started again"))
            }
            () if self.readers.is_exhausted() => Err(unavailable(self.hanging_readers())),
            () if self.writers.is_exhausted() => Err(unavailable(HANGING_WRITERS)),
            () => Ok(()),
        }
    }

    fn hanging_model(&self) -> String {
        format!("the model hangs over {} batches and is not started again; restart the server", self.models.n_hung())
    }

    fn hanging_readers(&self) -> String {
        format!("{} rows hang while they are read, and no more are taken until one of them is done", self.readers.n_hung())
    }
}

/// The answer to a row whose texts were heard of; another may have its turn.
fn answer_text(reply: Option<(Reply, OwnedSemaphorePermit)>, answer: Answer) {
    if let Some((reply, turn)) = reply {
        drop(turn);
        reply.send(answer);
    }
}

/// Work from a queue.
fn source(queue: Receiver<workers::Task>) -> workers::Source {
    let queue = Mutex::new(queue);
    Arc::new(move || lock(&queue).recv().ok())
}

/// Whether reading a row takes no longer than giving it to a reader would: nothing to decode, no text to split into tokens.
fn is_light(served: &LoadedModel, cells: &[Cell]) -> bool {
    let is_light = |(field, cell): (&mbm::Field, &Cell)| match cell {
        Cell::Empty => true,
        Cell::Number(_) | Cell::Bool(_) => !is_read_as_text_or_media(&field.preprocessor),
        Cell::Text(text) => text.len() <= LIGHT && !is_read_as_text_or_media(&field.preprocessor),
        Cell::Bytes(_) | Cell::Numbers(_) | Cell::Json(_) | Cell::Words(_) | Cell::NotUtf8(_) => false,
    };
    served.predictor.inputs.iter().zip(cells).all(is_light)
}

fn is_read_as_text_or_media(preprocessor: &Preprocessor) -> bool {
    match preprocessor {
        Preprocessor::Image(_)
        | Preprocessor::Audio(_)
        | Preprocessor::Text(_)
        | Preprocessor::TargetText(_)
        | Preprocessor::Timeseries(_)
        | Preprocessor::Vector(_)
        | Preprocessor::Embedding(_) => true,
        Preprocessor::Number(_)
        | Preprocessor::Category(_)
        | Preprocessor::Binary(_)
        | Preprocessor::Set(_)
        | Preprocessor::Date(_) => false,
    }
}

#[cfg(test)]
#[path = "../tests/serving/fixture.rs"]
mod fixture;

#[cfg(test)]
mod tests;
