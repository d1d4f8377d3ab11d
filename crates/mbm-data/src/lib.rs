//! Turns tables of mixed cells into seeded batches of plain numbers: no tensors, no neural network, no terminal output.
//!
//! ```text
//! file or folder --source--> Table (Arrow record batches) --split--> train, validation and test rows
//!        Table --feature (fitted on train)--> Sample of Payloads --cache--> loader --> Batch
//! ```
//!
//! A cell that is empty or cannot be read becomes [`Payload::Missing`] with a [`Fault`] that gives the reason; missing values are
//! never imputed. A text of which only the beginning is read has both a payload and a [`Fault`]. All randomness comes from
//! [`random::seed`].

mod audio;
mod batch;
mod cache;
mod catch_panic;
mod cell;
mod cell_ref;
mod dataset;
mod error;
mod fault;
pub mod feature;
mod folder;
mod folds;
mod image;
mod infer;
mod into_cell;
mod json;
mod leaks;
mod loader;
mod lock;
mod manifest;
mod media_files;
mod missing;
mod notation;
mod payload;
mod precomputed;
pub mod random;
mod record_file;
mod sample_store;
pub mod source;
pub mod split;
mod table;
mod webp;
mod weight_column;

pub use audio::{AudioAugmentation, Waveform};
pub use batch::{Batch, BatchColumn, Values};
pub use cache::{CacheInfo, CacheKey, FeatureCache};
pub use catch_panic::catch_panic;
pub use cell::Cell;
pub use cell_ref::CellRef;
pub use dataset::{Dataset, Field, Prepared, Sample, Unfitted, fit};
pub use error::DataError;
pub use fault::{Cause, Fault, FaultReport};
pub use feature::{MissingValueStrategy, Preprocess, Preprocessor, Shape};
pub use folder::{latest_complete, recover, remove, sync_and_rename, write_file, write_folder};
pub use folds::folds;
pub use image::{ImageAugmentation, decode_image};
pub use infer::{Inferred, InferredColumn, infer_types};
pub use leaks::{Leak, leaks};
pub use loader::{Augmentation, LoadOptions, TrainTimeNoise, load};
pub use lock::Lock;
pub use manifest::{MANIFEST, Manifest, ManifestError, hash};
pub use media_files::MediaFiles;
pub use missing::{Decision, FieldFault, Rejection, RowStatus, Rule, Unreadable, decide};
pub use payload::{Frames, Payload, Pixels};
pub use precomputed::{Featurize, Precomputed};
pub use split::Split;
pub use table::{ColumnError, Row, RowRef, Table, TableBuilder, TableError};
pub use weight_column::{WeightColumn, WeightError};
