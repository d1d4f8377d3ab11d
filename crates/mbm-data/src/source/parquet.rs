//! Parquet: strings, numbers, booleans, byte arrays (media), and lists of numbers or strings.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};

use super::{MAX_COLUMNS, Source, pages, parent};
use crate::{Cell, DataError, Row};

pub(super) struct Parquet {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
    reader: SerializedFileReader<File>,
}

impl Parquet {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let pages = file.try_clone().map_err(DataError::io(path))?;
        let reader = SerializedFileReader::new(file).map_err(|error| DataError::malformed(path, None, error))?;
        pages::check(&pages, reader.metadata()).map_err(|message| DataError::malformed(path, None, message))?;
        let schema = reader.metadata().file_metadata().schema();
        if !(1..=MAX_COLUMNS).contains(&schema.get_fields().len()) {
            let message = format!("{} columns, a table has 1 to {MAX_COLUMNS}", schema.get_fields().len());
            return Err(DataError::malformed(path, None, message));
        }
        let columns = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        Ok(Self { path: path.to_path_buf(), folder: parent(path), columns, reader })
    }
}

impl Source for Parquet {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
        let rows = self.reader.get_row_iter(None).map_err(|error| DataError::malformed(&self.path, None, error))?;
        for (row_idx, record) in rows.enumerate() {
            let record: Record = record.map_err(|error| DataError::malformed(&self.path, row_idx + 1, error))?;
            sink(record.into_columns().into_iter().map(|(_, field)| cell(field)).collect())?;
        }
        Ok(())
    }
}

fn cell(field: Field) -> Cell {
    match field {
        Field::Null => Cell::Empty,
        Field::Bool(value) => Cell::Bool(value),
        Field::Str(text) => Cell::text(&text),
        Field::Bytes(bytes) => Cell::Bytes(bytes.data().to_vec()),
        Field::Decimal(_) | Field::Date(_) | Field::TimestampMillis(_) | Field::TimestampMicros(_) => {
            Cell::text(field.to_string().trim_end_matches(" +00:00"))
        }
        Field::Group(record) => media_struct(record),
        other => Cell::json(other.to_json_value()),
    }
}

/// The `{bytes, path}` struct that Hugging Face datasets store media in; any other struct stays JSON.
fn media_struct(record: Record) -> Cell {
    let bytes = record.get_column_iter().find_map(|(name, field)| match field {
        Field::Bytes(bytes) if name == "bytes" => Some(bytes.data().to_vec()),
        _ => None,
    });
    bytes.map_or_else(|| Cell::Json(record.to_json_value().to_string()), Cell::Bytes)
}
