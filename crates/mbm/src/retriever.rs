//! Finding rows by an image, a text, a sound, or several at once: an index of a model's vectors, and the model that it is asked through.

use std::path::Path;
use std::sync::Arc;

use mbm_data::{Cell, Preprocessor};
use mbm_index::{Column, Filter, Hit, Search, Value};

use crate::bundle::model_hash;
use crate::embed::Vectors;
use crate::error::Error;
use crate::indexing::Origin;
use crate::predictor::Predictor;
use crate::report::thumbnail_uri;
use crate::store::{Index, Store};

/// Part of what is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPart {
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
    pub predictor: Arc<Predictor>,
}

impl Retriever {
    /// Opens an index and its model, which lies where it lay unless another folder is named.
    ///
    /// # Errors
    /// A place without an index, a model that is not the one of the index.
    pub fn open(store: &Store, model: Option<&Path>) -> Result<Self, Error> {
        let index = Index::open(store)?;
        let origin = Origin::of(&index.spec().origin)?;
        let path = model.or(origin.model.as_deref()).ok_or_else(|| {
            Error::Incompatible(format!("{store}: its vectors came from a file; name the model that made them with --model-path"))
        })?;
        if !path.exists() {
            return Err(Error::Incompatible(format!(
                "the model of the index was at {}; say with --model-path where it is now",
                path.display()
            )));
        }
        if origin.model_hash.as_ref().is_some_and(|hash| model_hash(path).is_ok_and(|found| found != *hash)) {
            return Err(Error::Incompatible(format!("{} is not the model that {store} was made with", path.display())));
        }
        Self::new(index, Arc::new(Predictor::open(path)?))
    }

    /// An index that is asked through a model.
    ///
    /// # Errors
    /// A model that makes no vectors of the index's width.
    pub fn new(index: Index, predictor: Arc<Predictor>) -> Result<Self, Error> {
        let origin = Origin::of(&index.spec().origin)?;
        let towers = predictor.towers();
        if towers.iter().all(|tower| tower.width != index.spec().width) {
            let message = format!("the model makes vectors of {} values, the index has {}", towers[0].width, index.spec().width);
            return Err(Error::Incompatible(message));
        }
        Ok(Self { index, origin, predictor })
    }

    /// Cells of the rows whose vectors make up what is asked: a row for each part, or one with all parts where the model makes one vector
    /// of a row.
    ///
    /// # Errors
    /// A part that cannot be asked with.
    pub fn cells(&self, asked: &[QueryPart]) -> Result<Vec<Vec<Cell>>, Error> {
        let n_parts = if self.is_fused() { asked.len().max(1) } else { 1 };
        asked.chunks(n_parts).map(|parts| self.predictor.asked_cells(parts)).collect()
    }

    /// Whether the index is asked with whole rows.
    fn is_fused(&self) -> bool {
        self.predictor.towers()[0].input.is_none()
    }

    /// The direction of what is asked: the weighted sum of its parts' vectors, or the fused vector of all parts; `vectors` are those of
    /// [`Retriever::cells`].
    ///
    /// # Errors
    /// Nothing asked; a part without a vector.
    pub fn query(&self, asked: &[QueryPart], vectors: Vec<Vectors>) -> Result<Vec<f32>, Error> {
        let towers = self.predictor.towers();
        let mut sum = vec![0.0; self.index.spec().width];
        for (at, mut row) in vectors.into_iter().enumerate() {
            let tower = towers.iter().position(|tower| tower.input.as_ref().is_none_or(|input| *input == asked[at].input));
            let weight = if self.is_fused() { 1.0 } else { asked[at].weight };
            let vector = tower.and_then(|tower| row.swap_remove(tower));
            let vector = vector.ok_or_else(|| Error::Incompatible(format!("'{}' has no vector", asked[at].input)))?;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * x);
        }
        if sum.iter().all(|x| *x == 0.0) || sum.iter().any(|x| !x.is_finite()) {
            return Err(Error::Incompatible("nothing to look for, or weights that are too large".to_owned()));
        }
        Ok(sum)
    }

    /// The nearest rows to what is asked.
    ///
    /// # Errors
    /// As [`Retriever::cells`] and [`Index::search`]; a part that cannot be read.
    pub fn search(&self, asked: &[QueryPart], search: Search) -> Result<Vec<Hit>, Error> {
        let read = |cells: Vec<Cell>| self.predictor.read_asked(&cells).map_err(Error::Incompatible);
        let rows = self.cells(asked)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let vectors = self.predictor.embed_batch(&self.predictor.collate(&rows.iter().collect::<Vec<_>>()));
        self.nearest(&self.query(asked, vectors)?, search)
    }

    /// The nearest rows to a direction.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn nearest(&self, query: &[f32], search: Search) -> Result<Vec<Hit>, Error> {
        Ok(self.index.search(&[query.to_vec()], search)?.swap_remove(0))
    }

    /// The images of a row, small and as data URIs, by the position of their columns; without those that cannot be read.
    pub fn thumbnails(&self, hit: &Hit) -> Vec<(usize, String)> {
        let thumbnail = |(column, max_pixels): (usize, usize)| {
            let Value::Text(path) = &hit.values[column] else { return None };
            Some((column, thumbnail_uri(&Cell::text(path), &self.origin.folder, max_pixels)?))
        };
        self.images().into_iter().filter_map(thumbnail).collect()
    }

    /// The columns that hold images, by position, with the most pixels that they may have.
    pub fn images(&self) -> Vec<(usize, usize)> {
        let image = |(at, column): (usize, &Column)| {
            let field = self.predictor.inputs.iter().find(|field| field.column == column.name)?;
            if let Preprocessor::Image(fitted) = &field.preprocessor { Some((at, fitted.max_pixels)) } else { None }
        };
        self.index.spec().columns.iter().enumerate().filter_map(image).collect()
    }
}

/// Reads a condition such as `split = 'train'`.
///
/// # Errors
/// What is wrong, with its place.
pub fn parse_filter(text: &str) -> Result<Filter, Error> {
    Ok(Filter::parse(text)?)
}
