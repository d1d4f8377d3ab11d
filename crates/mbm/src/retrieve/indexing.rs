//! Builds indexes from tables: vectors come from a model, or from a column.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mbm_data::{Cell, Dataset, FaultReport, FeatureCache, Precomputed, Prepared, Preprocessor, Table};
use mbm_index::{IndexColumn, IndexSpec, IndexValue};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::Model;
use crate::predict::predictor::Predictor;
use crate::retrieve::index_rows::{IndexRows, IndexSettings, VectorSource};
use crate::retrieve::store::{IndexWriter, Store};

/// An index and a model, or an index and its source, that do not belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexSourceError {
    /// An index of another model's vectors.
    #[error("{0}: built with another model; vectors of two models are not comparable")]
    OtherModel(String),
    /// An index without a readable origin.
    #[error("the index does not specify the origin of its vectors: {0}")]
    Origin(String),
    /// A column without vectors.
    #[error("column '{0}' holds no vector")]
    NoVectors(String),
    /// A name that is not an aligned input.
    #[error("'{input}' is not an aligned input of the model; available inputs: {available}")]
    NotAligned {
        /// The name.
        input: String,
        /// The aligned inputs.
        available: String,
    },
    /// A table without any aligned input.
    #[error("the table has none of the model's aligned inputs: {0}")]
    NoAlignedInput(String),
    /// An index whose vectors came from a file, so that its model is unknown.
    #[error("{0}: its vectors came from a file; name the model that made them with --model-path")]
    NoModel(String),
    /// The model of an index was moved.
    #[error("the model of the index is no longer at {}; specify its location with --model-path", .0.display())]
    ModelMoved(PathBuf),
    /// A model that is not the one the index was built with.
    #[error("{} is not the model that {store} was built with", model.display())]
    NotItsModel {
        /// The model's folder.
        model: PathBuf,
        /// The index.
        store: String,
    },
    /// A model with vectors of another dimension.
    #[error("the model's vectors have {model} values, the index's {index}")]
    Dimension {
        /// The dimension of the model's vectors.
        model: usize,
        /// The dimension of the index's vectors.
        index: usize,
    },
}

/// The origin of an index's vectors; stored in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VectorOrigin {
    /// The model's folder; `None` if the vectors came from a file.
    pub model: Option<PathBuf>,
    /// The model's hash.
    pub model_hash: Option<String>,
    /// The input the vectors are computed from; `None` for all inputs together.
    pub input: Option<String>,
    /// The folder that paths in cells are relative to.
    pub folder: PathBuf,
}

/// The result of indexing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Indexed {
    /// Rows that are now in the index.
    pub n_rows: usize,
    /// Rows whose image, text or audio clip repeats that of an earlier row.
    pub n_repeated: usize,
    /// Rows without a vector.
    pub n_absent: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
    /// Why features are not cached for later runs, if caching failed.
    pub cache_fault: Option<String>,
}

/// The progress of indexing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Indexing {
    /// Rows embedded so far, and the total.
    Embedding(usize, usize),
    /// Rows inserted into the graph.
    Linking(usize),
}

/// Rows that are embedded together.
const CHUNK: usize = 1024;

/// Builds an index of rows in a location that has none.
///
/// ```
/// use mbm::{Index, IndexRows, IndexSettings};
///
/// # let folder = tempfile::tempdir()?;
/// # let index = folder.path().join("index");
/// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
/// let rows = || IndexRows::embedded_by(&model, "tests/fixtures/form-2/rows.csv");
/// let built = mbm::build_index(&index, rows()?.input("text"), IndexSettings::default(), &|_| ())?;
/// let added = mbm::add_to_index(&index, rows()?, &|progress| println!("{progress:?}"))?;
/// assert_eq!(Index::open(&index)?.info()?.n_rows, built.n_rows + added.n_rows);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if there already is an index, the table lacks the column, or on I/O errors such as a full disk.
pub fn build_index(
    store: impl Into<Store>,
    rows: IndexRows,
    settings: IndexSettings,
    observe: &(dyn Fn(Indexing) + Sync),
) -> Result<Indexed, Error> {
    let source_rows = IndexSource::new(rows)?;
    let origin = serde_json::to_value(&source_rows.origin).unwrap_or_default();
    let IndexSettings { precision, graph } = settings;
    let spec = IndexSpec { width: source_rows.width, precision, graph, columns: columns(&source_rows.dataset.table)?, origin };
    source_rows.add_to(IndexWriter::create(&store.into(), spec)?, observe)
}

