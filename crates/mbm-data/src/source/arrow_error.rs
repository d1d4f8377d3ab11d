//! What is wrong with an Arrow IPC file, or with one of its messages.

use arrow_schema::ArrowError;

use super::MAX_COLUMNS;
use crate::catch_panic::DECODER_FAILED;

/// What is wrong with an Arrow IPC file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArrowFileError {
    /// The footer cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The first version of Feather, another format.
    #[error("version 1 of Feather is not supported; write it again, for example with pyarrow.feather")]
    FeatherV1,
    /// Another format.
    #[error("not an Arrow IPC file or stream")]
    NotArrow,
    /// A file that does not end as it should.
    #[error("the file is truncated: it has no footer")]
    NoFooter,
    /// A footer that is not in Arrow's format.
    #[error("the footer is malformed")]
    MalformedFooter,
    /// A footer without a schema.
    #[error("the footer has no schema")]
    NoSchema,
    /// Numbers in another byte order.
    #[error("its numbers have the bytes of another processor's order")]
    ByteOrder,
    /// No columns, or too many.
    #[error("{0} columns, a table must have 1 to {MAX_COLUMNS}")]
    ColumnCount(usize),
    /// Too many dictionaries.
    #[error("{n_dictionaries} dictionaries for {n_columns} columns")]
    TooManyDictionaries {
        /// Number of dictionaries.
        n_dictionaries: usize,
        /// Number of columns.
        n_columns: usize,
    },
    /// The footer declares a message that does not lie in the file.
    #[error("a message extends beyond the file")]
    BeyondFile,
    /// The footer declares messages that share bytes.
    #[error("the messages of the file overlap")]
    Overlap,
    /// A message that declares too much, or is malformed.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Another error of the decoder.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The decoder panicked.
    #[error("{DECODER_FAILED}")]
    Panicked,
}

/// A message of an Arrow IPC file that declares too much, or is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A message that is shorter than the footer declares.
    #[error("a message is truncated")]
    Truncated,
    /// A message without a header.
    #[error("a message has no header")]
    NoHeader,
    /// A header that is not in Arrow's format.
    #[error("the header of a message is malformed")]
    MalformedHeader,
    /// A message of another kind, or part of a dictionary.
    #[error("a message holds neither rows nor a dictionary")]
    NoRows,
    /// A number of rows below zero.
    #[error("a negative number of rows")]
    NegativeRows,
    /// An impossible number of missing values.
    #[error("{n_null} missing values of {length}")]
    NullCount {
        /// Number of missing values.
        n_null: i64,
        /// Number of values.
        length: u64,
    },
    /// More values than the size of the file allows.
    #[error("more values than a file of this size can hold")]
    TooManyValues,
    /// A buffer that does not lie in its message.
    #[error("a buffer extends beyond its message")]
    BufferBeyondMessage,
    /// Buffers that share bytes.
    #[error("the buffers of a message overlap")]
    OverlappingBuffers,
    /// A compressed message that expands to too many bytes.
    #[error(
        "{n_bytes} bytes of a message, the limit for a message of this size is {limit}; rewrite it without compression if that is intended"
    )]
    TooLarge {
        /// Declared number of bytes.
        n_bytes: u64,
        /// Its maximum.
        limit: u64,
    },
    /// A compressed buffer that does not begin with its size.
    #[error("a compressed buffer without its size")]
    NoBufferSize,
    /// A compressed buffer with a size below zero.
    #[error("a compressed buffer of negative size")]
    NegativeBufferSize,
}
