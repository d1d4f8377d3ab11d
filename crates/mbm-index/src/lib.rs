//! Vector indexes on disk: exact and approximate nearest-neighbor search in 32, 16 or 8 bits, with columns to filter by.
//!
//! ```text
//! IndexWriter (rows) --finish--> segment: vectors, columns, graph --rename of index.json--> Index --search--> hits
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
mod index_writer;
mod neighbors;
mod sealed;
mod segment;
mod vectors;

pub use cancellation::{CancelOnDrop, Cancellation};
pub use columns::{IndexColumn, IndexValue};
pub use damage::Damage;
pub use error::IndexError;
pub use filter::{Filter, quoted_name, quoted_text};
pub use graph::GraphSettings;
pub use index::{Hit, Index, IndexInfo, IndexSpec, Search};
pub use index_writer::{IndexWriter, remove};
pub use vectors::{Precision, unit};
