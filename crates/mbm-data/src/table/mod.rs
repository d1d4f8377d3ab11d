//! Tables: columns by name, rows by index, whatever the source. The cells are Arrow arrays in record batches.

mod arrow;
mod arrow_value;
mod batches;
mod builder;
mod column;
mod column_builder;
mod error;
mod mapped;
mod row_buffer;
mod row_hash;

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use self::batches::Batches;
pub(crate) use self::builder::Lifetime;
pub use self::builder::TableBuilder;
use self::column::{Meaning, cell};
pub use self::error::{ColumnError, TableError};
use crate::source::{self, Source, TableOptions};
use crate::{Cell, CellRef, DataError};

/// One row, with one cell per column.
pub type Row = Vec<Cell>;

/// Rows that were read once from their source.
#[derive(Debug)]
pub struct Table {
    /// The column names.
    pub columns: Vec<String>,
    /// The folder that relative paths in cells are resolved against.
    pub folder: PathBuf,
    /// SHA-256 of columns and cells, in hexadecimal.
    pub hash: String,
    /// What was assumed about the file, such as its delimiter, and what was changed, such as the names of columns.
    pub notes: Vec<String>,
    /// Column positions by name, the first of duplicates; wide tables are queried for thousands.
    positions: HashMap<String, usize>,
    batches: Batches,
    /// The first row of each batch, and the number of rows.
    starts: Vec<usize>,
}

