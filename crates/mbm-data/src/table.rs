//! Tables on disk: columns by name, rows by index, whatever the source.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::record_file::RecordFile;
use crate::source::{self, Source};
use crate::{Cell, DataError};

/// One row, with one cell per column.
pub type Row = Vec<Cell>;

/// Rows that were read once from their source and are stored in a temporary file.
#[derive(Debug)]
pub struct Table {
    /// The column names.
    pub columns: Vec<String>,
    /// The folder that relative paths in cells are resolved against.
    pub folder: PathBuf,
    /// SHA-256 of columns and cells, in hexadecimal.
    pub hash: String,
    /// Column positions by name, the first of duplicates; wide tables are queried for thousands.
    positions: HashMap<String, usize>,
    /// The cells of a row take up to 4 GiB, the maximum that the length of a cell can represent.
    rows: RecordFile,
}

impl Table {
    /// Reads a file or folder, whose format is determined from its name (see [`source::open`]).
    ///
    /// # Errors
    /// Fails if the file does not exist, does not have the format that its name declares, or has malformed rows, or if the disk
    /// is full.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut source = source::open(path)?;
        let folder = source.folder().to_path_buf();
        Self::collect(source.as_mut(), folder)
    }

    /// Creates a table from rows in memory.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be written.
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

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Returns one row, in column order.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
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

    /// Returns the position of a column.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.positions.get(column).copied()
    }

    /// Returns the position of a column that must exist.
    ///
    /// # Errors
    /// [`DataError::NoColumn`] with the available columns, if the column does not exist.
    pub fn require(&self, column: &str) -> Result<usize, DataError> {
        self.position(column).ok_or_else(|| DataError::NoColumn {
            column: column.to_owned(),
            meant: mbm_config::closest(column, self.columns.iter().map(String::as_str)).map(str::to_owned),
            columns: self.columns.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with cells of every kind, mixed in each column.
    fn rows() -> Vec<Row> {
        vec![
            vec![Cell::Empty, Cell::Text("Größe 漢字".into()), Cell::Number(-0.5)],
            vec![Cell::Bool(true), Cell::Bytes(vec![0, 255]), Cell::Numbers(vec![1.0, 2.5, f64::MIN_POSITIVE])],
            vec![Cell::Json("[[1],[2]]".into()), Cell::Words(vec!["a".into(), "b c".into()]), Cell::NotUtf8(vec![0xff])],
            vec![Cell::Text(" ".into()), Cell::Words(vec![]), Cell::Bool(false)],
            vec![Cell::Numbers(vec![]), Cell::Bytes(vec![]), Cell::Number(1e300)],
        ]
    }

    #[test]
    fn hash_of_columns_and_cells_never_changes() {
        let columns = vec!["first".into(), "second column".into(), "ä".into()];
        let table = Table::from_rows(columns, rows(), ".".into()).unwrap();
        assert_eq!(table.hash, "d80f74ee8952ea8524fc1eb91d0bc1f415ac7c75f7ded4bc3ee688afd514fa45");
    }
}
