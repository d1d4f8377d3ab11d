//! The metrics of a model on data that have its outputs.

use super::Model;
use crate::error::Error;
use crate::into_table::IntoTable;
use crate::predict::table::{Evaluation, ReadOptions};

impl Model {
    /// Computes the metrics on data that have the output columns, weighted by `preprocessing.sample_weight` if the data have that column.
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=5")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let evaluation = model.evaluate("../../examples/penguins/penguins.csv")?;
    /// println!("accuracy {}", evaluation.metrics["species"]["accuracy"]);
    /// assert_eq!(evaluation.n_rows, 344);
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the data lack an output or all inputs, cannot be read, or have a weight that is not a number of at least 0.
    pub fn evaluate(&self, data: impl IntoTable) -> Result<Evaluation, Error> {
        self.evaluate_with(data, &ReadOptions::default())
    }

    /// Computes the metrics as [`Model::evaluate`] does, with options for how rows are read.
    ///
    /// ```
    /// use mbm::{Cause, ReadOptions, Unreadable};
    ///
    /// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
    /// let strict = ReadOptions::default().unreadable(Unreadable::Error);
    /// let evaluation = model.evaluate_with("tests/fixtures/form-2/rows.csv", &strict)?;
    /// println!("{} rows, {:?}", evaluation.n_rows, evaluation.faults.lines());
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails as [`Model::evaluate`] does, and on any unreadable cell with [`mbm_data::Unreadable::Error`].
    pub fn evaluate_with(&self, data: impl IntoTable, options: &ReadOptions) -> Result<Evaluation, Error> {
        self.predictor.evaluate(data.into_table()?, options)
    }
}
