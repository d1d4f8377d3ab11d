//! Columns of numbers and texts, stored in a file next to the vectors.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sealed::{Sealed, SealedWriter};
use crate::{Damage, IndexError};

/// The value of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IndexValue {
    /// No value.
    Null,
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// The name of the column.
    pub name: String,
    /// Whether it holds numbers; otherwise it holds texts.
    pub is_number: bool,
}

/// The footer of a file of columns.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    columns: Vec<ColumnEntry>,
    n_rows: usize,
}

/// The location of a column: its numbers, or the end offsets of its texts followed by the texts.
#[derive(Debug, Serialize, Deserialize)]
struct ColumnEntry {
    column: IndexColumn,
    start: usize,
    /// Size of all texts in bytes.
    n_bytes: usize,
}

/// Writes columns; texts are collected in temporary files first.
pub(crate) struct ColumnFileWriter {
    columns: Vec<IndexColumn>,
    buffers: Vec<ColumnBuffer>,
    n_rows: usize,
}

enum ColumnBuffer {
    Numbers(Vec<f64>),
    Texts { ends: Vec<u64>, texts: BufWriter<File> },
}

impl ColumnBuffer {
    fn create(column: &IndexColumn) -> Result<Self, IndexError> {
        if column.is_number {
            return Ok(Self::Numbers(Vec::new()));
        }
        let texts = tempfile::tempfile().map_err(IndexError::io(&std::env::temp_dir()))?;
        Ok(Self::Texts { ends: Vec::new(), texts: BufWriter::new(texts) })
    }
}

/// An open file of columns.
#[derive(Debug)]
pub(crate) struct ColumnFile {
    file: Sealed,
    footer: Footer,
}

impl ColumnFileWriter {
    pub fn create(columns: &[IndexColumn]) -> Result<Self, IndexError> {
        let buffers = columns.iter().map(ColumnBuffer::create).collect::<Result<_, _>>()?;
        Ok(Self { buffers, columns: columns.to_vec(), n_rows: 0 })
    }

    /// Adds a row, one value per column; a value of the other kind is converted to the column's kind, or becomes null.
    pub fn push(&mut self, row: &[IndexValue]) -> Result<(), IndexError> {
        self.n_rows += 1;
        for (buffer, value) in self.buffers.iter_mut().zip(row) {
            match buffer {
                ColumnBuffer::Numbers(numbers) => numbers.push(as_number(value)),
                ColumnBuffer::Texts { ends, texts } => {
                    let text = as_text(value);
                    texts.write_all(text.as_bytes()).map_err(IndexError::io(&std::env::temp_dir()))?;
                    ends.push(ends.last().copied().unwrap_or(0) + text.len() as u64);
                }
            }
        }
        Ok(())
    }

    pub fn finish(self, path: &Path) -> Result<(), IndexError> {
        let mut out = SealedWriter::create(path)?;
        let mut entries = Vec::new();
        for (column, buffer) in self.columns.into_iter().zip(self.buffers) {
            let start = out.n_bytes() as usize;
            let mut n_bytes = 0;
            match buffer {
                ColumnBuffer::Numbers(numbers) => out.write(bytemuck::cast_slice(&numbers))?,
                ColumnBuffer::Texts { ends, texts } => {
                    n_bytes = ends.last().copied().unwrap_or(0) as usize;
                    out.write(bytemuck::cast_slice(&ends))?;
                    copy(texts, &mut out).map_err(IndexError::io(&std::env::temp_dir()))??;
                    out.write(&vec![0; n_bytes.next_multiple_of(8) - n_bytes])?;
                }
            }
            entries.push(ColumnEntry { column, start, n_bytes });
        }
        out.finish(&Footer { columns: entries, n_rows: self.n_rows })
    }
}

fn copy(texts: BufWriter<File>, out: &mut SealedWriter) -> std::io::Result<Result<(), IndexError>> {
    let mut texts = texts.into_inner().map_err(|error| error.into_error())?;
    texts.rewind()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = texts.read(&mut buffer)?;
        if n == 0 {
            return Ok(Ok(()));
        }
        if let Err(error) = out.write(&buffer[..n]) {
            return Ok(Err(error));
        }
    }
}

