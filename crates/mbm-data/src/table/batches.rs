//! The record batches of a table: in memory up to a limit, and beyond it as Arrow IPC messages in a temporary file, which is mapped
//! into memory and read without copies.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::RecordBatchDecoder;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow_schema::{ArrowError, SchemaRef};

use super::mapped;
use crate::DataError;

/// Bytes of batches that stay in memory: tables of a few million short cells never touch the disk.
pub(super) const IN_MEMORY: usize = 256 << 20;

/// Columns of batches in the file that are open at the same time, and the number of batches that are open whatever their number
/// of columns. An open column takes a few hundred bytes, its values none.
const N_OPEN_COLUMNS: usize = 1 << 18;
const MIN_OPEN_BATCHES: usize = 4;

/// Batches while they are gathered.
pub(super) struct BatchWriter {
    folder: PathBuf,
    n_left_in_memory: usize,
    batches: Vec<Stored>,
    file: Option<File>,
    n_written: usize,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

/// All batches of a table, by index.
#[derive(Debug)]
pub(super) struct Batches {
    folder: PathBuf,
    batches: Vec<Stored>,
    file: Option<Buffer>,
    /// The batches of the file that are open, the first opened first.
    open: Mutex<VecDeque<usize>>,
    n_open: usize,
}

#[derive(Debug)]
enum Stored {
    InMemory(Arc<RecordBatch>),
    InFile(Message),
}

/// A batch in the file.
#[derive(Debug)]
struct Message {
    start: usize,
    n_metadata_bytes: usize,
    n_body_bytes: usize,
    schema: SchemaRef,
    n_rows: usize,
    open: RwLock<Option<Arc<RecordBatch>>>,
}

impl BatchWriter {
    /// Batches of `n_in_memory` bytes stay in memory; further ones are written to an unnamed file in `folder`.
    pub fn new(n_in_memory: usize, folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            n_left_in_memory: n_in_memory,
            batches: Vec::new(),
            file: None,
            n_written: 0,
            options: IpcWriteOptions::default(),
            context: IpcWriteContext::default(),
        }
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be written.
    pub fn push(&mut self, batch: RecordBatch) -> Result<(), DataError> {
        match self.n_left_in_memory.checked_sub(n_bytes(&batch)) {
            Some(n_left) => {
                self.n_left_in_memory = n_left;
                self.keep(batch);
                Ok(())
            }
            None => {
                self.n_left_in_memory = 0;
                let message = self.write(&batch).map_err(|error| DataError::temporary(&self.folder, error))?;
                self.batches.push(Stored::InFile(message));
                Ok(())
            }
        }
    }

    /// Appends a batch that stays in memory, because its arrays belong to the caller anyway.
    pub fn keep(&mut self, batch: RecordBatch) {
        self.batches.push(Stored::InMemory(Arc::new(batch)));
    }

    fn write(&mut self, batch: &RecordBatch) -> io::Result<Message> {
        let mut dictionaries = DictionaryTracker::new(true);
        let (_, encoded) = IpcDataGenerator::default()
            .encode(batch, &mut dictionaries, &self.options, &mut self.context)
            .map_err(io::Error::other)?;
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.folder)?),
        };
        let start = self.n_written;
        let (n_metadata_bytes, n_body_bytes) = write_message(file, encoded, &self.options).map_err(io_error)?;
        self.n_written += n_metadata_bytes + n_body_bytes;
        Ok(Message {
            start,
            n_metadata_bytes,
            n_body_bytes,
            schema: batch.schema(),
            n_rows: batch.num_rows(),
            open: RwLock::default(),
        })
    }

    /// Returns all batches.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be mapped into memory.
    pub fn finish(self) -> Result<Batches, DataError> {
        let file = self.file.as_ref().map(mapped::map).transpose();
        let file = file.map_err(|error| DataError::temporary(&self.folder, error))?;
        let n_columns = self.batches.iter().map(|batch| batch.schema().fields().len()).max().unwrap_or(0);
        let n_open = (N_OPEN_COLUMNS / n_columns.max(1)).max(MIN_OPEN_BATCHES);
        Ok(Batches { folder: self.folder, batches: self.batches, file, open: Mutex::default(), n_open })
    }
}

impl Batches {
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Returns the schema of a batch, whose fields have no names.
    pub fn schema(&self, batch_idx: usize) -> &SchemaRef {
        self.batches[batch_idx].schema()
    }

    pub fn n_rows(&self, batch_idx: usize) -> usize {
        match &self.batches[batch_idx] {
            Stored::InMemory(batch) => batch.num_rows(),
            Stored::InFile(message) => message.n_rows,
        }
    }

