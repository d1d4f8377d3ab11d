//! Finding rows by a picture, a text, a sound, or several at once: an index of a model's vectors, and the model that it is asked through.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mbm_data::{Batch, Cell, Dataset, FaultReport, Field, Preprocessor, Table};
use mbm_index::{Addition, Column, Filter, GraphSettings, Hit, Index, IndexSpec, Precision, Search, Value};
use serde::{Deserialize, Serialize};

use crate::bundle::model_hash;
use crate::error::Error;
use crate::predictor::Predictor;

/// Where the vectors of an index come from; it is kept in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The model's folder; none where the vectors came from a file.
    pub model: Option<PathBuf>,
    /// What the model is.
    pub model_hash: Option<String>,
    /// The input that the vectors are of; all together where none is named.
    pub input: Option<String>,
    /// The folder that paths in cells start from.
    pub folder: PathBuf,
}

/// How an index is made.
#[derive(Debug, Clone, Copy)]
pub struct IndexSettings {
    /// What numbers are stored in.
    pub precision: Precision,
    /// How graphs are built; every search is exact where there are none.
    pub graph: Option<GraphSettings>,
}

/// Rows for an index, and how they become vectors.
pub struct IndexRows<'a> {
    /// The table.
    pub table: Table,
    /// The vectors.
    pub vectors: VectorSource<'a>,
}

/// Where the vectors of rows come from.
pub enum VectorSource<'a> {
    /// A model, by one of its inputs, or by all together.
    Model {
        /// The model.
        predictor: &'a Predictor,
        /// Its folder.
        path: &'a Path,
        /// The input; the first aligned one that the table has where none is named.
        input: Option<String>,
    },
    /// A column of the table, such as `mbm embed` writes.
    Column(String),
}

/// What became of the rows.
#[derive(Debug)]
pub struct Indexed {
    /// Rows that are in the index now.
    pub n_rows: usize,
    /// Rows with the same picture, text or sound as one before them.
    pub n_repeated: usize,
    /// Rows without a vector.
    pub n_absent: usize,
    /// Cells that could not be read.
    pub faults: FaultReport,
}

/// How far an index has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// Rows that have vectors, of how many.
    Embedding(usize, usize),
    /// Rows that are in the graph.
    Linking(usize),
}

/// Rows that are embedded at once.
const CHUNK: usize = 1024;

/// Makes an index of rows in a folder that has none.
///
/// # Errors
/// An index that is there, a table without the column, a disk that is full.
pub fn build_index(
    folder: &Path,
    rows: IndexRows,
    settings: IndexSettings,
    observe: &(dyn Fn(Indexing) + Sync),
) -> Result<Indexed, Error> {
    let prepared = Prepared::new(rows)?;
    let origin = serde_json::to_value(&prepared.origin).unwrap_or_default();
    let IndexSettings { precision, graph } = settings;
    let spec = IndexSpec { width: prepared.width, precision, graph, columns: columns(&prepared.dataset.table)?, origin };
    prepared.add_to(Addition::create(folder, spec)?, folder, observe)
}

/// Adds rows to an index.
///
/// # Errors
/// Rows of another model or without its columns; a disk that is full: the index is then what it was.
pub fn add_to_index(folder: &Path, rows: IndexRows, observe: &(dyn Fn(Indexing) + Sync)) -> Result<Indexed, Error> {
    let addition = Addition::open(folder)?;
    let origin = Origin::of(&addition.spec().origin, folder)?;
    let rows = match rows.vectors {
        VectorSource::Model { predictor, path, .. } => {
            IndexRows { vectors: VectorSource::Model { predictor, path, input: origin.input.clone() }, ..rows }
        }
        VectorSource::Column(_) => rows,
    };
    let prepared = Prepared::new(rows)?;
    if prepared.origin.model_hash.is_some() && prepared.origin.model_hash != origin.model_hash {
        return Err(Error::Unfit(format!(
            "{}: made with another model; vectors of two models cannot be compared",
            folder.display()
        )));
    }
    prepared.add_to(addition, folder, observe)
}

impl Origin {
    /// What an index says of its vectors.
    fn of(value: &serde_json::Value, folder: &Path) -> Result<Self, Error> {
        let damaged = |error: serde_json::Error| Error::Damaged { path: folder.join("index.json"), message: error.to_string() };
        serde_json::from_value(value.clone()).map_err(damaged)
    }
}

