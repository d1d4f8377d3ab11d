//! Errors of a study.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// A file system operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The file is not a journal, or a line is not what was written.
    #[error("{}, line {line}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, starting at 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The journal is that of another study.
    #[error("{}: the journal of another study: {}; use another folder, or go back to these settings", path.display(), differences.join("; "))]
    OtherStudy {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// Another process runs the study.
    #[error("{}: another process is running this study; try again when it has finished", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The study has no such trial that is running.
    #[error("trial {number} is not running")]
    NotRunning {
        /// The number of the trial.
        number: usize,
    },
}

impl TuneError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_path_buf(), source }
    }
}
