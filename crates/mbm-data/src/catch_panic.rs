//! Runs third-party decoders on untrusted bytes: a panic becomes an error of the input and does not end the run.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message for bytes on which a decoder panicked; the panic message itself would name the decoder's internals.
pub(crate) const DECODER_FAILED: &str = "damaged: the decoder failed";

/// Returns the result of `work`, or `None` if it panics. State that `work` was modifying must not be used after a panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_returned_and_panics_become_none() {
        assert_eq!((catch_panic(|| 7), catch_panic(|| panic!("in a decoder"))), (Some(7), None::<()>));
    }
}
