//! Checks the quotes of a CSV file against RFC 4180 while its bytes pass through to the CSV reader.
//!
//! The CSV reader accepts an open quote at the end of the file as a cell, and text after a closing quote as a part of it, so that
//! one missing quote silently swallows hundreds of rows. Here, both are errors that say where the quote was opened.

use std::io::{self, Read};

use super::MAX_RECORD;

/// Passes bytes through and fails on malformed quoting.
pub(super) struct Quotes<R> {
    inner: R,
    delimiter: u8,
    at: At,
    here: Position,
    /// Where the quote of this field was opened.
    opened: Position,
    n_bytes: u64,
    record_start: u64,
    after_return: bool,
}

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The row, from 1; the header is 0.
    pub row: usize,
    /// The line, from 1.
    pub line: usize,
    /// The field of the row, from 1.
    pub field: usize,
}

/// The parser's state, named by the role of the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It starts a record.
    RecordStart,
    /// It starts a field.
    FieldStart,
    /// It belongs to an unquoted field, in which a quote is an ordinary character.
    Plain,
    /// It belongs to a quoted field.
    Quoted,
    /// It follows a quote within a quoted field: a second quote would make it a literal one.
    Quote,
    /// It follows a closed field and spaces.
    Closed,
}

/// An error in the quoting of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// Text after the quote that closes a field.
    #[error(
        "{} closed before '{character}' in line {line}, where a delimiter or a line end is expected; {DOUBLED}",
        quote(opened)
    )]
    TextAfterQuote {
        /// Where the quote was opened.
        opened: Position,
        /// The first character after the closing quote.
        character: char,
        /// Its line, from 1.
        line: usize,
    },
    /// A quote that is still open at the size limit of a row.
    #[error("{} not closed within {MAX_RECORD} bytes; {DOUBLED}", quote(opened))]
    TooLong {
        /// Where the quote was opened.
        opened: Position,
    },
    /// A quote that is still open at the end of the file.
    #[error("{} never closed; {DOUBLED}", quote(opened))]
    NeverClosed {
        /// Where the quote was opened.
        opened: Position,
    },
    /// A row without an open quote that exceeds the size limit.
    #[error("the row has more than {MAX_RECORD} bytes")]
    LongRow {
        /// The row, from 1; the header is 0.
        row: usize,
    },
}

const DOUBLED: &str = "inside a quoted field, a quote must be doubled";

fn quote(opened: &Position) -> String {
    format!("the quote that opens field {} in line {} is", opened.field, opened.line)
}

impl QuoteError {
    /// Returns the row in which the quote was opened, from 1; the header is 0.
    pub fn row(&self) -> usize {
        match self {
            Self::TextAfterQuote { opened, .. } | Self::TooLong { opened } | Self::NeverClosed { opened } => opened.row,
            Self::LongRow { row } => *row,
        }
    }
}

impl<R: Read> Quotes<R> {
    pub fn new(inner: R, delimiter: u8) -> Self {
        let here = Position { row: 0, line: 1, field: 1 };
        Self { inner, delimiter, at: At::RecordStart, here, opened: here, n_bytes: 0, record_start: 0, after_return: false }
    }

    fn pass(&mut self, byte: u8) -> Result<(), QuoteError> {
        self.n_bytes += 1;
        let ends_line = byte == b'\r' || byte == b'\n' && !self.after_return;
        self.after_return = byte == b'\r';
        if self.at != At::Quoted && matches!(byte, b'\r' | b'\n') {
            self.end_record();
        } else {
            self.at = self.next(byte)?;
        }
        self.here.line += usize::from(ends_line);
        Ok(())
    }

