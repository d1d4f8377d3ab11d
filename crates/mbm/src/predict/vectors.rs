//! The vectors of rows: one per input of an embedding output, or the fused vector of a model without an embedding output.

use std::collections::{HashMap, HashSet};

use mbm_data::{Batch, Cell, Dataset, Precomputed, Prepared, Table};
use mbm_model::FrozenEncoder;

use crate::error::Error;
use crate::predict::columns::check_columns;
use crate::predict::forward::to_vec;
use crate::predict::postprocessor::Postprocessor;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;
use crate::predict::query::{QueryError, QueryPart};

/// A vector that a model computes for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tower {
    /// The input it is computed from; `None` for all inputs together.
    pub input: Option<String>,
    /// Dimension of the vector.
    pub width: usize,
}

/// The vectors of a row, one per tower; `None` if the tower's input is absent.
pub type RowVectors = Vec<Option<Vec<f32>>>;

impl Tower {
    /// Returns the name of the column its vectors are written to.
    pub fn column(&self) -> String {
        self.input.as_ref().map_or("embedding".to_owned(), |input| format!("{input}_embedding"))
    }
}

impl Predictor {
    /// Returns the vectors this model computes for a row: those of the first embedding output, or the fused vector.
    pub fn towers(&self) -> Vec<Tower> {
        match self.embedding() {
            Some((_, align, width)) => align.iter().map(|input| Tower { input: Some(input.clone()), width }).collect(),
            None => vec![Tower { input: None, width: self.model.width() }],
        }
    }

    /// Returns the inputs that vectors are computed from, each with its type name in the config.
    pub fn embedded_inputs(&self) -> Vec<(&str, &'static str)> {
        let towers = self.towers();
        let fields = self
            .inputs
            .iter()
            .filter(|field| towers.iter().any(|tower| tower.input.as_ref().is_none_or(|input| *input == field.name)));
        fields.map(|field| (field.name.as_str(), field.preprocessor.type_name())).collect()
    }

    /// Returns the only embedded input of a type such as `text`.
    ///
    /// # Errors
    /// Fails if the model has none or several inputs of that type.
    pub fn input_of(&self, type_name: &str) -> Result<String, QueryError> {
        let inputs = self.embedded_inputs();
        let found: Vec<&str> = inputs.iter().filter(|(_, kind)| *kind == type_name).map(|(name, _)| *name).collect();
        match found[..] {
            [one] => Ok(one.to_owned()),
            [] => {
                let available: Vec<String> = inputs.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
                Err(QueryError::NoInputOfType { type_name: type_name.to_owned(), available: available.join(", ") })
            }
            _ => Err(QueryError::SeveralInputsOfType { type_name: type_name.to_owned(), found: found.join(", ") }),
        }
    }

    /// Returns one cell per input: the query's cell if it has one for the input, an empty cell otherwise.
    ///
    /// # Errors
    /// Fails if a part names an input that no vector is computed from, or its cell is empty.
    pub fn query_cells(&self, parts: &[QueryPart]) -> Result<Vec<Cell>, QueryError> {
        let mut cells = vec![Cell::Empty; self.inputs.len()];
        let inputs = self.embedded_inputs();
        let embedded: HashSet<&str> = inputs.iter().map(|(name, _)| *name).collect();
        let positions = self.inputs.iter().enumerate().map(|(at, field)| (field.name.as_str(), at));
        let positions: HashMap<&str, usize> = positions.filter(|(name, _)| embedded.contains(name)).collect();
        for part in parts {
            let Some(&at) = positions.get(part.input.as_str()) else {
                let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
                return Err(QueryError::NotEmbedded { input: part.input.clone(), available: names.join(", ") });
            };
            if part.cell == Cell::Empty {
                return Err(QueryError::EmptyCell(part.input.clone()));
            }
            cells[at] = part.cell.clone();
        }
        Ok(cells)
    }

    /// Returns the first embedding output: its index, the inputs it aligns, and the dimension of its vectors.
    fn embedding(&self) -> Option<(usize, &[String], usize)> {
        let outputs = self.postprocessors.iter().zip(&self.plan.config.output_features).enumerate();
        outputs.into_iter().find_map(|(at, (postprocessor, feature))| match postprocessor {
            Postprocessor::Embedding { align } => Some((at, align.as_slice(), feature.n_embedded() / align.len())),
            _ => None,
        })
    }

    /// Embeds a batch: `[rows][towers]`.
    pub fn embed_batch(&self, batch: &Batch) -> Vec<RowVectors> {
        let Some((output, ..)) = self.embedding() else {
            let fused = self.fused_batch(batch).pooled;
            let [_, width] = fused.dims();
            return to_vec(fused).chunks(width).map(|row| vec![Some(row.to_vec())]).collect();
        };
        let predictions = self.predict_batch(batch).swap_remove(output).into_iter();
        let rows = predictions.map(|prediction| match prediction {
            Prediction::Embeddings(vectors) => vectors.into_iter().map(|it| Some(it).filter(|it| !it.is_empty())).collect(),
            other => unreachable!("an embedding predicts {other:?}"),
        });
        rows.collect()
    }

    /// Wraps a table in a dataset with the named inputs, or with all inputs if none is named; the others are masked.
    ///
    /// # Errors
    /// Fails if a name is not an input of the model, or the table lacks its column.
    pub fn encoder_output(&self, table: Table, inputs: &[String]) -> Result<Dataset, Error> {
        let names: Vec<&str> = self.inputs.iter().map(|field| field.name.as_str()).collect();
        if let Some(unknown) = inputs.iter().find(|input| !names.contains(&input.as_str())) {
            return Err(QueryError::UnknownInput { input: unknown.clone(), available: names.join(", ") }.into());
        }
        check_columns(&self.inputs, &table)?;
        let mut dataset = Dataset::new(table, self.inputs.clone(), Vec::new());
        for (at, field) in self.inputs.iter().enumerate().filter(|_| !inputs.is_empty()) {
            if inputs.contains(&field.name) {
                dataset.table.require(&field.column)?;
            } else {
                dataset.mask_input(at);
            }
        }
        Ok(dataset)
    }

    /// Returns the encoders that training left unchanged, by input index; their outputs may be cached from an earlier run.
    ///
    /// # Errors
    /// Fails if the settings do not fit the features.
    pub fn frozen_encoders(&self) -> Result<Vec<(usize, FrozenEncoder)>, Error> {
        let spec = self.plan.model_spec(&self.inputs, &self.outputs, &[])?;
        let frozen = self.inputs.iter().enumerate().filter_map(|(at, field)| {
            Some((at, FrozenEncoder::of_model(&self.model, &spec, at, &field.preprocessor, &self.device)?))
        });
        Ok(frozen.collect())
    }

    /// Embeds some rows. Inputs in `ahead` are encoded once for equal cells; unreadable cells and cache failures are recorded in
    /// `prepared`.
    ///
    /// # Errors
    /// Fails on I/O errors of temporary files.
    pub fn embed(
        &self,
        dataset: &Dataset,
        rows: &[usize],
        ahead: &mut [Precomputed],
        prepared: &mut Prepared,
    ) -> Result<Vec<RowVectors>, Error> {
        let mut vectors = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.batch_size()) {
            let samples = dataset.read_ahead(rows, ahead, prepared)?;
            for sample in &samples {
                prepared.faults.add_row(&dataset.fields, sample.row_idx, &sample.faults);
            }
            vectors.extend(self.embed_batch(&dataset.collate(&samples)));
        }
        Ok(vectors)
    }
}
