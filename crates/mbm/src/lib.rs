//! Declarative multimodal learning: from one config and one table to a trained, evaluated and explained model.
//!
//! ```text
//! config text --Config--> Plan (validated)    table file --Table--> rows by split --fit--> Dataset
//!                 Plan + Dataset --Experiment--> run folder: model/ (the bundle), statistics, predictions, report.html
//!                                   model/ --Predictor--> predictions for any table with the same columns
//! ```
//!
//! ```
//! let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=5")?;
//! let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
//! let row = model.predict([("bill_length_mm", 39.1), ("flipper_length_mm", 181.0)])?;
//! println!("{}", row["species"]);
//! # Ok::<(), mbm::Error>(())
//! ```
//!
//! [`train`] and [`Model`] are enough for most programs. [`Experiment`] trains in a run folder that can be resumed, with progress
//! and a report; [`Embedding`], [`build_index`] and [`Retriever`] are retrieval; [`GenerationSession`] is translation and
//! captioning with its settings.

mod bundle;
mod config;
mod error;
mod inspect;
mod model;
mod predict;
mod report;
mod retrieve;
mod run;

pub use bundle::{BundleError, model_hash};
pub use config::features::{Config, FeatureError, InputFeature, OutputFeature, PreprocessingSettings};
pub use config::infer::{TargetError, infer_config};
pub use config::plan::Plan;
pub use config::reference::{ReferencePage, config_schema, reference_pages};
pub use config::source::ConfigSource;
pub use error::Error;
pub use inspect::{convert_weights, inspect_bundle, inspect_dataset, inspect_weights};
pub use mbm_data::{CacheInfo, FeatureCache};
pub use mbm_model::decoder::{Decoding, DecodingSettings};
pub use mbm_train::{Ending, Event};
pub use model::{IntoTable, Model, PredictedRow, train};
pub use predict::cells::{CellError, CellErrors};
pub use predict::columns::ColumnsError;
pub use predict::explain::Contribution;
pub use predict::forward::{ShouldContinue, TextListener};
pub use predict::generation::{GeneratedText, GenerationError, GenerationSession};
pub use predict::prediction::{Prediction, class_names, columns};
pub use predict::predictor::Predictor;
pub use predict::table::{Evaluation, Predicted, ReadOptions, table_from_json};
pub use predict::writer::{ColumnType, OutputColumn, OutputError, OutputFormat, TableWriter, Value};
pub use report::gallery;
pub use retrieve::embed::{Embedded, Embedding, RowVectors, Tower};
pub use retrieve::indexing::{
    IndexRows, IndexSettings, IndexSourceError, Indexed, Indexing, VectorOrigin, VectorSource, add_to_index, build_index,
};
pub use retrieve::query::{QueryError, QueryPart};
pub use retrieve::retriever::{Retriever, parse_filter};
pub use retrieve::store::{Index, Store, remove_from_index};
pub use run::compare::{Comparison, ComparisonFolder, combiner_names, compare};
pub use run::experiment::{Experiment, Outcome, RunEvent};
pub use run::folder::Start;
pub use run::manifest::{ConfigDifference, ResumeError};

pub use mbm_config::Format as ConfigFormat;
pub use mbm_data::{
    Cause, Cell, Fault, FaultReport, Field, FieldFault, Payload, Preprocessor, RowStatus, Sample, Table, Unreadable,
};
pub use mbm_index::{Cancellation, Filter, GraphSettings, Hit, IndexInfo, IndexValue, Precision, Search};
