//! Saving and loading of model weights as one safetensors file. Names are paths in the model; equal parameters produce
//! equal bytes.

use std::path::Path;

use burn::store::{ModuleSnapshot, ModuleStore, SafetensorsStore};

use crate::Model;

/// The parameter with the values of absent cells for all inputs without a trainable encoder.
const BLOCK: &str = "block.absence";

/// An error of saving or loading model weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// The cause.
        message: String,
    },
    /// The file's tensors do not match the model.
    #[error("{path}: {message}")]
    Mismatch {
        /// The file.
        path: String,
        /// Which tensors are missing, unexpected, or of the wrong shape.
        message: String,
    },
}

/// Writes the parameters, sorted by name, without metadata (whose order would differ from run to run).
///
/// # Errors
/// If the file cannot be written.
pub fn save_weights(model: &Model, path: &Path) -> Result<(), WeightsError> {
    let error = |message: String| WeightsError::File { path: path.display().to_string(), message };
    let mut store = SafetensorsStore::from_file(path).overwrite(true).clear_metadata();
    model.save_into(&mut store).map_err(|diagnostic| error(diagnostic.to_string()))
}

/// Loads the parameters of a model of the same architecture; also reads files in which every input has its own absence embedding.
///
/// # Errors
/// If the file cannot be read or its tensors do not match the model.
pub fn load_weights(model: Model, path: &Path) -> Result<Model, WeightsError> {
    let error = |message: String| WeightsError::File { path: path.display().to_string(), message };
    let mut store = SafetensorsStore::from_file(path);
    let is_split = model.has_block() && {
        let names = store.keys().map_err(|diagnostic| error(diagnostic.to_string()))?;
        !names.iter().any(|name| name == BLOCK)
    };
    let mut model = if is_split { model.without_block() } else { model };
    let result = model.load_from(&mut store).map_err(|diagnostic| error(diagnostic.to_string()))?;
    if result.is_success() && result.missing.is_empty() && result.unused.is_empty() {
        return Ok(if is_split { model.with_block() } else { model });
    }
    let message = format!("missing: {:?}, unexpected: {:?}, errors: {:?}", result.missing, result.unused, result.errors);
    Err(WeightsError::Mismatch { path: path.display().to_string(), message })
}
