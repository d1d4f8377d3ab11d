//! What rows can be read from: the path of a file or folder, or a table in memory.

use std::path::{Path, PathBuf};

use mbm_data::Table;

use crate::error::Error;

/// What rows can be read from: the path of a file or folder in a supported format, or a table.
pub trait IntoTable {
    /// Reads the table.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn into_table(self) -> Result<Table, Error>;
}

macro_rules! paths {
    ($($path:ty),+) => { $(
        impl IntoTable for $path {
            fn into_table(self) -> Result<Table, Error> {
                Ok(Table::read(self.as_ref())?)
            }
        }
    )+ };
}

paths!(&str, String, &Path, PathBuf, &PathBuf);

impl IntoTable for Table {
    fn into_table(self) -> Result<Table, Error> {
        Ok(self)
    }
}
