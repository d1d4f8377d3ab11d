//! From a model and a table to vectors, an index, and the rows that are nearest to a query.

pub mod embed;
pub mod embedded_rows;
pub mod indexing;
pub mod query;
pub mod retriever;
pub mod store;
