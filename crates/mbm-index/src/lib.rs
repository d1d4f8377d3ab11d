//! Vector indexes on disk: exact and approximate nearest-neighbor search in 32, 16 or 8 bits, with columns to filter by.
//!
//! ```text
//! Addition (rows) --finish--> segment: vectors, columns, graph --rename of index.json--> Index --search--> hits
//! ```
//!
//! An index is a folder. Its files are written once and never changed; `index.json` lists the files that belong to the index and
//! is replaced atomically, so readers, writers and a kill at any moment do not interfere with each other.

mod cancellation;
mod columns;
mod damage;
mod error;
mod exact;
mod filter;
mod graph;
mod index;
mod near;
mod sealed;
mod segment;
mod vectors;
mod write;

pub use cancellation::{CancelOnDrop, Cancellation};
pub use columns::{Column, Value};
pub use damage::Damage;
pub use error::IndexError;
pub use filter::{Filter, quoted_name, quoted_text};
pub use graph::GraphSettings;
pub use index::{Hit, Index, IndexInfo, IndexSpec, Search};
pub use vectors::{Precision, unit};
pub use write::{Addition, remove};
