//! Declarative multimodal learning: from one config and one table to a trained, evaluated and explained model.
//!
//! ```text
//! config text --Config--> Plan (validated)    table file --Table--> rows by split --fit--> Dataset
//!                 Plan + Dataset --Experiment--> run folder: model/ (the bundle), statistics, predictions, report.html
//!                                   model/ --Predictor--> predictions for any table with the same columns
//! ```
//!
//! ```no_run
//! # fn main() -> Result<(), mbm::Error> {
//! let plan = mbm::Plan::read_file("config.yaml".as_ref(), &[])?;
//! let experiment = mbm::Experiment { plan, dataset: "digits.csv".into(), folder: "results/digits".into(), start: mbm::Start::New, cache: None };
//! let outcome = experiment.run(&Default::default(), &mut |_| {})?;
//! println!("{:?}", outcome.test_statistics);
//! # Ok(())
//! # }
//! ```

mod ablation;
mod bundle;
mod compare;
mod config;
mod embed;
mod error;
mod experiment;
mod indexing;
mod infer;
mod inspect;
mod matching;
mod plan;
mod postprocessor;
mod prediction;
mod predictor;
mod pretrained_defaults;
mod reference;
mod report;
mod retrieval;
mod retriever;
mod row;
mod run_folder;
mod run_manifest;
mod score;
mod store;
mod suspect;
mod texts;
mod write;
mod writing;

pub use bundle::model_hash;
pub use compare::{Comparison, ComparisonFolder, combiner_names, compare};
pub use config::{Config, InputFeature, OutputFeature, PreprocessingSettings};
pub use embed::{Embedded, Embedding, Tower, Vectors};
pub use error::Error;
pub use experiment::{Experiment, Outcome, RunEvent};
pub use indexing::{IndexRows, IndexSettings, Indexed, Indexing, Origin, VectorSource, add_to_index, build_index};
pub use infer::infer_config;
pub use inspect::{convert_weights, inspect_bundle, inspect_dataset, inspect_weights};
pub use mbm_data::{CacheInfo, FeatureCache};
pub use mbm_model::decoder::{Decoding, DecodingSettings};
pub use mbm_train::Event;
pub use plan::Plan;
pub use prediction::{Prediction, class_names, columns};
pub use predictor::{Evaluation, GoesOn, Hear, Predictor, table_from_json};
pub use reference::{ReferencePage, config_schema, reference_pages};
pub use report::gallery;
pub use retriever::{QueryPart, Retriever, parse_filter};
pub use row::{Contribution, Row, Verdict};
pub use run_folder::Start;
pub use store::{Index, Store, remove_from_index};
pub use write::{Column, Format, Kind, Value, Writer};
pub use writing::{GeneratedText, GenerationSession};

pub use mbm_config::Format as ConfigFormat;
pub use mbm_data::{Cause, Cell, Fault, FaultReport, Field, Payload, Preprocessor, Table, Unreadable};
pub use mbm_index::{Cancellation, Filter, GraphSettings, Hit, IndexInfo, Precision, Search, Value as IndexValue};
