//! Training in one call, from a plan and data to an open model.

use std::sync::atomic::AtomicBool;

use crate::config::plan::Plan;
use crate::error::Error;
use crate::into_table::IntoTable;
use crate::model::Model;
use crate::run::experiment::{Experiment, Outcome};

/// Trains a model on a file, a folder or a table, without leaving a run folder behind. [`Experiment`] has more options.
///
/// ```
/// let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["body_mass_g"])?.with("trainer.epochs=2")?;
/// let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
/// assert!(model.outputs().map(|output| output.name()).eq(["body_mass_g"]));
/// # Ok::<(), mbm::Error>(())
/// ```
///
/// # Errors
/// Fails on unreadable data, settings that do not fit the data, or an I/O error such as a full disk.
pub fn train(plan: Plan, data: impl IntoTable) -> Result<Model, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let experiment = Experiment::new(plan, "the table", folder.path().join("run"));
    let outcome = experiment.run_on(data.into_table()?, &AtomicBool::new(false), &mut |_| {})?;
    Ok(Model::open(outcome.folder)?.without_folder())
}

impl Experiment {
    /// Trains, evaluates and explains a model, and opens it. [`Experiment::run`] reports progress and can be stopped.
    ///
    /// # Errors
    /// Fails as [`Experiment::run`] does.
    pub fn train(&self) -> Result<(Model, Outcome), Error> {
        let outcome = self.run(&AtomicBool::new(false), &mut |_| {})?;
        Ok((Model::open(&outcome.folder)?, outcome))
    }
}
