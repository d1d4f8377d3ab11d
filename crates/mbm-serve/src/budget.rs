//! The memory that requests hold, bounded for the whole server, and the threads that work on large bodies.
//!
//! A body takes its share of the budget before it is read, and gives it back when its answer has been written. While the budget is
//! exhausted, a large body waits briefly and is then refused with 429; what is small is always let in.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::sync::{Notify, Semaphore};

use crate::api_error::{ApiError, ApiErrorKind};

/// What a request may hold without taking from the budget, so that a small one is answered while large ones wait. All connections together
/// hold no more than this for each: 64 MiB with the default of 1024.
pub(crate) const FREE: usize = 64 << 10;

/// What a body needs, as a multiple of its length: itself, and the texts, files or fields that are made from it. Base64 in JSON and the
/// files of a form both come to twice the body at their peak.
pub(crate) const PER_BODY: usize = 2;

/// What a request may hold beside its body (values of JSON, files that it names), as a multiple of the largest body. Numbers in JSON, the
/// largest of what is usual, take about 64 bytes for 8 to 10 of text.
pub(crate) const MAX_BODIES: usize = 8;

/// How long a body waits for its share: as long as a client is told to wait before it tries again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Work on fewer bytes is done at once. Reading 16 KiB of JSON takes about 0.1 ms, which is what a task may do between two awaits.
const AT_ONCE: usize = 16 << 10;

/// The memory of a server's requests.
pub(crate) struct Budget {
    limit: usize,
    max_body: usize,
    taken: Mutex<usize>,
    given_back: Notify,
    workers: Arc<Semaphore>,
}

/// What one request holds of the budget; given back when the last clone is gone.
#[derive(Clone, Default)]
pub(crate) struct Held(Option<Arc<Share>>);

struct Share {
    budget: Arc<Budget>,
    amounts: Mutex<Amounts>,
}

#[derive(Default)]
struct Amounts {
    /// Bytes that the request holds now.
    held: usize,
    /// Bytes that were taken from the budget for it.
    taken: usize,
}

tokio::task_local! {
    static HELD: Held;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Budget {
    pub fn new(limit: usize, max_body: usize) -> Self {
        let n_workers = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = Arc::new(Semaphore::new(n_workers));
        Self { limit, max_body, taken: Mutex::new(0), given_back: Notify::new(), workers }
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        *lock(&self.taken)
    }

    fn take(&self, n_bytes: usize) -> bool {
        let mut taken = lock(&self.taken);
        let fits = n_bytes <= self.limit.saturating_sub(*taken);
        if fits {
            *taken += n_bytes;
        }
        fits
    }

    /// Takes as soon as there is room, whoever else waits: a large request does not hold up small ones.
    async fn take_in_time(&self, n_bytes: usize) -> bool {
        let take = async {
            loop {
                let given_back = self.given_back.notified();
                if self.take(n_bytes) {
                    return;
                }
                given_back.await;
            }
        };
        tokio::time::timeout(PATIENCE, take).await.is_ok()
    }

    fn give_back(&self, n_bytes: usize) {
        *lock(&self.taken) -= n_bytes;
        self.given_back.notify_waiters();
    }

    fn too_large(&self) -> ApiError {
        let limit = self.limit;
        ApiError::new(ApiErrorKind::TooLarge, format!("this needs more than the {limit} bytes that all requests may hold"))
    }
}

fn overloaded() -> ApiError {
    ApiError::new(ApiErrorKind::Overloaded, "other requests hold the memory that this one needs; try again later")
}

impl Drop for Share {
    fn drop(&mut self) {
        let taken = lock(&self.amounts).taken;
        if taken > 0 {
            self.budget.give_back(taken);
        }
    }
}

impl Held {
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self(Some(Arc::new(Share { budget: budget.clone(), amounts: Mutex::default() })))
    }

    /// What the request that this task answers holds; outside of a server, something without bounds.
    pub fn current() -> Self {
        HELD.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs what answers a request, and keeps its share until the answer is written.
    pub async fn during(self, answer: impl Future<Output = Response>) -> Response {
        let response = HELD.scope(self.clone(), answer).await;
        let is_free = self.0.as_ref().is_none_or(|share| lock(&share.amounts).taken == 0);
        if is_free { response } else { response.map(|body| Body::new(HeldBody { body, held: self })) }
    }

    /// Bytes of a body, at most.
    pub fn max_body(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |share| share.budget.max_body)
    }

    /// Bytes that a request may hold beside its body, at most.
    pub fn max_unfolded(&self) -> usize {
        self.max_body().saturating_mul(MAX_BODIES)
    }

    /// Makes sure that the request can hold so many bytes in all, and [`FREE`] beside them; waits briefly where others hold them.
    ///
    /// # Errors
    /// Others that do not give back in time, or more than there is.
    pub async fn reserve(&self, n_bytes: usize) -> Result<(), ApiError> {
        let Some(share) = &self.0 else { return Ok(()) };
        let missing = share.missing(if n_bytes > FREE { n_bytes } else { 0 })?;
        if missing > 0 && !share.budget.take_in_time(missing).await {
            return Err(overloaded());
        }
        lock(&share.amounts).taken += missing;
        Ok(())
    }

    /// Counts bytes that the request holds from now on, without waiting.
    ///
    /// # Errors
    /// Others that hold them, or more than there is.
    pub fn take(&self, n_bytes: usize) -> Result<(), ApiError> {
        let Some(share) = &self.0 else { return Ok(()) };
        let held = lock(&share.amounts).held.saturating_add(n_bytes);
        let missing = share.missing(held.saturating_sub(FREE))?;
        if !share.budget.take(missing) {
            return Err(overloaded());
        }
        let mut amounts = lock(&share.amounts);
        amounts.held += n_bytes;
        amounts.taken += missing;
        Ok(())
    }

    /// Counts bytes that the request holds no more; they stay reserved for what it may still need.
    pub fn release(&self, n_bytes: usize) {
        if let Some(share) = &self.0 {
            let mut amounts = lock(&share.amounts);
            amounts.held = amounts.held.saturating_sub(n_bytes);
        }
    }

    /// Runs work that takes time with a number of bytes: at once where they are few, else on a thread where nobody waits for it. No more
    /// of that goes on at a time than the machine has processors; the others wait without a thread.
    ///
    /// # Errors
    /// Those of the work; work that panics.
    pub async fn work<T: Send + 'static>(
        &self,
        n_bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Some(share) = self.0.as_ref().filter(|_| n_bytes > AT_ONCE) else { return work() };
        let failed = |error: &dyn std::fmt::Display| ApiError::new(ApiErrorKind::Failed, format!("{error}"));
        let place = share.budget.workers.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let held = self.clone();
        // Work that was given up still holds its memory and its place.
        let work = move || {
            let _until_done = (place, held);
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error))?
    }
}

