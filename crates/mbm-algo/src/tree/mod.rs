//! Decision trees on binned columns: gradient boosting, random forests and extremely randomized trees.
//!
//! [`Binned`] maps every column to at most 255 bins of one byte, plus one for missing values. [`boosting`] grows trees on histograms of
//! gradients (Friedman 2001; Ke et al. 2017), [`forest`] on histograms of targets (Breiman 2001; Geurts et al. 2006). Both yield
//! [`Trees`], which predict from the original values, so bins are needed only for training. The same seed yields the same trees on any
//! number of threads.

mod bins;
pub mod boosting;
pub mod forest;
mod forest_split;
mod forest_tree;
mod groups;
mod grow;
mod histogram;
mod level;
mod loss;
mod rounds;
mod rows;
mod split;
mod sums;
mod symmetric;
mod trees;
mod workspace;

pub use bins::{Binned, ColumnKind, MAX_BINS};
pub use boosting::{BoostedTrees, BoostingSettings, Examples, Growth, Progress};
pub use forest::{Forest, ForestSettings, MaxFeatures};
pub use loss::Objective;
pub use trees::{InvalidTrees, Trees};

/// The generator of all random numbers of the trees: the same numbers on every machine.
type Rng = rand_chacha::ChaCha8Rng;

/// Returns the position of the largest value; the first one on ties.
#[cfg(test)]
fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}
