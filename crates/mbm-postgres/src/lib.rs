//! Vectors in PostgreSQL with pgvector (0.8 and later), and the nearest ones to a vector: the same rows as an index in a folder finds.
//!
//! An index is a table: `mbm_id`, `mbm_embedding` (unit vectors, `vector` or `halfvec`), and a column for each of the index's. Its comment
//! holds the [`mbm_index::IndexSpec`]. What is written is written in one transaction, so readers see the rows of before or those of after.

mod error;
mod table;
mod write;

pub use error::PostgresError;
pub use table::PostgresIndex;
pub use write::{PostgresAddition, remove};
