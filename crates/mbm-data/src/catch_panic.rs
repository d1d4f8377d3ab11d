//! Runs code of others on foreign bytes: what panics in it is an error of the bytes, and ends no run.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is said of bytes on which a decoder panicked; its own words would name its parts.
pub(crate) const GAVE_UP: &str = "damaged: its decoder gave up";

/// What `work` gives, unless it panics. Nothing that it had begun to change may be used after that.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_nothing_and_what_comes_back_is_given() {
        assert_eq!((guarded(|| 7), guarded(|| panic!("in a decoder"))), (Some(7), None::<()>));
    }
}
