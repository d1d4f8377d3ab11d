//! Errors that prevent a dataset from being read at all. A single bad cell does not: see [`crate::Fault`].

use std::error::Error;
use std::path::{Path, PathBuf};

use crate::feature::FitError;
use crate::split::SplitError;
use crate::weight_column::WeightError;

/// An error of reading, splitting or fitting a dataset, with its location.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file system error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A dataset that does not exist.
    #[error("{}: {source}{nearby}", path.display())]
    NotFound {
        /// The file, folder or pattern.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
        /// A similar name and the tables nearby, if there are any.
        nearby: String,
    },
    /// A dataset without rows, where some are needed.
    #[error("no rows: the dataset has {n_columns} columns and no rows")]
    NoRows {
        /// Number of its columns.
        n_columns: usize,
    },
    /// A file whose content differs from what was written.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do, such as [`crate::ManifestError`].
        source: Box<dyn Error + Send + Sync>,
    },
    /// A folder that another process is writing to.
    #[error("{}: another process is writing here; wait until it has finished, or choose another folder", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file that does not have the format that its name declares.
    #[error("{}{}: {source}", path.display(), row.map(|row| format!(", row {row}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The row or line, starting at 1.
        row: Option<usize>,
        /// The error of the source, such as [`crate::source::DelimitedError`], or of [`crate::TableBuilder`].
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file in an unsupported format.
    #[error("{}: not a supported dataset; supported are .csv, .tsv, .jsonl, .parquet, .arrow, .json and .xlsx (.gz, .zst and .zip of them, too), a folder of such files, a folder with one subfolder per class, MNIST idx files and COCO annotation .json; --format names the format of a file with another name", .0.display())]
    UnknownKind(PathBuf),
    /// A column that the config names and the table lacks.
    #[error("the dataset has no column '{column}'{}; available columns: {}", meant.as_ref().map(|meant| format!(", did you mean '{meant}'?")).unwrap_or_default(), listed(columns))]
    NoColumn {
        /// The requested name.
        column: String,
        /// A similar name, if there is one.
        meant: Option<String>,
        /// The available names.
        columns: Vec<String>,
    },
    /// A cell that `missing_value_strategy: error` of its feature rejects, or one that is unreadable where all cells must be
    /// readable.
    #[error("row {row}, column '{column}': {fault} ({rule})")]
    BadCell {
        /// The row, starting at 1, not counting the header.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong.
        fault: String,
        /// The setting that rejects it.
        rule: crate::Rule,
    },
    /// A feature that cannot be fitted on the training rows.
    #[error("feature '{feature}': {source}")]
    Fit {
        /// The feature's name.
        feature: String,
        /// The reason.
        source: FitError,
    },
    /// A split that cannot be made or leaves no rows for training.
    #[error("preprocessing.split: {0}")]
    Split(#[from] SplitError),
    /// Weights that rows cannot have.
    #[error("preprocessing.sample_weight: {0}")]
    Weight(#[from] WeightError),
}

impl DataError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// An error of a temporary file in a folder.
    pub(crate) fn temporary(folder: &Path, error: std::io::Error) -> Self {
        let message = format!("{error} (temporary files; the environment variable TMPDIR names another folder for them)");
        Self::Io { path: folder.to_owned(), source: std::io::Error::new(error.kind(), message) }
    }

    /// Returns an error of a damaged file.
    pub fn damaged(path: impl Into<PathBuf>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Damaged { path: path.into(), source: source.into() }
    }

    pub(crate) fn malformed(
        path: impl Into<PathBuf>,
        row: impl Into<Option<usize>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Malformed { path: path.into(), row: row.into(), source: source.into() }
    }
}

/// Lists names for a message, truncated for wide tables.
fn listed(names: &[String]) -> String {
    const N_SHOWN: usize = 50;
    let shown = names[..names.len().min(N_SHOWN)].join(", ");
    if names.len() > N_SHOWN { format!("{shown}, ... ({} in total)", names.len()) } else { shown }
}
