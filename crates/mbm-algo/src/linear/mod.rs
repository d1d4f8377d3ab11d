//! Linear models on rows with dense and sparse columns.
//!
//! [`Rows`] are what a model reads; [`Logistic`] classifies them and [`RidgePath`] fits numbers. Both fit a [`Linear`] map, whose
//! weights are plain vectors. Fitting depends on neither the number of threads nor on earlier fits.

mod centered;
mod conjugate_gradients;
mod cross_entropy;
mod householder;
mod lbfgs;
mod leave_one_out;
mod logistic;
mod model;
mod products;
mod ridge_path;
mod rows;
mod tridiagonal;

pub use lbfgs::Stopping;
pub use logistic::{ClassifiedRows, Logistic};
pub use model::Linear;
pub use ridge_path::{NumberedRows, RidgePath};
pub use rows::Rows;

pub(crate) use products::{Transposed, scores};
