//! CSV and TSV with a header line (RFC 4180 quoting).

use std::path::{Path, PathBuf};

use super::{Source, open_file, parent};
use crate::{Cell, DataError, Row};

pub(super) struct Delimited {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
    reader: csv::Reader<Box<dyn std::io::Read>>,
}

impl Delimited {
    pub fn open(path: &Path, delimiter: u8) -> Result<Self, DataError> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(open_file(path)?);
        let header = reader.byte_headers().map_err(|error| DataError::malformed(path, None, error))?;
        let name = |field: &[u8]| String::from_utf8_lossy(field).trim_start_matches('\u{feff}').trim().to_owned();
        let columns: Vec<String> = header.iter().map(name).collect();
        if columns.iter().all(String::is_empty) {
            return Err(DataError::malformed(path, None, "the file has no header line with column names"));
        }
        let twice = columns.iter().enumerate().find(|(i, column)| columns[..*i].contains(column));
        match twice {
            Some((_, column)) => Err(DataError::malformed(path, None, format!("the column '{column}' occurs twice"))),
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

    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
        let mut record = csv::ByteRecord::new();
        for row in 1.. {
            let more = self.reader.read_byte_record(&mut record);
            if !more.map_err(|error| DataError::malformed(&self.path, row, error))? {
                break;
            }
            if record.len() != self.columns.len() {
                let message = format!("{} fields where the header has {}", record.len(), self.columns.len());
                return Err(DataError::malformed(&self.path, row, message));
            }
            sink(record.iter().map(Cell::field).collect())?;
        }
        Ok(())
    }
}
