//! Errors of tables that are made of Arrow batches or cells.

use arrow_schema::{ArrowError, DataType};
use mbm_config::MAX_DEPTH;

/// Rows that a table cannot hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A batch with other fields than those before it.
    #[error("a record batch does not have the fields of the schema")]
    OtherFields,
    /// A column of a batch that cannot be read.
    #[error("column '{column}': {source}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong.
        source: ColumnError,
    },
    /// A row that is too large.
    #[error("its cells take more than 4 GiB")]
    RowTooLarge,
    /// Cells that are too large in total.
    #[error("{TOO_LARGE}")]
    TooLarge,
}

/// A column of an Arrow batch that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// A type that is nested too deeply.
    #[error("types nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A type that no cell has.
    #[error("the Arrow type {0} is not supported")]
    Unsupported(DataType),
    /// A value of a mixed column that is not a cell.
    #[error("row {row}: not a cell of any kind")]
    NotACell {
        /// The row of the batch, starting at 1.
        row: usize,
    },
    /// Cells that are too large in total.
    #[error("{TOO_LARGE}")]
    TooLarge,
    /// An error of Arrow.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

const TOO_LARGE: &str = "the cells up to this row take far more bytes than the file";
