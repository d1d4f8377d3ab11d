//! Gradient-boosted trees that are fitted to the fused vectors after the network is trained. Until then a linear layer stands in for them.

use mbm_config::settings;

use super::{Decoder, DecoderConfig, DecoderContext, RegressorSettings};

settings! {
    /// Settings of gradient-boosted trees on the fused vector, fitted after the network is trained.
    pub struct BoostedTreesSettings {
        /// Maximum number of rounds; fewer if the loss on a tenth of the training rows, which the other nine tenths predict, is lowest before.
        max_rounds: usize = 300 => 1..=100_000;
        /// Number of rounds without improvement after which no further ones are tried.
        patience: usize = 20 => 1..=100_000;
        /// Factor of the values of leaves.
        learning_rate: f64 = 0.08 => 1e-6..=1.0;
        /// Maximum number of leaves of a tree.
        max_leaves: usize = 31 => 2..=4096;
        /// Minimum number of rows of a leaf.
        min_rows: usize = 5 => 1..=1_000_000;
        /// L2 penalty on the values of leaves.
        l2: f64 = 1.0 => 0.0..=1e9;
    }
}

impl DecoderConfig for BoostedTreesSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        mbm_config::defaults::<RegressorSettings>().init(context)
    }
}
