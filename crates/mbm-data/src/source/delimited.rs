//! CSV files with a header line, whatever their delimiter; [`Quotes`] enforces RFC 4180 quoting.

use std::io::Read;
use std::path::Path;

use super::encoding::Text;
use super::header::{DuplicateColumn, Header, header};
use super::peeked::Peeked;
use super::quotes::{QuoteError, Quotes};
use super::ragged::{Ragged, RaggedError};
use super::{Delimiter, Input, MAX_COLUMNS, Source, sniff};
use crate::{CellRef, DataError, TableBuilder};

pub(super) struct Delimited {
    input: Input,
    columns: Vec<String>,
    reader: csv::Reader<Quotes<Box<dyn Read>>>,
    notes: Vec<String>,
}

impl Delimited {
    /// Opens a file with a delimiter; without one, that of its first rows.
    pub fn open(input: &Input, delimiter: Option<u8>) -> Result<Self, DataError> {
        let mut notes = Vec::new();
        let Text { mut reader, is_utf16 } = input.text()?;
        notes.extend(is_utf16.then(|| "the text is in UTF-16".to_owned()));
        let delimiter = match input.options.delimiter.map(Delimiter::byte).or(delimiter) {
            Some(delimiter) => delimiter,
            None => {
                let peeked = Peeked::new(reader, sniff::N_BYTES);
                let delimiter = sniff::delimiter(peeked.start());
                notes.extend((delimiter != b',').then(|| format!("the delimiter is {}", named(delimiter))));
                reader = Box::new(peeked);
                delimiter
            }
        };
        let quotes = Quotes::new(reader, delimiter);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(quotes);
        let fields = reader.byte_headers().map_err(|error| malformed(input, None, error))?;
        if fields.len() > MAX_COLUMNS {
            return Err(input.malformed(None, DelimitedError::TooManyColumns(fields.len())));
        }
        let fields = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned());
        let Header { columns, note } = header(fields, input.options.duplicate_columns)
            .map_err(|error| input.malformed(None, DelimitedError::DuplicateColumn(error)))?;
        if columns.iter().all(String::is_empty) {
            return Err(input.malformed(None, DelimitedError::NoHeader));
        }
        notes.extend(note);
        Ok(Self { input: input.clone(), columns, reader, notes })
    }
}

fn named(delimiter: u8) -> String {
    if delimiter == b'\t' { "a tab".to_owned() } else { format!("'{}'", char::from(delimiter)) }
}

impl Source for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        std::mem::take(&mut self.notes).into_iter().for_each(|note| table.note(note));
        let mut ragged = Ragged::new(self.input.options.ragged, self.columns.len());
        let mut record = csv::ByteRecord::new();
        for row in 1.. {
            let more = self.reader.read_byte_record(&mut record);
            if !more.map_err(|error| malformed(&self.input, Some(row), error))? {
                break;
            }
            let fits = ragged.check(row, record.len(), record.as_slice().len() + record.len());
            fits.map_err(|error| self.input.malformed(row, DelimitedError::Ragged(error)))?;
            let mut cells: Vec<CellRef> = record.iter().map(CellRef::field).collect();
            cells.resize(self.columns.len(), CellRef::Empty);
            table.push(&cells)?;
        }
        ragged.note().into_iter().for_each(|note| table.note(note));
        Ok(())
    }
}

/// What is wrong with a CSV file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DelimitedError {
    /// Too many columns.
    #[error("{0} columns, the limit is {MAX_COLUMNS}")]
    TooManyColumns(usize),
    /// No line with column names.
    #[error("the file has no header line with column names")]
    NoHeader,
    /// Two columns with the same name.
    #[error(transparent)]
    DuplicateColumn(#[from] DuplicateColumn),
    /// A row that is longer or shorter than the header.
    #[error(transparent)]
    Ragged(#[from] RaggedError),
    /// Malformed quoting.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// Another error of the reader.
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

/// Converts an error of the reader: a quoting error refers to the row where the quote was opened, any other error to `row`.
fn malformed(input: &Input, row: Option<usize>, error: csv::Error) -> DataError {
    if let csv::ErrorKind::Io(cause) = error.kind()
        && let Some(error) = cause.get_ref().and_then(|cause| cause.downcast_ref::<QuoteError>())
    {
        let row = Some(error.row()).filter(|row| *row > 0);
        return input.malformed(row, DelimitedError::Quote(error.clone()));
    }
    input.malformed(row, DelimitedError::Csv(error))
}
