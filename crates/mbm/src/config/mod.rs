//! From a config file, or a table alone, to a validated plan.

mod default_network;
pub mod features;
pub mod infer;
mod nodes;
pub mod plan;
pub mod pretrained_defaults;
mod pretrained_encoders;
pub mod reference;
pub mod source;
