//! A bound on what a compressed file unfolds to: gzip can say a thousand bytes with one, and a table of them fills a disk.

use std::io::{self, Read};

/// The most bytes that one compressed byte may become on average. Tables of repeated words come to 20 or 30; zeros alone to 1032.
const MAX_RATIO: u64 = 200;

/// Bytes that every file may become.
const FREE: u64 = 1 << 28;

/// Passes on what comes out of a decompressor until it is too much for what went in.
pub(super) struct Unfolding<R> {
    inner: R,
    n_left: u64,
}

impl<R: Read> Unfolding<R> {
    /// `n_bytes` is the size of the compressed file.
    pub fn new(inner: R, n_bytes: u64) -> Self {
        Self { inner, n_left: n_bytes.saturating_mul(MAX_RATIO).max(FREE) }
    }
}

impl<R: Read> Read for Unfolding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        self.n_left = self.n_left.checked_sub(n_bytes as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it unfolds to more than {MAX_RATIO} times its size; unpack it first if that is as it should be"),
            )
        })?;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unfolds_out_of_proportion_is_an_error_that_says_what_to_do() {
        let ratio = |n_bytes: u64| io::copy(&mut Unfolding::new(io::repeat(0).take(n_bytes), 1000), &mut io::sink());
        assert_eq!(ratio(1 << 20).unwrap(), 1 << 20);
        assert_eq!(ratio(FREE).unwrap(), FREE);
        let error = ratio(FREE + 1).unwrap_err().to_string();
        assert!(error.contains("more than 200 times its size; unpack it first"), "{error}");
    }
}
