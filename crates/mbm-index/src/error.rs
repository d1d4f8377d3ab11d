//! What can go wrong with an index.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that is not what an index wrote.
    #[error("{}: damaged: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A folder that is no index.
    #[error("{}: no index here; 'mbm index build' makes one", path.display())]
    NoIndex {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds something already.
    #[error("{}: exists already; name another folder, or add to it with 'mbm index add'", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes.
    #[error("{}: another process is writing to this index; try again when it has ended", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A vector that does not belong here.
    #[error("a vector of {found} values; this index has vectors of {expected}")]
    Width {
        /// Values of the index's vectors.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A vector that has no direction.
    #[error("row {row}: a vector that is zero or not finite has no direction")]
    NoDirection {
        /// The row, from 1.
        row: usize,
    },
    /// Columns that are not those of the index.
    #[error("columns {}; this index has {}", found.join(", "), expected.join(", "))]
    Columns {
        /// Of the index.
        expected: Vec<String>,
        /// Found.
        found: Vec<String>,
    },
    /// Work that nobody waits for any more, or whose time is over.
    #[error("given up: nobody waits for the answer any more, or its time is over")]
    Cancelled,
    /// A filter that cannot be read.
    #[error("filter, character {at}: {message}")]
    Filter {
        /// The character, from 1.
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

    pub(crate) fn damaged(path: &Path, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), message: message.into() }
    }
}
