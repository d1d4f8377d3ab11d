//! A JSON object of columns, each with its cells by the numbers of rows, as pandas writes tables by default:
//! `{"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": null}}`.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json_lines::JsonLinesError;
use super::{Input, Source, peeked};
use crate::{Cell, DataError, Row, TableBuilder, json};

/// The beginning of such a file, and the number of bytes in which it must lie.
static BEGINNING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"[0-9]+"\s*:"#).expect("a valid regular expression"));
const N_BEGINNING: u64 = 1 << 12;

/// Maximum size of a file, which is held in memory, since rows go across it.
const MAX_BYTES: u64 = 1 << 27;

pub(super) struct JsonColumns {
    input: Input,
    columns: Vec<String>,
    text: String,
}

impl JsonColumns {
    /// Opens a file that holds columns; `None` for any other JSON.
    pub fn open(input: &Input) -> Result<Option<Self>, DataError> {
        let start = peeked::Peeked::new(input.text()?.reader, N_BEGINNING);
        if !BEGINNING.is_match(start.start()) {
            return Ok(None);
        }
        let mut text = String::new();
        start.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(DataError::io(&input.path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(input.malformed(None, JsonLinesError::LongColumns));
        }
        let names = |table: JsonTable| table.0.into_iter().map(|(name, _)| name).collect();
        let columns: Option<Vec<String>> = serde_json::from_str::<JsonTable>(&text).ok().map(names);
        Ok(columns.map(|columns| Self { input: input.clone(), columns, text }))
    }
}

impl Source for JsonColumns {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let malformed = |row: Option<usize>, error| self.input.malformed(row, JsonLinesError::NotAnObject(error));
        let JsonTable(columns) = serde_json::from_str(&self.text).map_err(|error| malformed(None, error))?;
        let n_rows = columns.first().map_or(0, |(_, column)| column.cells.len());
        for row_idx in 0..n_rows {
            let cells: serde_json::Result<Row> = columns.iter().map(|(_, column)| json::cell(column.cells[row_idx])).collect();
            let cells: Vec<Cell> = cells.map_err(|error| malformed(Some(row_idx + 1), error))?;
            table.push_row(&cells)?;
        }
        Ok(())
    }
}

/// Columns with their names, which have the same numbers of rows.
struct JsonTable<'a>(Vec<(String, JsonColumn<'a>)>);

/// The cells of a column, with the numbers of their rows.
struct JsonColumn<'a> {
    numbers: Vec<u64>,
    cells: Vec<&'a RawValue>,
}

impl<'de> Deserialize<'de> for JsonTable<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = JsonTable<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("columns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<JsonTable<'de>, A::Error> {
                let mut columns: Vec<(String, JsonColumn)> = Vec::new();
                while let Some((name, column)) = entries.next_entry::<String, JsonColumn>()? {
                    if columns.first().is_some_and(|(_, first)| first.numbers != column.numbers) {
                        return Err(A::Error::custom("columns of different rows"));
                    }
                    columns.push((name, column));
                }
                Ok(JsonTable(columns))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for JsonColumn<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = JsonColumn<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("cells by the numbers of their rows")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<JsonColumn<'de>, A::Error> {
                let mut column = JsonColumn { numbers: Vec::new(), cells: Vec::new() };
                while let Some((number, cell)) = entries.next_entry::<u64, &RawValue>()? {
                    column.numbers.push(number);
                    column.cells.push(cell);
                }
                Ok(column)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cell, Table};

    fn table(content: &str) -> Table {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        std::fs::write(&path, content).unwrap();
        Table::read(&path).unwrap()
    }

    #[test]
    fn columns_of_pandas_are_rows() {
        let found = table(r#"{"b\"": {"0": 1, "2": null}, "a": {"0": "x", "2": [1, 2]}}"#);
        assert_eq!((found.columns.clone(), found.n_rows()), (vec!["b\"".to_owned(), "a".to_owned()], 2));
        assert_eq!(found.row(0).unwrap(), [Cell::Number(1.0), Cell::Text("x".into())]);
        assert_eq!(found.row(1).unwrap(), [Cell::Empty, Cell::Numbers(vec![1.0, 2.0])]);
    }

    #[test]
    fn objects_that_are_not_columns_are_a_row() {
        for content in [
            r#"{"a": {"x": 1}, "b": {"x": 2}}"#,
            r#"{"a": {"0": 1}, "b": {"1": 2}}"#,
            r#"{"a": {"0": 1}, "b": 2}"#,
            r#"{"a": {"0": 1, "x": 2}, "b": 1}"#,
        ] {
            assert_eq!((table(content).n_rows(), table(content).columns.len()), (1, 2), "{content}");
        }
        assert_eq!(table("{\"a\": {\"0\": 1}}\n{\"a\": {\"0\": 2}}").n_rows(), 2);
    }
}