impl Table {
    /// Reads a file or folder, whose format is determined from its name (see [`source::open`]).
    ///
    /// # Errors
    /// Fails if the file does not exist, does not have the format that its name declares, or has malformed rows, or if the disk
    /// is full.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::read_with(path, &TableOptions::default())
    }

    /// Reads a file, a folder, or all files that match a pattern such as `part-*.parquet`.
    ///
    /// # Errors
    /// Fails as [`Table::read`] does.
    pub fn read_with(path: &Path, options: &TableOptions) -> Result<Self, DataError> {
        Self::from_source(source::open(path, options)?.as_mut(), None)
    }

    /// Reads a stream such as standard input. Its format is that of the options, or determined from its first bytes; errors name it
    /// by `name`.
    ///
    /// # Errors
    /// Fails as [`Table::read`] does.
    pub fn read_stream(stream: impl Read, name: &str, options: &TableOptions) -> Result<Self, DataError> {
        let (mut source, note) = source::open_stream(stream, Path::new(name), options)?;
        Self::from_source(source.as_mut(), note)
    }

    fn from_source(source: &mut dyn Source, note: Option<String>) -> Result<Self, DataError> {
        let mut table = TableBuilder::new(source.columns().to_vec(), source.folder());
        note.into_iter().for_each(|note| table.note(note));
        source.read(&mut table)?;
        table.finish()
    }

    /// Creates a table from rows in memory.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be written.
    pub fn from_rows(columns: Vec<String>, rows: Vec<Row>, folder: PathBuf) -> Result<Self, DataError> {
        let mut table = TableBuilder::new(columns.clone(), &folder);
        source::Memory { columns, rows }.read(&mut table)?;
        table.finish()
    }

    /// Creates a table from Arrow record batches of any types, such as those of pandas and polars. Texts, 64-bit floats, booleans,
    /// bytes, and lists of these numbers and of texts are used without a copy.
    ///
    /// # Errors
    /// Fails if a batch does not have the fields of the schema, if a column has an unsupported type, or if the temporary file
    /// cannot be written.
    pub fn from_batches(
        schema: &SchemaRef,
        batches: impl IntoIterator<Item = RecordBatch>,
        folder: PathBuf,
    ) -> Result<Self, DataError> {
        let columns = names(schema);
        let mut table = TableBuilder::new(columns, &folder);
        for batch in batches {
            if names(batch.schema_ref()) != names(schema) {
                return Err(DataError::malformed(folder, None, TableError::OtherFields));
            }
            table.push_batch(&batch, Lifetime::Shared)?;
        }
        table.finish()
    }

    fn new(columns: Vec<String>, folder: PathBuf, hash: String, notes: Vec<String>, batches: Batches) -> Self {
        let positions = columns.iter().enumerate().rev().map(|(at, column)| (column.clone(), at)).collect();
        let mut starts = vec![0];
        (0..batches.len()).for_each(|batch_idx| starts.push(starts[batch_idx] + batches.n_rows(batch_idx)));
        Self { columns, folder, hash, notes, positions, batches, starts }
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Checks that there are rows.
    ///
    /// # Errors
    /// [`DataError::NoRows`] if there are none.
    pub fn require_rows(&self) -> Result<(), DataError> {
        if self.n_rows() > 0 { Ok(()) } else { Err(DataError::NoRows { n_columns: self.columns.len() }) }
    }

    /// Returns one row, in column order.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn row(&self, row_idx: usize) -> Result<Row, DataError> {
        let row = self.row_ref(row_idx)?;
        Ok((0..self.columns.len()).map(|column| row.cell(column).into_owned()).collect())
    }

    /// Returns one row, whose cells can be read without a copy.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn row_ref(&self, row_idx: usize) -> Result<RowRef, DataError> {
        let batch_idx = self.batch_of(row_idx);
        Ok(RowRef { batch: self.batches.read(batch_idx)?, row_idx: row_idx - self.starts[batch_idx] })
    }

    /// Returns the cell of a row and a column.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn cell(&self, row_idx: usize, column: usize) -> Result<Cell, DataError> {
        Ok(self.row_ref(row_idx)?.cell(column).into_owned())
    }

    /// Passes the cells of some rows and columns to `visit`, with the index of the column: batch by batch, in each of them column by
    /// column, and in each of these in row order.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn visit(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        mut visit: impl FnMut(usize, CellRef),
    ) -> Result<(), DataError> {
        let mut row_idx = rows.start;
        while row_idx < rows.end {
            let batch_idx = self.batch_of(row_idx);
            let batch = self.batches.read(batch_idx)?;
            let (start, end) = (self.starts[batch_idx], self.starts[batch_idx + 1].min(rows.end));
            for column in columns.clone() {
                let (array, meaning) = (batch.column(column), Meaning::of(batch.schema_ref().field(column)));
                (row_idx..end).for_each(|row_idx| visit(column, cell(array, meaning, row_idx - start)));
            }
            row_idx = end;
        }
        Ok(())
    }

    /// Passes the cells of the given rows, in ascending order, and of some columns to `visit`, with the indices of row and column: in
    /// the order of [`Table::visit`].
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub(crate) fn visit_rows(
        &self,
        rows: &[usize],
        columns: Range<usize>,
        mut visit: impl FnMut(usize, usize, CellRef),
    ) -> Result<(), DataError> {
        for rows in rows.chunk_by(|row_idx, next| self.batch_of(*row_idx) == self.batch_of(*next)) {
            let batch_idx = self.batch_of(rows[0]);
            let (batch, start) = (self.batches.read(batch_idx)?, self.starts[batch_idx]);
            for column in columns.clone() {
                let (array, meaning) = (batch.column(column), Meaning::of(batch.schema_ref().field(column)));
                rows.iter().for_each(|row_idx| visit(*row_idx, column, cell(array, meaning, row_idx - start)));
            }
        }
        Ok(())
    }

    /// Returns the index of the batch that holds a row.
    pub(crate) fn batch_of(&self, row_idx: usize) -> usize {
        assert!(row_idx < self.n_rows(), "row {row_idx} of {}", self.n_rows());
        self.starts.partition_point(|start| *start <= row_idx) - 1
    }

    /// Returns the fields of the table. A column whose batches hold different kinds of cells has the type that holds all of them:
    /// bytes, with `mbm.cell` in the field's metadata.
    pub fn schema(&self) -> SchemaRef {
        let schemas = (0..self.batches.len()).map(|batch_idx| self.batches.schema(batch_idx).as_ref());
        Arc::new(arrow::common_schema(&self.columns, schemas))
    }

    /// Returns the record batches, with the fields of [`Table::schema`].
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, DataError>> {
        let schema = self.schema();
        (0..self.batches.len()).map(move |batch_idx| Ok(arrow::with_schema(self.batches.read(batch_idx)?.as_ref(), &schema)))
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

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// A row of a table.
#[derive(Debug, Clone)]
pub struct RowRef {
    batch: Arc<RecordBatch>,
    row_idx: usize,
}

impl RowRef {
    /// Returns the cell of a column.
    pub fn cell(&self, column: usize) -> CellRef<'_> {
        cell(self.batch.column(column), Meaning::of(self.batch.schema_ref().field(column)), self.row_idx)
    }
}

#[cfg(test)]
mod tests;
