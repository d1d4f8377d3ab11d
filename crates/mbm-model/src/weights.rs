//! Saving and loading of model weights as one safetensors file. Names are paths in the model; equal parameters produce
//! equal bytes.

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::store::{ApplyError, ApplyResult, ModuleSnapshot, ModuleStore, SafetensorsStore};

use crate::Model;

/// The parameter with the values of absent cells for all inputs without a trainable encoder.
const BLOCK: &str = "block.absence";

/// An error of saving or loading model weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file's tensors do not match the model.
    #[error("{}: missing: {missing:?}, unexpected: {unexpected:?}, errors: {errors:?}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Parameters that the file lacks, each with the modules that it is part of.
        missing: Vec<(String, String)>,
        /// Tensors that are not parameters.
        unexpected: Vec<String>,
        /// Tensors of another shape or type.
        errors: Vec<ApplyError>,
    },
}

impl WeightsError {
    fn file<E: Into<Box<dyn Error + Send + Sync>>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::File { path: path.to_path_buf(), source: error.into() }
    }
}

/// Writes the parameters, sorted by name, without metadata (whose order would differ from run to run).
///
/// # Errors
/// If the file cannot be written.
pub fn save_weights(model: &Model, path: &Path) -> Result<(), WeightsError> {
    let mut store = SafetensorsStore::from_file(path).overwrite(true).clear_metadata();
    model.save_into(&mut store).map_err(WeightsError::file(path))
}

/// Loads the parameters of a model of the same architecture; also reads files in which every input has its own absence embedding.
///
/// # Errors
/// If the file cannot be read or its tensors do not match the model.
pub fn load_weights(model: Model, path: &Path) -> Result<Model, WeightsError> {
    let mut store = SafetensorsStore::from_file(path);
    let is_split = model.has_block() && {
        let names = store.keys().map_err(WeightsError::file(path))?;
        !names.iter().any(|name| name == BLOCK)
    };
    let mut model = if is_split { model.without_block() } else { model };
    let result = model.load_from(&mut store).map_err(WeightsError::file(path))?;
    if result.is_success() && result.missing.is_empty() && result.unused.is_empty() {
        return Ok(if is_split { model.with_block() } else { model });
    }
    let ApplyResult { missing, unused: unexpected, errors, .. } = result;
    Err(WeightsError::Mismatch { path: path.to_path_buf(), missing, unexpected, errors })
}
