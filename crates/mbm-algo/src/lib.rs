//! Algorithms on plain slices, without tensors: metrics, support vector machines, ridge regression.
//!
//! Everything here is checked against scikit-learn on stored cases (`tests/golden`, made by `tests/golden.py`).

mod linear_algebra;
pub mod metric;
mod ridge;
pub mod svm;
mod temperature;

pub use linear_algebra::Matrix;
pub use ridge::Ridge;
pub use temperature::temperature;

/// What an algorithm here can be asked wrongly.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum AlgoError {
    /// Rows and targets differ in number, or there are none.
    #[error("{rows} rows but {targets} targets")]
    Shape {
        /// Rows of features.
        rows: usize,
        /// Targets given.
        targets: usize,
    },
    /// A value that is not a finite number.
    #[error("row {row} holds a value that is not finite")]
    NotFinite {
        /// The row, from 0.
        row: usize,
    },
    /// A classifier needs rows of two classes at least.
    #[error("all {rows} rows have the same class, a classifier needs two")]
    OneClass {
        /// Rows given.
        rows: usize,
    },
}
