//! The batcher: gathers the rows that wait for the model into batches, and makes sure that every row is answered, even if the
//! model panics or hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::api_error::{ApiError, ApiErrorKind};
use crate::engine::EngineLimits;
use crate::loaded_model::LoadedModel;
use crate::metrics::Metrics;
use crate::stages::{Answer, FAILED, Job, Run};
use crate::workers::{Task, Worker, lock};

/// Takes rows off the queue and runs the model on them in batches.
pub(crate) struct Batcher {
    pub queue: Mutex<Queue>,
    /// The model of a batch that hung, until a replacement thread has shown that the model works.
    pub unproven: Mutex<Option<Arc<LoadedModel>>>,
    pub limits: EngineLimits,
    pub metrics: Arc<Metrics>,
    pub run: Arc<Run>,
}

pub(crate) struct Queue {
    pub jobs: Receiver<Queued>,
    pub held: Option<Queued>,
}

impl Batcher {
    /// Returns the next work for the model thread. After a hang, the replacement thread first probes the model.
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
            // Skip rows whose request was cancelled.
            batch.retain(|queued| !queued.reply.answer.is_closed());
            if !batch.is_empty() {
                return Some(self.batch(batch));
            }
        }
    }

    fn probe(self: &Arc<Self>, served: Arc<LoadedModel>) -> Task {
        let batcher = self.clone();
        Task {
            run: Box::new(move |worker| {
                let job = [Job::empty(&served)];
                // A model that panics does not hang, so the probe succeeds.
                let _ = catch_unwind(AssertUnwindSafe(|| worker.compute(|| (batcher.run)(&job, &|| true))));
                *lock(&batcher.unproven) = None;
            }),
            give_up: Box::new(|| ()),
        }
    }

    fn batch(self: &Arc<Self>, batch: Vec<Queued>) -> Task {
        let served = batch[0].job.served.clone();
        let (jobs, replies): (Vec<Job>, Vec<Reply>) = batch.into_iter().map(|it| (it.job, it.reply)).unzip();
        let replies = Replies::new(replies);
        let (batcher, left, watched) = (self.clone(), replies.clone(), self.clone());
        Task {
            run: Box::new(move |worker| batcher.answer(&jobs, &replies, worker)),
            give_up: Box::new(move || {
                *lock(&watched.unproven) = Some(served);
                let replies = left.take().into_iter().flatten();
                replies.for_each(|reply| reply.send(Err(watched.given_up())));
            }),
        }
    }

    /// Runs the model on a batch and answers every row, even if the model panics.
    fn answer(&self, jobs: &[Job], replies: &Replies<Vec<Reply>>, worker: &Worker) {
        self.metrics.batch_rows.observe(jobs.len() as f64);
        let started = Instant::now();
        let slot = worker.slot.clone();
        let should_continue = || {
            slot.beat();
            replies.is_wanted(|replies| replies.iter().any(|reply| !reply.answer.is_closed()))
        };
        let answers =
            catch_unwind(AssertUnwindSafe(|| worker.compute(|| (self.run)(jobs, &should_continue)))).unwrap_or_else(|_| {
                self.metrics.panics.inc();
                jobs.iter().map(|_| Err(ApiError::new(ApiErrorKind::Failed, FAILED))).collect()
            });
        self.metrics.batch_seconds.observe(started.elapsed().as_secs_f64());
        let replies = replies.take().into_iter().flatten();
        replies.zip(answers).for_each(|(reply, answer)| reply.send(answer));
    }

    pub fn given_up(&self) -> ApiError {
        unavailable(format!(
            "the model did not respond within {} s and is being restarted",
            self.limits.model_limit.as_secs_f64()
        ))
    }
}

impl Queue {
    /// Gathers a batch of the first row and the following rows for the same model. The first row for another model is held back.
    fn gather(&mut self, first: Queued, limits: EngineLimits) -> Vec<Queued> {
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

/// The channel to the client that waits for an answer, and the row's slot in the queue.
pub(crate) struct Reply {
    pub answer: oneshot::Sender<Answer>,
    pub slot: OwnedSemaphorePermit,
}

impl Reply {
    pub fn send(self, answer: Answer) {
        // Free the slot first: a client that has its answer may send the next request immediately.
        drop(self.slot);
        // Fails if the client has disconnected, which is fine.
        let _ = self.answer.send(answer);
    }
}

/// A row in the queue.
pub(crate) struct Queued {
    pub job: Job,
    pub reply: Reply,
}

/// Replies that both the working thread and its supervisor may send; whoever takes them first does.
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

/// Returns a 503 error.
pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(ApiErrorKind::Unavailable, message)
}