/// Rows whose vectors can be made.
struct Prepared<'a> {
    dataset: Dataset,
    source: Source<'a>,
    width: usize,
    origin: Origin,
    /// The column whose equal cells are one row.
    distinct: Option<usize>,
    /// Columns that may hold paths of pictures or sounds.
    media: Vec<usize>,
}

enum Source<'a> {
    Model(&'a Predictor, usize),
    Column(usize),
}

impl<'a> Prepared<'a> {
    fn new(rows: IndexRows<'a>) -> Result<Self, Error> {
        let IndexRows { table, vectors } = rows;
        let folder = std::path::absolute(&table.folder).map_err(Error::io(&table.folder))?;
        match vectors {
            VectorSource::Column(name) => {
                let column = table.require(&name)?;
                let width = (0..table.n_rows())
                    .find_map(|row| table.row(row).ok().and_then(|row| vector_of(&row[column]).map(|it| it.len())));
                let width = width.ok_or_else(|| Error::Unfit(format!("column '{name}' holds no vector")))?;
                let origin = Origin { model: None, model_hash: None, input: None, folder };
                let dataset = Dataset::new(table, Vec::new(), Vec::new());
                Ok(Self { dataset, source: Source::Column(column), width, origin, distinct: None, media: Vec::new() })
            }
            VectorSource::Model { predictor, path, input } => {
                let towers = predictor.towers();
                let has = |name: &String| {
                    predictor.inputs.iter().any(|field| field.name == *name && table.position(&field.column).is_some())
                };
                let named = |tower: &crate::Tower| match (&tower.input, &input) {
                    (Some(own), Some(input)) => own == input,
                    (Some(own), None) => has(own),
                    (None, _) => true,
                };
                let names: Vec<&str> = towers.iter().filter_map(|tower| tower.input.as_deref()).collect();
                let at = towers.iter().position(named).ok_or_else(|| match &input {
                    Some(input) => {
                        Error::Unfit(format!("'{input}' is not aligned by the model; there are: {}", names.join(", ")))
                    }
                    None => Error::Unfit(format!("the table has none of the aligned inputs: {}", names.join(", "))),
                })?;
                let own = towers[at].input.clone();
                let field = predictor.inputs.iter().find(|field| Some(&field.name) == own.as_ref());
                let distinct = field.and_then(|field| table.position(&field.column));
                let is_media = |field: &&Field| matches!(field.preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_));
                let media = predictor.inputs.iter().filter(is_media).filter_map(|field| table.position(&field.column)).collect();
                let dataset = predictor.reading(table, &own.iter().cloned().collect::<Vec<_>>())?;
                let model = Some(std::path::absolute(path).map_err(Error::io(path))?);
                let origin = Origin { model, model_hash: Some(model_hash(path)?), input: own, folder };
                Ok(Self { dataset, source: Source::Model(predictor, at), width: towers[at].width, origin, distinct, media })
            }
        }
    }

    fn add_to(self, mut addition: Addition, folder: &Path, observe: &(dyn Fn(Indexing) + Sync)) -> Result<Indexed, Error> {
        let table = &self.dataset.table;
        let is_elsewhere = Origin::of(&addition.spec().origin, folder)?.folder != self.origin.folder;
        let value = |at: usize, cell: &Cell| match cell {
            // Paths in the index start from the folder of its first table.
            Cell::Text(path) if is_elsewhere && self.media.contains(&at) => {
                Value::Text(self.origin.folder.join(path.trim()).display().to_string())
            }
            other => value_of(other),
        };
        let positions =
            addition.spec().columns.iter().map(|column| table.require(&column.name)).collect::<Result<Vec<_>, _>>()?;
        let mut indexed = Indexed { n_rows: 0, n_repeated: 0, n_absent: 0, faults: FaultReport::default() };
        let rows = self.distinct_rows(&mut indexed)?;
        for (at, chunk) in rows.chunks(CHUNK).enumerate() {
            for (row_idx, vector) in chunk.iter().zip(self.vectors(chunk, &mut indexed.faults)?) {
                let Some(vector) = vector else {
                    indexed.n_absent += 1;
                    continue;
                };
                let row = table.row(*row_idx)?;
                addition.push(&vector, &positions.iter().map(|at| value(*at, &row[*at])).collect::<Vec<_>>())?;
            }
            observe(Indexing::Embedding(at * CHUNK + chunk.len(), rows.len()));
        }
        indexed.n_rows = addition.finish(&|n| observe(Indexing::Linking(n)))?;
        Ok(indexed)
    }

    /// The first row of each picture, text or sound.
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

    fn vectors(&self, rows: &[usize], faults: &mut FaultReport) -> Result<Vec<Option<Vec<f32>>>, Error> {
        match self.source {
            Source::Model(predictor, tower) => {
                let vectors = predictor.embed(&self.dataset, rows, faults)?;
                Ok(vectors.into_iter().map(|mut row| row.swap_remove(tower)).collect())
            }
            Source::Column(column) => {
                rows.iter().map(|row_idx| Ok(vector_of(&self.dataset.table.row(*row_idx)?[column]))).collect()
            }
        }
    }
}

