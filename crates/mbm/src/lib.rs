//! Declarative multimodal learning: from one config and one table to a trained, evaluated and explained model.
//!
//! ```
//! let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=5")?;
//! let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
//! let row = model.predict([("bill_length_mm", 39.1), ("flipper_length_mm", 181.0)])?;
//! println!("{}", row["species"]);
//! # Ok::<(), mbm::Error>(())
//! ```
//!
//! | To | use |
//! |---|---|
//! | write or infer a config | [`Plan`]; [`ConfigSource`] and [`infer_config`] do it in steps |
//! | train | [`train`]; [`Experiment`] keeps a run folder with a report, shows progress, can be stopped and resumed |
//! | predict and evaluate | [`Model::predict`], [`Model::predict_table`], [`Model::predict_to`], [`Model::evaluate`] |
//! | explain predictions | [`Model::explain`], [`Model::explain_rows`] |
//! | translate, caption, transcribe | [`Model::translate`], [`Model::caption`]; [`GenerationSession`] for many texts, or one as it grows |
//! | compute vectors | [`Model::embed`], [`Model::embed_each`], [`Model::embed_to`]; [`Embedding`] shows progress and can be stopped |
//! | search | [`build_index`], [`add_to_index`], [`remove_from_index`]; [`Retriever::search`] |
//! | serve | the crate `mbm-serve`, or [`Model::prepare`], [`Model::check`] and [`Model::predict_batch`] for a server of your own |
//!
//! Rows come from anything that is [`IntoTable`]: the path of a file or folder, or a [`Table`], which can be made of rows or of Arrow
//! record batches. A [`Model`] is cheap to clone and can be used from several threads.
//!
//! ```text
//! config text --ConfigSource--> Plan      table file --Table--> rows by split
//!        Plan + rows --Experiment--> run folder: model/ (the bundle), statistics, predictions, report.html
//!                       model/ --Model--> predictions, metrics, vectors and texts for any table with the same columns
//! ```

// Every type in a public signature has a public name.
#![warn(unnameable_types)]

mod bundle;
mod config;
pub mod error;
mod inspect;
mod into_table;
mod learn;
mod model;
mod predict;
mod report;
mod retrieve;
mod run;

/// Everything that can go wrong; the types of its variants are in [`mod@error`].
#[doc(inline)]
pub use error::Error;

// Data: tables, cells, and what is wrong with them.
pub use into_table::IntoTable;
pub use mbm_data::source::{Delimiter, DuplicateColumns, RaggedRows, TableFormat, TableOptions};
pub use mbm_data::{CacheInfo, Cause, Cell, Fault, FaultReport, FeatureCache, RowStatus, Table, Unreadable};
pub use predict::table::table_from_json;

// The config: written, inferred, checked, and its reference.
pub use config::infer::{InferOptions, infer_config, infer_config_with};
pub use config::plan::Plan;
pub use config::reference::{ReferencePage, config_schema, reference_pages};
pub use config::source::ConfigSource;
pub use learn::settings::Preset;
pub use mbm_config::Format as ConfigFormat;

// Training: in one call, in a run folder, and with each of several combiners.
pub use mbm_train::{Ending, Event};
pub use mbm_tune::{State as TrialState, Trial};
pub use run::compare::{Comparison, ComparisonFolder, combiner_names, compare};
pub use run::event::RunEvent;
pub use run::experiment::{Experiment, Outcome};
pub use run::folder::Start;
pub use run::learners::{Ranked, leaderboard};
pub use run::train::train;
pub use run::tune::{TuneEvent, Tuned, tune};

// The model: predictions, metrics, explanations, and how they are written.
pub use model::{Feature, Model, PredictedRow};
pub use predict::explain::Contribution;
pub use predict::table::{Evaluation, Predicted, ReadOptions, RowProgress, Weighting};
pub use predict::writer::{ColumnType, OutputColumn, OutputFormat, OutputValue, TableWriter};

// Generated texts.
pub use mbm_model::decoder::{Decoding, DecodingSettings};
pub use predict::generation::{GeneratedText, GenerationSession};

// Vectors, indexes and search.
pub use mbm_index::{Cancellation, Filter, GraphSettings, Hit, IndexColumn, IndexInfo, IndexSpec, IndexValue, Precision, Search};
pub use predict::query::QueryPart;
pub use predict::vectors::{RowVectors, Tower};
pub use retrieve::embed::{Embedded, Embedding};
pub use retrieve::index_rows::{IndexRows, IndexSettings};
pub use retrieve::indexing::{Indexed, Indexing, add_to_index, build_index};
pub use retrieve::retriever::Retriever;
pub use retrieve::store::{Index, Store, remove_from_index};

// The steps of a prediction, for servers: prepare rows, check them, run them in batches, stop them, stream their texts.
pub use model::{CheckedRow, PreparedRow};
pub use predict::forward::{ShouldContinue, TextListener};

// Descriptions of files, and conversion of weights.
pub use inspect::{convert_weights, inspect_bundle, inspect_dataset, inspect_weights};
