//! What can be wrong with a file of weights.

use std::path::{Path, PathBuf};

/// An error, with the file that it is about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system could not read it.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: std::io::Error,
    },
    /// No kind of file that is read here.
    #[error(
        "{path}: {found}; weights are read from .safetensors, PyTorch's .pt, .pth and .bin, TensorFlow.js's model.json, a Hugging Face folder, or hf://owner/name"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// It contradicts itself, ends early, or wants something that is never done, such as running code.
    #[error("{path}: damaged or refused: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A name on the hub whose weights are not here and cannot be had.
    #[error("hf://{name}: {message}")]
    Hub {
        /// What stands after `hf://`.
        name: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// It holds no tensor of that name.
    #[error("{path}: no tensor '{name}'")]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, message: impl ToString) -> Self {
        Self::Damaged { path: path.to_path_buf(), message: message.to_string() }
    }
}
