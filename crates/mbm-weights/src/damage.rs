//! What can be wrong with a weight file, in any format.

use std::error::Error;

/// What is wrong with a weight file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A JSON file that is too long.
    #[error("longer than {limit} bytes")]
    LongJson {
        /// Maximum number of bytes.
        limit: u64,
    },
    /// An index of shards that is not JSON of the expected form.
    #[error(transparent)]
    Index(serde_json::Error),
    /// Too many shards.
    #[error("{found} shards, at most {limit} are allowed")]
    TooManyShards {
        /// Number of shards.
        found: usize,
        /// Its maximum.
        limit: usize,
    },
    /// A shard that lies elsewhere.
    #[error("'{0}' is not a file in this folder")]
    OutsideFolder(String),
    /// A shard that is listed twice.
    #[error("shard '{0}' is listed twice")]
    DuplicateShard(String),
    /// A shard without a tensor that the index says it has.
    #[error("tensor '{tensor}' is not in '{shard}'")]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A file that ends within the length of its header.
    #[error("{n_bytes} bytes, too short for the length of a header")]
    NoHeader {
        /// Size of the file.
        n_bytes: u64,
    },
    /// A header that is longer than the file, or too long.
    #[error("a header of {length} bytes in a file of {n_bytes}")]
    LongHeader {
        /// Declared length of the header.
        length: u64,
        /// Size of the file.
        n_bytes: u64,
    },
    /// A header that is not JSON of the expected form.
    #[error("its header: {0}")]
    Header(#[source] serde_json::Error),
    /// A file of another size than its header declares.
    #[error("{n_bytes} bytes, its header declares {start} + {n_data}")]
    Size {
        /// Size of the file.
        n_bytes: u64,
        /// Offset of the values.
        start: u64,
        /// Declared size of the values.
        n_data: usize,
    },
    /// A file that is not a model of TensorFlow.js.
    #[error("not a TensorFlow.js model: {0}")]
    NotTensorFlowJs(#[source] serde_json::Error),
    /// Shards of another size than their tensors.
    #[error("its tensors take {n_bytes} bytes, its shards hold {n_held}")]
    ShardSize {
        /// Size of the tensors.
        n_bytes: u64,
        /// Size of the shards.
        n_held: u64,
    },
    /// A tensor of an unsupported type.
    #[error("tensor '{tensor}': unsupported type {found}")]
    UnsupportedType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor with quantized values.
    #[error("tensor '{0}': quantized weights are not supported")]
    Quantized(String),
    /// A tensor that is too large for any file.
    #[error("tensor '{0}' is too large")]
    TensorTooLarge(String),
    /// Two tensors of the same name.
    #[error("duplicate tensor '{0}'")]
    DuplicateTensor(String),
    /// A tensor with too many dimensions.
    #[error("tensor '{tensor}' has {rank} dimensions, at most {limit} are allowed")]
    Rank {
        /// The tensor.
        tensor: String,
        /// Number of its dimensions.
        rank: usize,
        /// Its maximum.
        limit: usize,
    },
    /// A tensor with another number of values than its shape.
    #[error("tensor '{tensor}' of shape {shape:?} holds {n_values} values")]
    ValueCount {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of its values.
        n_values: usize,
    },
    /// A tensor that another format cannot hold.
    #[error("tensor '{tensor}': {source}")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// A file without tensors.
    #[error("it contains no tensors")]
    NoTensors,
    /// Tensors that are far larger than their file.
    #[error(
        "with tensor '{tensor}' of shape {shape:?} its tensors take {n_unfolded} bytes; a file of {n_bytes} bytes may expand to at most {limit}"
    )]
    TensorsTooLarge {
        /// The first tensor that takes too much.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Size of the tensors so far.
        n_unfolded: u64,
        /// Size of the file.
        n_bytes: u64,
        /// Maximum size of the tensors.
        limit: u64,
    },
    /// An archive that is far larger when it is decompressed.
    #[error("{n_bytes} bytes that decompress to {n_unfolded}; the limit is {limit}")]
    ArchiveTooLarge {
        /// Size of the file.
        n_bytes: u64,
        /// Its decompressed size.
        n_unfolded: u64,
        /// Maximum of the decompressed size.
        limit: u64,
    },
    /// A pickle that is far larger when it is read.
    #[error("its pickle copies memoized values until they are far larger than the file")]
    PickleTooLarge,
    /// A pickle that is nested too deeply.
    #[error("its pickle is nested deeper than {limit} levels")]
    PickleTooDeep {
        /// Maximum depth.
        limit: u32,
    },
    /// Another error of the reader of PyTorch files.
    #[error(transparent)]
    PyTorch(Box<dyn Error + Send + Sync>),
    /// A file that does not begin with a word and numbers.
    #[error("not word vectors: expected a word and numbers per line")]
    NotWordVectors,
    /// A line that is too long.
    #[error("line {line} is longer than {limit} bytes")]
    LongLine {
        /// The line, starting at 1.
        line: usize,
        /// Maximum number of bytes.
        limit: u64,
    },
    /// A line that is not UTF-8.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// The line, starting at 1.
        line: usize,
    },
    /// A line with another number of values than the first.
    #[error("line {line}: expected a word and {width} numbers")]
    VectorWidth {
        /// The line, starting at 1.
        line: usize,
        /// Expected number of values.
        width: usize,
    },
    /// A value that is not a finite number.
    #[error("line {line}: '{word}' has a value that is not a finite number")]
    NotANumber {
        /// The line, starting at 1.
        line: usize,
        /// The word.
        word: String,
    },
}
