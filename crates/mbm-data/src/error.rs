//! What can stop a dataset from being read at all. A single bad cell does not: that is a [`crate::Fault`].

use std::path::PathBuf;

/// An error of reading, splitting or fitting a dataset, with its place.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what was written.
    #[error("{}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A folder that another process writes to.
    #[error("{}: another process is writing here; wait until it has ended, or name another place", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is not of the form its name says.
    #[error("{}{}: {message}", path.display(), row.map(|row| format!(", row {row}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The row or line, from 1.
        row: Option<usize>,
        /// What was found and what was expected.
        message: String,
    },
    /// A file whose kind is not known.
    #[error("{}: not a dataset that mbm reads; it reads .csv, .tsv, .jsonl, .parquet, a folder of one folder a class, MNIST idx files and COCO annotation .json", .0.display())]
    UnknownKind(PathBuf),
    /// A column that the config names and the table lacks.
    #[error("the dataset has no column '{column}'{}; it has: {}", meant.as_ref().map(|meant| format!(", did you mean '{meant}'?")).unwrap_or_default(), listed(columns))]
    NoColumn {
        /// The name asked for.
        column: String,
        /// A near name, if there is one.
        meant: Option<String>,
        /// The names there are.
        columns: Vec<String>,
    },
    /// A cell that its feature's `missing_value_strategy: error` does not accept, or that cannot be read where all have to be.
    #[error("row {row}, column '{column}': {fault} ({rule})")]
    BadCell {
        /// The row, from 1, the header not counted.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong.
        fault: String,
        /// What does not accept it.
        rule: &'static str,
    },
    /// A feature that cannot be fitted on the training rows.
    #[error("feature '{feature}': {message}")]
    Fit {
        /// The feature's name.
        feature: String,
        /// Why not.
        message: String,
    },
    /// A split that leaves something empty or cannot be made.
    #[error("preprocessing.split: {0}")]
    Split(String),
}

impl DataError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn damaged(path: impl Into<PathBuf>, message: impl ToString) -> Self {
        Self::Damaged { path: path.into(), message: message.to_string() }
    }

    pub(crate) fn malformed(path: impl Into<PathBuf>, row: impl Into<Option<usize>>, message: impl ToString) -> Self {
        Self::Malformed { path: path.into(), row: row.into(), message: message.to_string() }
    }
}

/// Names for a message, not all of a wide table's.
fn listed(names: &[String]) -> String {
    const N_SHOWN: usize = 50;
    let shown = names[..names.len().min(N_SHOWN)].join(", ");
    if names.len() > N_SHOWN { format!("{shown}, ... ({} in all)", names.len()) } else { shown }
}
