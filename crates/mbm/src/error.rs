//! The error type of the library, and the types of its variants: user mistakes and system failures, each with its location.

use std::path::PathBuf;

pub use mbm_algo::AlgoError;
pub use mbm_config::{Diagnostic, Diagnostics};
pub use mbm_data::feature::{FitError, InvalidFit};
pub use mbm_data::split::SplitError;
pub use mbm_data::{DataError, WeightError};
pub use mbm_index::IndexError;
pub use mbm_model::WeightsError;
pub use mbm_model::encoder::UnsuitedShape;
pub use mbm_postgres::PostgresError;
pub use mbm_train::TrainError;
pub use mbm_tune::TuneError;
pub use mbm_weights::WeightFileError;

pub use crate::bundle::BundleError;
pub use crate::config::features::FeatureError;
pub use crate::config::infer::TargetError;
pub use crate::learn::store::LearnerFileError;
pub use crate::predict::cells::{CellError, CellErrors};
pub use crate::predict::columns::ColumnsError;
pub use crate::predict::generation::GenerationError;
pub use crate::predict::query::QueryError;
pub use crate::predict::writer::OutputError;
pub use crate::retrieve::indexing::IndexSourceError;
pub use crate::run::learners::LeaderboardError;
pub use crate::run::manifest::{ConfigDifference, ResumeError};

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid config, with all of its mistakes.
    #[error("{file}: {diagnostics}")]
    Config {
        /// The config file, or a description of where the config came from.
        file: String,
        /// The mistakes.
        diagnostics: Diagnostics,
    },
    /// Reading or preprocessing data failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The weights of a model could not be saved or loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A file of pretrained weights could not be read or converted.
    #[error(transparent)]
    WeightFile(#[from] WeightFileError),
    /// Learners could not be fitted to the rows.
    #[error("the learners cannot be fitted: {0}")]
    Learner(#[source] AlgoError),
    /// A search over settings could not go on.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// A file system operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error reported by the operating system.
        source: std::io::Error,
    },
    /// A file of a run or bundle is damaged or inconsistent.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, such as [`BundleError`].
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fitted value that has no JSON form, such as NaN; the model was not saved.
    #[error("{}: a fitted value cannot be represented: {source}", path.display())]
    Unrepresentable {
        /// The file.
        path: PathBuf,
        /// The error of the JSON writer or reader.
        source: serde_json::Error,
    },
    /// The run folder already holds a run.
    #[error("{} already holds a run; continue it with --resume, replace it with --overwrite, or name another --output-directory", .0.display())]
    RunExists(PathBuf),
    /// No folder holds a run that could be resumed.
    #[error("{}: no run to resume; specify its folder with --output-directory", .0.display())]
    NothingToResume(PathBuf),
    /// A run cannot be resumed, for example with another config or dataset.
    #[error("cannot resume {}: {source}", folder.display())]
    CannotResume {
        /// The run folder.
        folder: PathBuf,
        /// Why not.
        source: ResumeError,
    },
    /// Fitting an algorithm to the fused vectors failed.
    #[error("output '{output}': {source}")]
    Postprocessor {
        /// The output.
        output: String,
        /// The error of the algorithm.
        source: AlgoError,
    },
    /// An index operation failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// An operation on an index in PostgreSQL failed.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Cells of a query or a row that are not accepted.
    #[error(transparent)]
    Cells(#[from] CellErrors),
    /// A column that cannot be the target of a run without a config.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Settings that do not fit the data.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A table without any column that the model reads.
    #[error(transparent)]
    Columns(#[from] ColumnsError),
    /// An output file in an unsupported format.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A row of JSON that is not an object.
    #[error("row {row} is not a JSON object: {source}")]
    Json {
        /// The row, starting at 1.
        row: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A model that cannot generate the requested texts.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// An input or a query that the model computes no vector for.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// An index and a model, or an index and its source, that do not belong together.
    #[error(transparent)]
    IndexSource(#[from] IndexSourceError),
    /// Every training row was dropped.
    #[error("every training row was dropped; see missing_value_strategy: drop_row")]
    NoTrainingRows,
    /// The loss is no longer finite, probably because of an extreme value.
    #[error("the loss is {loss} at epoch {epoch}, step {step}: {suspect}")]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, starting at 1.
        epoch: usize,
        /// The step of the epoch.
        step: usize,
        /// The cell that may have caused it.
        suspect: String,
    },
    /// A chart of the report could not be drawn.
    #[error("chart '{title}': {source}")]
    Chart {
        /// The title of the chart.
        title: String,
        /// The error of the drawing library.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Whether a search was cancelled because its client is gone or its time limit has passed.
    pub fn is_cancelled(&self) -> bool {
        use mbm_index::IndexError::Cancelled;
        matches!(self, Self::Index(Cancelled) | Self::Postgres(mbm_postgres::PostgresError::Index(Cancelled)))
    }

    pub(crate) fn damaged(path: impl Into<PathBuf>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged { path: path.into(), source: source.into() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
