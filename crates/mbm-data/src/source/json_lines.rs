//! Objects in JSON, each of which is a row: one per line, the items of a list, or one after the other. A missing key is an empty
//! cell. The file is read twice, first for its keys.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json_values::{JsonValues, JsonValuesError, Layout};
use super::{Input, MAX_COLUMNS, MAX_RECORD, Source, peeked};
use crate::{Cell, DataError, Row, TableBuilder, json};

pub(super) struct JsonLines {
    input: Input,
    layout: Option<Layout>,
    columns: Vec<String>,
    positions: HashMap<String, usize>,
}

/// Maximum number of cells per byte of the file, and the number that any file may have. A non-empty cell takes at least six bytes
/// (`"a":1,`), so beyond this limit only one cell in hundreds is filled: the keys are data, and rows with all of them would fill
/// the disk.
const MAX_CELLS_OF_BYTE: usize = 64;
const FREE_CELLS: usize = 1 << 24;

/// Bytes in which the first one that is not blank is searched for.
const N_START: u64 = 1 << 12;

/// What is wrong with a file of JSON objects.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonLinesError {
    /// A line that exceeds the size limit.
    #[error("the line has more than {MAX_RECORD} bytes")]
    LongLine,
    /// A line that is not a JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(#[source] serde_json::Error),
    /// A list or sequence of objects that cannot be divided.
    #[error(transparent)]
    Values(#[from] JsonValuesError),
    /// Columns in a file that is too large to be read at once.
    #[error("the columns take more than 128 MB; write rows instead, in pandas with orient='records', lines=True")]
    LongColumns,
    /// Nothing at all.
    #[error("no rows: the file has no JSON objects")]
    NoRows,
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

/// Opens a file with an object per line; one that begins with a bracket holds a list instead.
pub(super) fn open(input: &Input) -> Result<Box<dyn Source>, DataError> {
    let layout = (first_byte(input)? == Some(b'[')).then_some(Layout::List);
    Ok(Box::new(JsonLines::open(input, layout)?))
}

/// Returns the first byte that is not blank, within the first few thousand.
pub(super) fn first_byte(input: &Input) -> Result<Option<u8>, DataError> {
    let start = peeked::Peeked::new(input.text()?.reader, N_START);
    Ok(start.start().trim_ascii_start().first().copied())
}

impl JsonLines {
    /// Opens a file whose objects are laid out in some way; `None` is one per line.
    pub fn open(input: &Input, layout: Option<Layout>) -> Result<Self, DataError> {
        let mut source = Self { input: input.clone(), layout, columns: Vec::new(), positions: HashMap::new() };
        let (mut n_rows, mut n_bytes) = (0, 0);
        for_each_object(input, layout, |row, text| {
            (n_rows, n_bytes) = (n_rows + 1, n_bytes + text.len());
            let new = deserialize(input, row, text, NewKeys(&source.positions))?;
            source.add(new).map_err(|error| input.malformed(row, error))
        })?;
        if n_rows == 0 {
            return Err(input.malformed(None, JsonLinesError::NoRows));
        }
        let most = FREE_CELLS.max(n_bytes.saturating_mul(MAX_CELLS_OF_BYTE));
        if source.columns.len().saturating_mul(n_rows) > most {
            let error = JsonLinesError::SparseKeys { n_keys: source.columns.len(), n_lines: n_rows };
            return Err(input.malformed(None, error));
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
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let cells = Cells(&self.positions);
        let input = &self.input;
        for_each_object(input, self.layout, |row, text| table.push_row(&deserialize(input, row, text, cells)?))
    }
}

/// Passes the text of every object to `sink`, with its line or its number, from 1.
fn for_each_object(
    input: &Input,
    layout: Option<Layout>,
    sink: impl FnMut(usize, &[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    match layout {
        None => for_each_line(input, sink),
        Some(layout) => for_each_value(input, layout, sink),
    }
}

fn for_each_line(input: &Input, mut sink: impl FnMut(usize, &[u8]) -> Result<(), DataError>) -> Result<(), DataError> {
    let mut reader = BufReader::new(input.text()?.reader);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let n_bytes = reader.by_ref().take(MAX_RECORD + 1).read_until(b'\n', &mut line).map_err(DataError::io(&input.path))?;
        if n_bytes as u64 > MAX_RECORD {
            return Err(input.malformed(number, JsonLinesError::LongLine));
        }
        if n_bytes == 0 {
            break;
        }
        if !line.trim_ascii().is_empty() {
            sink(number, &line)?;
        }
    }
    Ok(())
}

fn for_each_value(
    input: &Input,
    layout: Layout,
    mut sink: impl FnMut(usize, &[u8]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut values = JsonValues::new(input.text()?.reader, layout, MAX_RECORD);
    let mut value = Vec::new();
    for number in 1.. {
        let more = values.next_into(&mut value).map_err(|error| input.malformed(number, JsonLinesError::Values(error)))?;
        if !more {
            break;
        }
        sink(number, &value)?;
    }
    Ok(())
}

fn deserialize<'de, S: DeserializeSeed<'de>>(input: &Input, row: usize, text: &'de [u8], seed: S) -> Result<S::Value, DataError> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| input.malformed(row, JsonLinesError::NotAnObject(error)))
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
