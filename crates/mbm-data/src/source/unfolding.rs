//! A limit on what a compressed file expands to: gzip can encode a thousand bytes in one, and such a table would fill a disk.

use std::io::{self, Read};

/// Maximum average number of bytes per compressed byte. Tables of repeated words reach 20 or 30; zeros alone reach 1032.
const MAX_RATIO: u64 = 200;

/// Number of bytes that any file may expand to.
const FREE: u64 = 1 << 28;

/// Reads from a decompressor, and fails once its output is out of proportion to its input.
pub(super) struct Unfolding<R> {
    inner: R,
    n_left: u64,
}

/// A file that expands to more than is allowed.
#[derive(Debug, thiserror::Error)]
#[error("it expands to more than {MAX_RATIO} times its size; decompress it first if that is intended")]
struct OutOfProportion;

impl<R: Read> Unfolding<R> {
    /// Wraps a decompressor of a file of `n_bytes`.
    pub fn new(inner: R, n_bytes: u64) -> Self {
        Self { inner, n_left: n_bytes.saturating_mul(MAX_RATIO).max(FREE) }
    }
}

impl<R: Read> Read for Unfolding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        let n_left = self.n_left.checked_sub(n_bytes as u64);
        self.n_left = n_left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, OutOfProportion))?;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_out_of_proportion_is_an_error() {
        let ratio = |n_bytes: u64| io::copy(&mut Unfolding::new(io::repeat(0).take(n_bytes), 1000), &mut io::sink());
        assert_eq!(ratio(1 << 20).unwrap(), 1 << 20);
        assert_eq!(ratio(FREE).unwrap(), FREE);
        let error = ratio(FREE + 1).unwrap_err().to_string();
        assert!(error.contains("more than 200 times its size; decompress it first"), "{error}");
    }
}
