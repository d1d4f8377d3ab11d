//! Support vector machines: the maximum-margin hyperplane, `min 1/2 |w|^2 + C sum(slack)`.
//!
//! Linear classifiers are trained by dual coordinate descent (`linear`), kernel machines and regression by sequential
//! minimal optimization (`smo`); multiclass problems are solved one-vs-rest, sharing one kernel matrix. Probabilities come
//! from Platt scaling, fitted on the decision values of held-out folds (`platt`).

mod classifier;
mod kernel;
mod linear;
mod platt;
mod regressor;
mod smo;

pub use classifier::{Svc, SvcOptions};
pub use kernel::{Gamma, Kernel};
pub use platt::Sigmoid;
pub use regressor::{Svr, SvrOptions};
