//! A word to work on other threads that nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::IndexError;

/// A request to give up, shared by who waits for an answer and the threads that work on it.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    is_cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

/// Cancels when it is dropped, such as with the future of a request that its client has broken off.
#[derive(Debug)]
pub struct CancelOnDrop(Cancellation);

impl Cancellation {
    /// One that is due after `limit` even if nobody asks for it.
    pub fn after(limit: Duration) -> Self {
        Self { is_cancelled: Arc::default(), deadline: Instant::now().checked_add(limit) }
    }

    /// Asks the work to give up.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Cancels as soon as the guard is dropped.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// The time that is left, if there is a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether it was asked for, whatever the time.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`IndexError::Cancelled`] once it is cancelled or its time is over.
    pub fn check(&self) -> Result<(), IndexError> {
        if self.is_cancelled() || self.remaining() == Some(Duration::ZERO) { Err(IndexError::Cancelled) } else { Ok(()) }
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_until_the_guard_is_dropped_or_the_time_is_over() {
        let cancellation = Cancellation::default();
        let guard = cancellation.on_drop();
        assert!(cancellation.check().is_ok() && cancellation.remaining().is_none());
        drop(guard);
        assert!(matches!(cancellation.check(), Err(IndexError::Cancelled)));
        assert!(matches!(Cancellation::after(Duration::ZERO).check(), Err(IndexError::Cancelled)));
        assert!(Cancellation::after(Duration::from_secs(3600)).check().is_ok());
    }
}
