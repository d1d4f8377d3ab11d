//! One JSON object a line; a key that a line lacks is an empty cell. The file is read twice, first for its keys.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Source, open_file, parent};
use crate::{Cell, DataError, Row};

pub(super) struct JsonLines {
    path: PathBuf,
    folder: PathBuf,
    columns: Vec<String>,
}

impl JsonLines {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut columns: Vec<String> = Vec::new();
        for_each_object(path, &mut |object| {
            let new = object.keys().filter(|key| !columns.contains(key)).cloned().collect::<Vec<_>>();
            columns.extend(new);
            Ok(())
        })?;
        Ok(Self { path: path.to_path_buf(), folder: parent(path), columns })
    }
}

impl Source for JsonLines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
        let columns = &self.columns;
        for_each_object(&self.path, &mut |mut object| {
            sink(columns.iter().map(|column| object.remove(column).map_or(Cell::Empty, Cell::json)).collect())
        })
    }
}

fn for_each_object(path: &Path, sink: &mut dyn FnMut(Map<String, Value>) -> Result<(), DataError>) -> Result<(), DataError> {
    for (line_idx, line) in BufReader::new(open_file(path)?).split(b'\n').enumerate() {
        let line = line.map_err(DataError::io(path))?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object = serde_json::from_slice(&line)
            .map_err(|error| DataError::malformed(path, line_idx + 1, format!("not a JSON object: {error}")))?;
        sink(object)?;
    }
    Ok(())
}
