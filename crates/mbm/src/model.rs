//! The model as a program uses it: trained, opened, asked for predictions, vectors and texts, evaluated, saved.

use std::fmt;
use std::ops::{ControlFlow, Index};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mbm_data::{Cell, RowStatus, Table, Unreadable};

use crate::bundle::Bundle;
use crate::config::plan::Plan;
use crate::error::Error;
use crate::predict::predictor::Predictor;
use crate::predict::table::{Evaluation, Predicted, ReadOptions};
use crate::predict::writer::{TableWriter, Value};
use crate::retrieve::query::QueryError;
use crate::run::experiment::{Experiment, Outcome};

/// A trained model.
///
/// ```
/// let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=5")?;
/// let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
///
/// let row = model.predict([("bill_length_mm", 39.1), ("flipper_length_mm", 181.0), ("body_mass_g", 3750.0)])?;
/// println!("{} with probability {}", row["species"], row["species_probability"]);
///
/// let folder = tempfile::tempdir()?;
/// model.save(folder.path().join("penguins"))?;
/// let same = mbm::Model::open(folder.path().join("penguins"))?;
/// assert_eq!(same.predict([("bill_length_mm", 39.1), ("flipper_length_mm", 181.0), ("body_mass_g", 3750.0)])?, row);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Model {
    predictor: Arc<Predictor>,
    columns: Arc<[String]>,
}

/// Trains a model on a file, a folder or a table, without leaving a run folder behind. [`Experiment`] has more options.
///
/// ```
/// let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["body_mass_g"])?.with("trainer.epochs=2")?;
/// let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
/// assert_eq!(model.outputs(), ["body_mass_g"]);
/// # Ok::<(), mbm::Error>(())
/// ```
///
/// # Errors
/// Fails on unreadable data, settings that do not fit the data, or an I/O error such as a full disk.
pub fn train(plan: Plan, data: impl IntoTable) -> Result<Model, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let experiment = Experiment::new(plan, "the table", folder.path().join("run"));
    let outcome = experiment.run_on(data.into_table()?, &AtomicBool::new(false), &mut |_| {})?;
    Model::open(outcome.folder)
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

/// What rows can be read from: the path of a file or folder in a supported format, or a table.
pub trait IntoTable {
    /// Reads the table.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    fn into_table(self) -> Result<Table, Error>;
}

macro_rules! paths {
    ($($path:ty),+) => { $(
        impl IntoTable for $path {
            fn into_table(self) -> Result<Table, Error> {
                Ok(Table::read(self.as_ref())?)
            }
        }
    )+ };
}

paths!(&str, String, &Path, PathBuf, &PathBuf);

impl IntoTable for Table {
    fn into_table(self) -> Result<Table, Error> {
        Ok(self)
    }
}

