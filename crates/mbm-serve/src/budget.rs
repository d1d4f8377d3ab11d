//! Memory budget of all requests of a server, and the blocking threads that process large bodies.
//!
//! A body reserves its share of the budget before it is read, and the share is released when the response has been written. While
//! the budget is exhausted, a large body waits briefly and is then refused with 429. Small requests are always accepted.

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

/// Bytes that each request may hold outside the budget, so that small requests are answered while large ones wait. With the
/// default of 1024 connections, this adds up to at most 64 MiB.
pub(crate) const FREE: usize = 64 << 10;

/// Memory that a body needs, as a multiple of its length: the body itself, and the strings, files or fields parsed from it. Both
/// base64 in JSON and the files of a form peak at twice the body.
pub(crate) const PER_BODY: usize = 2;

/// Memory that a request may hold in addition to its body (parsed JSON values, files that it refers to), as a multiple of the
/// maximum body size. Numbers in JSON, the worst common case, take about 64 bytes for 8 to 10 bytes of text.
pub(crate) const MAX_BODIES: usize = 8;

/// How long a body waits for its share: the same time that clients are told to wait before they retry (`Retry-After`).
const PATIENCE: Duration = Duration::from_secs(1);

/// Work on at most this many bytes runs inline. Parsing 16 KiB of JSON takes about 0.1 ms, which is acceptable between two
/// awaits.
const MAX_INLINE: usize = 16 << 10;

/// Memory budget of a server's requests.
pub(crate) struct Budget {
    limit: usize,
    max_body: usize,
    taken: Mutex<usize>,
    given_back: Notify,
    workers: Arc<Semaphore>,
}

/// A request's share of the budget; released when the last clone is dropped.
#[derive(Clone, Default)]
pub(crate) struct MemoryShare(Option<Arc<Share>>);

struct Share {
    budget: Arc<Budget>,
    amounts: Mutex<Amounts>,
}

#[derive(Default)]
struct Amounts {
    /// Bytes that the request currently holds.
    held: usize,
    /// Bytes that are reserved for it in the budget.
    taken: usize,
}

tokio::task_local! {
    static CURRENT: MemoryShare;
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

    /// Bytes that are currently reserved.
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

    /// Reserves bytes as soon as they are available, or returns `false` after a timeout. Requests do not queue up, so a large one
    /// does not block small ones.
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
        ApiError::new(ApiErrorKind::TooLarge, format!("this request needs more than the total limit of {limit} bytes"))
    }
}

fn overloaded() -> ApiError {
    ApiError::new(ApiErrorKind::Overloaded, "not enough memory while other requests are running; try again later")
}

impl Drop for Share {
    fn drop(&mut self) {
        let taken = lock(&self.amounts).taken;
        if taken > 0 {
            self.budget.give_back(taken);
        }
    }
}

impl MemoryShare {
    pub fn of(budget: &Arc<Budget>) -> Self {
        Self(Some(Arc::new(Share { budget: budget.clone(), amounts: Mutex::default() })))
    }

    /// Returns the share of the request that the current task handles; outside of a server, an unlimited one.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs the handler of a request, and keeps the share until the response has been written.
    pub async fn during(self, answer: impl Future<Output = Response>) -> Response {
        let response = CURRENT.scope(self.clone(), answer).await;
        let is_free = self.0.as_ref().is_none_or(|share| lock(&share.amounts).taken == 0);
        if is_free { response } else { response.map(|body| Body::new(SharedBody { body, held: self })) }
    }

