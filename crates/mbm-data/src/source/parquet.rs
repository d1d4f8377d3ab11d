//! Parquet files: strings, numbers, booleans, byte arrays (media), and lists of numbers or strings.

use std::fs::File;
use std::path::Path;

use mbm_config::MAX_DEPTH;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};

use super::deltas::{self, Levels};
use super::page_error::PageError;
use super::pages::{self, Chunk};
use super::parquet_schema::is_shallow;
use super::{Input, MAX_COLUMNS, Source};
use crate::catch_panic::{DECODER_FAILED, catch_panic};
use crate::{Cell, CellRef, DataError, TableBuilder};

/// Maximum number of bytes of cells per byte of the file, and the number that any file may expand to: a dictionary stores a word
/// once for all rows that hold it.
const MAX_RATIO: u64 = 200;
const FREE: u64 = 1 << 32;

pub(super) struct Parquet {
    input: Input,
    columns: Vec<String>,
    reader: SerializedFileReader<File>,
}

/// What is wrong with a Parquet file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParquetFileError {
    /// Groups that are nested too deeply.
    #[error("groups nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A page that declares too much, or is malformed.
    #[error(transparent)]
    Page(#[from] PageError),
    /// No columns, or too many.
    #[error("{0} columns, a table must have 1 to {MAX_COLUMNS}")]
    ColumnCount(usize),
    /// Cells that are too large in total.
    #[error("the cells up to this row take more than {MAX_RATIO} times the size of the file")]
    OutOfProportion,
    /// Another error of the reader.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The reader panicked.
    #[error("{DECODER_FAILED}")]
    Panicked,
}

impl Parquet {
    pub fn open(input: &Input) -> Result<Self, DataError> {
        let path = &input.path;
        let malformed = |error: ParquetFileError| input.malformed(None, error);
        let mut file = input.random_access()?;
        if !is_shallow(&mut file).map_err(DataError::io(path))? {
            return Err(malformed(ParquetFileError::TooDeep));
        }
        let pages = file.try_clone().map_err(DataError::io(path))?;
        let reader = SerializedFileReader::new(file).map_err(|error| malformed(error.into()))?;
        let chunks = pages::check(&pages, input.n_bytes, reader.metadata()).map_err(|error| malformed(error.into()))?;
        for chunk in chunks {
            check_deltas(&reader, chunk).map_err(malformed)?;
        }
        let schema = reader.metadata().file_metadata().schema();
        if !(1..=MAX_COLUMNS).contains(&schema.get_fields().len()) {
            return Err(malformed(ParquetFileError::ColumnCount(schema.get_fields().len())));
        }
        let columns = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        Ok(Self { input: input.clone(), columns, reader })
    }
}

impl Source for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let mut n_left = FREE.max(self.input.n_bytes.saturating_mul(MAX_RATIO));
        let malformed = |row: Option<usize>, error: ParquetFileError| self.input.malformed(row, error);
        let mut rows = catch_panic(|| self.reader.get_row_iter(None))
            .ok_or_else(|| malformed(None, ParquetFileError::Panicked))?
            .map_err(|error| malformed(None, error.into()))?;
        for row in 1.. {
            let record = catch_panic(|| rows.next()).ok_or_else(|| malformed(Some(row), ParquetFileError::Panicked))?;
            let Some(record) = record else { break };
            let record: Record = record.map_err(|error| malformed(Some(row), error.into()))?;
            let fields = || record.get_column_iter().map(|(_, field)| field).enumerate();
            let converted: Vec<(usize, Cell)> = fields().filter_map(|(at, field)| Some((at, converted(field)?))).collect();
            let mut cells: Vec<CellRef> = fields().map(|(_, field)| borrowed(field)).collect();
            converted.iter().for_each(|(at, cell)| cells[*at] = cell.borrowed());
            let n_cell_bytes = cells.iter().map(|cell| cell.n_bytes() as u64).sum();
            n_left = n_left.checked_sub(n_cell_bytes).ok_or_else(|| malformed(Some(row), ParquetFileError::OutOfProportion))?;
            table.push(&cells)?;
        }
        Ok(())
    }
}

/// Checks the lengths in delta-encoded pages against the number of values.
fn check_deltas(reader: &SerializedFileReader<File>, chunk: Chunk) -> Result<(), ParquetFileError> {
    let Chunk { group_idx, column_idx } = chunk;
    let description = reader.metadata().row_group(group_idx).column(column_idx).column_descr();
    let levels = Levels { max_definition: description.max_def_level(), max_repetition: description.max_rep_level() };
    let pages = reader.get_row_group(group_idx).and_then(|group| group.get_column_page_reader(column_idx));
    for page in pages? {
        deltas::check(&page?, levels)?;
    }
    Ok(())
}

/// Returns the cell of a field that holds its content; empty for other fields, of which [`converted`] makes cells.
fn borrowed(field: &Field) -> CellRef<'_> {
    match field {
        Field::Bool(value) => CellRef::Bool(*value),
        Field::Str(text) => CellRef::text(text),
        Field::Bytes(bytes) => CellRef::Bytes(bytes.data()),
        Field::Int(value) => CellRef::Number((*value).into()),
        Field::Long(value) => CellRef::Number(*value as f64),
        Field::Double(value) if value.is_finite() => CellRef::Number(*value),
        _ => CellRef::Empty,
    }
}

/// Returns the cell of a field whose content differs from it.
fn converted(field: &Field) -> Option<Cell> {
    match field {
        Field::Null | Field::Bool(_) | Field::Str(_) | Field::Bytes(_) | Field::Int(_) | Field::Long(_) | Field::Double(_) => {
            None
        }
        Field::Decimal(_) | Field::Date(_) | Field::TimestampMillis(_) | Field::TimestampMicros(_) => {
            Some(Cell::text(field.to_string().trim_end_matches(" +00:00")))
        }
        Field::Group(record) => Some(media_struct(record)),
        other => Some(Cell::json(other.to_json_value())),
    }
}

/// Converts the `{bytes, path}` struct in which Hugging Face datasets store media; any other struct stays JSON.
fn media_struct(record: &Record) -> Cell {
    let bytes = record.get_column_iter().find_map(|(name, field)| match field {
        Field::Bytes(bytes) if name == "bytes" => Some(bytes.data().to_vec()),
        _ => None,
    });
    bytes.map_or_else(|| Cell::Json(record.to_json_value().to_string()), Cell::Bytes)
}
