//! Reads config files into typed settings and locates every mistake.
//!
//! ```text
//! YAML | JSON | TOML --parse--> Node (values with their lines) --Setting::read--> typed settings
//!                                                            \--> Diagnostics: line, key path, what is allowed
//! ```
//!
//! Other crates declare their settings where they use them, with [`settings!`], [`tagged!`] and [`choices!`]; this crate knows
//! nothing about features or encoders. Reading collects all problems instead of stopping at the first, and an unknown key is a
//! problem.
//!
//! ```
//! use mbm_config::{Diagnostics, Format, Node, Setting, settings};
//! settings! {
//!     /// Settings of the trainer.
//!     pub struct Steps {
//!         /// Rows per batch.
//!         batch_size: usize = 64 => 1..=65536;
//!     }
//! }
//! let node = Node::parse("batch_sise: 3", Format::Yaml).unwrap();
//! let mut diagnostics = Diagnostics::default();
//! assert!(Steps::read(&node, "trainer", &mut diagnostics).is_none());
//! assert!(diagnostics.to_string().contains("did you mean 'batch_size'"));
//! ```

// The macros refer to this crate by its name, even inside it.
extern crate self as mbm_config;

mod diagnostic;
mod limits;
mod ludwig;
mod macros;
mod mistakes;
mod node;
mod parse;
pub mod schema;
mod setting;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, closest, excerpt, some_of};
pub use limits::{LongKey, MAX_CONFIG_BYTES, MAX_DEPTH, check_json_depth};
pub use mistakes::Mistakes;
pub use node::{Entry, Node, SetError, Value};
pub use parse::Format;
#[doc(hidden)]
pub use setting::read_word;
pub use setting::{Fields, Range, Section, Setting, defaults};
pub use yaml::to_yaml;

#[doc(hidden)]
pub use serde;
