//! Training events, for progress reports.

use std::collections::BTreeMap;
use std::time::Duration;

/// A training event.
#[derive(Debug, Clone)]
pub enum Event {
    /// Training starts or resumes.
    Started {
        /// Number of parameters of the model.
        n_params: usize,
        /// Maximum number of epochs.
        epochs: usize,
        /// Steps per epoch.
        steps_per_epoch: usize,
        /// The first epoch, from 0; above 0 when resuming from a checkpoint.
        epoch: usize,
    },
    /// An optimizer step is complete.
    Step {
        /// The epoch, from 0.
        epoch: usize,
        /// The step within the epoch, from 1.
        step: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// Training rows per second since the start.
        samples_per_second: f64,
        /// Time until the end of the last epoch, assuming no early stopping.
        time_left: Duration,
    },
    /// An epoch is complete and validated.
    Epoch {
        /// The epoch, from 0.
        epoch: usize,
        /// Mean training loss.
        loss: f64,
        /// Validation metrics by name.
        validation: BTreeMap<String, f64>,
        /// Whether the epoch is the best so far.
        is_best: bool,
    },
}