impl Share {
    /// What has to be taken from the budget until so many bytes of it are.
    fn missing(&self, needed: usize) -> Result<usize, ApiError> {
        if needed > self.budget.limit {
            return Err(self.budget.too_large());
        }
        Ok(needed.saturating_sub(lock(&self.amounts).taken))
    }
}

/// The body of an answer; each part of it keeps the request's share until the connection has written it.
struct HeldBody {
    body: Body,
    held: Held,
}

struct Part {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let held = self.held.clone();
        let keep = |bytes| Bytes::from_owner(Part { bytes, _held: held });
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| frame.map_data(keep))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn what_is_held_is_never_more_than_the_budget_and_comes_back() {
        let budget = Arc::new(Budget::new(10 * MB, MB));
        let held: Vec<Held> = (0..20).map(|_| Held::of(&budget)).collect();
        let taken = held.iter().filter(|held| held.take(MB + FREE).is_ok()).count();
        assert_eq!((taken, budget.taken()), (10, 10 * MB));
        assert_eq!(held[19].take(MB).unwrap_err().kind, ApiErrorKind::Overloaded);
        // A small one is let in all the same.
        assert!(Held::of(&budget).take(FREE).is_ok());
        drop(held);
        assert_eq!(budget.taken(), 0);
        assert_eq!(Held::of(&budget).take(11 * MB).unwrap_err().kind, ApiErrorKind::TooLarge);
    }

    #[test]
    fn what_a_request_releases_it_may_hold_again_without_taking_more() {
        let budget = Arc::new(Budget::new(10 * MB, MB));
        let held = Held::of(&budget);
        runtime().block_on(held.reserve(4 * MB)).unwrap();
        held.take(4 * MB + FREE).unwrap();
        assert_eq!(budget.taken(), 4 * MB);
        held.release(2 * MB);
        held.take(2 * MB).unwrap();
        assert_eq!(budget.taken(), 4 * MB);
        held.take(MB).unwrap();
        assert_eq!(budget.taken(), 5 * MB);
    }

    #[test]
    fn a_body_waits_for_its_share_and_is_refused_when_it_does_not_come() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let first = Held::of(&budget);
        first.take(2 * MB).unwrap();
        let second = Held::of(&budget);
        runtime().block_on(async {
            let (got, ()) = tokio::join!(second.reserve(MB), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                drop(first);
            });
            got.unwrap();
            let third = Held::of(&budget).reserve(3 * MB / 2).await;
            assert_eq!(third.unwrap_err().kind, ApiErrorKind::Overloaded);
        });
    }

    #[test]
    fn an_answer_holds_its_share_until_its_last_part_is_gone() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let answer = async {
            Held::current().take(MB).unwrap();
            Response::new(Body::from("an answer"))
        };
        runtime().block_on(async {
            let mut body = Held::of(&budget).during(answer).await.into_body();
            let part = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().unwrap();
            drop(body);
            assert_eq!(budget.taken(), MB - FREE);
            assert_eq!(part.into_data().unwrap(), "an answer");
        });
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn work_on_many_bytes_keeps_its_share_though_nobody_waits_for_it() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let runtime = runtime();
        runtime.block_on(async {
            let held = Held::of(&budget);
            held.take(MB).unwrap();
            let work = held.work(MB, move || {
                let _ = may_go.recv();
                Ok(())
            });
            assert!(tokio::time::timeout(Duration::from_millis(20), work).await.is_err());
        });
        assert_eq!(budget.taken(), MB - FREE);
        go.send(()).unwrap();
        drop(runtime);
        assert_eq!(budget.taken(), 0);
    }
}