/// The numbers of a cell that holds a vector.
fn vector_of(cell: &Cell) -> Option<Vec<f32>> {
    match cell {
        Cell::Numbers(values) => Some(values.iter().map(|value| *value as f32).collect()),
        Cell::Text(text) => {
            text.split_whitespace().map(str::parse).collect::<Result<Vec<f32>, _>>().ok().filter(|it| it.len() > 1)
        }
        _ => None,
    }
}

/// What an index keeps of a cell.
fn value_of(cell: &Cell) -> Value {
    match cell {
        Cell::Number(number) => Value::Number(*number),
        Cell::Text(_) | Cell::Bool(_) | Cell::Words(_) | Cell::Json(_) => Value::Text(cell.to_text()),
        Cell::Empty | Cell::Bytes(_) | Cell::Numbers(_) | Cell::NotUtf8(_) => Value::Null,
    }
}

/// The columns that are kept: all but vectors and media, as numbers where every cell is one.
fn columns(table: &Table) -> Result<Vec<Column>, Error> {
    let n_columns = table.columns.len();
    let [mut is_kept, mut is_number, mut is_empty, mut is_vector] = [(); 4].map(|()| vec![true; n_columns]);
    for row_idx in 0..table.n_rows() {
        for (at, cell) in table.row(row_idx)?.iter().enumerate() {
            let is_digits = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
            is_kept[at] &= !matches!(cell, Cell::Bytes(_) | Cell::Numbers(_));
            is_vector[at] &= *cell == Cell::Empty || vector_of(cell).is_some();
            is_number[at] &= match cell {
                Cell::Empty | Cell::Number(_) => true,
                Cell::Text(text) => is_digits(text),
                _ => false,
            };
            is_empty[at] &= *cell == Cell::Empty;
        }
    }
    let column = |at: usize| Column { name: table.columns[at].clone(), is_number: is_number[at] && !is_empty[at] };
    let stays = |at: &usize| is_kept[*at] && (is_empty[*at] || !is_vector[*at]);
    Ok((0..n_columns).filter(stays).map(column).collect())
}

/// Part of what is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The input that it is for.
    pub input: String,
    /// A text, a path, or a file's bytes.
    pub cell: Cell,
    /// How much it counts among the parts.
    pub weight: f32,
}

/// An open index and the model that it is asked through.
pub struct Retriever {
    /// The index.
    pub index: Index,
    /// Where its vectors come from.
    pub origin: Origin,
    /// The model.
    pub predictor: Predictor,
}

impl Retriever {
    /// Opens an index and its model, which lies where it lay unless another folder is named.
    ///
    /// # Errors
    /// A folder that is no index, a model that is not the one of the index.
    pub fn open(folder: &Path, model: Option<&Path>) -> Result<Self, Error> {
        let index = Index::open(folder)?;
        let origin = Origin::of(&index.spec.origin, folder)?;
        let path = model.or(origin.model.as_deref()).ok_or_else(|| {
            Error::Unfit(format!(
                "{}: its vectors came from a file; name the model that made them with --model-path",
                folder.display()
            ))
        })?;
        if !path.exists() {
            return Err(Error::Unfit(format!(
                "the model of the index was at {}; say with --model-path where it is now",
                path.display()
            )));
        }
        if origin.model_hash.as_ref().is_some_and(|hash| model_hash(path).is_ok_and(|found| found != *hash)) {
            return Err(Error::Unfit(format!("{} is not the model that {} was made with", path.display(), folder.display())));
        }
        let predictor = Predictor::open(path)?;
        let towers = predictor.towers();
        if towers.iter().all(|tower| tower.width != index.spec.width) {
            let message = format!("the model makes vectors of {} values, the index has {}", towers[0].width, index.spec.width);
            return Err(Error::Unfit(message));
        }
        Ok(Self { index, origin, predictor })
    }

