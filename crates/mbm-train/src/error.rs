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
        /// The cause, such as [`ProgressError`](crate::ProgressError).
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