fn as_number(value: &IndexValue) -> f64 {
    match value {
        IndexValue::Null => f64::NAN,
        IndexValue::Number(number) => *number,
        IndexValue::Text(text) => text.trim().parse().unwrap_or(f64::NAN),
    }
}

fn as_text(value: &IndexValue) -> String {
    match value {
        IndexValue::Null => String::new(),
        IndexValue::Number(number) => number.to_string(),
        IndexValue::Text(text) => text.clone(),
    }
}

impl ColumnFile {
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let file = Sealed::open(path)?;
        let columns = Self { footer: file.footer()?, file };
        for entry in &columns.footer.columns {
            columns.check(entry)?;
        }
        Ok(columns)
    }

    pub fn n_rows(&self) -> usize {
        self.footer.n_rows
    }

    pub fn n_bytes(&self) -> u64 {
        self.file.n_bytes()
    }

    /// Names and kinds of the columns.
    pub fn schema(&self) -> impl Iterator<Item = &IndexColumn> {
        self.footer.columns.iter().map(|entry| &entry.column)
    }

    /// Checks that a column's numbers, or its texts and their ends, lie within the file.
    fn check(&self, entry: &ColumnEntry) -> Result<(), IndexError> {
        let n_rows = self.footer.n_rows;
        if entry.column.is_number {
            return self.file.numbers::<f64>(entry.start, n_rows).map(|_| ());
        }
        let ends: &[u64] = self.file.numbers(entry.start, n_rows)?;
        self.file.numbers::<u8>(entry.start.saturating_add(n_rows * 8), entry.n_bytes)?;
        let is_valid = ends.is_sorted() && ends.last().is_none_or(|end| *end <= entry.n_bytes as u64);
        if is_valid { Ok(()) } else { Err(IndexError::damaged(&self.file.path, Damage::TextEnds)) }
    }

    /// Returns the value of a cell.
    ///
    /// # Panics
    /// If the row or the column does not exist.
    pub fn value(&self, column: usize, row: usize) -> IndexValue {
        if self.footer.columns[column].column.is_number {
            return match self.number(column, row) {
                number if number.is_nan() => IndexValue::Null,
                number => IndexValue::Number(number),
            };
        }
        match self.text(column, row) {
            [] => IndexValue::Null,
            text => IndexValue::Text(String::from_utf8_lossy(text).into_owned()),
        }
    }

    /// Returns a number; NaN for null.
    pub fn number(&self, column: usize, row: usize) -> f64 {
        let entry = &self.footer.columns[column];
        self.file.numbers::<f64>(entry.start, self.footer.n_rows).expect("sizes are checked on opening")[row]
    }

    /// Returns the bytes of a text; empty for null.
    pub fn text(&self, column: usize, row: usize) -> &[u8] {
        const CHECKED: &str = "sizes are checked on opening";
        let (entry, n_rows) = (&self.footer.columns[column], self.footer.n_rows);
        let ends: &[u64] = self.file.numbers(entry.start, n_rows).expect(CHECKED);
        let texts: &[u8] = self.file.numbers(entry.start + n_rows * 8, entry.n_bytes).expect(CHECKED);
        let start = row.checked_sub(1).map_or(0, |before| ends[before]);
        &texts[start as usize..ends[row] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_nulls_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("columns");
        let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
        let mut writer =
            ColumnFileWriter::create(&[column("caption", false), column("year", true), column("tag", false)]).unwrap();
        let text = |text: &str| IndexValue::Text(text.into());
        writer.push(&[text("Größe"), IndexValue::Number(1999.0), IndexValue::Null]).unwrap();
        writer.push(&[IndexValue::Number(0.5), text(" 7 "), text("x")]).unwrap();
        writer.push(&[text("漢"), text("soon"), text("yz")]).unwrap();
        writer.finish(&path).unwrap();
        let columns = ColumnFile::open(&path).unwrap();
        let row = |row| (0..3).map(|column| columns.value(column, row)).collect::<Vec<_>>();
        assert_eq!(row(0), [text("Größe"), IndexValue::Number(1999.0), IndexValue::Null]);
        assert_eq!(row(1), [text("0.5"), IndexValue::Number(7.0), text("x")]);
        assert_eq!(row(2), [text("漢"), IndexValue::Null, text("yz")]);
    }
}
