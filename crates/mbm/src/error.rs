//! Everything that a user can do wrong, or the machine, with its place.

use std::path::PathBuf;

/// An error of the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in a config, all at once.
    #[error("{file}: {diagnostics}")]
    Config {
        /// The file, or what stands for one.
        file: String,
        /// The mistakes.
        diagnostics: mbm_config::Diagnostics,
    },
    /// Data.
    #[error(transparent)]
    Data(#[from] mbm_data::DataError),
    /// Training.
    #[error(transparent)]
    Train(#[from] mbm_train::TrainError),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] mbm_model::WeightsError),
    /// Weights from elsewhere.
    #[error(transparent)]
    WeightFile(#[from] mbm_weights::Error),
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of a run or a bundle that is not what it should be.
    #[error("{}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A run folder that holds a run.
    #[error("{} already holds a run; go on with --resume, replace it with --overwrite, or name another --output-directory", .0.display())]
    RunExists(PathBuf),
    /// No folder holds a run that could go on.
    #[error("{}: no run to go on with; name its folder with --output-directory", .0.display())]
    NothingToResume(PathBuf),
    /// Going on with another config or dataset.
    #[error("{} cannot go on: {reason}", folder.display())]
    CannotResume {
        /// The run folder.
        folder: PathBuf,
        /// What differs.
        reason: String,
    },
    /// An algorithm on the fused vectors.
    #[error("output '{output}': {source}")]
    Postprocessor {
        /// The output.
        output: String,
        /// What it cannot do.
        source: mbm_algo::AlgoError,
    },
    /// An index.
    #[error(transparent)]
    Index(#[from] mbm_index::IndexError),
    /// An index in a database.
    #[error(transparent)]
    Postgres(#[from] mbm_postgres::PostgresError),
    /// Settings that do not fit the data.
    #[error("{0}")]
    Incompatible(String),
}

impl Error {
    /// Whether a search was given up because nobody waits for it any more or its time is over.
    pub fn is_cancelled(&self) -> bool {
        use mbm_index::IndexError::Cancelled;
        matches!(self, Self::Index(Cancelled) | Self::Postgres(mbm_postgres::PostgresError::Index(Cancelled)))
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
