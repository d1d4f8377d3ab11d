//! Word vectors as text, such as GloVe's.

use std::path::Path;

use serde_json::{Map, json};

use super::implied::{Implied, map};
use super::{Incompatibility, PretrainedError};

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    let width = mbm_weights::word_vector_width(weights)?;
    Ok(Implied { encoder: map(json!({"embedding_size": width})), preprocessing: Map::new() })
}

/// Reads the vectors of those tokens that a file has.
///
/// # Errors
/// If the file cannot be read, or has no vector of any token.
pub(super) fn read(path: &Path, vocabulary: &[String]) -> Result<Vec<Option<Vec<f32>>>, PretrainedError> {
    let vectors = mbm_weights::read_word_vectors(path, vocabulary)?;
    if vectors.iter().all(Option::is_none) {
        let source = Incompatibility::NoKnownWord { tokens: vocabulary.iter().skip(2).take(5).cloned().collect() };
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), source });
    }
    Ok(vectors)
}
