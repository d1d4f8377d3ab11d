//! Errors of reading weights.

use std::path::{Path, PathBuf};

use crate::{Damage, HubError};

/// An error, with the file that it concerns.
#[derive(Debug, thiserror::Error)]
pub enum WeightFileError {
    /// An I/O error.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file in an unsupported format.
    #[error(
        "{path}: {found}; supported are .safetensors, PyTorch's .pt, .pth and .bin, TensorFlow.js's model.json, a Hugging Face folder, and hf://owner/name"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        found: &'static str,
    },
    /// A file that is inconsistent, ends early, or requires something that is never done, such as running code.
    #[error("{path}: damaged or refused: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<Damage>,
    },
    /// Weights on the Hugging Face Hub that are neither cached nor can be downloaded.
    #[error("hf://{name}: {source}")]
    Hub {
        /// The name after `hf://`.
        name: String,
        /// What is wrong, and what to do.
        source: Box<HubError>,
    },
    /// The file has no tensor of that name.
    #[error("{path}: no tensor '{name}'")]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The requested name.
        name: String,
    },
}

impl WeightFileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, damage: Damage) -> Self {
        Self::Damaged { path: path.to_path_buf(), source: Box::new(damage) }
    }

    pub(crate) fn no_tensor(path: &Path, name: &str) -> impl FnOnce() -> Self {
        move || Self::NoTensor { path: path.to_path_buf(), name: name.to_owned() }
    }
}