impl Model {
    /// Opens a saved model, or the model of a run folder.
    ///
    /// # Errors
    /// Fails if the folder holds no model, or a damaged one.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new(Predictor::open(folder.as_ref())?))
    }

    fn new(predictor: Predictor) -> Self {
        let columns = predictor.columns().into_iter().map(|column| column.name).filter(|name| name != "status").collect();
        Self { predictor: Arc::new(predictor), columns }
    }

    /// Saves the model in a folder, which is then complete or absent.
    ///
    /// # Errors
    /// Fails if the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        Bundle::write(&self.predictor, folder.as_ref())
    }

    /// Returns the names of the inputs.
    pub fn inputs(&self) -> Vec<&str> {
        self.predictor.inputs.iter().map(|field| field.name.as_str()).collect()
    }

    /// Returns the names of the outputs.
    pub fn outputs(&self) -> Vec<&str> {
        self.predictor.outputs.iter().map(|field| field.name.as_str()).collect()
    }

    /// Returns the config of the model.
    pub fn plan(&self) -> &Plan {
        &self.predictor.plan
    }

    /// Returns the model with its single steps: reading cells, batches, explanations.
    pub fn predictor(&self) -> &Arc<Predictor> {
        &self.predictor
    }

    /// Predicts one row from some inputs by name; the others are absent. A path is read as a file, other cells are values.
    ///
    /// # Errors
    /// Fails if a name is not an input of the model, or a cell cannot be read.
    pub fn predict<N: AsRef<str>, C: Into<Cell>>(&self, cells: impl IntoIterator<Item = (N, C)>) -> Result<PredictedRow, Error> {
        let sample = self.predictor.read_cells(&self.cells(cells)?);
        let status = self.predictor.row_status(&sample, Unreadable::Error)?;
        let predictions: Vec<_> = self
            .predictor
            .predict_row(&sample, &mut |_, _| ControlFlow::Continue(()))
            .into_iter()
            .map(|prediction| vec![prediction])
            .collect();
        Ok(PredictedRow { columns: self.columns.clone(), values: self.predictor.values(&predictions, 0, &status), status })
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
        let mut writer = TableWriter::create(output.as_ref(), self.predictor.columns())?;
        let predicted = self.predictor.predict_table(data.into_table()?, &ReadOptions::default(), &mut writer)?;
        writer.finish()?;
        Ok(predicted)
    }

    /// Computes the metrics on data that have the output columns.
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
    /// Fails if the data lack an output or all inputs, or cannot be read.
    pub fn evaluate(&self, data: impl IntoTable) -> Result<Evaluation, Error> {
        self.predictor.evaluate(data.into_table()?, &ReadOptions::default())
    }

    /// Returns the vector of a row: that of the given inputs in the space of an embedding output, or the fused vector of a model
    /// without one. A model with an embedding output takes one input at a time.
    ///
    /// ```
    /// # let plan = mbm::Plan::infer("../../examples/penguins/penguins.csv", ["species"])?.with("trainer.epochs=1")?;
    /// # let model = mbm::train(plan, "../../examples/penguins/penguins.csv")?;
    /// let small = model.embed([("bill_length_mm", 39.1), ("body_mass_g", 3750.0)])?;
    /// let large = model.embed([("bill_length_mm", 50.2), ("body_mass_g", 5700.0)])?;
    /// assert_eq!(small.len(), large.len());
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if a name is not an input of the model, a cell cannot be read, or the inputs have no vector.
    pub fn embed<N: AsRef<str>, C: Into<Cell>>(&self, cells: impl IntoIterator<Item = (N, C)>) -> Result<Vec<f32>, Error> {
        let sample = self.predictor.read_query(&self.cells(cells)?)?;
        let vectors = self.predictor.embed_batch(&self.predictor.collate(&[sample])).swap_remove(0);
        Ok(vectors.into_iter().flatten().next().ok_or(QueryError::Empty)?)
    }

    /// Generates a text from one input, such as the translation of a sentence or the caption of an image.
    ///
    /// # Errors
    /// Fails if the model has no text output or not exactly one input of the cell's type, or the cell cannot be read.
    pub fn generate(&self, type_name: &str, cell: impl Into<Cell>) -> Result<String, Error> {
        let session = self.predictor.writing(type_name)?;
        let generated = session.texts(vec![cell.into()]).swap_remove(0)?;
        Ok(generated.texts.into_iter().next().map(|(text, _)| text).unwrap_or_default())
    }

    /// Returns one cell per input.
    fn cells<N: AsRef<str>, C: Into<Cell>>(&self, given: impl IntoIterator<Item = (N, C)>) -> Result<Vec<Cell>, QueryError> {
        let mut cells = vec![Cell::Empty; self.predictor.inputs.len()];
        for (name, cell) in given {
            let name = name.as_ref();
            let input = self.predictor.inputs.iter().position(|field| field.name == name);
            let input = input.ok_or_else(|| {
                let available = mbm_config::some_of(&self.inputs());
                QueryError::UnknownInput { input: name.to_owned(), available }
            })?;
            cells[input] = cell.into();
        }
        Ok(cells)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Model").field("inputs", &self.inputs()).field("outputs", &self.outputs()).finish_non_exhaustive()
    }
}

/// The predictions of one row: a value for each column that `mbm predict` writes. `row["label"]` is the prediction of the output
/// `label`, `row["label_probability"]` any other column.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedRow {
    columns: Arc<[String]>,
    values: Vec<Value>,
    status: RowStatus,
}

impl PredictedRow {
    /// Returns the prediction of an output, or the value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let is_named = |column: &String| column == name || column.strip_suffix("_predictions") == Some(name);
        Some(&self.values[self.columns.iter().position(is_named)?])
    }

    /// Iterates over the columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns.iter().map(String::as_str).zip(&self.values)
    }

    /// Returns which inputs were absent or shortened.
    pub fn status(&self) -> &RowStatus {
        &self.status
    }
}

impl Index<&str> for PredictedRow {
    type Output = Value;

    /// Returns the prediction of an output, or the value of a column.
    ///
    /// # Panics
    /// Panics if there is no such output and no such column.
    fn index(&self, name: &str) -> &Value {
        let columns = || self.columns.join(", ");
        self.get(name).unwrap_or_else(|| panic!("no prediction '{name}'; available columns: {}", columns()))
    }
}
