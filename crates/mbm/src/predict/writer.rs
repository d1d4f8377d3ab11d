//! Writes tables row by row: CSV, JSON lines, Parquet, and NumPy arrays of vectors.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mbm_data::{Cell, RowStatus};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::error::Error;

/// A column of an output table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputColumn {
    /// The name of the column.
    pub name: String,
    /// The type of its values.
    pub kind: ColumnType,
}

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    Text,
    /// Numbers.
    Number,
    /// Vectors of the given dimension.
    Vector(usize),
}

/// A cell of an output table.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputValue {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// A vector.
    Vector(Vec<f32>),
    /// No value.
    Null,
}

/// The file format of an output table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    JsonLines,
    /// Parquet, Snappy-compressed.
    Parquet,
    /// A NumPy array of 32-bit floats, `[rows, width]`; a row without a vector is NaN.
    Npy,
}

/// A table that cannot be written in the requested way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file name that implies no supported format.
    #[error("{}: the name must end in .csv, .jsonl, .parquet or .npy", .0.display())]
    Extension(PathBuf),
    /// A NumPy file for anything but a single column of vectors.
    #[error("{}: .npy holds a single column of vectors; use .parquet", .0.display())]
    NotOneVector(PathBuf),
    /// A format that needs a file, for a pipe.
    #[error("{0:?} cannot be written to a pipe; specify a file")]
    NeedsFile(OutputFormat),
}

/// Rows per Parquet row group.
const GROUP: usize = 8_192;

impl OutputColumn {
    /// Creates a text column.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnType::Text }
    }

    /// Creates a number column.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), kind: ColumnType::Number }
    }

    /// Creates a vector column.
    pub fn vector(name: impl Into<String>, width: usize) -> Self {
        Self { name: name.into(), kind: ColumnType::Vector(width) }
    }
}

impl fmt::Display for OutputValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(text),
            Self::Number(value) => write!(out, "{value}"),
            Self::Vector(values) => write!(out, "{values:?}"),
            Self::Null => out.write_str("null"),
        }
    }
}

impl OutputValue {
    /// Converts the value to JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(value) => (*value).into(),
            Self::Vector(values) => values.as_slice().into(),
            Self::Null => serde_json::Value::Null,
        }
    }
}

impl From<OutputValue> for Cell {
    fn from(value: OutputValue) -> Self {
        match value {
            OutputValue::Text(text) => Cell::Text(text),
            OutputValue::Number(value) => Cell::Number(value),
            OutputValue::Vector(values) => Cell::Numbers(values.into_iter().map(f64::from).collect()),
            OutputValue::Null => Cell::Empty,
        }
    }
}

/// Returns the values of a row with its status as the last one.
pub(crate) fn with_status(mut values: Vec<OutputValue>, status: &RowStatus) -> Vec<OutputValue> {
    values.push(OutputValue::Text(status.to_string()));
    values
}

impl OutputFormat {
    /// Determines the format from a file name.
    ///
    /// # Errors
    /// Fails if the name does not end in `.csv`, `.jsonl`, `.ndjson`, `.parquet` or `.npy`.
    pub fn of(path: &Path) -> Result<Self, OutputError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet") => Ok(Self::Parquet),
            Some("npy") => Ok(Self::Npy),
            _ => Err(OutputError::Extension(path.to_path_buf())),
        }
    }
}

/// Writes a table.
pub struct TableWriter {
    columns: Vec<OutputColumn>,
    path: PathBuf,
    out: Out,
    /// The temporary file that holds the table until it is complete, unless it is written in place.
    aside: Option<Aside>,
}

/// A temporary file that is renamed to its target once complete, and removed otherwise.
struct Aside {
    path: PathBuf,
    target: PathBuf,
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Fails if the file was renamed to its target, which is fine.
        let _ = std::fs::remove_file(&self.path);
    }
}

enum Out {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    JsonLines(Box<dyn Write>),
    Parquet(Box<SerializedFileWriter<File>>, Vec<Vec<OutputValue>>),
    /// The file, the dimension of the vectors, and the number of rows so far.
    Npy(BufWriter<File>, usize, usize),
}

