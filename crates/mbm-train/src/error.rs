//! Errors of training.

use std::error::Error;
use std::path::PathBuf;

/// An error that ends training, with its location.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] mbm_data::DataError),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] mbm_model::WeightsError),
    /// Pretrained weights could not be loaded.
    #[error(transparent)]
    Pretrained(#[from] mbm_model::PretrainedError),
    /// A checkpoint could not be read or written.
    #[error("checkpoint {}: {source}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// The cause, such as [`ProgressError`].
        source: Box<dyn Error + Send + Sync>,
    },
    /// The loss is NaN or infinite.
    #[error("the loss is {loss} at epoch {epoch}, step {step}; try a smaller trainer.learning_rate or trainer.gradient_clipping")]
    Diverged {
        /// The loss.
        loss: f64,
        /// The epoch, from 1.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
    },
    /// Validation failed.
    #[error(transparent)]
    Validation(Box<dyn Error + Send + Sync>),
}

/// Progress that is impossible in the training run that resumes from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgressError {
    /// Too many epochs, or another number than in the history.
    #[error("{found} epochs completed and {in_history} in the history, of {epochs}")]
    Epochs {
        /// Completed epochs.
        found: usize,
        /// Epochs in the history.
        in_history: usize,
        /// Epochs of the training run.
        epochs: usize,
    },
    /// Too many batches.
    #[error("batch {found} of {n_batches}")]
    Batch {
        /// Completed batches of the epoch.
        found: usize,
        /// Batches of an epoch.
        n_batches: usize,
    },
    /// Too many rows.
    #[error("{found} rows of {n_rows}")]
    Rows {
        /// Completed rows of the epoch.
        found: usize,
        /// Rows of an epoch.
        n_rows: usize,
    },
    /// A step that does not follow from epoch and batch.
    #[error("step {found}, expected {expected} for its epoch and batch")]
    Step {
        /// Optimizer steps taken.
        found: usize,
        /// Optimizer steps that epoch and batch take.
        expected: usize,
    },
}
