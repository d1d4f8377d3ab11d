//! Where an index lies: in a folder, or in a table of PostgreSQL. Whichever it is, the same vectors give the same rows.

use std::fmt;
use std::path::{Path, PathBuf};

use mbm_index::{Filter, Hit, IndexInfo, IndexSpec, Search, Value};
use mbm_postgres::{PostgresAddition, PostgresIndex};

use crate::error::Error;

/// The place of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A folder.
    Folder(PathBuf),
    /// A table of a database.
    Postgres {
        /// Such as `postgres://user@host/database`.
        url: String,
        /// The table.
        table: String,
    },
}

/// An open index.
pub enum Index {
    /// In a folder.
    Folder(mbm_index::Index),
    /// In a database.
    Postgres(Box<PostgresIndex>),
}

/// Rows on their way into an index.
pub(crate) enum Addition {
    Folder(Box<mbm_index::Addition>),
    Postgres(Box<PostgresAddition>),
}

impl From<&Path> for Store {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_path_buf())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            // The address may hold a password.
            Self::Postgres { table, .. } => write!(f, "table {table}"),
        }
    }
}

impl Index {
    /// Opens an index.
    ///
    /// # Errors
    /// A place that holds none, or a damaged one.
    pub fn open(store: &Store) -> Result<Self, Error> {
        Ok(match store {
            Store::Folder(folder) => Self::Folder(mbm_index::Index::open(folder)?),
            Store::Postgres { url, table } => Self::Postgres(Box::new(PostgresIndex::open(url, table)?)),
        })
    }

    /// What it is made of.
    pub fn spec(&self) -> &IndexSpec {
        match self {
            Self::Folder(index) => &index.spec,
            Self::Postgres(index) => &index.spec,
        }
    }

    /// For each query the rows whose vectors have the largest cosines with it, nearest first.
    ///
    /// # Errors
    /// A query of another width or without a direction; a filter that does not fit the columns.
    pub fn search(&self, queries: &[Vec<f32>], search: Search) -> Result<Vec<Vec<Hit>>, Error> {
        Ok(match self {
            Self::Folder(index) => index.search(queries, search)?,
            Self::Postgres(index) => index.search(queries, search)?,
        })
    }

    /// What it holds.
    ///
    /// # Errors
    /// A database that fails.
    pub fn info(&self) -> Result<IndexInfo, Error> {
        Ok(match self {
            Self::Folder(index) => index.info(),
            Self::Postgres(index) => index.info()?,
        })
    }
}

impl Addition {
    pub fn create(store: &Store, spec: IndexSpec) -> Result<Self, Error> {
        Ok(match store {
            Store::Folder(folder) => Self::Folder(Box::new(mbm_index::Addition::create(folder, spec)?)),
            Store::Postgres { url, table } => Self::Postgres(Box::new(PostgresAddition::create(url, table, spec)?)),
        })
    }

    pub fn open(store: &Store) -> Result<Self, Error> {
        Ok(match store {
            Store::Folder(folder) => Self::Folder(Box::new(mbm_index::Addition::open(folder)?)),
            Store::Postgres { url, table } => Self::Postgres(Box::new(PostgresAddition::open(url, table)?)),
        })
    }

    pub fn spec(&self) -> &IndexSpec {
        match self {
            Self::Folder(addition) => addition.spec(),
            Self::Postgres(addition) => addition.spec(),
        }
    }

    pub fn push(&mut self, vector: &[f32], values: &[Value]) -> Result<(), Error> {
        match self {
            Self::Folder(addition) => Ok(addition.push(vector, values)?),
            Self::Postgres(addition) => Ok(addition.push(vector, values)?),
        }
    }

    pub fn finish(self, observe: &(dyn Fn(usize) + Sync)) -> Result<usize, Error> {
        match self {
            Self::Folder(addition) => Ok(addition.finish(observe)?),
            Self::Postgres(addition) => Ok(addition.finish()?),
        }
    }
}

/// Removes the rows for which a condition holds. Their number.
///
/// # Errors
/// A place without an index, a filter that does not fit its columns.
pub fn remove_from_index(store: &Store, filter: &Filter) -> Result<usize, Error> {
    Ok(match store {
        Store::Folder(folder) => mbm_index::remove(folder, filter)?,
        Store::Postgres { url, table } => mbm_postgres::remove(url, table, filter)?,
    })
}
