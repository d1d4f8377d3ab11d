//! What goes into an index: rows with the source of their vectors, and the settings of a new index.

use mbm_data::{FeatureCache, Table};
use mbm_index::{GraphSettings, Precision};

use crate::error::Error;
use crate::into_table::IntoTable;
use crate::model::Model;

/// The settings of a new index.
///
/// ```
/// use mbm::{IndexSettings, Precision};
///
/// let settings = IndexSettings::default().precision(Precision::I8).graph(None);
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct IndexSettings {
    /// The number format of stored vectors.
    pub precision: Precision,
    /// How graphs are built; without graphs, every search is exact.
    pub graph: Option<GraphSettings>,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { precision: Precision::F32, graph: Some(GraphSettings::default()) }
    }
}

impl IndexSettings {
    /// Sets the number format of stored vectors.
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Sets how graphs are built; without graphs, every search is exact.
    pub fn graph(self, graph: Option<GraphSettings>) -> Self {
        Self { graph, ..self }
    }
}

/// Rows to add to an index, and the source of their vectors: a model, or a column.
#[derive(Debug)]
pub struct IndexRows {
    pub(super) table: Table,
    pub(super) vectors: VectorSource,
    pub(super) cache: Option<FeatureCache>,
}

/// The source of rows' vectors.
#[derive(Debug)]
pub(super) enum VectorSource {
    /// A model, through one of its inputs or all of them together; by default the first aligned input that the table has.
    Model(Model, Option<String>),
    /// A column of the table.
    Column(String),
}

impl IndexRows {
    /// Takes rows whose vectors a model computes, from the first aligned input that the data have, or from all inputs of a model
    /// without an embedding output.
    ///
    /// # Errors
    /// Fails if the data cannot be read.
    pub fn embedded_by(model: &Model, data: impl IntoTable) -> Result<Self, Error> {
        Ok(Self { table: data.into_table()?, vectors: VectorSource::Model(model.clone(), None), cache: None })
    }

    /// Takes rows whose vectors are in a column, such as those that `mbm embed` writes.
    ///
    /// # Errors
    /// Fails if the data cannot be read.
    pub fn from_column(data: impl IntoTable, column: impl Into<String>) -> Result<Self, Error> {
        Ok(Self { table: data.into_table()?, vectors: VectorSource::Column(column.into()), cache: None })
    }

    /// Sets the input that a model computes vectors from.
    pub fn input(self, input: impl Into<String>) -> Self {
        let vectors = match self.vectors {
            VectorSource::Model(model, _) => VectorSource::Model(model, Some(input.into())),
            column @ VectorSource::Column(_) => column,
        };
        Self { vectors, ..self }
    }

    /// Sets the cache for features of encoders that training left unchanged.
    pub fn cache(self, cache: Option<FeatureCache>) -> Self {
        Self { cache, ..self }
    }
}
