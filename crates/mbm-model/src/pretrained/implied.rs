//! Config keys implied by pretrained weights: the encoder's sizes, and the preprocessing of its input during pretraining.

use std::path::{Path, PathBuf};

use mbm_config::{Diagnostics, Node};
use serde_json::{Map, Value, json};

use super::{Incompatibility, PretrainedError};
use crate::encoder::EncoderSettings;

/// Config keys and values implied by pretrained weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Implied {
    /// Keys of the encoder; any other value does not match the weights.
    pub encoder: Map<String, Value>,
    /// Keys of the input's preprocessing.
    pub preprocessing: Map<String, Value>,
}

/// Returns the keys that the weights at `path` imply for an encoder of an input type; empty for encoders without a weight family.
///
/// # Errors
/// If a file cannot be read, or if `config.json` is missing from the folder or describes another kind of network.
pub fn implied(input: &str, encoder: &str, path: &Path) -> Result<Implied, PretrainedError> {
    let path = &*mbm_weights::locate(path)?;
    if !path.exists() {
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), source: Incompatibility::NotFound });
    }
    let named = Node::bare(mbm_config::Value::Text(encoder.to_owned()));
    let settings = EncoderSettings::read(input, &named, &mut Diagnostics::default());
    settings.map_or_else(|| Ok(Implied::default()), |settings| settings.get().implied(path))
}

/// Returns the image preprocessing from the file next to the weights, or else that of ImageNet: resize the shorter side to 256,
/// crop the central 224 pixels.
pub(super) fn imagenet(path: &Path) -> Result<Map<String, Value>, PretrainedError> {
    let defaults =
        json!({"height": 224, "width": 224, "num_channels": 3, "resize_shorter_side": 256, "standardize_image": "imagenet1k"});
    Ok(prepared_images(path)?.unwrap_or(map(defaults)))
}

/// Reads `preprocessor_config.json`, if it exists next to the weights.
pub(super) fn prepared_images(path: &Path) -> Result<Option<Map<String, Value>>, PretrainedError> {
    let Some(file) = Described::read_sibling(path, "preprocessor_config.json")? else { return Ok(None) };
    let size = file.sides("size").ok_or_else(|| file.incompatible(Incompatibility::MissingKey("size")))?;
    let crops = file.values.get("do_center_crop").and_then(Value::as_bool).unwrap_or(false);
    let (height, width) = if crops { file.sides("crop_size").unwrap_or(size) } else { size };
    let numbers = |key: &str| file.values.get(key).cloned().unwrap_or_else(|| json!([0.5, 0.5, 0.5]));
    let (mean, std) = (numbers("image_mean"), numbers("image_std"));
    let standardize = if mean == json!([0.485, 0.456, 0.406]) {
        "imagenet1k"
    } else if mean == json!([0.5, 0.5, 0.5]) && std == mean {
        "inception"
    } else if mean == json!([0.48145466, 0.4578275, 0.40821073]) {
        "clip"
    } else {
        return Err(file.incompatible(Incompatibility::ImageMean(mean)));
    };
    let interpolation = if file.values.get("resample") == Some(&json!(3)) { "bicubic" } else { "bilinear" };
    let mut prepared = map(json!({"height": height, "width": width, "num_channels": 3, "standardize_image": standardize,
        "interpolation": interpolation}));
    if crops {
        prepared.insert("resize_shorter_side".to_owned(), json!(size.0));
    }
    Ok(Some(prepared))
}

/// Returns the tokenizer next to the weights and the maximum text length: that of training, at most the number of positions.
pub(super) fn tokenized(path: &Path, encoder: &Map<String, Value>) -> Result<Map<String, Value>, PretrainedError> {
    let tokenizer = sibling(path, "tokenizer.json");
    if !tokenizer.is_file() {
        return Err(PretrainedError::Incompatible { path: tokenizer, source: Incompatibility::NoTokenizer });
    }
    let n_positions = encoder.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(512);
    let sentences = Described::read_sibling(path, "sentence_bert_config.json")?;
    let longest = sentences.and_then(|it| it.values.get("max_seq_length").and_then(Value::as_u64));
    let longest = longest.map_or(n_positions, |longest| longest.min(n_positions));
    Ok(map(json!({"tokenizer": "hf_tokenizer", "vocab_file": tokenizer, "lowercase": false, "max_sequence_length": longest})))
}

/// A JSON file next to weights.
pub(super) struct Described {
    path: PathBuf,
    pub values: Map<String, Value>,
}

impl Described {
    pub fn read_sibling(weights: &Path, name: &str) -> Result<Option<Self>, PretrainedError> {
        let path = sibling(weights, name);
        if !path.is_file() {
            return Ok(None);
        }
        let incompatible = |source: Incompatibility| PretrainedError::Incompatible { path: path.clone(), source };
        let text = std::fs::read(&path).map_err(|error| incompatible(error.into()))?;
        let values = serde_json::from_slice(&text).map_err(|error| incompatible(Incompatibility::NotAnObject(error)))?;
        Ok(Some(Self { path, values }))
    }

    pub fn required(weights: &Path) -> Result<Self, PretrainedError> {
        let path = sibling(weights, "config.json");
        let missing = PretrainedError::Incompatible { path, source: Incompatibility::NoConfig };
        Self::read_sibling(weights, "config.json")?.ok_or(missing)
    }

    pub fn within(&self, key: &str) -> Self {
        let values = self.values.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { path: self.path.clone(), values }
    }

    pub fn has_sibling(&self, name: &str) -> bool {
        self.path.with_file_name(name).is_file()
    }

    fn incompatible(&self, source: Incompatibility) -> PretrainedError {
        PretrainedError::Incompatible { path: self.path.clone(), source }
    }

    /// Returns the values of these keys, or the defaults of the reference implementation where a key is missing.
    pub fn sizes(&self, defaults: Value) -> Map<String, Value> {
        let sizes = map(defaults).into_iter().map(|(key, default)| {
            let value = self.values.get(&key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
            (key, value)
        });
        sizes.collect()
    }

    /// Returns a height and a width: those of an object, or the same for both.
    fn sides(&self, key: &str) -> Option<(u64, u64)> {
        match self.values.get(key)? {
            Value::Object(size) => {
                let of = |key: &str| size.get(key).and_then(Value::as_u64);
                of("shortest_edge").map(|side| (side, side)).or(of("height").zip(of("width")))
            }
            size => size.as_u64().map(|side| (side, side)),
        }
    }

    pub fn expect(&self, key: &str, allowed: &[&str]) -> Result<(), PretrainedError> {
        match self.values.get(key).and_then(Value::as_str) {
            Some(found) if !allowed.contains(&found) => {
                let supported = allowed.iter().map(|it| (*it).to_owned()).collect();
                Err(self.incompatible(Incompatibility::Value { key: key.to_owned(), found: found.to_owned(), supported }))
            }
            _ => Ok(()),
        }
    }

    pub fn expect_false(&self, key: &str) -> Result<(), PretrainedError> {
        let is_true = self.values.get(key) == Some(&Value::Bool(true));
        if is_true { Err(self.incompatible(Incompatibility::UnsupportedFlag(key.to_owned()))) } else { Ok(()) }
    }
}

/// Returns the path of a file in the same folder as the weights.
fn sibling(weights: &Path, name: &str) -> PathBuf {
    if weights.is_dir() { weights.join(name) } else { weights.with_file_name(name) }
}

pub(super) fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is not an object"),
    }
}
