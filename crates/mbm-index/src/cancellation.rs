//! Cooperative cancellation of work on other threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::IndexError;

/// A cancellation token, shared by the caller and the threads that work for it.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    is_cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

/// Cancels when it is dropped, for example with the future of a request whose client has disconnected.
#[derive(Debug)]
pub struct CancelOnDrop(Cancellation);

impl Cancellation {
    /// Creates a token that expires after `limit` even if nobody cancels it.
    pub fn after(limit: Duration) -> Self {
        Self { is_cancelled: Arc::default(), deadline: Instant::now().checked_add(limit) }
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns a guard that cancels when it is dropped.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// The time left until the deadline, if there is one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether cancellation was requested, regardless of the deadline.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Checks whether to continue.
    ///
    /// # Errors
    /// [`IndexError::Cancelled`] once the token is cancelled or its deadline has passed.
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
    fn check_fails_once_the_guard_drops_or_the_deadline_passes() {
        let cancellation = Cancellation::default();
        let guard = cancellation.on_drop();
        assert!(cancellation.check().is_ok() && cancellation.remaining().is_none());
        drop(guard);
        assert!(matches!(cancellation.check(), Err(IndexError::Cancelled)));
        assert!(matches!(Cancellation::after(Duration::ZERO).check(), Err(IndexError::Cancelled)));
        assert!(Cancellation::after(Duration::from_secs(3600)).check().is_ok());
    }
}
