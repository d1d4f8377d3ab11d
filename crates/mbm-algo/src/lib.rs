//! Algorithms on plain slices, without tensors: metrics, linear models, support vector machines, trees, ensembles, and the features of
//! texts and time series that they read.
//!
//! Results are checked on stored cases (`tests/golden`) against scikit-learn (`tests/golden.py`) and, for the metrics of
//! generated text and the features of series, against their reference implementations (`tests/golden_text.py`,
//! `tests/golden_series.py`).

mod arrays;
mod eigen;
mod ensemble;
mod image;
pub mod linear;
mod linear_algebra;
pub mod metric;
mod ridge;
mod sample_weights;
pub mod scaling;
pub mod series;
mod sparse;
mod svd;
pub mod svm;
mod temperature;
pub mod text;
pub mod tree;

pub use arrays::ArrayMut;
pub use ensemble::greedy_weights;
pub use image::{image_features, n_image_features};
pub use linear_algebra::Matrix;
pub use ridge::Ridge;
pub use sparse::SparseRows;
pub use svd::TruncatedSvd;
pub use temperature::temperature;

/// An error in the input of an algorithm.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum AlgoError {
    /// The numbers of rows and targets differ, or there are no rows.
    #[error("{rows} rows but {targets} targets")]
    Shape {
        /// Number of rows of features.
        rows: usize,
        /// Number of targets.
        targets: usize,
    },
    /// A feature is NaN or infinite.
    #[error("row {row} contains NaN or an infinite value")]
    NotFinite {
        /// Index of the row, from 0.
        row: usize,
    },
    /// The dense and the sparse part of the rows differ in their number of rows.
    #[error("{dense} rows of dense columns but {sparse} rows of sparse columns")]
    Parts {
        /// Number of rows of the dense part.
        dense: usize,
        /// Number of rows of the sparse part.
        sparse: usize,
    },
    /// The sample weights are not usable.
    #[error("the sample weight of row {row} is {weight}; weights must be finite and at least 0, and one must be positive")]
    SampleWeight {
        /// Index of the row, from 0.
        row: usize,
        /// Its weight.
        weight: f32,
    },
    /// A stored model is not one that was fitted.
    #[error("the stored model is inconsistent: {0}")]
    StoredModel(&'static str),
    /// All rows belong to one class; a classifier needs at least two.
    #[error("all {rows} rows belong to the same class; a classifier needs at least two classes")]
    OneClass {
        /// Number of rows.
        rows: usize,
    },
    /// Time series differ in their numbers of channels.
    #[error("the series of row {row} has {channels} channels, that of row 0 has {expected}")]
    Channels {
        /// Index of the row, from 0.
        row: usize,
        /// Its number of channels.
        channels: usize,
        /// The number of channels of the first row.
        expected: usize,
    },
}
