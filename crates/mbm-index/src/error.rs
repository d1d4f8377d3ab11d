//! Errors of an index.

use std::path::{Path, PathBuf};

use crate::Damage;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file system operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// A file is not what the index wrote.
    #[error("{}: damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Damage,
    },
    /// The folder does not hold an index.
    #[error("{}: no index found; create one with 'mbm index build'", path.display())]
    NoIndex {
        /// The folder.
        path: PathBuf,
    },
    /// The folder already holds an index.
    #[error("{}: already exists; choose another folder, or add rows with 'mbm index add'", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is writing to the index.
    #[error("{}: another process is writing to this index; try again when it has finished", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A vector has the wrong number of dimensions.
    #[error("the vector has {found} dimensions; this index stores vectors of {expected}")]
    Width {
        /// Dimensions of the vectors in the index.
        expected: usize,
        /// Dimensions found.
        found: usize,
    },
    /// A vector has no direction.
    #[error("row {row}: the vector is zero or not finite, so it has no direction")]
    NoDirection {
        /// The row, from 1.
        row: usize,
    },
    /// The columns differ from those of the index.
    #[error("found the columns {}; this index has {}", found.join(", "), expected.join(", "))]
    Columns {
        /// Columns of the index.
        expected: Vec<String>,
        /// Columns found.
        found: Vec<String>,
    },
    /// The work was cancelled or ran past its deadline.
    #[error("cancelled: the client has gone or the time limit has passed")]
    Cancelled,
    /// A filter is invalid.
    #[error("filter, character {at}: {message}")]
    Filter {
        /// Position of the character, from 1.
        at: usize,
        /// What is wrong.
        message: String,
    },
}

impl IndexError {
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path: path.clone(), source }
    }

    pub(crate) fn damaged(path: &Path, damage: impl Into<Damage>) -> Self {
        Self::Damaged { path: path.to_path_buf(), source: damage.into() }
    }
}