    /// Skips the bytes that do not change the state, and returns the rest.
    fn skip<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let delimiter = self.delimiter;
        let n_bytes = match self.at {
            At::Plain => bytes.iter().position(|byte| *byte == delimiter || matches!(byte, b'\r' | b'\n')),
            At::Quoted => bytes.iter().position(|byte| matches!(byte, b'"' | b'\r' | b'\n')),
            At::RecordStart | At::FieldStart | At::Quote | At::Closed => return bytes,
        };
        let (skipped, rest) = bytes.split_at(n_bytes.unwrap_or(bytes.len()));
        self.n_bytes += skipped.len() as u64;
        self.after_return &= skipped.is_empty();
        rest
    }

    fn next(&mut self, byte: u8) -> Result<At, QuoteError> {
        let is_delimiter = byte == self.delimiter;
        self.here.field += usize::from(is_delimiter && self.at != At::Quoted);
        match self.at {
            At::RecordStart | At::FieldStart if byte == b'"' => {
                self.opened = self.here;
                Ok(At::Quoted)
            }
            At::Quoted if byte == b'"' => Ok(At::Quote),
            At::Quoted => Ok(At::Quoted),
            At::Quote if byte == b'"' => Ok(At::Quoted),
            At::RecordStart | At::FieldStart | At::Plain | At::Quote | At::Closed if is_delimiter => Ok(At::FieldStart),
            At::RecordStart | At::FieldStart | At::Plain => Ok(At::Plain),
            At::Quote | At::Closed if byte == b' ' => Ok(At::Closed),
            At::Quote | At::Closed => {
                let (character, line) = (char::from(byte), self.here.line);
                Err(QuoteError::TextAfterQuote { opened: self.opened, character, line })
            }
        }
    }

    fn end_record(&mut self) {
        // Empty lines are not records.
        if self.at != At::RecordStart {
            self.here = Position { row: self.here.row + 1, field: 1, ..self.here };
        }
        self.at = At::RecordStart;
        self.record_start = self.n_bytes;
    }

    fn check_size(&self) -> io::Result<()> {
        if self.n_bytes - self.record_start <= MAX_RECORD {
            return Ok(());
        }
        let error = match self.at {
            At::Quoted => QuoteError::TooLong { opened: self.opened },
            At::RecordStart | At::FieldStart | At::Plain | At::Quote | At::Closed => QuoteError::LongRow { row: self.here.row },
        };
        Err(io::Error::other(error))
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.inner.read(buffer)?;
        if n_bytes == 0 && !buffer.is_empty() && self.at == At::Quoted {
            return Err(io::Error::other(QuoteError::NeverClosed { opened: self.opened }));
        }
        let mut rest = &buffer[..n_bytes];
        while let Some((byte, after)) = rest.split_first() {
            self.pass(*byte).map_err(io::Error::other)?;
            rest = self.skip(after);
        }
        self.check_size()?;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        // Bytes are read one at a time, so that a buffer ends in every state.
        let mut quotes = Quotes::new(text.as_bytes(), b',');
        let mut n_bytes = 0;
        loop {
            match quotes.read(&mut [0]) {
                Ok(0) => return Ok(n_bytes),
                Ok(n_read) => n_bytes += n_read,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    #[test]
    fn well_formed_quotes_pass() {
        for text in [
            "",
            "a,b\n1,2\n",
            "\"a\",b\n\"x, \"\"y\"\"\nz\",1\n",
            "a\r\n\"two\r\nlines\"\r\n",
            "height\n5'10\" tall\n6\"\n",
            "a,b\n\"\",\"\"\"\"\n",
            "a,b\n\"x\" ,\"y\"  \n",
            "a,b\n x \"y\", \"z\"\n",
            "a\n\"closed at the end\"",
        ] {
            assert_eq!(read(text), Ok(text.len()), "{text}");
        }
    }

    #[test]
    fn malformed_quoting_is_an_error_with_its_position() {
        let rule = "; inside a quoted field, a quote must be doubled";
        let error = read("a,b\n\n1,x\n2,\"y\n3,z\n").unwrap_err();
        assert_eq!(error, format!("the quote that opens field 2 in line 4 is never closed{rule}"));
        let error = read("a\r\n\"x\r\ny\r\n\"z\"\r\n").unwrap_err();
        let closed = "closed before 'z' in line 4, where a delimiter or a line end is expected";
        assert_eq!(error, format!("the quote that opens field 1 in line 2 is {closed}{rule}"));
    }

    #[test]
    fn endless_record_is_rejected_at_the_size_limit() {
        let mut quotes = Quotes::new(io::repeat(b'x'), b',');
        // As if a quote had been opened and half a gigabyte had passed.
        (quotes.at, quotes.n_bytes) = (At::Quoted, MAX_RECORD);
        let error = quotes.read(&mut [0; 100]).unwrap_err();
        assert!(error.to_string().contains("not closed within 536870912 bytes"), "{error}");
    }
}
