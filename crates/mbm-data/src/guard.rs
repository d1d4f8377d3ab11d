//! Runs decoders that are not ours: what panics in one on damaged bytes is an error of the bytes, and ends no run.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `decode` gives, or what it said when it panicked. Nothing that it had begun to change may be used after that.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let said = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        format!("its decoder gave up: {said}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(guarded(|| 7), Ok(7));
        let n_bytes = 3;
        assert_eq!(guarded(|| panic!("{n_bytes} bytes")), Err::<(), _>("its decoder gave up: 3 bytes".to_owned()));
    }
}
