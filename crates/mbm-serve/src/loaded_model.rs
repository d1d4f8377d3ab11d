//! The model and the index that are currently served; a reload replaces them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use mbm::{IndexInfo, Model, Retriever, Store};
use serde::Serialize;

use crate::api_error::ApiError;
use crate::reply::{self, SerializedJson};
use crate::server::ServeError;

/// A model, its index if there is one, and data derived from them.
pub(crate) struct LoadedModel {
    /// The model.
    pub model: Model,
    /// The index with its model, if an index is served.
    pub retriever: Option<Retriever>,
    /// Information on the index at the time it was opened.
    pub index_info: Option<IndexInfo>,
    /// Columns of a prediction, without `status`.
    pub columns: Vec<String>,
    /// SHA-256 of the model's files.
    pub model_hash: String,
    /// Name of the model's folder.
    pub name: String,
    /// Maps names in rows to inputs and outputs.
    names: HashMap<String, FieldRef>,
    /// Maps input names (not columns) to positions.
    inputs: HashMap<String, usize>,
    /// The cached OpenAPI document.
    pub document: OnceLock<SerializedJson>,
    /// The cached answer of `/info`.
    pub info: OnceLock<SerializedJson>,
}

/// What a name in a row refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldRef {
    /// The inputs at these positions: several if they read the same column.
    Inputs(Vec<usize>),
    /// An output; its values are ignored.
    Output,
}

/// Size given for serialization that must not run inline: a model may have any number of inputs and classes.
const UNBOUNDED: usize = usize::MAX;

impl LoadedModel {
    /// Opens a model, an index, or both.
    pub fn open(model_path: Option<&Path>, index: Option<&Store>) -> Result<Self, ServeError> {
        let retriever = index.map(|index| Retriever::open(index, model_path)).transpose()?;
        let model = match &retriever {
            Some(retriever) => retriever.model().clone(),
            None => Model::open(model_path.ok_or(ServeError::NothingToServe)?)?,
        };
        Self::new(model, retriever)
    }

    /// Serves an open model, and the index of its vectors if there is one.
    pub fn new(model: Model, retriever: Option<Retriever>) -> Result<Self, ServeError> {
        let mut columns: Vec<String> = model.columns().into_iter().map(|column| column.name).collect();
        columns.pop();
        let folder = model.folder().and_then(|folder| std::path::absolute(folder).ok());
        let name = folder.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let index_info = retriever.as_ref().map(|retriever| retriever.index().info()).transpose()?;
        Ok(Self {
            index_info,
            columns,
            model_hash: model.hash()?.to_owned(),
            name: name.unwrap_or_default(),
            names: names(&model),
            inputs: model.inputs().enumerate().map(|(at, input)| (input.name().to_owned(), at)).collect(),
            document: OnceLock::new(),
            info: OnceLock::new(),
            model,
            retriever,
        })
    }

    /// Returns the index, if there is one.
    pub fn index(&self) -> Option<&Retriever> {
        self.retriever.as_ref()
    }

    /// Resolves a name in a row: the name or the column of an input or output.
    pub fn named(&self, name: &str) -> Option<&FieldRef> {
        self.names.get(name)
    }

    /// Returns the position of the input with this name.
    pub fn input(&self, name: &str) -> Option<usize> {
        self.inputs.get(name).copied()
    }

    /// Returns JSON that is the same for all requests: built once, on a blocking thread, and cached in `slot`.
    pub async fn cached_json<T: Serialize>(
        self: Arc<Self>,
        slot: fn(&Self) -> &OnceLock<SerializedJson>,
        make: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<SerializedJson, ApiError> {
        if let Some(written) = slot(&self).get() {
            return Ok(written.clone());
        }
        let served = self.clone();
        let written = reply::written(UNBOUNDED, move || Ok(make(&served))).await?;
        Ok(slot(&self).get_or_init(|| written).clone())
    }

    /// Whether an input is decoded from the bytes of a file.
    pub fn is_media(&self, input: usize) -> bool {
        self.model.input_at(input).is_media()
    }
}

fn names(model: &Model) -> HashMap<String, FieldRef> {
    let mut by_column: HashMap<&str, Vec<usize>> = HashMap::new();
    model.inputs().enumerate().for_each(|(at, input)| by_column.entry(input.column()).or_default().push(at));
    // The name of an input is that of its column alone, unless both are the same.
    let of_name = model.inputs().enumerate().map(|(at, input)| {
        let is_column = input.name() == input.column();
        (input.name(), FieldRef::Inputs(if is_column { by_column[input.name()].clone() } else { vec![at] }))
    });
    let of_column = by_column.iter().map(|(column, inputs)| (*column, FieldRef::Inputs(inputs.clone())));
    let outputs = model.outputs().flat_map(|output| [output.name(), output.column()]).map(|name| (name, FieldRef::Output));
    let mut names = HashMap::new();
    for (name, named) in of_name.chain(of_column).chain(outputs) {
        // If several have the same name, the first one wins.
        names.entry(name.to_owned()).or_insert(named);
    }
    names
}
