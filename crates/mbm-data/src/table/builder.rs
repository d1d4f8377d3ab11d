//! Gathers rows or record batches into a table, and hashes their cells on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, Schema, SchemaRef};

use super::batches::{BatchWriter, IN_MEMORY};
use super::column::{Meaning, TableColumn, cell};
use super::column_builder::ColumnBuilder;
use super::error::TableError;
use super::row_buffer::RowBuffer;
use super::row_hash::RowHash;
use super::{Row, Table, arrow};
use crate::{CellRef, DataError};

/// Rows and bytes of a batch, whichever comes first.
const N_ROWS: usize = 8192;
const N_BYTES: usize = 16 << 20;

/// Bytes that a batch may have per column, up to a limit: a batch of a wide table with few rows would consist of array headers.
const N_BYTES_OF_COLUMN: usize = 1 << 10;
const N_BYTES_OF_COLUMNS: usize = 64 << 20;

/// Maximum number of notes.
const MAX_NOTES: usize = 20;

/// Gathers the rows of a table.
pub struct TableBuilder {
    columns: Vec<String>,
    folder: PathBuf,
    hash: RowHash,
    notes: Vec<String>,
    /// Rows that were pushed since the last batch was finished, and their number.
    pending: RowBuffer,
    n_pending_rows: usize,
    column: ColumnBuilder,
    n_rows: usize,
    /// Bytes of cells that may still be added.
    n_left: u64,
    /// The fields of the previous batch; batches of the same fields share them.
    schema: Option<SchemaRef>,
    batches: BatchWriter,
}

/// What becomes of a batch that was made by someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// The caller drops it; it counts towards the limit of memory.
    Passed,
    /// The caller may hold its arrays as well; it stays in memory if its arrays can be used as they are.
    Shared,
}

impl TableBuilder {
    /// Creates a builder; relative paths in cells are resolved against `folder`.
    pub fn new(columns: Vec<String>, folder: &Path) -> Self {
        Self::with_limit(columns, folder, IN_MEMORY)
    }

    /// Creates a builder that keeps at most `n_in_memory` bytes of finished batches in memory.
    pub(crate) fn with_limit(columns: Vec<String>, folder: &Path, n_in_memory: usize) -> Self {
        Self {
            hash: RowHash::new(&columns),
            notes: Vec::new(),
            columns,
            folder: folder.to_owned(),
            pending: RowBuffer::default(),
            n_pending_rows: 0,
            column: ColumnBuilder::default(),
            n_rows: 0,
            n_left: u64::MAX,
            schema: None,
            batches: BatchWriter::new(n_in_memory, &std::env::temp_dir()),
        }
    }

    /// Notes what was assumed about the file, or changed, for the user; the same note only once, and those of the first files of many.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Limits the bytes of all cells; more are an error.
    pub(crate) fn limit_bytes(&mut self, n_bytes: u64) {
        self.n_left = n_bytes;
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Fails if the cells of the row take more than 4 GiB, or if the temporary file cannot be written.
    ///
    /// # Panics
    /// If the row does not have one cell per column.
    pub fn push(&mut self, row: &[CellRef]) -> Result<(), DataError> {
        assert_eq!(row.len(), self.columns.len(), "a row has one cell per column");
        let (start, mut has_words) = (self.pending.n_bytes(), false);
        for cell in row {
            has_words |= matches!(cell, CellRef::Words(_));
            self.pending.push(cell);
        }
        let n_bytes = match has_words {
            true => row.iter().map(|cell| self.hash.add(cell)).sum(),
            false => self.hash.add_cells(self.pending.since(start)),
        };
        self.n_pending_rows += 1;
        self.count_row(n_bytes)?;
        let n_pending_bytes = self.pending.n_bytes() + self.n_pending_rows * row.len() * RowBuffer::CELL_OVERHEAD;
        let n_bytes = N_BYTES + (N_BYTES_OF_COLUMN * row.len()).min(N_BYTES_OF_COLUMNS);
        if self.n_pending_rows == N_ROWS || n_pending_bytes >= n_bytes { self.finish_batch() } else { Ok(()) }
    }

    /// Appends a row of cells that own their content.
    ///
    /// # Errors
    /// See [`TableBuilder::push`].
    pub fn push_row(&mut self, row: &Row) -> Result<(), DataError> {
        self.push(&row.iter().map(crate::Cell::borrowed).collect::<Vec<_>>())
    }

    /// Appends a batch with the columns of the table, whatever their types.
    ///
    /// # Errors
    /// Fails if a column has an unsupported type, if the cells take more than allowed, or if the temporary file cannot be
    /// written.
    pub(crate) fn push_batch(&mut self, batch: &RecordBatch, lifetime: Lifetime) -> Result<(), DataError> {
        self.finish_batch()?;
        let schema = batch.schema_ref();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
            let column = arrow::column(field, array, self.n_left);
            column.map_err(|source| TableError::Column { column: field.name().clone(), source })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(|error| DataError::malformed(&self.folder, None, error))?;
        let meanings: Vec<Meaning> = columns.iter().map(|column| Meaning::of(&column.field)).collect();
        for row_idx in 0..batch.num_rows() {
            let cells = columns.iter().zip(&meanings).map(|(column, meaning)| cell(&column.array, *meaning, row_idx));
            let n_bytes = cells.map(|cell| self.hash.add(&cell)).sum();
            self.count_row(n_bytes)?;
        }
        let is_unchanged = columns.iter().zip(batch.columns()).all(|(column, array)| Arc::ptr_eq(&column.array, array));
        let batch = self.batch(columns, batch.num_rows());
        if is_unchanged && lifetime == Lifetime::Shared {
            self.batches.keep(batch);
            return Ok(());
        }
        self.batches.push(batch)
    }

    fn count_row(&mut self, n_bytes: u64) -> Result<(), DataError> {
        self.n_rows += 1;
        let malformed = |error: TableError| DataError::malformed(&self.folder, self.n_rows, error);
        if n_bytes > u64::from(u32::MAX) {
            return Err(malformed(TableError::RowTooLarge));
        }
        self.n_left = self.n_left.checked_sub(n_bytes).ok_or_else(|| malformed(TableError::TooLarge))?;
        Ok(())
    }

    fn finish_batch(&mut self) -> Result<(), DataError> {
        if self.n_pending_rows == 0 {
            return Ok(());
        }
        let n_columns = self.columns.len();
        let columns = (0..n_columns).map(|column| {
            self.column.extend(self.pending.column(column, n_columns));
            self.column.finish()
        });
        let columns = columns.collect();
        self.pending.clear();
        let batch = self.batch(columns, self.n_pending_rows);
        self.n_pending_rows = 0;
        self.batches.push(batch)
    }

    fn batch(&mut self, columns: Vec<TableColumn>, n_rows: usize) -> RecordBatch {
        let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) =
            columns.into_iter().map(|column| (column.field, column.array)).unzip();
        let known = self.schema.take().filter(|schema| schema.fields().iter().eq(&fields));
        let schema = known.unwrap_or_else(|| Arc::new(Schema::new(fields)));
        self.schema = Some(Arc::clone(&schema));
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        RecordBatch::try_new_with_options(schema, arrays, &options).expect("the schema was made from the arrays")
    }

    /// Returns the table.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be written.
    pub fn finish(mut self) -> Result<Table, DataError> {
        self.finish_batch()?;
        Ok(Table::new(self.columns, self.folder, self.hash.finish(), self.notes, self.batches.finish()?))
    }
}
