//! From rows to predictions, their metrics and their explanations.

pub mod ablation;
pub mod cells;
pub mod columns;
pub mod embedded_rows;
pub mod explain;
pub mod forward;
pub mod generation;
pub mod pass;
pub mod postprocessor;
pub mod prediction;
pub mod predictor;
pub mod query;
pub mod score;
pub mod sinks;
pub mod table;
pub mod text_rows;
pub(crate) mod trees;
pub mod vectors;
pub mod writer;
