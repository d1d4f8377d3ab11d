//! Parameters to and from one safetensors file: names are paths in the model, bytes are the same for the same parameters.

use std::path::Path;

use burn::store::{ModuleSnapshot, ModuleStore, SafetensorsStore};

use crate::Model;

/// The parameter that stands for the absent cells of all inputs without a learnt encoder.
const BLOCK: &str = "block.absence";

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
    model.save_into(&mut store).map_err(|diagnostic| error(diagnostic.to_string()))
}

/// Reads the parameters of a model of the same kind, also from a file in which every input has an absence of its own.
///
/// # Errors
/// A file that cannot be read, or whose tensors are not the model's.
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
    let message = format!("missing: {:?}, left over: {:?}, wrong: {:?}", result.missing, result.unused, result.errors);
    Err(WeightsError::Mismatch { path: path.display().to_string(), message })
}
