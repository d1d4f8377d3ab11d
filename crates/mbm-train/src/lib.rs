//! The training loop: the only crate that calls backward.
//!
//! ```text
//! settings --> optimizer, schedule
//! rows of an epoch (shuffled by seed) --> batches --> loss --> gradients (clipped) --> step --> checkpoint
//!                                                  end of epoch --> validation --> best checkpoint, early stopping
//! ```
//!
//! Nothing is printed: [`Event`]s say what happens. A run that is killed at any moment goes on from its last checkpoint and
//! ends in the same bytes as one that was not.

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

pub use checkpoint::{Checkpoints, EpochRecord, Progress};
pub use error::TrainError;
pub use event::Event;
pub use optimizer::{AdamSettings, AdamWSettings, LionSettings, MuonSettings, OptimizerSettings, SgdSettings};
pub use run::{Ending, Training, Validation, train};
pub use schedule::{Decay, ScheduleSettings};
pub use settings::{GradientClippingSettings, TrainerSettings};
