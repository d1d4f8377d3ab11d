//! The vectors of single rows, and what a model computes them from.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mbm_data::Cell;

use crate::error::Error;
use crate::into_table::IntoTable;
use crate::model::Model;
use crate::predict::query::{QueryError, QueryPart};
use crate::predict::vectors::Tower;
use crate::retrieve::embed::{Embedded, Embedding};

impl Model {
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
    pub fn embed<N, C>(&self, cells: impl IntoIterator<Item = (N, C)>) -> Result<Vec<f32>, Error>
    where
        N: AsRef<str>,
        C: Into<Cell>,
    {
        let row = self.check_query(self.prepare(&self.cells(cells)?))?;
        let vectors = self.embed_batch(&[&row]).swap_remove(0);
        Ok(vectors.into_iter().flatten().next().ok_or(QueryError::Empty)?)
    }

    /// Returns the vector of each cell of one input, such as the paths of images.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
    /// let vectors = model.embed_each("text", ["red green", "small cat"])?;
    /// let cosine: f32 = vectors[0].iter().zip(&vectors[1]).map(|(a, b)| a * b).sum();
    /// println!("{cosine}");
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the name is not an input that vectors are computed from, or a cell is empty or cannot be read.
    pub fn embed_each<C: Into<Cell>>(&self, input: &str, cells: impl IntoIterator<Item = C>) -> Result<Vec<Vec<f32>>, Error> {
        let tower = self.towers().iter().position(|tower| tower.input.as_ref().is_none_or(|it| it == input));
        let rows = cells.into_iter().map(|cell| {
            let cells = self.query_cells(&[QueryPart::from((input, cell))])?;
            Ok(self.check_query(self.prepare(&cells))?)
        });
        let rows = rows.collect::<Result<Vec<_>, Error>>()?;
        let batches = rows.chunks(self.batch_size()).flat_map(|rows| self.embed_batch(&rows.iter().collect::<Vec<_>>()));
        let vectors = batches.map(|mut row| {
            let vector = tower.and_then(|tower| row.swap_remove(tower));
            vector.ok_or_else(|| QueryError::NoVector(input.to_owned()).into())
        });
        vectors.collect()
    }

    /// Writes the vectors of each row of a table to a file: `.parquet`, `.jsonl` or `.csv` with the table's columns next to the
    /// vectors, or `.npy` with vectors only. [`Embedding`] reports progress and can be stopped.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let output = folder.path().join("vectors.parquet");
    /// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
    /// model.embed_to("tests/fixtures/form-2/rows.csv", &output)?;
    /// assert!(mbm::Table::read(&output)?.position("text_embedding").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the data lack all inputs or cannot be read, or the file cannot be written.
    pub fn embed_to(&self, data: impl IntoTable, output: impl AsRef<Path>) -> Result<Embedded, Error> {
        let embedded = Embedding::new(self, output.as_ref()).run(data, &AtomicBool::new(false), &mut |_, _| ())?;
        Ok(embedded.expect("an embedding ends early only if it is stopped"))
    }

    /// Returns the fused vector of each row of a table, from which the outputs are decoded: features for other algorithms.
    ///
    /// ```
    /// let model = mbm::Model::open("tests/fixtures/form-2/mixed")?;
    /// let vectors = model.fused("tests/fixtures/form-2/rows.csv")?;
    /// assert_eq!((vectors.len(), vectors[0].len()), (40, 8));
    /// # Ok::<(), mbm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the data lack all inputs or cannot be read.
    pub fn fused(&self, data: impl IntoTable) -> Result<Vec<Vec<f32>>, Error> {
        self.predictor.fused(&self.predictor.encoder_output(data.into_table()?, &[])?)
    }

    /// Returns the vectors that the model computes for a row.
    pub fn towers(&self) -> Vec<Tower> {
        self.predictor.towers()
    }

    /// Returns the inputs that vectors are computed from, each with its type in the config.
    pub fn embedded_inputs(&self) -> Vec<(&str, &'static str)> {
        self.predictor.embedded_inputs()
    }

    /// Returns the only input of a type such as `text` that vectors are computed from.
    ///
    /// # Errors
    /// Fails if the model has none or several inputs of that type.
    pub fn input_of_type(&self, type_name: &str) -> Result<String, QueryError> {
        self.predictor.input_of(type_name)
    }

    /// Returns one cell per input: the query's cell if it has one for the input, an empty cell otherwise.
    ///
    /// # Errors
    /// Fails if a part names an input that no vector is computed from, or its cell is empty.
    pub fn query_cells(&self, parts: &[QueryPart]) -> Result<Vec<Cell>, QueryError> {
        self.predictor.query_cells(parts)
    }
}
