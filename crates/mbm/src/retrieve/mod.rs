//! From a model and a table to vectors, an index, and the rows that are nearest to a query.

pub mod embed;
pub mod indexing;
pub mod retriever;
pub mod store;
pub mod vectors;