    /// Maximum size of a body, in bytes.
    pub fn max_body(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |share| share.budget.max_body)
    }

    /// Maximum number of bytes that a request may hold in addition to its body.
    pub fn max_unfolded(&self) -> usize {
        self.max_body().saturating_mul(MAX_BODIES)
    }

    /// Reserves memory so that the request can hold `n_bytes` in total, plus [`FREE`]. Waits briefly if other requests hold that
    /// memory.
    ///
    /// # Errors
    /// Returns an error if other requests do not release the memory in time, or if it exceeds the whole budget.
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
    /// Returns an error if other requests hold the memory, or if it exceeds the whole budget.
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

    /// Counts bytes that the request no longer holds; they stay reserved for what it may still need.
    pub fn release(&self, n_bytes: usize) {
        if let Some(share) = &self.0 {
            let mut amounts = lock(&share.amounts);
            amounts.held = amounts.held.saturating_sub(n_bytes);
        }
    }

    /// Runs work whose duration grows with a number of bytes: inline if they are few, otherwise on a blocking thread. At most as
    /// many of these threads run at the same time as there are CPU cores; further work waits without a thread.
    ///
    /// # Errors
    /// Returns the error of `work`, or an error if it panics.
    pub async fn work<T: Send + 'static>(
        &self,
        n_bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Some(share) = self.0.as_ref().filter(|_| n_bytes > MAX_INLINE) else { return work() };
        let place = share.budget.workers.clone().acquire_owned().await.map_err(failed)?;
        let held = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Work whose request was cancelled still holds its memory and its slot.
            let _until_done = (place, held);
            work()
        });
        done.await.map_err(failed)?
    }
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ApiErrorKind::Failed, error.to_string())
}

impl Share {
    /// Returns how many bytes are missing until `needed` bytes are reserved.
    fn missing(&self, needed: usize) -> Result<usize, ApiError> {
        if needed > self.budget.limit {
            return Err(self.budget.too_large());
        }
        Ok(needed.saturating_sub(lock(&self.amounts).taken))
    }
}

/// Body of a response; each part of it keeps the request's share until the connection has written it.
struct SharedBody {
    body: Body,
    held: MemoryShare,
}

struct Part {
    bytes: Bytes,
    _held: MemoryShare,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let held = self.held.clone();
        let frame = Pin::new(&mut self.body).poll_frame(context);
        frame.map_ok(|frame| frame.map_data(|bytes| Bytes::from_owner(Part { bytes, _held: held })))
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
    fn held_memory_stays_within_the_budget_and_is_released() {
        let budget = Arc::new(Budget::new(10 * MB, MB));
        let held: Vec<MemoryShare> = (0..20).map(|_| MemoryShare::of(&budget)).collect();
        let taken = held.iter().filter(|held| held.take(MB + FREE).is_ok()).count();
        assert_eq!((taken, budget.taken()), (10, 10 * MB));
        assert_eq!(held[19].take(MB).unwrap_err().kind, ApiErrorKind::Overloaded);
        // Small requests are accepted all the same.
        assert!(MemoryShare::of(&budget).take(FREE).is_ok());
        drop(held);
        assert_eq!(budget.taken(), 0);
        assert_eq!(MemoryShare::of(&budget).take(11 * MB).unwrap_err().kind, ApiErrorKind::TooLarge);
    }

    #[test]
    fn released_bytes_can_be_held_again() {
        let budget = Arc::new(Budget::new(10 * MB, MB));
        let held = MemoryShare::of(&budget);
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
    fn body_waits_for_memory_and_is_refused_after_a_timeout() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let first = MemoryShare::of(&budget);
        first.take(2 * MB).unwrap();
        let second = MemoryShare::of(&budget);
        runtime().block_on(async {
            let (got, ()) = tokio::join!(second.reserve(MB), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                drop(first);
            });
            got.unwrap();
            let third = MemoryShare::of(&budget).reserve(3 * MB / 2).await;
            assert_eq!(third.unwrap_err().kind, ApiErrorKind::Overloaded);
        });
    }

    #[test]
    fn response_holds_memory_until_its_last_part_is_dropped() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let answer = async {
            MemoryShare::current().take(MB).unwrap();
            Response::new(Body::from("an answer"))
        };
        runtime().block_on(async {
            let mut body = MemoryShare::of(&budget).during(answer).await.into_body();
            let part = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await.unwrap().unwrap();
            drop(body);
            assert_eq!(budget.taken(), MB - FREE);
            assert_eq!(part.into_data().unwrap(), "an answer");
        });
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn cancelled_work_keeps_its_memory_until_it_ends() {
        let budget = Arc::new(Budget::new(2 * MB, MB));
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let runtime = runtime();
        runtime.block_on(async {
            let held = MemoryShare::of(&budget);
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
