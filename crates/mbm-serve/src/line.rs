//! Rows in line for the model: those that wait become a batch, and every row of a batch gets its answer, whatever the model does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::engine::Batching;
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::stages::{Answer, FAILED, Job, Run};
use crate::workers::{Task, Worker, lock};

/// Rows in line for the model.
pub(crate) struct Line {
    pub queue: Mutex<Queue>,
    /// What a batch was served by that did not come back, until a new thread has shown that it works.
    pub unproven: Mutex<Option<Arc<LoadedModel>>>,
    pub limits: Batching,
    pub metrics: Arc<Metrics>,
    pub run: Arc<Run>,
}

pub(crate) struct Queue {
    pub jobs: Receiver<Queued>,
    pub held: Option<Queued>,
}

impl Line {
    /// The next work of the model's thread; a new thread in place of one that hung shows first that it works.
    pub fn next(self: &Arc<Self>) -> Option<Task> {
        if let Some(served) = lock(&self.unproven).clone() {
            return Some(self.probe(served));
        }
        let mut queue = lock(&self.queue);
        loop {
            let first = match queue.held.take() {
                Some(held) => held,
                None => queue.jobs.recv().ok()?,
            };
            let mut batch = queue.gather(first, self.limits);
            // Nobody waits for a request that was given up.
            batch.retain(|queued| !queued.reply.answer.is_closed());
            if !batch.is_empty() {
                return Some(self.batch(batch));
            }
        }
    }

    fn probe(self: &Arc<Self>, served: Arc<LoadedModel>) -> Task {
        let line = self.clone();
        let run = move |worker: &Worker| {
            let job = [Job::empty(&served)];
            // A model that panics comes back, too.
            let _ = catch_unwind(AssertUnwindSafe(|| worker.compute(|| (line.run)(&job, &|| true))));
            *lock(&line.unproven) = None;
        };
        Task { run: Box::new(run), give_up: Box::new(|| ()) }
    }

    fn batch(self: &Arc<Self>, batch: Vec<Queued>) -> Task {
        let served = batch[0].job.served.clone();
        let (jobs, replies): (Vec<Job>, Vec<Reply>) = batch.into_iter().map(|it| (it.job, it.reply)).unzip();
        let replies = Replies::new(replies);
        let (line, left, watched) = (self.clone(), replies.clone(), self.clone());
        let give_up = move || {
            *lock(&watched.unproven) = Some(served);
            let replies = left.take().into_iter().flatten();
            replies.for_each(|reply| reply.send(Err(watched.given_up())));
        };
        Task { run: Box::new(move |worker| line.answer(&jobs, &replies, worker)), give_up: Box::new(give_up) }
    }

    /// Gives every row of a batch its answer, whatever the model does.
    fn answer(&self, jobs: &[Job], replies: &Replies<Vec<Reply>>, worker: &Worker) {
        self.metrics.batch_rows.observe(jobs.len() as f64);
        let started = Instant::now();
        let seat = worker.seat.clone();
        let goes_on = || {
            seat.beat();
            replies.is_wanted(|replies| replies.iter().any(|reply| !reply.answer.is_closed()))
        };
        let answers = catch_unwind(AssertUnwindSafe(|| worker.compute(|| (self.run)(jobs, &goes_on)))).unwrap_or_else(|_| {
            self.metrics.panics.inc();
            jobs.iter().map(|_| Err(ApiError::new(ApiErrorKind::Failed, FAILED))).collect()
        });
        self.metrics.batch_seconds.observe(started.elapsed().as_secs_f64());
        let replies = replies.take().into_iter().flatten();
        replies.zip(answers).for_each(|(reply, answer)| reply.send(answer));
    }

    pub fn given_up(&self) -> ApiError {
        unavailable(format!(
            "the model did not come back within {} s; it is started again",
            self.limits.model_limit.as_secs_f64()
        ))
    }
}

impl Queue {
    /// The first row and those behind it that go through the same model; the first one that does not is held.
    fn gather(&mut self, first: Queued, limits: Batching) -> Vec<Queued> {
        let mut batch = vec![first];
        let end = Instant::now() + limits.max_delay;
        while batch.len() < limits.max_size {
            match self.jobs.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(queued) if !Arc::ptr_eq(&queued.job.served, &batch[0].job.served) => {
                    self.held = Some(queued);
                    break;
                }
                Ok(queued) => batch.push(queued),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch
    }
}

/// Whoever waits for an answer, and the place in the queue.
pub(crate) struct Reply {
    pub answer: oneshot::Sender<Answer>,
    pub place: OwnedSemaphorePermit,
}

impl Reply {
    pub fn send(self, answer: Answer) {
        // Whoever has an answer may ask again at once and finds the place free.
        drop(self.place);
        // A client that has gone meanwhile misses its answer.
        let _ = self.answer.send(answer);
    }
}

/// A row on its way to the model.
pub(crate) struct Queued {
    pub job: Job,
    pub reply: Reply,
}

/// What threads that work and the one that watches them both may send, whoever is first.
pub(crate) struct Replies<T>(Mutex<Option<T>>);

impl<T> Replies<T> {
    pub fn new(replies: T) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(replies))))
    }

    pub fn take(&self) -> Option<T> {
        lock(&self.0).take()
    }

    pub fn is_wanted(&self, is_wanted: impl FnOnce(&T) -> bool) -> bool {
        lock(&self.0).as_ref().is_some_and(is_wanted)
    }
}

/// Not now.
pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(ApiErrorKind::Unavailable, message)
}