/// Adds rows to an index.
///
/// # Errors
/// Fails if the rows are of another model or lack the index's columns, or on I/O errors; the index is then unchanged.
pub fn add_to_index(store: impl Into<Store>, mut rows: IndexRows, observe: &(dyn Fn(Indexing) + Sync)) -> Result<Indexed, Error> {
    let store = store.into();
    let writer = IndexWriter::open(&store)?;
    let origin = VectorOrigin::of(&writer.spec().origin)?;
    if let VectorSource::Model(_, input) = &mut rows.vectors {
        input.clone_from(&origin.input);
    }
    let source_rows = IndexSource::new(rows)?;
    if source_rows.origin.model_hash.is_some() && source_rows.origin.model_hash != origin.model_hash {
        return Err(IndexSourceError::OtherModel(store.to_string()).into());
    }
    source_rows.add_to(writer, observe)
}

impl VectorOrigin {
    /// Parses the origin stored in an index.
    pub(crate) fn of(value: &serde_json::Value) -> Result<Self, IndexSourceError> {
        serde_json::from_value(value.clone()).map_err(|error| IndexSourceError::Origin(serde_json::Error::to_string(&error)))
    }
}

/// Rows whose vectors can be computed.
struct IndexSource {
    dataset: Dataset,
    source: VectorsFrom,
    width: usize,
    origin: VectorOrigin,
    /// The column whose equal cells count as one row.
    distinct: Option<usize>,
    /// Columns that may hold paths of images or audio clips.
    media: Vec<usize>,
    cache: Option<FeatureCache>,
}

enum VectorsFrom {
    Model(Model, usize),
    Column(usize),
}

impl IndexSource {
    fn new(rows: IndexRows) -> Result<Self, Error> {
        let IndexRows { table, vectors, cache } = rows;
        let source_rows = match vectors {
            VectorSource::Column(name) => Self::of_column(table, &name)?,
            VectorSource::Model(model, input) => Self::of_model(table, model, input.as_deref())?,
        };
        Ok(Self { cache, ..source_rows })
    }

    fn of_column(table: Table, name: &str) -> Result<Self, Error> {
        let column = table.require(name)?;
        let vector = (0..table.n_rows()).find_map(|row_idx| vector_of(&table.row(row_idx).ok()?[column]));
        let width = vector.map(|vector| vector.len()).ok_or_else(|| IndexSourceError::NoVectors(name.to_string()))?;
        let origin = VectorOrigin { model: None, model_hash: None, input: None, folder: absolute(&table.folder)? };
        let dataset = Dataset::new(table, Vec::new(), Vec::new());
        let source = VectorsFrom::Column(column);
        Ok(Self { dataset, source, width, origin, distinct: None, media: Vec::new(), cache: None })
    }

