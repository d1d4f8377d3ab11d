//! What happens in training, for whoever shows it.

use std::collections::BTreeMap;
use std::time::Duration;

/// One happening.
#[derive(Debug, Clone)]
pub enum Event {
    /// Training begins, or goes on.
    Started {
        /// Parameters of the model.
        n_params: usize,
        /// Epochs at most.
        epochs: usize,
        /// Steps an epoch.
        steps_per_epoch: usize,
        /// The first epoch, from 0, above 0 where a checkpoint goes on.
        epoch: usize,
    },
    /// An optimizer step is done.
    Step {
        /// The epoch, from 0.
        epoch: usize,
        /// The step in it, from 1.
        step: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// Training rows a second since the start.
        samples_per_second: f64,
        /// Until the last epoch ends, if none ends early.
        time_left: Duration,
    },
    /// An epoch is done and validated.
    Epoch {
        /// The epoch, from 0.
        epoch: usize,
        /// Mean training loss.
        loss: f64,
        /// Values of validation, by name.
        validation: BTreeMap<String, f64>,
        /// Whether it is the best so far.
        is_best: bool,
    },
}
