//! Tables written row by row: CSV, JSON lines, Parquet.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::error::Error;

/// A column of a written table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it holds numbers; else text.
    pub is_number: bool,
}

/// A cell of a written table.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// Nothing.
    Null,
}

/// The form of a written table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Parquet, Snappy-compressed.
    Parquet,
}

/// Rows of a Parquet row group.
const GROUP: usize = 8_192;

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: false }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_number: true }
    }
}

impl Value {
    /// The value as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(value) => (*value).into(),
            Self::Null => serde_json::Value::Null,
        }
    }
}

impl Format {
    /// The form that a file's name says.
    ///
    /// # Errors
    /// An ending that is none of the three.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Error::Unfit(format!("{}: the name must end in .csv, .jsonl or .parquet", path.display()))),
        }
    }
}

/// A table being written.
pub struct Writer {
    columns: Vec<Column>,
    path: PathBuf,
    out: Out,
}

enum Out {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    JsonLines(Box<dyn Write>),
    Parquet(Box<SerializedFileWriter<File>>, Vec<Vec<Value>>),
}

impl Writer {
    /// A file of the form that its name says.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn create(path: &Path, columns: Vec<Column>) -> Result<Self, Error> {
        let format = Format::of(path)?;
        let file = File::create(path).map_err(Error::io(path))?;
        match format {
            Format::Csv | Format::JsonLines => Self::new(Box::new(BufWriter::new(file)), format, columns, path),
            Format::Parquet => {
                let properties =
                    WriterProperties::builder().set_compression(Compression::SNAPPY).set_created_by("mbm".to_owned()).build();
                let schema = schema(&columns).map_err(|error| damaged(path, &error))?;
                let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
                    .map_err(|error| damaged(path, &error))?;
                Ok(Self { columns, path: path.to_path_buf(), out: Out::Parquet(Box::new(writer), Vec::new()) })
            }
        }
    }

    /// Text to any sink; Parquet needs a file.
    ///
    /// # Errors
    /// A sink that does not take the header; Parquet.
    pub fn new(sink: Box<dyn Write>, format: Format, columns: Vec<Column>, path: &Path) -> Result<Self, Error> {
        let out = match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer.write_record(columns.iter().map(|column| &column.name)).map_err(|error| csv_error(path, error))?;
                Out::Csv(Box::new(writer))
            }
            Format::JsonLines => Out::JsonLines(sink),
            Format::Parquet => return Err(Error::Unfit("Parquet cannot be written to a pipe; name a file".to_owned())),
        };
        Ok(Self { columns, path: path.to_path_buf(), out })
    }

    /// Writes one row, a value a column.
    ///
    /// # Errors
    /// A disk that is full, a pipe that is closed.
    pub fn write(&mut self, row: Vec<Value>) -> Result<(), Error> {
        match &mut self.out {
            Out::Csv(writer) => {
                let fields = row.iter().map(|value| match value {
                    Value::Text(text) => text.clone(),
                    Value::Number(value) => value.to_string(),
                    Value::Null => String::new(),
                });
                writer.write_record(fields).map_err(|error| csv_error(&self.path, error))
            }
            Out::JsonLines(sink) => {
                // Written by hand because a JSON map would sort the columns.
                let pair = |(column, value): (&Column, &Value)| {
                    format!("{}:{}", serde_json::Value::from(column.name.as_str()), value.to_json())
                };
                let pairs: Vec<String> = self.columns.iter().zip(&row).map(pair).collect();
                writeln!(sink, "{{{}}}", pairs.join(",")).map_err(Error::io(&self.path))
            }
            Out::Parquet(_, rows) => {
                rows.push(row);
                if rows.len() >= GROUP { self.write_group() } else { Ok(()) }
            }
        }
    }

    fn write_group(&mut self) -> Result<(), Error> {
        let Out::Parquet(writer, rows) = &mut self.out else { return Ok(()) };
        let rows = std::mem::take(rows);
        let mut group = writer.next_row_group().map_err(|error| damaged(&self.path, &error))?;
        for (at, column) in self.columns.iter().enumerate() {
            write_column(&mut group, column, rows.iter().map(|row| &row[at])).map_err(|error| damaged(&self.path, &error))?;
        }
        group.close().map(|_| ()).map_err(|error| damaged(&self.path, &error))
    }

    /// Ends the table.
    ///
    /// # Errors
    /// A disk that is full, a pipe that is closed.
    pub fn finish(mut self) -> Result<(), Error> {
        if matches!(&self.out, Out::Parquet(_, rows) if !rows.is_empty()) {
            self.write_group()?;
        }
        match self.out {
            Out::Csv(mut writer) => writer.flush().map_err(Error::io(&self.path)),
            Out::JsonLines(mut sink) => sink.flush().map_err(Error::io(&self.path)),
            Out::Parquet(writer, _) => writer.close().map(|_| ()).map_err(|error| damaged(&self.path, &error)),
        }
    }
}

fn schema(columns: &[Column]) -> parquet::errors::Result<Type> {
    let field = |column: &Column| {
        let (physical, logical) =
            if column.is_number { (Physical::DOUBLE, None) } else { (Physical::BYTE_ARRAY, Some(LogicalType::String)) };
        let builder = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
        builder.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("predictions").with_fields(fields).build()
}

fn write_column<'a>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    column: &Column,
    values: impl Iterator<Item = &'a Value>,
) -> parquet::errors::Result<()> {
    let Some(mut writer) = group.next_column()? else { return Ok(()) };
    let (mut levels, mut numbers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(*value != Value::Null));
        match value {
            Value::Number(value) => numbers.push(*value),
            Value::Text(text) => texts.push(ByteArray::from(text.as_str())),
            Value::Null => {}
        }
    }
    if column.is_number {
        writer.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?;
    } else {
        writer.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?;
    }
    writer.close()
}

fn damaged(path: &Path, error: &parquet::errors::ParquetError) -> Error {
    Error::Damaged { path: path.to_path_buf(), message: error.to_string() }
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::Damaged { path: path.to_path_buf(), message: format!("{other:?}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbm_data::{Cell, Table};

    #[test]
    fn every_form_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![Column::text("class"), Column::number("p")];
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut writer = Writer::create(&path, columns.clone()).unwrap();
            writer.write(vec![Value::Text("a, \"b\"".into()), Value::Number(0.25)]).unwrap();
            writer.write(vec![Value::Null, Value::Null]).unwrap();
            writer.finish().unwrap();
            let table = Table::read(&path).unwrap();
            assert_eq!(table.columns, ["class", "p"], "{name}");
            assert_eq!(table.row(0).unwrap().iter().map(Cell::to_text).collect::<Vec<_>>(), ["a, \"b\"", "0.25"], "{name}");
            assert_eq!(table.row(1).unwrap(), [Cell::Empty, Cell::Empty], "{name}");
        }
    }
}
