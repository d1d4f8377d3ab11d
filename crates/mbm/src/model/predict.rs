//! Predictions of a row, and of the rows of a table: in memory, in a file, or one by one.

use std::path::Path;

use mbm_data::{Cell, RowStatus, Table, TableBuilder, Unreadable};

use super::{Model, PredictedRow};
use crate::error::Error;
use crate::into_table::IntoTable;
use crate::predict::explain::Contribution;
use crate::predict::table::{Predicted, ReadOptions};
use crate::predict::writer::{OutputValue, TableWriter, with_status};

impl Model {
    /// Predicts one row from some inputs by name; the others are absent. A path is read as a file, other cells are values.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// let model = mbm::Model::open("tests/fixtures/form-2/mixed")?;
    /// let row = model.predict([("image", Path::new("tests/fixtures/form-2/m/1.png"))])?;
    /// println!("{}: {}", row["label"], row["price"]);
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if a name is not an input of the model, or a cell cannot be read.
    pub fn predict<N, C>(&self, cells: impl IntoIterator<Item = (N, C)>) -> Result<PredictedRow, Error>
    where
        N: AsRef<str>,
        C: Into<Cell>,
    {
        let row = self.check(self.prepare(&self.cells(cells)?), Unreadable::Error)?;
        Ok(self.predict_batch(&[&row], &|| true).swap_remove(0))
    }

    /// Predicts one row as [`Model::predict`] does, and returns the contribution of each input to the prediction.
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let (row, contributions) = model.explain([("bill_length_mm", 39.1), ("flipper_length_mm", 181.0)])?;
    /// for contribution in contributions.iter().filter(|it| it.shares[0].is_some()) {
    ///     println!("{} adds {:?} to the probability of {}", contribution.input, contribution.shares[0], row["species"]);
    /// }
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails as [`Model::predict`] does.
    pub fn explain<N, C>(&self, cells: impl IntoIterator<Item = (N, C)>) -> Result<(PredictedRow, Vec<Contribution>), Error>
    where
        N: AsRef<str>,
        C: Into<Cell>,
    {
        let row = self.check(self.prepare(&self.cells(cells)?), Unreadable::Error)?;
        Ok(self.explain_batch(&[&row], &|| true).swap_remove(0))
    }

    /// Passes the prediction of some rows of a table and the contribution of each input to it to a callback, in the given order. A
    /// skipped row has no contributions. An error of the callback ends the explanation.
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let options = mbm::ReadOptions::default();
    /// model.explain_rows("../../examples/penguins/penguins.csv", &[0, 200], &options, &mut |row, contributions| {
    ///     println!("{}: {}", row["species"], model.contributions_to_json(&contributions));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails as [`Model::predict_into`] does, and with the first error of the callback.
    ///
    /// # Panics
    /// Panics if the table has no such row.
    pub fn explain_rows(
        &self,
        data: impl IntoTable,
        rows: &[usize],
        options: &ReadOptions,
        each: &mut dyn FnMut(PredictedRow, Vec<Contribution>) -> Result<(), Error>,
    ) -> Result<Predicted, Error> {
        self.predictor.explain_table(data.into_table()?, rows, options, &mut |values, status, contributions| {
            each(self.row(values, status), contributions)
        })
    }

    /// Returns contributions as `{"<output>": {"<input>": share}}`, without those that are not numbers.
    pub fn contributions_to_json(&self, contributions: &[Contribution]) -> serde_json::Value {
        let outputs = self.outputs().enumerate().map(|(at, output)| {
            let shares = contributions.iter().filter_map(|it| Some((it.input.clone(), it.shares[at]?.into())));
            (output.name().to_owned(), serde_json::Value::Object(shares.collect()))
        });
        serde_json::Value::Object(outputs.collect())
    }