    /// Returns a batch, opened if it lies in the file.
    ///
    /// # Errors
    /// Fails if the temporary file is damaged.
    pub fn read(&self, batch_idx: usize) -> Result<Arc<RecordBatch>, DataError> {
        let message = match &self.batches[batch_idx] {
            Stored::InMemory(batch) => return Ok(Arc::clone(batch)),
            Stored::InFile(message) => message,
        };
        if let Some(batch) = message.open.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(Arc::clone(batch));
        }
        let batch = self.decode(message).map_err(|error| DataError::temporary(&self.folder, io_error(error)))?;
        let batch = Arc::new(batch);
        *message.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&batch));
        self.close_oldest(batch_idx);
        Ok(batch)
    }

    fn decode(&self, message: &Message) -> Result<RecordBatch, ArrowError> {
        let file = self.file.as_ref().ok_or_else(damaged)?;
        let metadata = file.slice_with_length(message.start, message.n_metadata_bytes);
        let body = file.slice_with_length(message.start + message.n_metadata_bytes, message.n_body_bytes);
        // The message follows a marker and its length.
        let header = arrow_ipc::root_as_message(&metadata[8..]).map_err(|_| damaged())?;
        let batch = header.header_as_record_batch().ok_or_else(damaged)?;
        RecordBatchDecoder::try_new(&body, batch, message.schema.clone(), &HashMap::new(), &header.version())?.read_record_batch()
    }

    /// Notes that a batch was opened, and closes the one that was opened first if there are too many.
    fn close_oldest(&self, opened: usize) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push_back(opened);
        let oldest = if open.len() > self.n_open { open.pop_front() } else { None };
        if let Some(Stored::InFile(message)) = oldest.map(|oldest| &self.batches[oldest]) {
            *message.open.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Stored {
    fn schema(&self) -> &SchemaRef {
        match self {
            Self::InMemory(batch) => batch.schema_ref(),
            Self::InFile(message) => &message.schema,
        }
    }
}

/// Bytes of a column in addition to its buffers.
const COLUMN_OVERHEAD: usize = 300;

fn damaged() -> ArrowError {
    ArrowError::IpcError("a message of the temporary file is damaged".to_owned())
}

/// Returns the size of a batch in memory. Buffers may be parts of a larger one, such as a message, and count with their own size.
fn n_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(n_bytes_of_column).sum()
}

fn n_bytes_of_column(column: &ArrayRef) -> usize {
    let data = column.to_data();
    let parts = std::iter::once(&data).chain(data.child_data());
    let of_part = parts.map(|part| part.buffers().iter().map(|buffer| buffer.len()).sum::<usize>() + part.len() / 8);
    of_part.sum::<usize>() + COLUMN_OVERHEAD
}

/// Returns the error of the operating system, if it is one.
fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, StringArray};

    use super::*;

    fn batch(value: f64, n_columns: usize) -> RecordBatch {
        let number = || Arc::new(Float64Array::from(vec![Some(value), None])) as ArrayRef;
        let mut columns: Vec<(String, ArrayRef)> = (0..n_columns).map(|at| (at.to_string(), number())).collect();
        columns.push(("text".to_owned(), Arc::new(StringArray::from(vec![None, Some("ä")]))));
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn batches_beyond_the_limit_are_read_from_the_file() {
        let first = batch(1.0, 2);
        let mut writer = BatchWriter::new(n_bytes(&first), &std::env::temp_dir());
        writer.push(first.clone()).unwrap();
        writer.push(batch(2.0, 2)).unwrap();
        writer.push(batch(3.0, 2)).unwrap();
        let batches = writer.finish().unwrap();
        assert!(matches!(batches.batches[0], Stored::InMemory(_)));
        assert!(matches!(batches.batches[1], Stored::InFile(_)));
        for (at, value) in [(2, 3.0), (0, 1.0), (1, 2.0), (2, 3.0)] {
            assert_eq!(*batches.read(at).unwrap(), batch(value, 2));
        }
    }

    #[test]
    fn few_wide_batches_are_open_at_the_same_time() {
        let n_columns = N_OPEN_COLUMNS / 2;
        let mut writer = BatchWriter::new(0, &std::env::temp_dir());
        (0..7).for_each(|value| writer.push(batch(f64::from(value), if value == 0 { n_columns } else { 1 })).unwrap());
        let batches = writer.finish().unwrap();
        for round in 0..2 {
            (0..7).for_each(|at| assert_eq!(batches.read(at).unwrap().num_rows(), 2, "{round}"));
        }
        let is_open = |stored: &&Stored| matches!(stored, Stored::InFile(message) if message.open.read().unwrap().is_some());
        assert_eq!(batches.batches.iter().filter(is_open).count(), MIN_OPEN_BATCHES);
    }

    #[test]
    fn errors_of_the_temporary_file_name_its_folder_and_the_variable() {
        let mut writer = BatchWriter::new(0, Path::new("/nowhere"));
        let error = writer.push(batch(1.0, 1)).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere: ") && error.contains("TMPDIR"), "{error}");
        let mut writer = BatchWriter::new(0, Path::new("/tmp"));
        writer.file = Some(File::options().write(true).open("/dev/full").unwrap());
        let error = writer.push(batch(1.0, 1)).unwrap_err().to_string();
        assert!(error.starts_with("/tmp: No space left on device") && error.contains("TMPDIR"), "{error}");
    }
}
