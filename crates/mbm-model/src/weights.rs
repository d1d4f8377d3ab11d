//! Parameters to and from one safetensors file: names are paths in the model, bytes are the same for the same parameters.

use std::path::Path;

use burn::store::{ModuleSnapshot, SafetensorsStore};

use crate::Model;

/// What can go wrong with a file of weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: String,
        /// What was said.
        message: String,
    },
    /// The file's tensors are not those of the model.
    #[error("{path}: {message}")]
    Mismatch {
        /// The file.
        path: String,
        /// Which tensors are missing, left over, or of another shape.
        message: String,
    },
}

/// Writes the parameters, sorted by name, without metadata (its order would differ from run to run).
///
/// # Errors
/// A file that cannot be written.
pub fn save_weights(model: &Model, path: &Path) -> Result<(), WeightsError> {
    let error = |message: String| WeightsError::File { path: path.display().to_string(), message };
    let mut store = SafetensorsStore::from_file(path).overwrite(true).clear_metadata();
    model.save_into(&mut store).map_err(|problem| error(problem.to_string()))
}

/// Reads the parameters of a model of the same kind.
///
/// # Errors
/// A file that cannot be read, or whose tensors are not the model's.
pub fn load_weights(mut model: Model, path: &Path) -> Result<Model, WeightsError> {
    let error = |message: String| WeightsError::File { path: path.display().to_string(), message };
    let mut store = SafetensorsStore::from_file(path);
    let result = model.load_from(&mut store).map_err(|problem| error(problem.to_string()))?;
    if result.is_success() && result.missing.is_empty() && result.unused.is_empty() {
        return Ok(model);
    }
    let message = format!("missing: {:?}, left over: {:?}, wrong: {:?}", result.missing, result.unused, result.errors);
    Err(WeightsError::Mismatch { path: path.display().to_string(), message })
}
