//! From a plan and a table to a run folder: training, evaluation and everything that is written about them.

pub(crate) mod clock;
pub(crate) mod combined;
pub mod compare;
pub mod divergence;
pub mod event;
pub mod experiment;
pub mod folder;
pub mod learners;
pub mod manifest;
pub(crate) mod out_of_fold;
pub mod train;
pub mod tune;
