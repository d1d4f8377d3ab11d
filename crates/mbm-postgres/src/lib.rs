//! Vector indexes in PostgreSQL with pgvector (0.8 or later). Searches return the same rows as an index in a folder.
//!
//! An index is a table with the columns `mbm_id` and `mbm_embedding` (unit vectors, `vector` or `halfvec`) and one for each
//! column of the index. Its comment holds the [`mbm_index::IndexSpec`]. Every modification is one transaction, so readers see
//! either the old rows or the new ones.

mod error;
mod table;
mod writer;

pub use error::PostgresError;
pub use table::PostgresIndex;
pub use writer::{PostgresWriter, remove};
