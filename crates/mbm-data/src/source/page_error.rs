//! What is wrong with a page of a Parquet file.

use std::io;

/// A page of a Parquet file that declares too much, or is malformed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The file cannot be read, or a page cannot be decompressed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A number of rows below zero or beyond 64 bits.
    #[error("the number of rows is negative or too large")]
    RowCount,
    /// More of something than the size of the file allows.
    #[error(
        "{found} {quantity}, the limit for a file of this size is {limit}; rewrite it without compression if that is intended"
    )]
    Limit {
        /// What is limited, such as `rows`.
        quantity: &'static str,
        /// Its declared number.
        found: u64,
        /// Its maximum.
        limit: u64,
    },
    /// An error of one column.
    #[error("column {column}: {source}")]
    Column {
        /// The path of the column.
        column: String,
        /// What is wrong.
        source: Box<PageError>,
    },
    /// A column whose pages do not lie in a file.
    #[error("its offset or size is negative")]
    NegativeOffset,
    /// A page without a header.
    #[error("a page has no header")]
    NoHeader,
    /// A page that is longer than its column.
    #[error("a page of {n_bytes} bytes extends beyond its column")]
    BeyondColumn {
        /// Declared size of the page.
        n_bytes: u64,
    },
    /// Declared levels that are longer than their page.
    #[error("the levels of a page are longer than the page")]
    LongLevels,
    /// A gzip page that is larger than declared.
    #[error("a page expands to more than its header declares")]
    Expands,
    /// Levels that do not lie in their page.
    #[error("the levels of a page extend beyond it")]
    LevelsBeyondPage,
    /// Delta-encoded lengths that are malformed, or more than the values.
    #[error("invalid lengths in a page of {n_values} values")]
    DeltaLengths {
        /// Number of values of the page.
        n_values: u64,
    },
}
