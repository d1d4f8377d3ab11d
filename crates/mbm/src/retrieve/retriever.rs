//! Retrieval by image, text, audio or several of them: an index of a model's vectors, and the model that encodes the queries.

use std::path::Path;

use mbm_data::{Cell, Preprocessor};
use mbm_index::{Hit, IndexValue, Search};

use crate::error::Error;
use crate::model::Model;
use crate::predict::query::{QueryError, QueryPart};
use crate::predict::vectors::RowVectors;
use crate::report::thumbnail_uri;
use crate::retrieve::indexing::{IndexSourceError, VectorOrigin};
use crate::retrieve::store::{Index, Store};

/// An open index and the model that encodes its queries.
///
/// ```
/// use mbm::{Filter, IndexRows, IndexSettings, QueryPart, Retriever, Search};
///
/// # let folder = tempfile::tempdir()?;
/// # let index = folder.path().join("index");
/// let model = mbm::Model::open("tests/fixtures/form-2/space")?;
/// let rows = IndexRows::embedded_by(&model, "tests/fixtures/form-2/rows.csv")?;
/// mbm::build_index(&index, rows, IndexSettings::default(), &|_| ())?;
///
/// let retriever = Retriever::open(&index, None)?;
/// let hits = retriever.search([("text", "red dog")], Search::nearest(2))?;
/// let filter = Filter::parse("label = 'dark'")?;
/// let dark = retriever.search([("text", "red dog")], Search::nearest(2).filter(&filter))?;
/// println!("{} {:?}", hits[0].similarity, dark[0].values);
///
/// let image = QueryPart::from(("image", "tests/fixtures/form-2/m/1.png")).weight(0.5);
/// let both = retriever.search([("text", "red dog").into(), image], Search::nearest(2))?;
/// assert_eq!((hits.len(), both.len()), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Retriever {
    index: Index,
    origin: VectorOrigin,
    model: Model,
}

impl Retriever {
    /// Opens an index and its model, from the folder recorded in the index unless another is given.
    ///
    /// # Errors
    /// Fails if the location has no index, or the model is not the one the index was built with.
    pub fn open(store: impl Into<Store>, model: Option<&Path>) -> Result<Self, Error> {
        let store = store.into();
        let index = Index::open(&store)?;
        let origin = VectorOrigin::of(&index.spec().origin)?;
        let path = model.or(origin.model.as_deref()).ok_or_else(|| IndexSourceError::NoModel(store.to_string()))?;
        if !path.exists() {
            return Err(IndexSourceError::ModelMoved(path.to_path_buf()).into());
        }
        let model = Model::open(path)?;
        if origin.model_hash.as_deref().is_some_and(|hash| model.hash().is_ok_and(|found| found != hash)) {
            let (model, store) = (path.to_path_buf(), store.to_string());
            return Err(IndexSourceError::NotItsModel { model, store }.into());
        }
        Self::new(index, model)
    }

    /// Combines an open index with a model, which must be the one that the index was built with.
    ///
    /// # Errors
    /// Fails if the model does not compute vectors of the index's dimension.
    pub fn new(index: Index, model: Model) -> Result<Self, Error> {
        let origin = VectorOrigin::of(&index.spec().origin)?;
        let towers = model.towers();
        if towers.iter().all(|tower| tower.width != index.spec().width) {
            return Err(IndexSourceError::Dimension { model: towers[0].width, index: index.spec().width }.into());
        }
        Ok(Self { index, origin, model })
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the folder that paths in the rows of the index are relative to.
    pub(crate) fn folder(&self) -> &Path {
        &self.origin.folder
    }

    /// Returns the input cells of the rows that a query is encoded from: a row per part, or one row with all parts if the model
    /// computes a single vector per row.
    ///
    /// # Errors
    /// Fails if a part names an input that cannot be queried, or its cell is empty.
    pub fn cells(&self, parts: &[QueryPart]) -> Result<Vec<Vec<Cell>>, Error> {
        let n_parts = if self.is_fused() { parts.len().max(1) } else { 1 };
        parts.chunks(n_parts).map(|parts| Ok(self.model.query_cells(parts)?)).collect()
    }

    /// Whether queries are whole rows.
    fn is_fused(&self) -> bool {
        self.model.towers()[0].input.is_none()
    }

    /// Returns the query vector: the weighted sum of the parts' vectors, or the fused vector of all parts. `vectors` are those of
    /// [`Retriever::cells`].
    ///
    /// # Errors
    /// Fails if a part has no vector, or the query vector is zero or not finite.
    pub fn query(&self, parts: &[QueryPart], vectors: Vec<RowVectors>) -> Result<Vec<f32>, Error> {
        let towers = self.model.towers();
        let mut sum = vec![0.0; self.index.spec().width];
        for (at, mut row) in vectors.into_iter().enumerate() {
            let tower = towers.iter().position(|tower| tower.input.as_ref().is_none_or(|input| *input == parts[at].input));
            let weight = if self.is_fused() { 1.0 } else { parts[at].weight };
            let vector = tower.and_then(|tower| row.swap_remove(tower));
            let vector = vector.ok_or_else(|| QueryError::NoVector(parts[at].input.clone()))?;
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * x);
        }
        if sum.iter().all(|x| *x == 0.0) || sum.iter().any(|x| !x.is_finite()) {
            return Err(QueryError::Empty.into());
        }
        Ok(sum)
    }

    /// Returns the rows nearest to a query: pairs of an input and a cell, or parts with weights.
    ///
    /// # Errors
    /// Fails as [`Retriever::cells`] and [`Index::search`] do, or if a part cannot be read.
    pub fn search<P: Into<QueryPart>>(&self, parts: impl IntoIterator<Item = P>, search: Search) -> Result<Vec<Hit>, Error> {
        let parts: Vec<QueryPart> = parts.into_iter().map(Into::into).collect();
        let rows = self.cells(&parts)?.into_iter().map(|cells| self.model.check_query(self.model.prepare(&cells)));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let vectors = self.model.embed_batch(&rows.iter().collect::<Vec<_>>());
        self.nearest(&self.query(&parts, vectors)?, search)
    }

    /// Returns the rows nearest to a query vector.
    ///
    /// # Errors
    /// Fails as [`Index::search`] does.
    pub fn nearest(&self, query: &[f32], search: Search) -> Result<Vec<Hit>, Error> {
        Ok(self.index.search(&[query.to_vec()], search)?.swap_remove(0))
    }

    /// Returns thumbnails of a row's images as data URIs, with the indices of their columns; unreadable images are skipped.
    pub fn thumbnails(&self, hit: &Hit) -> Vec<(usize, String)> {
        let thumbnails = self.images().into_iter().filter_map(|(column, max_pixels)| {
            let IndexValue::Text(path) = &hit.values[column] else { return None };
            Some((column, thumbnail_uri(&Cell::text(path), &self.origin.folder, max_pixels)?))
        });
        thumbnails.collect()
    }

    /// Returns the indices of the columns that hold images, with the maximum number of pixels per image.
    pub fn images(&self) -> Vec<(usize, usize)> {
        let images = self.index.spec().columns.iter().enumerate().filter_map(|(at, column)| {
            let field = self.model.predictor.inputs.iter().find(|field| field.column == column.name)?;
            if let Preprocessor::Image(fitted) = &field.preprocessor { Some((at, fitted.max_pixels)) } else { None }
        });
        images.collect()
    }
}
