//! The training loop. The only crate that runs the backward pass.
//!
//! ```text
//! settings --> optimizer, schedule
//! rows of an epoch (shuffled by seed) --> batches --> loss --> gradients (clipped) --> step --> checkpoint
//!                                                  end of epoch --> validation --> best checkpoint, early stopping
//! ```
//!
//! Nothing is printed; progress is reported as [`Event`]s. A run that is killed at any moment resumes from its last checkpoint
//! and produces the same bytes as an uninterrupted run.

mod average;
mod checkpoint;
mod error;
mod event;
mod exact;
mod gradient_cache;
mod gradients;
mod learning_rates;
mod numbering;
mod optimizer;
mod run;
mod schedule;
mod settings;
#[cfg(test)]
mod testing;

pub use checkpoint::{Checkpoints, EpochRecord, Progress};
pub use error::{ProgressError, TrainError};
pub use event::Event;
pub use optimizer::{AdamSettings, AdamWSettings, LionSettings, MuonSettings, OptimizerSettings, SgdSettings};
pub use run::{Ending, Training, Validation, train};
pub use schedule::{Decay, ScheduleSettings};
pub use settings::{GradientClippingSettings, TrainerSettings};
