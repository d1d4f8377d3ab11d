//! Learners other than the network: boosted trees, forests, linear models and support vector machines on the columns of a row, combined
//! with the network in an ensemble.
//!
//! ```text
//! Batch --Columns--> Block (numbers, codes of categories) --Learner, on each fold--> Fitted --greedy weights--> Ensemble
//! ```
//!
//! All learners share the rows, the folds and the treatment of missing values. Their weights are chosen on predictions for rows that a
//! learner was not fitted on.

pub(crate) mod auto;
pub(crate) mod columns;
pub(crate) mod convolutions;
pub(crate) mod ensemble;
pub(crate) mod fit;
pub(crate) mod fitted;
pub(crate) mod images;
pub(crate) mod linear;
pub(crate) mod scaled;
pub(crate) mod selection;
pub(crate) mod settings;
pub(crate) mod store;
pub(crate) mod task;
pub(crate) mod texts;