impl TableWriter {
    /// Creates a file in the format that its name implies. It appears once [`finish`](Self::finish) returns; an existing file
    /// stays until then.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn create(path: &Path, columns: Vec<OutputColumn>) -> Result<Self, Error> {
        let format = OutputFormat::of(path)?;
        if std::fs::metadata(path).is_ok_and(|it| !it.is_file()) {
            return Self::create_as(path, path, format, columns);
        }
        // Symbolic links are followed, not replaced.
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let mut name = target.clone().into_os_string();
        name.push(".tmp");
        let aside = Aside { path: name.into(), target };
        let writer = Self::create_as(&aside.path, path, format, columns)?;
        Ok(Self { aside: Some(aside), ..writer })
    }

    /// Creates a file in the given format, whatever its name; errors name `path`, which it will be renamed to.
    pub(crate) fn create_as(file: &Path, path: &Path, format: OutputFormat, columns: Vec<OutputColumn>) -> Result<Self, Error> {
        let file = File::create(file).map_err(Error::io(path))?;
        match format {
            OutputFormat::Csv | OutputFormat::JsonLines => Self::new(Box::new(BufWriter::new(file)), format, columns, path),
            OutputFormat::Parquet => {
                let properties =
                    WriterProperties::builder().set_compression(Compression::SNAPPY).set_created_by("mbm".to_owned()).build();
                let schema = schema(&columns).map_err(|error| Error::damaged(path, error))?;
                let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))
                    .map_err(|error| Error::damaged(path, error))?;
                Ok(Self { columns, path: path.to_path_buf(), out: Out::Parquet(Box::new(writer), Vec::new()), aside: None })
            }
            OutputFormat::Npy => {
                let [OutputColumn { kind: ColumnType::Vector(width), .. }] = columns[..] else {
                    return Err(OutputError::NotOneVector(path.to_path_buf()).into());
                };
                let mut out = BufWriter::new(file);
                out.write_all(&npy_header(0, width)).map_err(Error::io(path))?;
                Ok(Self { columns, path: path.to_path_buf(), out: Out::Npy(out, width, 0), aside: None })
            }
        }
    }

    /// Writes CSV or JSON lines to any sink; other formats need a file.
    ///
    /// # Errors
    /// Fails if the header cannot be written, or the format needs a file.
    pub fn new(sink: Box<dyn Write>, format: OutputFormat, columns: Vec<OutputColumn>, path: &Path) -> Result<Self, Error> {
        let out = match format {
            OutputFormat::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer.write_record(columns.iter().map(|column| &column.name)).map_err(|error| csv_error(path, error))?;
                Out::Csv(Box::new(writer))
            }
            OutputFormat::JsonLines => Out::JsonLines(sink),
            OutputFormat::Parquet | OutputFormat::Npy => {
                return Err(OutputError::NeedsFile(format).into());
            }
        };
        Ok(Self { columns, path: path.to_path_buf(), out, aside: None })
    }

    /// Writes one row, with a value per column.
    ///
    /// # Errors
    /// Fails on I/O errors such as a full disk or a closed pipe.
    pub fn write(&mut self, row: Vec<OutputValue>) -> Result<(), Error> {
        match &mut self.out {
            Out::Csv(writer) => {
                let fields = row.iter().map(|value| match value {
                    OutputValue::Text(text) => text.clone(),
                    OutputValue::Number(value) => value.to_string(),
                    OutputValue::Vector(values) => joined(values),
                    OutputValue::Null => String::new(),
                });
                writer.write_record(fields).map_err(|error| csv_error(&self.path, error))
            }
            Out::JsonLines(sink) => {
                // Written by hand because a JSON map would sort the columns.
                let pairs: Vec<String> = self
                    .columns
                    .iter()
                    .zip(&row)
                    .map(|(column, value)| format!("{}:{}", serde_json::Value::from(column.name.as_str()), value.to_json()))
                    .collect();
                writeln!(sink, "{{{}}}", pairs.join(",")).map_err(Error::io(&self.path))
            }
            Out::Parquet(_, rows) => {
                rows.push(row);
                if rows.len() >= GROUP { self.write_group() } else { Ok(()) }
            }
            Out::Npy(out, width, n_rows) => {
                *n_rows += 1;
                let absent = vec![f32::NAN; *width];
                let values = if let [OutputValue::Vector(values)] = &row[..] { values } else { &absent };
                values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes())).map_err(Error::io(&self.path))
            }
        }
    }

    fn write_group(&mut self) -> Result<(), Error> {
        let Out::Parquet(writer, rows) = &mut self.out else { return Ok(()) };
        let rows = std::mem::take(rows);
        let mut group = writer.next_row_group().map_err(|error| Error::damaged(&self.path, error))?;
        for (at, column) in self.columns.iter().enumerate() {
            write_column(&mut group, column, rows.iter().map(|row| &row[at]))
                .map_err(|error| Error::damaged(&self.path, error))?;
        }
        group.close().map(|_| ()).map_err(|error| Error::damaged(&self.path, error))
    }

    /// Completes the table.
    ///
    /// # Errors
    /// Fails on I/O errors such as a full disk or a closed pipe.
    pub fn finish(mut self) -> Result<(), Error> {
        if matches!(&self.out, Out::Parquet(_, rows) if !rows.is_empty()) {
            self.write_group()?;
        }
        match self.out {
            Out::Csv(mut writer) => writer.flush().map_err(Error::io(&self.path))?,
            Out::JsonLines(mut sink) => sink.flush().map_err(Error::io(&self.path))?,
            Out::Npy(mut out, width, n_rows) => {
                out.rewind().map_err(Error::io(&self.path))?;
                out.write_all(&npy_header(n_rows, width)).map_err(Error::io(&self.path))?;
                out.flush().map_err(Error::io(&self.path))?;
            }
            Out::Parquet(writer, _) => {
                writer.close().map_err(|error| Error::damaged(&self.path, error))?;
            }
        }
        self.aside.map_or(Ok(()), |aside| Ok(mbm_data::sync_and_rename(&aside.path, &aside.target)?))
    }
}

/// Joins numbers with spaces.
fn joined(values: &[f32]) -> String {
    values.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")
}

