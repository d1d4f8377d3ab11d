//! A table on disk: columns by name, rows by number, whatever the source was.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::record_file::RecordFile;
use crate::source::{self, Source};
use crate::{Cell, DataError};

/// One row, a cell a column.
pub type Row = Vec<Cell>;

/// Rows read once from their source and kept in a temporary file.
#[derive(Debug)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The folder that relative paths in cells start from.
    pub folder: PathBuf,
    /// SHA-256 over columns and cells, in hexadecimal.
    pub hash: String,
    /// The columns by name, the first of equal ones: wide tables are asked for thousands.
    positions: HashMap<String, usize>,
    /// A row's cells take up to 4 GiB, the most that a cell's length can say.
    rows: RecordFile,
}

impl Table {
    /// Reads a file or folder; its kind is told by its name (see [`source::open`]).
    ///
    /// # Errors
    /// A file that is not there, not of its kind, or with malformed rows; a full disk.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut source = source::open(path)?;
        let folder = source.folder().to_path_buf();
        Self::collect(source.as_mut(), folder)
    }

    /// A table of rows in memory.
    ///
    /// # Errors
    /// A temporary file that cannot be written.
    pub fn from_rows(columns: Vec<String>, rows: Vec<Row>, folder: PathBuf) -> Result<Self, DataError> {
        let mut source = source::Memory { columns, rows };
        Self::collect(&mut source, folder)
    }

    fn collect(source: &mut dyn Source, folder: PathBuf) -> Result<Self, DataError> {
        let at_temporary = || DataError::io(std::env::temp_dir());
        let mut rows = RecordFile::new().map_err(at_temporary())?;
        let mut hash = Sha256::new();
        let columns = source.columns().to_vec();
        hash.update(columns.join("\0"));
        let mut record = Vec::new();
        source.read(&mut |row| {
            record.clear();
            row.iter().for_each(|cell| cell.write(&mut record));
            if record.len() > u32::MAX as usize {
                return Err(DataError::malformed(&folder, rows.len() + 1, "its cells take more than 4 GiB"));
            }
            hash.update(&record);
            rows.push(&record).map(drop).map_err(at_temporary())
        })?;
        rows.flush().map_err(at_temporary())?;
        let hash = crate::cache::hexadecimal(&hash.finalize());
        let positions = columns.iter().enumerate().rev().map(|(at, column)| (column.clone(), at)).collect();
        Ok(Self { columns, folder, hash, positions, rows })
    }

    /// How many rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// One row, in the columns' order.
    ///
    /// # Errors
    /// A temporary file that cannot be read.
    pub fn row(&self, row_idx: usize) -> Result<Row, DataError> {
        let record = self.rows.read(row_idx).map_err(DataError::io(std::env::temp_dir()))?;
        let mut rest = record.as_slice();
        let mut row = Vec::with_capacity(self.columns.len());
        while !rest.is_empty() {
            let (cell, after) = Cell::read(rest);
            row.push(cell);
            rest = after;
        }
        Ok(row)
    }

    /// The position of a column.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.positions.get(column).copied()
    }

    /// The position of a column that must be there.
    ///
    /// # Errors
    /// [`DataError::NoColumn`] with the columns there are.
    pub fn require(&self, column: &str) -> Result<usize, DataError> {
        self.position(column).ok_or_else(|| DataError::NoColumn {
            column: column.to_owned(),
            meant: mbm_config::closest(column, self.columns.iter().map(String::as_str)).map(str::to_owned),
            columns: self.columns.clone(),
        })
    }
}
