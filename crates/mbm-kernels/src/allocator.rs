//! The allocator of programs that work with large tensors.

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Milliseconds; a step of training takes seconds at most.
const KEPT: std::ffi::c_long = 10_000;

/// Keeps freed memory for ten seconds before the system has it back, rather than for one: a step of training frees and asks for the same
/// gigabytes again, which the system would otherwise clear for it each time. For programs that have [`MiMalloc`] as their allocator.
pub fn keep_freed_memory() {
    // SAFETY: sets a number, which mimalloc allows at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, KEPT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads a number.
        let value = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        // What mimalloc 3 has where nothing is set: no other option has it.
        assert_eq!(value(), 1000);
        keep_freed_memory();
        assert_eq!(value(), KEPT);
    }
}
