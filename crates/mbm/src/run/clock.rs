//! When a run ends: at its end, once it is stopped from outside, or at its time limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The time of a run.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'a> {
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
    /// When the run started.
    pub started: Instant,
    /// How long learners may be fitted.
    pub limit: Option<Duration>,
}

impl Clock<'_> {
    /// Whether the run was stopped from outside.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a share of the time limit has passed; never without a limit.
    pub fn is_over(&self, share: f64) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit.mul_f64(share))
    }

    /// Whether work that may take a share of the time limit continues.
    pub fn proceeds(&self, share: f64) -> bool {
        !self.is_stopped() && !self.is_over(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_at_its_share_of_the_limit_or_when_stopped() {
        let stop = AtomicBool::new(false);
        let started = Instant::now() - Duration::from_secs(6);
        let clock = Clock { stop: &stop, started, limit: Some(Duration::from_secs(10)) };
        assert_eq!([0.5, 0.9].map(|share| clock.proceeds(share)), [false, true]);
        assert!(Clock { limit: None, ..clock }.proceeds(0.0));
        stop.store(true, Ordering::Relaxed);
        assert!(!clock.proceeds(0.9) && clock.is_stopped());
    }
}