    fn of_model(table: Table, model: Model, input: Option<&str>) -> Result<Self, Error> {
        let predictor = &model.predictor;
        let at = tower_of(&table, predictor, input)?;
        let tower = predictor.towers().swap_remove(at);
        let field = predictor.inputs.iter().find(|field| Some(&field.name) == tower.input.as_ref());
        let distinct = field.and_then(|field| table.position(&field.column));
        let inputs = predictor.inputs.iter();
        let media = inputs.filter(|field| matches!(field.preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_)));
        let media = media.filter_map(|field| table.position(&field.column)).collect();
        let origin = VectorOrigin {
            model: model.folder().map(absolute).transpose()?,
            model_hash: Some(model.hash()?.to_owned()),
            input: tower.input.clone(),
            folder: absolute(&table.folder)?,
        };
        let dataset = predictor.encoder_output(table, &tower.input.into_iter().collect::<Vec<_>>())?;
        let source = VectorsFrom::Model(model, at);
        Ok(Self { dataset, source, width: tower.width, origin, distinct, media, cache: None })
    }

    fn add_to(self, mut writer: IndexWriter, observe: &(dyn Fn(Indexing) + Sync)) -> Result<Indexed, Error> {
        let table = &self.dataset.table;
        let is_elsewhere = VectorOrigin::of(&writer.spec().origin)?.folder != self.origin.folder;
        let positions = writer.spec().columns.iter().map(|column| table.require(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let mut indexed = Indexed { n_rows: 0, n_repeated: 0, n_absent: 0, faults: FaultReport::default(), cache_fault: None };
        let mut prepared = Prepared::default();
        let rows = self.distinct_rows(&mut indexed)?;
        let frozen = match &self.source {
            VectorsFrom::Model(model, _) => model.predictor.frozen_encoders()?,
            VectorsFrom::Column(_) => Vec::new(),
        };
        let mut ahead = Precomputed::all(&frozen, self.cache.as_ref());
        for (at, chunk) in rows.chunks(CHUNK).enumerate() {
            for (row_idx, vector) in chunk.iter().zip(self.vectors(chunk, &mut ahead, &mut prepared)?) {
                let Some(vector) = vector else {
                    indexed.n_absent += 1;
                    continue;
                };
                let row = table.row(*row_idx)?;
                let values = positions.iter().map(|at| match &row[*at] {
                    // Paths in the index are relative to the folder of its first table.
                    Cell::Text(path) if is_elsewhere && self.media.contains(at) => {
                        IndexValue::Text(self.origin.folder.join(path.trim()).display().to_string())
                    }
                    other => value_of(other),
                });
                writer.push(&vector, &values.collect::<Vec<_>>())?;
            }
            observe(Indexing::Embedding(at * CHUNK + chunk.len(), rows.len()));
        }
        prepared.flush(&mut ahead);
        (indexed.faults, indexed.cache_fault) = (prepared.faults, prepared.cache_fault);
        indexed.n_rows = writer.finish(&|n| observe(Indexing::Linking(n)))?;
        Ok(indexed)
    }

    /// Returns the first row of each distinct image, text or audio clip.
    fn distinct_rows(&self, indexed: &mut Indexed) -> Result<Vec<usize>, Error> {
        let table = &self.dataset.table;
        let (mut seen, mut rows) = (HashSet::new(), Vec::new());
        for row_idx in 0..table.n_rows() {
            let item = self.distinct.map(|column| Ok::<_, Error>(table.row(row_idx)?[column].item())).transpose()?;
            match item {
                Some(0) => indexed.n_absent += 1,
                Some(item) if !seen.insert(item) => indexed.n_repeated += 1,
                _ => rows.push(row_idx),
            }
        }
        Ok(rows)
    }

    fn vectors(
        &self,
        rows: &[usize],
        ahead: &mut [Precomputed],
        prepared: &mut Prepared,
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        match &self.source {
            VectorsFrom::Model(model, tower) => {
                let vectors = model.predictor.embed(&self.dataset, rows, ahead, prepared)?;
                Ok(vectors.into_iter().map(|mut row| row.swap_remove(*tower)).collect())
            }
            VectorsFrom::Column(column) => {
                rows.iter().map(|row_idx| Ok(vector_of(&self.dataset.table.row(*row_idx)?[*column]))).collect()
            }
        }
    }
}

/// Returns the index of an input's tower, or of the first tower whose input the table has.
fn tower_of(table: &Table, predictor: &Predictor, input: Option<&str>) -> Result<usize, IndexSourceError> {
    let towers = predictor.towers();
    let requested = towers.iter().position(|tower| match (tower.input.as_deref(), input) {
        (Some(own), Some(input)) => own == input,
        (Some(own), None) => predictor.inputs.iter().any(|field| field.name == own && table.position(&field.column).is_some()),
        (None, _) => true,
    });
    requested.ok_or_else(|| {
        let names = towers.iter().filter_map(|tower| tower.input.as_deref()).collect::<Vec<_>>().join(", ");
        match input {
            Some(input) => IndexSourceError::NotAligned { input: input.to_owned(), available: names },
            None => IndexSourceError::NoAlignedInput(names),
        }
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(Error::io(path))
}

/// Returns the vector in a cell, if it holds one.
fn vector_of(cell: &Cell) -> Option<Vec<f32>> {
    match cell {
        Cell::Numbers(values) => Some(values.iter().map(|value| *value as f32).collect()),
        Cell::Text(text) => {
            text.split_whitespace().map(str::parse).collect::<Result<Vec<f32>, _>>().ok().filter(|it| it.len() > 1)
        }
        _ => None,
    }
}

/// Converts a cell to the value that the index stores.
fn value_of(cell: &Cell) -> IndexValue {
    match cell {
        Cell::Number(number) => IndexValue::Number(*number),
        Cell::Text(_) | Cell::Bool(_) | Cell::Words(_) | Cell::Json(_) => IndexValue::Text(cell.to_text()),
        Cell::Empty | Cell::Bytes(_) | Cell::Numbers(_) | Cell::NotUtf8(_) => IndexValue::Null,
    }
}

/// Returns the columns that the index stores: all but vectors and media, as numbers if every cell is a number.
fn columns(table: &Table) -> Result<Vec<IndexColumn>, Error> {
    let n_columns = table.columns.len();
    let [mut is_kept, mut is_number, mut is_empty, mut is_vector] = [(); 4].map(|()| vec![true; n_columns]);
    for row_idx in 0..table.n_rows() {
        for (at, cell) in table.row(row_idx)?.iter().enumerate() {
            is_kept[at] &= !matches!(cell, Cell::Bytes(_) | Cell::Numbers(_));
            is_vector[at] &= *cell == Cell::Empty || vector_of(cell).is_some();
            is_number[at] &= match cell {
                Cell::Empty | Cell::Number(_) => true,
                Cell::Text(text) => text.trim().parse::<f64>().is_ok_and(f64::is_finite),
                _ => false,
            };
            is_empty[at] &= *cell == Cell::Empty;
        }
    }
    Ok((0..n_columns)
        .filter(|at| is_kept[*at] && (is_empty[*at] || !is_vector[*at]))
        .map(|at| IndexColumn { name: table.columns[at].clone(), is_number: is_number[at] && !is_empty[at] })
        .collect())
}
