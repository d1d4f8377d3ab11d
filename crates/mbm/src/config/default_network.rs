//! The network for a table without a config, sized to its rows.

use mbm_config::{Entry, Node, Value};

use crate::config::nodes::{entry, float, int, map, text};
use crate::learn::settings::Preset;

/// The network for a table of some rows.
pub(super) struct DefaultNetwork {
    n_rows: usize,
    n_inputs: usize,
    preset: Preset,
}

/// Number of rows from which numbers are encoded in bins; with fewer rows, the network would learn so many inputs by heart.
const MIN_ROWS_OF_BINS: usize = 2_000;

/// Number of rows from which texts are read by a convolutional network instead of a mean of embeddings.
const MIN_ROWS_OF_CONVOLUTIONS: usize = 10_000;

/// Number of training steps for few rows and for many, and of passes over the rows at most.
const MIN_STEPS: usize = 1_000;
const MAX_STEPS: usize = 3_000;
const MAX_EPOCHS: usize = 100;

/// Maximum number of inputs that are read in all steps together.
const MAX_STEP_INPUTS: usize = 1_500_000;

impl DefaultNetwork {
    pub fn new(n_rows: usize, n_inputs: usize, preset: Preset) -> Self {
        Self { n_rows, n_inputs, preset }
    }

    /// Returns an input of a type.
    pub fn input(&self, column: &str, kind: &str) -> Node {
        let mut entries = vec![entry("name", text(column)), entry("type", text(kind))];
        match kind {
            "number" => entries.extend(self.of_number()),
            "date" => entries.push(entry("encoder", text("passthrough"))),
            "text" if self.n_rows < MIN_ROWS_OF_CONVOLUTIONS => {
                let bag = vec![entry("type", text("embed")), entry("embedding_size", int(64)), entry("dropout", float(0.2))];
                entries.push(entry("encoder", map(bag)));
            }
            _ => {}
        }
        map(entries)
    }

    /// Robust scaling (Holzmueller et al. 2024), and bins (Gorishniy et al. 2022) if there are rows enough.
    fn of_number(&self) -> Vec<Entry> {
        let scaling = map(vec![entry("normalization", text("robust"))]);
        let bins =
            map(vec![entry("type", text("ple")), entry("output_size", Node::bare(Value::Null)), entry("num_bins", int(32))]);
        let encoder = (self.n_rows >= MIN_ROWS_OF_BINS).then(|| entry("encoder", bins));
        [entry("preprocessing", scaling)].into_iter().chain(encoder).collect()
    }

    /// Returns two hidden layers.
    pub fn combiner(&self) -> Node {
        map(vec![entry("type", text("concat")), entry("num_fc_layers", int(2)), entry("dropout", float(0.1))])
    }

    /// Returns settings that count in steps: small tables have small batches and many epochs.
    pub fn trainer(&self) -> Node {
        let has_bins = self.n_rows >= MIN_ROWS_OF_BINS;
        let n_steps = if has_bins { MAX_STEPS } else { MIN_STEPS };
        let n_steps = if self.preset == Preset::Fast { n_steps / 4 } else { n_steps };
        // A step takes time by its inputs.
        let n_steps = n_steps.min(MAX_STEP_INPUTS / self.n_inputs.max(1)).max(100);
        let batch_size = (self.n_rows / 12).next_power_of_two().clamp(16, 256);
        let epochs = (n_steps * batch_size).div_ceil(self.n_rows.max(1)).clamp(1, MAX_EPOCHS);
        let cosine = map(vec![entry("decay", text("cosine")), entry("warmup_fraction", float(0.05))]);
        map(vec![
            entry("batch_size", int(batch_size)),
            entry("epochs", int(epochs)),
            entry("early_stop", int((epochs / 5).max(5))),
            entry("learning_rate", float(if has_bins { 0.003 } else { 0.001 })),
            entry("learning_rate_scheduler", cosine),
            entry("optimizer", text("adamw")),
            entry("modality_dropout", float(0.0)),
        ])
    }
}
