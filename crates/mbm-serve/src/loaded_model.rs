//! The model and the index that are served now; a reload puts others in their place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mbm::{IndexInfo, Predictor, Preprocessor, Retriever, Store};
use serde::Serialize;

use crate::api_error::ApiError;
use crate::reply::{self, Written};

/// What answers requests.
pub(crate) struct LoadedModel {
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
    /// What names in rows stand for.
    names: HashMap<String, Named>,
    /// Inputs by their names alone.
    inputs: HashMap<String, usize>,
    /// The description of the server.
    pub document: OnceLock<Written>,
    /// What is said of the model.
    pub info: OnceLock<Written>,
}

/// What a name in a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// The input at this place.
    Input(usize),
    /// An output, which is not read.
    Output,
}

/// A model may have any number of inputs and classes.
const HOWEVER_LARGE: usize = usize::MAX;

impl LoadedModel {
    /// Opens a model, an index, or both.
    pub fn open(model_path: Option<&Path>, index: Option<&Store>) -> Result<Self, mbm::Error> {
        let retriever = index.map(|index| Retriever::open(index, model_path)).transpose()?;
        let of_index = retriever.as_ref().and_then(|retriever| retriever.origin.model.clone());
        let path: PathBuf = model_path.map(Path::to_path_buf).or(of_index).ok_or_else(|| {
            mbm::Error::Incompatible("nothing to serve: name a model with --model-path, or an index with --index".to_owned())
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
            names: names(&predictor),
            inputs: predictor.inputs.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect(),
            document: OnceLock::new(),
            info: OnceLock::new(),
            predictor,
            retriever,
        })
    }

    /// The index, or that there is none.
    pub fn index(&self) -> Option<&Retriever> {
        self.retriever.as_ref()
    }

    /// What a name in a row stands for: an input or an output by its name or its column.
    pub fn named(&self, name: &str) -> Option<Named> {
        self.names.get(name).copied()
    }

    /// The input of a name.
    pub fn input(&self, name: &str) -> Option<usize> {
        self.inputs.get(name).copied()
    }

    /// What is the same for all who ask: made once, by a thread for such work.
    pub async fn kept<T: Serialize>(
        self: Arc<Self>,
        place: fn(&Self) -> &OnceLock<Written>,
        make: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<Written, ApiError> {
        if let Some(written) = place(&self).get() {
            return Ok(written.clone());
        }
        let served = self.clone();
        let written = reply::written(HOWEVER_LARGE, move || Ok(make(&served))).await?;
        Ok(place(&self).get_or_init(|| written).clone())
    }

    /// Whether an input is read from a file's bytes.
    pub fn is_media(&self, input: usize) -> bool {
        matches!(self.predictor.inputs[input].preprocessor, Preprocessor::Image(_) | Preprocessor::Audio(_))
    }
}

fn names(predictor: &Predictor) -> HashMap<String, Named> {
    let inputs = predictor.inputs.iter().enumerate().map(|(at, field)| (field, Named::Input(at)));
    let outputs = predictor.outputs.iter().map(|field| (field, Named::Output));
    let mut names = HashMap::new();
    for (field, named) in inputs.chain(outputs) {
        // The first that has a name counts.
        names.entry(field.name.clone()).or_insert(named);
        names.entry(field.column.clone()).or_insert(named);
    }
    names
}
