//! Any bytes as the learners of a bundle, with matching hashes: an error or a model that predicts, never a panic.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::bundle::{replace, seeds_of, train};

const CONFIG: &str = "
input_features:
  - {name: notes, type: text, encoder: {type: embed, embedding_size: 4}}
  - {name: size, type: number}
  - {name: pulse, type: timeseries}
output_features:
  - {name: kind, type: category}
  - {name: price, type: number}
combiner: {type: concat, num_fc_layers: 1, output_size: 4}
trainer: {epochs: 1, batch_size: 8}
learners:
  - {type: network, weights: [0.2, 0.2]}
  - {type: boosted_trees, max_rounds: 3, weights: [0.2, 0.2]}
  - {type: extra_trees, n_trees: 2, weights: [0.2, 0.2]}
  - {type: linear, weights: [0.2, 0.2]}
  - {type: svm, weights: [0.2, 0.2]}
ensemble: {k_fold: 2}
";

/// Returns the run folder of a small ensemble, which is trained once.
fn template() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| train(CONFIG)).path()
}

const FILES: [&str; 2] = ["bundle.json", "learners.safetensors"];

/// Returns the files of the template as inputs of [`run`].
pub fn seeds() -> Vec<Vec<u8>> {
    seeds_of(template(), &FILES)
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    replace(template(), &FILES, bytes);
}