/// Returns a header of version 1.0 of the NumPy format, always of the same length.
fn npy_header(n_rows: usize, width: usize) -> Vec<u8> {
    const LENGTH: usize = 128;
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {width}), }}");
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((LENGTH - 10) as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header.resize(LENGTH - 1, b' ');
    header.push(b'\n');
    header
}

fn schema(columns: &[OutputColumn]) -> parquet::errors::Result<Type> {
    let fields = columns.iter().map(|column| field(column).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("predictions").with_fields(fields).build()
}

fn field(column: &OutputColumn) -> parquet::errors::Result<Type> {
    let optional = |physical| Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
    match column.kind {
        ColumnType::Number => optional(Physical::DOUBLE).build(),
        ColumnType::Text => optional(Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build(),
        // Lists in the Parquet standard have three levels.
        ColumnType::Vector(_) => {
            let element =
                Type::primitive_type_builder("element", Physical::FLOAT).with_repetition(Repetition::REQUIRED).build()?;
            let list = Type::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            let whole =
                Type::group_type_builder(&column.name).with_repetition(Repetition::OPTIONAL).with_fields(vec![Arc::new(list)]);
            whole.with_logical_type(Some(LogicalType::List)).build()
        }
    }
}

fn write_column<'a>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    column: &OutputColumn,
    values: impl Iterator<Item = &'a OutputValue>,
) -> parquet::errors::Result<()> {
    let Some(mut writer) = group.next_column()? else { return Ok(()) };
    // Definition levels (of vectors: 0 is null, 1 is empty) and repetition levels (1 continues the row's vector).
    let (mut levels, mut repeats) = (Vec::new(), Vec::new());
    let (mut numbers, mut texts, mut elements) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match value {
            OutputValue::Number(value) => numbers.push(*value),
            OutputValue::Text(text) => texts.push(ByteArray::from(text.as_str())),
            OutputValue::Vector(values) => {
                levels.extend(vec![2; values.len()]);
                repeats.extend((0..values.len()).map(|at| i16::from(at > 0)));
                elements.extend(values);
                continue;
            }
            OutputValue::Null => {}
        }
        levels.push(i16::from(*value != OutputValue::Null));
        repeats.push(0);
    }
    match column.kind {
        ColumnType::Number => writer.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?,
        ColumnType::Text => writer.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?,
        ColumnType::Vector(_) => writer.typed::<FloatType>().write_batch(&elements, Some(&levels), Some(&repeats))?,
    };
    writer.close()
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_path_buf(), source },
        other => Error::damaged(path, format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbm_data::{Cell, Table};

    #[test]
    fn tables_round_trip_in_every_format() {
        let folder = tempfile::tempdir().unwrap();
        let columns = vec![OutputColumn::text("class"), OutputColumn::number("p"), OutputColumn::vector("v", 2)];
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            let mut writer = TableWriter::create(&path, columns.clone()).unwrap();
            writer
                .write(vec![
                    OutputValue::Text("a, \"b\"".into()),
                    OutputValue::Number(0.25),
                    OutputValue::Vector(vec![0.5, -1.0]),
                ])
                .unwrap();
            writer.write(vec![OutputValue::Null, OutputValue::Null, OutputValue::Null]).unwrap();
            writer.finish().unwrap();
            let table = Table::read(&path).unwrap();
            assert_eq!(table.columns, ["class", "p", "v"], "{name}");
            assert_eq!(
                table.row(0).unwrap().iter().map(Cell::to_text).collect::<Vec<_>>(),
                ["a, \"b\"", "0.25", "0.5 -1"],
                "{name}"
            );
            assert_eq!(table.row(1).unwrap(), [Cell::Empty, Cell::Empty, Cell::Empty], "{name}");
        }
    }

    #[test]
    fn unfinished_table_leaves_the_existing_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["t.csv", "t.jsonl", "t.parquet"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "before").unwrap();
            let mut writer = TableWriter::create(&path, vec![OutputColumn::number("p")]).unwrap();
            writer.write(vec![OutputValue::Number(1.0)]).unwrap();
            drop(writer);
            assert_eq!(std::fs::read(&path).unwrap(), b"before", "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no temporary files are left");
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_link_is_followed_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [link, file] = ["link.csv", "file.csv"].map(|name| folder.path().join(name));
        std::fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        TableWriter::create(&link, vec![OutputColumn::number("p")]).unwrap().finish().unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"p\n");
    }

    #[test]
    fn npy_header_holds_the_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let mut writer = TableWriter::create(&path, vec![OutputColumn::vector("v", 2)]).unwrap();
        writer.write(vec![OutputValue::Vector(vec![0.5, -1.0])]).unwrap();
        writer.write(vec![OutputValue::Null]).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            String::from_utf8_lossy(&bytes[10..128]).starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }")
        );
        let values: Vec<f32> = bytes[128..].as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it)).collect();
        assert!(values[..2] == [0.5, -1.0] && values[2..].iter().all(|x| x.is_nan()) && values.len() == 4);
        assert!(TableWriter::create(&path, vec![OutputColumn::text("t")]).is_err());
    }
}
