//! The model and the index that are served now; a reload puts others in their place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mbm::{IndexInfo, Predictor, Preprocessor, Retriever, Store};

/// What answers requests.
pub(crate) struct Served {
    /// The model.
    pub predictor: Arc<Predictor>,
    /// The index and its model, if one is served.
    pub retriever: Option<Retriever>,
    /// What the index held when it was opened.
    pub index_info: Option<IndexInfo>,
    /// The columns of a prediction, without `status`.
    pub columns: Vec<String>,
    /// What the model is.
    pub model_hash: String,
    /// Its folder's name.
    pub name: String,
}

impl Served {
    /// Opens a model, an index, or both.
    pub fn open(model_path: Option<&Path>, index: Option<&Store>) -> Result<Self, mbm::Error> {
        let retriever = index.map(|index| Retriever::open(index, model_path)).transpose()?;
        let of_index = retriever.as_ref().and_then(|retriever| retriever.origin.model.clone());
        let path: PathBuf = model_path.map(Path::to_path_buf).or(of_index).ok_or_else(|| {
            mbm::Error::Unfit("nothing to serve: name a model with --model-path, or an index with --index".to_owned())
        })?;
        let predictor = match &retriever {
            Some(retriever) => retriever.predictor.clone(),
            None => Arc::new(Predictor::open(&path)?),
        };
        let mut columns: Vec<String> = predictor.columns().into_iter().map(|column| column.name).collect();
        columns.pop();
        let name = std::path::absolute(&path).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let index_info = retriever.as_ref().map(|retriever| retriever.index.info()).transpose()?;
        Ok(Self {
            index_info,
            columns,
            model_hash: mbm::model_hash(&path)?,
            name: name.unwrap_or_default(),
            predictor,
            retriever,
        })
    }

    /// The index, or that there is none.
    pub fn index(&self) -> Option<&Retriever> {
        self.retriever.as_ref()
    }

    /// Whether an input is read from a file's bytes.
    pub fn is_media(&self, input: usize) -> bool {
        matches!(self.predictor.inputs[input].preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_))
    }
}