    /// Predicts each row of a table, and returns the predictions as a table with the columns of [`Model::columns`].
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let predictions = model.predict_table("../../examples/penguins/penguins.csv")?;
    /// assert_eq!((predictions.n_rows(), predictions.columns[0].as_str()), (344, "species_predictions"));
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the data lack all inputs or cannot be read.
    pub fn predict_table(&self, data: impl IntoTable) -> Result<Table, Error> {
        let columns = self.columns().into_iter().map(|column| column.name).collect();
        let mut predictions = TableBuilder::new(columns, Path::new("."));
        self.write_rows(data, &ReadOptions::default(), &mut |row| {
            Ok(predictions.push_row(&row.into_iter().map(Cell::from).collect())?)
        })?;
        Ok(predictions.finish()?)
    }

    /// Writes a prediction for each row of a table to a file whose name ends in `.csv`, `.jsonl` or `.parquet`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let output = folder.path().join("predictions.csv");
    /// model.predict_to("../../examples/penguins/penguins.csv", &output)?;
    /// assert_eq!(std::fs::read_to_string(output)?.lines().count(), 345);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the data lack all inputs or cannot be read, or the file cannot be written.
    pub fn predict_to(&self, data: impl IntoTable, output: impl AsRef<Path>) -> Result<Predicted, Error> {
        let mut writer = TableWriter::create(output.as_ref(), self.columns())?;
        let predicted = self.predict_into(data, &ReadOptions::default(), &mut writer)?;
        writer.finish()?;
        Ok(predicted)
    }

    /// Passes a prediction for each row of a table to a writer with the columns of [`Model::columns`]; the status of a skipped row
    /// explains why.
    ///
    /// ```
    /// use mbm::{OutputFormat, ReadOptions, Unreadable, TableWriter};
    ///
    /// let model = mbm::Model::open("tests/fixtures/form-2/mixed")?;
    /// let mut writer = TableWriter::new(Box::new(std::io::sink()), OutputFormat::JsonLines, model.columns(), "nowhere".as_ref())?;
    /// let options = ReadOptions::default().unreadable(Unreadable::Error);
    /// model.predict_into("tests/fixtures/form-2/rows.csv", &options, &mut writer)?;
    /// writer.finish()?;
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the table has no input's column; on a bad cell of a feature with `missing_value_strategy: error`, or on any
    /// unreadable cell with [`Unreadable::Error`]; and on I/O errors such as a full disk.
    pub fn predict_into(
        &self,
        data: impl IntoTable,
        options: &ReadOptions,
        writer: &mut TableWriter,
    ) -> Result<Predicted, Error> {
        self.write_rows(data, options, &mut |row| writer.write(row))
    }

    /// Passes the prediction of each row of a table to a callback, in order. An error of the callback ends the prediction.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/mixed")?;
    /// let mut labels = Vec::new();
    /// model.predict_rows("tests/fixtures/form-2/rows.csv", &mbm::ReadOptions::default(), &mut |row| {
    ///     labels.push(row["label"].to_string());
    ///     Ok(())
    /// })?;
    /// assert_eq!(labels.len(), 40);
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails as [`Model::predict_into`] does, and with the first error of the callback.
    pub fn predict_rows(
        &self,
        data: impl IntoTable,
        options: &ReadOptions,
        each: &mut dyn FnMut(PredictedRow) -> Result<(), Error>,
    ) -> Result<Predicted, Error> {
        self.predictor.predict_table(data.into_table()?, options, &mut |values, status| each(self.row(values, status)))
    }

    /// As [`Model::predict_rows`], with the status as the last value.
    fn write_rows(
        &self,
        data: impl IntoTable,
        options: &ReadOptions,
        write: &mut dyn FnMut(Vec<OutputValue>) -> Result<(), Error>,
    ) -> Result<Predicted, Error> {
        self.predictor.predict_table(data.into_table()?, options, &mut |values, status| write(with_status(values, &status)))
    }

    pub(super) fn row(&self, values: Vec<OutputValue>, status: RowStatus) -> PredictedRow {
        PredictedRow { columns: self.columns.clone(), values, status }
    }
}