    /// The inputs that can be asked with, each with its type as the config names it.
    pub fn inputs(&self) -> Vec<(&str, &'static str)> {
        let towers = self.predictor.towers();
        let is_asked = |name: &str| towers.iter().any(|tower| tower.input.as_deref().is_none_or(|input| input == name));
        let fields = self.predictor.inputs.iter().filter(|field| is_asked(&field.name));
        fields.map(|field| (field.name.as_str(), field.preprocessor.type_name())).collect()
    }

    /// The one input of a type such as `text`.
    ///
    /// # Errors
    /// A model that has none or several of that type.
    pub fn input_of(&self, type_name: &str) -> Result<String, Error> {
        let inputs = self.inputs();
        let found: Vec<&str> = inputs.iter().filter(|(_, kind)| *kind == type_name).map(|(name, _)| *name).collect();
        match found[..] {
            [one] => Ok(one.to_owned()),
            [] => {
                let there: Vec<String> = inputs.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
                Err(Error::Unfit(format!("the model cannot be asked with {type_name}; its inputs are: {}", there.join(", "))))
            }
            _ => Err(Error::Unfit(format!(
                "the model has several inputs of type {type_name}: {}; name one with --row",
                found.join(", ")
            ))),
        }
    }

    /// The direction of what is asked: the weighted sum of its parts' vectors, or the fused vector of all parts.
    ///
    /// # Errors
    /// A part that cannot be read.
    pub fn query(&self, asked: &[Asked]) -> Result<Vec<f32>, Error> {
        let towers = self.predictor.towers();
        if towers[0].input.is_none() {
            let vectors = self.embed(asked)?;
            return vectors.into_iter().next().flatten().ok_or_else(|| Error::Unfit("nothing was asked".to_owned()));
        }
        let mut sum = vec![0.0; self.index.spec.width];
        for part in asked {
            let tower = towers.iter().position(|tower| tower.input.as_ref() == Some(&part.input));
            let vector =
                tower.and_then(|at| self.embed(std::slice::from_ref(part)).map(|mut row| row.swap_remove(at)).transpose());
            let vector = vector.ok_or_else(|| Error::Unfit(format!("'{}' cannot be asked with", part.input)))??;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += part.weight * x);
        }
        Ok(sum)
    }

    /// The vectors of a row that has these cells alone.
    fn embed(&self, asked: &[Asked]) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let column = |part: &Asked| {
            let field = self.predictor.inputs.iter().find(|field| field.name == part.input);
            field
                .map(|field| field.column.clone())
                .ok_or_else(|| Error::Unfit(format!("'{}' is no input of the model", part.input)))
        };
        let columns = asked.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let table = Table::from_rows(columns, vec![asked.iter().map(|part| part.cell.clone()).collect()], ".".into())?;
        let dataset = Dataset::new(table, self.predictor.inputs.clone(), Vec::new());
        let (sample, faults) = dataset.sample_with_faults(0)?;
        for (field, fault) in self.predictor.inputs.iter().zip(&faults) {
            if let Some(fault) = fault.as_ref().filter(|_| asked.iter().any(|part| part.input == field.name)) {
                return Err(Error::Unfit(format!("{}: {fault}", field.name)));
            }
        }
        Ok(self.predictor.embed_batch(&Batch::collate(&dataset, &[sample])).swap_remove(0))
    }

    /// The nearest rows to what is asked.
    ///
    /// # Errors
    /// As [`Retriever::query`] and [`Index::search`].
    pub fn search(&self, asked: &[Asked], search: Search) -> Result<Vec<Hit>, Error> {
        let query = self.query(asked)?;
        Ok(self.index.search(&[query], search)?.swap_remove(0))
    }

    /// The columns that hold pictures, by position, with the most pixels that they may have.
    pub fn pictures(&self) -> Vec<(usize, usize)> {
        let picture = |(at, column): (usize, &Column)| {
            let field = self.predictor.inputs.iter().find(|field| field.column == column.name)?;
            if let Preprocessor::Image(fitted) = &field.preprocessor { Some((at, fitted.max_pixels)) } else { None }
        };
        self.index.spec.columns.iter().enumerate().filter_map(picture).collect()
    }
}

/// Reads a condition such as `split = 'train'`.
///
/// # Errors
/// What is wrong, with its place.
pub fn parse_filter(text: &str) -> Result<Filter, Error> {
    Ok(Filter::parse(text)?)
}
