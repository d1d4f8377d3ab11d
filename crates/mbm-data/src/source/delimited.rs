//! CSV and TSV files with a header line; [`Quotes`] enforces RFC 4180 quoting.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::quotes::{QuoteError, Quotes};
use super::{MAX_COLUMNS, Source, open_file, parent};
use crate::{CellRef, DataError, TableBuilder};

pub(super) struct Delimited {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
    reader: csv::Reader<Quotes<Box<dyn Read>>>,
}

impl Delimited {
    pub fn open(path: &Path, delimiter: u8) -> Result<Self, DataError> {
        let quotes = Quotes::new(open_file(path)?, delimiter);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(quotes);
        let header = reader.byte_headers().map_err(|error| malformed(path, None, error))?;
        if header.len() > MAX_COLUMNS {
            return Err(DataError::malformed(path, None, DelimitedError::TooManyColumns(header.len())));
        }
        let columns: Vec<String> =
            header.iter().map(|field| String::from_utf8_lossy(field).trim_start_matches('\u{feff}').trim().to_owned()).collect();
        if columns.iter().all(String::is_empty) {
            return Err(DataError::malformed(path, None, DelimitedError::NoHeader));
        }
        let mut known = HashSet::with_capacity(columns.len());
        match columns.iter().find(|column| !known.insert(column.as_str())) {
            Some(column) => Err(DataError::malformed(path, None, DelimitedError::DuplicateColumn(column.clone()))),
            None => Ok(Self { path: path.to_path_buf(), folder: parent(path), columns, reader }),
        }
    }
}

impl Source for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let mut record = csv::ByteRecord::new();
        for row in 1.. {
            let more = self.reader.read_byte_record(&mut record);
            if !more.map_err(|error| malformed(&self.path, Some(row), error))? {
                break;
            }
            if record.len() != self.columns.len() {
                let error = DelimitedError::FieldCount { found: record.len(), expected: self.columns.len() };
                return Err(DataError::malformed(&self.path, row, error));
            }
            table.push(&record.iter().map(CellRef::field).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// What is wrong with a CSV or TSV file.
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
    #[error("the column '{0}' occurs twice")]
    DuplicateColumn(String),
    /// A row that is longer or shorter than the header.
    #[error("{found} fields, but the header has {expected}")]
    FieldCount {
        /// Number of fields of the row.
        found: usize,
        /// Number of columns.
        expected: usize,
    },
    /// Malformed quoting.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// Another error of the reader.
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

/// Converts an error of the reader: a quoting error refers to the row where the quote was opened, any other error to `row`.
fn malformed(path: &Path, row: Option<usize>, error: csv::Error) -> DataError {
    if let csv::ErrorKind::Io(cause) = error.kind()
        && let Some(error) = cause.get_ref().and_then(|cause| cause.downcast_ref::<QuoteError>())
    {
        let row = Some(error.row()).filter(|row| *row > 0);
        return DataError::malformed(path, row, DelimitedError::Quote(error.clone()));
    }
    DataError::malformed(path, row, DelimitedError::Csv(error))
}
