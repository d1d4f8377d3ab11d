//! From a config file, or a table alone, to a validated plan.

pub mod features;
pub mod infer;
pub mod plan;
pub mod pretrained_defaults;
pub mod reference;
pub mod source;
