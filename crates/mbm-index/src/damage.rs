//! What can be wrong with the files of an index.

/// What is wrong with a file of an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A file that is not JSON of the expected form, or has no such footer.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// An unknown version.
    #[error("the index has format {found}; this version reads format {expected}")]
    Format {
        /// The version of the index.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// Vectors without values.
    #[error("the vectors have width 0")]
    ZeroWidth,
    /// A segment with other vectors or columns than the index.
    #[error("segment {segment} belongs to another index")]
    OtherIndex {
        /// The number of the segment.
        segment: u64,
    },
    /// A segment whose files have different numbers of rows.
    #[error("found {n_vectors} vectors and {n_rows} rows of columns, expected {expected}")]
    RowCount {
        /// Number of vectors.
        n_vectors: usize,
        /// Number of rows of columns.
        n_rows: usize,
        /// Number of rows of the segment.
        expected: usize,
    },
    /// A removed row that the segment does not have.
    #[error("removed row {row} is out of range for {n_rows} rows")]
    RemovedRow {
        /// The row, from 0.
        row: u32,
        /// Number of rows of the segment.
        n_rows: usize,
    },
    /// A file without room for a footer.
    #[error("the file is too short")]
    TooShort,
    /// A file that does not end as one of an index.
    #[error("not an index file, or truncated")]
    NotAnIndexFile,
    /// A file with another hash.
    #[error("hash mismatch: the file has changed since it was written")]
    Hash,
    /// A footer that is longer than its file.
    #[error("the footer is longer than the file")]
    LongFooter,
    /// A file with fewer numbers than its footer declares.
    #[error("expected {n} numbers at byte {start}")]
    Numbers {
        /// Number of numbers.
        n: usize,
        /// Where they should start.
        start: usize,
    },
    /// Texts that do not lie in their file.
    #[error("the ends of texts are invalid")]
    TextEnds,
    /// A graph of another segment, or an impossible one.
    #[error("invalid graph of {found} vectors, expected {expected}")]
    Graph {
        /// Number of vectors of the graph.
        found: usize,
        /// Number of vectors of the segment.
        expected: usize,
    },
    /// An impossible number of vectors or values.
    #[error("invalid size: {n_rows} vectors of width {width}")]
    Size {
        /// Number of vectors.
        n_rows: usize,
        /// Values of a vector.
        width: usize,
    },
    /// More vectors than a file can have bytes.
    #[error("more vectors than a file can hold")]
    TooManyVectors,
}
