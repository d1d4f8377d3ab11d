//! JSON Lines: one object per line, in which a missing key is an empty cell. The file is read twice, first for its keys.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_COLUMNS, MAX_RECORD, Source, open_file, parent};
use crate::{Cell, DataError, Row, TableBuilder, json};

pub(super) struct JsonLines {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
    positions: HashMap<String, usize>,
}

/// Maximum number of cells per byte of the file, and the number that any file may have. A non-empty cell takes at least six bytes
/// (`"a":1,`), so beyond this limit only one cell in hundreds is filled: the keys are data, and rows with all of them would fill
/// the disk.
const MAX_CELLS_OF_BYTE: usize = 64;
const FREE_CELLS: usize = 1 << 24;

/// What is wrong with a file of JSON Lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonLinesError {
    /// A line that exceeds the size limit.
    #[error("the line has more than {MAX_RECORD} bytes")]
    LongLine,
    /// A line that is not a JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// Too many keys.
    #[error("more than {MAX_COLUMNS} different keys")]
    TooManyKeys,
    /// Too many keys for the size of the file.
    #[error(
        "{n_keys} different keys in {n_lines} lines, nearly all in few lines: they look like values; put them into a list under one key"
    )]
    SparseKeys {
        /// Number of different keys.
        n_keys: usize,
        /// Number of lines.
        n_lines: usize,
    },
}

impl JsonLines {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut source = Self { path: path.to_path_buf(), folder: parent(path), columns: Vec::new(), positions: HashMap::new() };
        let (mut n_lines, mut n_bytes) = (0, 0);
        for_each_line(path, |line_idx, line| {
            (n_lines, n_bytes) = (n_lines + 1, n_bytes + line.len());
            let new = deserialize(path, line_idx, line, NewKeys(&source.positions))?;
            source.add(new).map_err(|error| DataError::malformed(path, line_idx + 1, error))
        })?;
        let most = FREE_CELLS.max(n_bytes.saturating_mul(MAX_CELLS_OF_BYTE));
        if source.columns.len().saturating_mul(n_lines) > most {
            let error = JsonLinesError::SparseKeys { n_keys: source.columns.len(), n_lines };
            return Err(DataError::malformed(path, None, error));
        }
        Ok(source)
    }

    fn add(&mut self, new: Vec<String>) -> Result<(), JsonLinesError> {
        for key in new {
            if self.columns.len() == MAX_COLUMNS {
                return Err(JsonLinesError::TooManyKeys);
            }
            if self.positions.insert(key.clone(), self.columns.len()).is_none() {
                self.columns.push(key);
            }
        }
        Ok(())
    }
}

impl Source for JsonLines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let cells = Cells(&self.positions);
        for_each_line(&self.path, |line_idx, line| table.push_row(&deserialize(&self.path, line_idx, line, cells)?))
    }
}

/// Passes every non-blank line to `sink`, with its index.
fn for_each_line(path: &Path, mut sink: impl FnMut(usize, &[u8]) -> Result<(), DataError>) -> Result<(), DataError> {
    let mut reader = BufReader::new(open_file(path)?);
    let mut line = Vec::new();
    for line_idx in 0.. {
        line.clear();
        let n_bytes = reader.by_ref().take(MAX_RECORD + 1).read_until(b'\n', &mut line).map_err(DataError::io(path))?;
        if n_bytes as u64 > MAX_RECORD {
            return Err(DataError::malformed(path, line_idx + 1, JsonLinesError::LongLine));
        }
        if n_bytes == 0 {
            break;
        }
        if !line.trim_ascii().is_empty() {
            sink(line_idx, &line)?;
        }
    }
    Ok(())
}

fn deserialize<'de, S: DeserializeSeed<'de>>(
    path: &Path,
    line_idx: usize,
    line: &'de [u8],
    seed: S,
) -> Result<S::Value, DataError> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| DataError::malformed(path, line_idx + 1, JsonLinesError::NotAnObject(error)))
}

/// Deserializes the keys of an object that are not known yet, sorted.
struct NewKeys<'a>(&'a HashMap<String, usize>);

/// Deserializes the cells of an object, in column order.
#[derive(Clone, Copy)]
struct Cells<'a>(&'a HashMap<String, usize>);

/// Deserializes a key.
struct KeySeed<'a>(&'a HashMap<String, usize>);

/// A key of an object.
enum Key {
    /// The index of its column.
    Column(usize),
    /// A key that is not known yet.
    New(String),
}

impl<'de> DeserializeSeed<'de> for NewKeys<'_> {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for NewKeys<'_> {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<String>, A::Error> {
        let mut new = Vec::new();
        while let Some(key) = entries.next_key_seed(KeySeed(self.0))? {
            if let Key::New(name) = key {
                new.push(name);
            }
            entries.next_value::<IgnoredAny>()?;
        }
        new.sort();
        new.dedup();
        Ok(new)
    }
}

impl<'de> DeserializeSeed<'de> for Cells<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Cells<'_> {
    type Value = Row;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Row, A::Error> {
        let mut row = vec![Cell::Empty; self.0.len()];
        while let Some(key) = entries.next_key_seed(KeySeed(self.0))? {
            let text: &RawValue = entries.next_value()?;
            if let Key::Column(at) = key {
                row[at] = json::cell(text).map_err(A::Error::custom)?;
            }
        }
        Ok(row)
    }
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(self.0.get(key).map_or_else(|| Key::New(key.to_owned()), |at| Key::Column(*at)))
    }
}
