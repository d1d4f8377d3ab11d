//! Linear models on rows with dense and sparse columns.
//!
//! [`Rows`] are what a model reads; [`Logistic`] classifies them and [`ridge_path`] fits numbers. Both fit a [`Linear`] map, whose
//! weights are plain vectors. Fitting depends on neither the number of threads nor on earlier fits.

mod lbfgs;
mod logistic;
mod model;
mod products;
mod rows;

pub use lbfgs::Stopping;
pub use logistic::{ClassifiedRows, Logistic};
pub use model::Linear;
pub use rows::Rows;
