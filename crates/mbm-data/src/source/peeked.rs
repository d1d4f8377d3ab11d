//! A stream whose first bytes have been read already.

use std::io::{self, Cursor, Read};

/// Reads the first bytes again, then the rest.
pub(super) struct Peeked<R> {
    start: Cursor<Vec<u8>>,
    /// The error that ended the start early; it follows the bytes before it.
    error: Option<io::Error>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    /// Reads up to `n_bytes`; an error is returned where it occurred, by [`Read::read`].
    pub fn new(mut rest: R, n_bytes: u64) -> Self {
        let mut start = Vec::new();
        let error = rest.by_ref().take(n_bytes).read_to_end(&mut start).err();
        Self { start: Cursor::new(start), error, rest }
    }

    /// Returns the first bytes, all of them if there are fewer than were asked for.
    pub fn start(&self) -> &[u8] {
        self.start.get_ref()
    }

    /// Leaves out the first `n_bytes`.
    pub fn skip(mut self, n_bytes: u64) -> Self {
        self.start.set_position(n_bytes);
        self
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (self.start.read(buffer)?, self.error.take()) {
            (0, Some(error)) if !buffer.is_empty() => Err(error),
            (0, _) => self.rest.read(buffer),
            (n_bytes, error) => {
                self.error = error;
                Ok(n_bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut reader: impl Read) -> (Vec<u8>, Option<String>) {
        let mut bytes = Vec::new();
        let error = reader.read_to_end(&mut bytes).err().map(|error| error.to_string());
        (bytes, error)
    }

    #[test]
    fn first_bytes_are_read_again() {
        for n_bytes in 0..6 {
            let peeked = Peeked::new(&b"abcd"[..], n_bytes);
            assert_eq!(peeked.start(), &b"abcd"[..n_bytes.min(4) as usize]);
            assert_eq!(read(peeked), (b"abcd".to_vec(), None));
        }
        assert_eq!(read(Peeked::new(&b"abcd"[..], 3).skip(2)), (b"cd".to_vec(), None));
    }

    #[test]
    fn errors_follow_the_bytes_before_them() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("damaged"))
            }
        }
        let peeked = Peeked::new((&b"ab"[..]).chain(Failing), 4);
        assert_eq!(read(peeked), (b"ab".to_vec(), Some("damaged".to_owned())));
    }
}
