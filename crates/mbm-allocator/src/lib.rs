//! The memory allocator for programs that work with large tensors.

pub use mimalloc::MiMalloc;

/// The index of `mi_option_purge_delay` in mimalloc 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// In milliseconds; a training step takes seconds at most.
const DELAY_MS: std::ffi::c_long = 10_000;

/// Makes mimalloc return freed memory to the system after ten seconds instead of one: each training step frees and requests the
/// same gigabytes again, which the system would otherwise zero each time. For programs whose global allocator is [`MiMalloc`].
pub fn keep_freed_memory() {
    // SAFETY: sets an integer option, which mimalloc allows at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, DELAY_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purge_delay_has_the_expected_option_index() {
        // SAFETY: reads an integer option.
        let value = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // The default of mimalloc 3, which no other option shares.
        assert_eq!(value(), 1000);
        keep_freed_memory();
        assert_eq!(value(), DELAY_MS);
    }
}
