//! The location of an index: a folder, or a PostgreSQL table. Both return the same rows for the same vectors.

use std::fmt;
use std::path::{Path, PathBuf};

use mbm_index::{Filter, Hit, IndexInfo, IndexSpec, IndexValue, Search};
use mbm_postgres::{PostgresIndex, PostgresWriter};

use crate::error::Error;

/// The location of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A folder.
    Folder(PathBuf),
    /// A table of a PostgreSQL database.
    Postgres {
        /// The connection URL, such as `postgres://user@host/database`.
        url: String,
        /// The name of the table.
        table: String,
    },
}

/// An open index.
pub struct Index(Opened);

enum Opened {
    Folder(mbm_index::Index),
    Postgres(Box<PostgresIndex>),
}

/// Rows being added to an index.
pub(crate) enum IndexWriter {
    Folder(Box<mbm_index::IndexWriter>),
    Postgres(Box<PostgresWriter>),
}

impl From<&Store> for Store {
    fn from(store: &Store) -> Self {
        store.clone()
    }
}

macro_rules! folders {
    ($($path:ty),+) => { $(
        impl From<$path> for Store {
            fn from(folder: $path) -> Self {
                Self::Folder(PathBuf::from(folder))
            }
        }
    )+ };
}

folders!(&str, String, &Path, PathBuf, &PathBuf);

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            // The URL may contain a password.
            Self::Postgres { table, .. } => write!(f, "table {table}"),
        }
    }
}

impl Index {
    /// Opens an index.
    ///
    /// # Errors
    /// Fails if the location holds no index or a damaged one.
    pub fn open(store: impl Into<Store>) -> Result<Self, Error> {
        Ok(Self(match store.into() {
            Store::Folder(folder) => Opened::Folder(mbm_index::Index::open(&folder)?),
            Store::Postgres { url, table } => Opened::Postgres(Box::new(PostgresIndex::open(&url, &table)?)),
        }))
    }

    /// Returns the specification of the index.
    pub fn spec(&self) -> &IndexSpec {
        match &self.0 {
            Opened::Folder(index) => &index.spec,
            Opened::Postgres(index) => &index.spec,
        }
    }

    /// Returns, for each query, the rows whose vectors have the highest cosine similarity to it, nearest first.
    ///
    /// # Errors
    /// Fails if a query has another dimension or no direction, or if the filter does not fit the columns.
    pub fn search(&self, queries: &[Vec<f32>], search: Search) -> Result<Vec<Vec<Hit>>, Error> {
        Ok(match &self.0 {
            Opened::Folder(index) => index.search(queries, search)?,
            Opened::Postgres(index) => index.search(queries, search)?,
        })
    }

    /// Returns a summary of the index.
    ///
    /// # Errors
    /// Fails if the database fails.
    pub fn info(&self) -> Result<IndexInfo, Error> {
        Ok(match &self.0 {
            Opened::Folder(index) => index.info(),
            Opened::Postgres(index) => index.info()?,
        })
    }
}

impl IndexWriter {
    pub fn create(store: &Store, spec: IndexSpec) -> Result<Self, Error> {
        Ok(match store {
            Store::Folder(folder) => Self::Folder(Box::new(mbm_index::IndexWriter::create(folder, spec)?)),
            Store::Postgres { url, table } => Self::Postgres(Box::new(PostgresWriter::create(url, table, spec)?)),
        })
    }

    pub fn open(store: &Store) -> Result<Self, Error> {
        Ok(match store {
            Store::Folder(folder) => Self::Folder(Box::new(mbm_index::IndexWriter::open(folder)?)),
            Store::Postgres { url, table } => Self::Postgres(Box::new(PostgresWriter::open(url, table)?)),
        })
    }

    pub fn spec(&self) -> &IndexSpec {
        match self {
            Self::Folder(writer) => writer.spec(),
            Self::Postgres(writer) => writer.spec(),
        }
    }

    pub fn push(&mut self, vector: &[f32], values: &[IndexValue]) -> Result<(), Error> {
        match self {
            Self::Folder(writer) => Ok(writer.push(vector, values)?),
            Self::Postgres(writer) => Ok(writer.push(vector, values)?),
        }
    }

    pub fn finish(self, observe: &(dyn Fn(usize) + Sync)) -> Result<usize, Error> {
        match self {
            Self::Folder(writer) => Ok(writer.finish(observe)?),
            Self::Postgres(writer) => Ok(writer.finish()?),
        }
    }
}

/// Removes the rows that match a filter, and returns their number.
///
/// ```
/// use mbm::{Filter, Index, IndexRows, IndexSettings};
///
/// # let folder = tempfile::tempdir()?;
/// # let index = folder.path().join("index");
/// let rows = IndexRows::from_column("tests/fixtures/form-2/rows.csv", "vector")?;
/// mbm::build_index(&index, rows, IndexSettings::default(), &|_| ())?;
/// let n_removed = mbm::remove_from_index(&index, &Filter::parse("label = 'dark'")?)?;
/// assert_eq!(Index::open(&index)?.info()?.n_rows, 40 - n_removed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the location has no index, or the filter does not fit its columns.
pub fn remove_from_index(store: impl Into<Store>, filter: &Filter) -> Result<usize, Error> {
    Ok(match store.into() {
        Store::Folder(folder) => mbm_index::remove(&folder, filter)?,
        Store::Postgres { url, table } => mbm_postgres::remove(&url, &table, filter)?,
    })
}
