//! The text of a config file, read into typed settings with every mistake placed.
//!
//! ```text
//! YAML | JSON | TOML --parse--> Node (values with their lines) --Setting::read--> typed settings
//!                                                            \--> Problems: line, key's path, what is allowed
//! ```
//!
//! The crates above declare their settings where they are used, with [`settings!`], [`tagged!`] and [`choices!`]; nothing
//! here knows what a feature or an encoder is. A reader collects problems instead of stopping at the first, and a key
//! that no one reads is a problem.
//!
//! ```
//! use mbm_config::{Format, Node, Problems, Setting, settings};
//! settings! {
//!     /// How an optimizer steps.
//!     pub struct Steps {
//!         /// Rows in a batch.
//!         batch_size: usize = 64 => 1..=65536;
//!     }
//! }
//! let node = Node::parse("batch_sise: 3", Format::Yaml).unwrap();
//! let mut problems = Problems::default();
//! assert!(Steps::read(&node, "trainer", &mut problems).is_none());
//! assert!(problems.to_string().contains("did you mean 'batch_size'"));
//! ```

// The macros name this crate by its name, also from within.
extern crate self as mbm_config;

mod diagnostic;
mod limits;
mod ludwig;
mod macros;
mod node;
mod parse;
mod setting;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, closest, excerpt, some_of};
pub use limits::{MAX_CONFIG_BYTES, MAX_DEPTH, check_json_depth};
pub use node::{Entry, Node, Value};
pub use parse::Format;
#[doc(hidden)]
pub use setting::as_str;
pub use setting::{Fields, Range, Section, Setting, defaults};
pub use yaml::to_yaml;

#[doc(hidden)]
pub use serde;
