//! The model as a program uses it: opened, saved and described. The other files of this folder are what it computes.

mod evaluate;
mod feature;
mod generate;
mod predict;
mod prepared;
mod row;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mbm_data::{Cell, Table};

pub use self::feature::Feature;
pub use self::prepared::{CheckedRow, PreparedRow};
pub use self::row::PredictedRow;
use crate::bundle::{Bundle, model_hash};
use crate::config::plan::Plan;
use crate::error::Error;
use crate::predict::columns::misspelled_columns;
use crate::predict::predictor::Predictor;
use crate::predict::query::QueryError;
use crate::predict::writer::OutputColumn;

/// A trained model. It is cheap to clone, and may be used from several threads.
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
    pub(crate) predictor: Arc<Predictor>,
    /// The names of the columns of a prediction, without `status`.
    columns: Arc<[String]>,
    folder: Option<PathBuf>,
    hash: Arc<OnceLock<String>>,
}

impl Model {
    /// Opens a saved model, or the model of a run folder.
    ///
    /// # Errors
    /// Fails if the folder holds no model, or a damaged one.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let predictor = Predictor::open(folder.as_ref())?;
        let (columns, folder) = (names(&predictor), Some(folder.as_ref().to_path_buf()));
        Ok(Self { predictor: Arc::new(predictor), columns, folder, hash: Arc::default() })
    }

    /// Returns the columns of inputs that a table lacks, although it has a column with a similar name that the model does not know; each
    /// with that name, both shortened to be shown. Their cells are absent.
    pub fn misspelled_columns(&self, table: &Table) -> Vec<(String, String)> {
        misspelled_columns(&self.predictor.inputs, &self.predictor.outputs, table)
    }

    /// Returns the model as one that is in no folder, because its folder is temporary.
    pub(crate) fn without_folder(self) -> Self {
        Self { folder: None, ..self }
    }

    /// Saves the model in a folder, which is then complete or absent.
    ///
    /// # Errors
    /// Fails if the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        Bundle::write(&self.predictor, folder.as_ref())
    }

    /// Returns the folder that the model was opened from; `None` if it was trained in memory.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the identity of the model, independent of its location: SHA-256 of its files, in hexadecimal.
    ///
    /// # Errors
    /// Fails if the files cannot be read; those of a model trained in memory are written for this to a temporary folder.
    pub fn hash(&self) -> Result<&str, Error> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash);
        }
        let hash = match &self.folder {
            Some(folder) => model_hash(folder)?,
            None => {
                let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
                self.save(folder.path().join("model"))?;
                model_hash(&folder.path().join("model"))?
            }
        };
        Ok(self.hash.get_or_init(|| hash))
    }

    /// Returns the config of the model.
    pub fn plan(&self) -> &Plan {
        &self.predictor.plan
    }

    /// Returns the number of rows that the learners of an ensemble were fitted on: those for training and validation, if there are folds.
    /// `None` for a network alone.
    pub fn n_fitted_rows(&self) -> Option<usize> {
        self.predictor.ensemble.as_ref().map(|ensemble| ensemble.n_rows).filter(|n_rows| *n_rows > 0)
    }

    /// Returns the inputs.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Feature<'_>> + Clone {
        self.predictor.inputs.iter().map(Feature)
    }

    /// Returns an input by its position.
    ///
    /// # Panics
    /// Panics if there are not that many inputs.
    pub fn input_at(&self, position: usize) -> Feature<'_> {
        Feature(&self.predictor.inputs[position])
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Feature<'_>> + Clone {
        self.predictor.outputs.iter().map(Feature)
    }

    /// Returns the columns that predictions are written to, `status` last.
    pub fn columns(&self) -> Vec<OutputColumn> {
        self.predictor.columns()
    }

    /// Returns the specification of the network and the settings of its optimizer, for the fuzz target of checkpoints.
    #[doc(hidden)]
    pub fn network(&self) -> Result<(mbm_model::ModelSpec, mbm_train::OptimizerSettings), Error> {
        let Predictor { plan, inputs, outputs, .. } = &*self.predictor;
        Ok((plan.model_spec(inputs, outputs, &[])?, plan.config.trainer.optimizer.clone()))
    }

    /// Returns one cell per input.
    pub(crate) fn cells<N, C>(&self, given: impl IntoIterator<Item = (N, C)>) -> Result<Vec<Cell>, QueryError>
    where
        N: AsRef<str>,
        C: Into<Cell>,
    {
        let mut cells = vec![Cell::Empty; self.predictor.inputs.len()];
        for (name, cell) in given {
            let name = name.as_ref();
            let input = self.predictor.inputs.iter().position(|field| field.name == name);
            let input = input.ok_or_else(|| {
                let names: Vec<&str> = self.inputs().map(|input| input.name()).collect();
                QueryError::UnknownInput { input: name.to_owned(), available: mbm_config::some_of(&names) }
            })?;
            cells[input] = cell.into();
        }
        Ok(cells)
    }
}

/// Returns the names of the columns of a prediction, without `status`.
fn names(predictor: &Predictor) -> Arc<[String]> {
    let mut columns = predictor.columns();
    columns.pop();
    columns.into_iter().map(|column| column.name).collect()
}

impl fmt::Debug for Model {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |fields: &[mbm_data::Field]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        let (inputs, outputs) = (names(&self.predictor.inputs), names(&self.predictor.outputs));
        out.debug_struct("Model").field("inputs", &inputs).field("outputs", &outputs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_can_be_used_from_several_threads() {
        fn is_shared<T: Send + Sync + Clone>() {}
        is_shared::<Model>();
    }
}
