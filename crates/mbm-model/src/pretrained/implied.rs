//! Config keys implied by pretrained weights: the encoder's sizes, and the preprocessing of its input during pretraining.

use std::path::{Path, PathBuf};

use mbm_weights::WeightFile;
use serde_json::{Map, Value, json};

use super::PretrainedError;

/// Config keys and values implied by pretrained weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Implied {
    /// Keys of the encoder; any other value does not match the weights.
    pub encoder: Map<String, Value>,
    /// Keys of the input's preprocessing.
    pub preprocessing: Map<String, Value>,
}

/// The kind of input that the weights were trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Modality {
    Image,
    Text,
    Audio,
}

impl Modality {
    /// Returns the input type as named in the config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Audio => "audio",
        }
    }
}

/// Returns the keys that the weights at `path` imply for an encoder type; empty for encoders without a weight family.
///
/// # Errors
/// If a file cannot be read, or if `config.json` is missing from the folder or describes another kind of network.
pub fn implied(modality: Modality, encoder: &str, path: &Path) -> Result<Implied, PretrainedError> {
    let path = &*mbm_weights::locate(path)?;
    if !path.exists() {
        let message = "no such file or folder; relative paths start from the working directory".to_owned();
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), message });
    }
    match (modality, encoder) {
        (Modality::Image, "resnet") => resnet(path),
        (Modality::Image, "mobilenet_v2") => Ok(Implied { encoder: Map::new(), preprocessing: imagenet(path)? }),
        (Modality::Image, "vit") => vit(path),
        (Modality::Image, "clip") => clip_vision(path),
        (Modality::Text, "embed") => {
            let width = mbm_weights::word_vector_width(path)?;
            Ok(Implied { encoder: map(json!({"embedding_size": width})), preprocessing: Map::new() })
        }
        (Modality::Text, "bert") => bert(path),
        (Modality::Text, "clip") => clip_text(path),
        (Modality::Audio, "wav2vec2") => wav2vec2(path),
        _ => Ok(Implied::default()),
    }
}

fn resnet(path: &Path) -> Result<Implied, PretrainedError> {
    let file = WeightFile::open(path)?;
    if file.tensors().contains_key("conv1/kernel") {
        let preprocessing = map(json!({"height": 224, "width": 224, "num_channels": 3, "standardize_image": "caffe"}));
        return Ok(Implied { encoder: map(json!({"stride_in_1x1": true})), preprocessing });
    }
    let is_small = file.tensors().iter().any(|(name, info)| name.ends_with("conv1.weight") && info.shape == [16, 3, 3, 3]);
    let small = || map(json!({"height": 32, "width": 32, "num_channels": 3, "standardize_image": "imagenet1k"}));
    Ok(Implied { encoder: Map::new(), preprocessing: if is_small { small() } else { imagenet(path)? } })
}

fn vit(path: &Path) -> Result<Implied, PretrainedError> {
    let Some(config) = Described::read_sibling(path, "config.json")? else { return torchvision_vit(path) };
    config.expect("model_type", &["vit"])?;
    let sizes = json!({"patch_size": 16, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-12});
    let mut preprocessing = imagenet(path)?;
    if let Some(size) = config.values.get("image_size").filter(|_| !config.has_sibling("preprocessor_config.json")) {
        let standardize = preprocessing.remove("standardize_image");
        preprocessing = map(json!({"height": size, "width": size, "num_channels": 3, "standardize_image": standardize}));
    }
    Ok(Implied { encoder: config.sizes(sizes), preprocessing })
}

/// torchvision's files contain only tensors. Their shapes determine everything but the number of heads, which is taken from the
/// published sizes.
fn torchvision_vit(path: &Path) -> Result<Implied, PretrainedError> {
    let file = WeightFile::open(path)?;
    let shape = |name: &str| file.tensors().get(name).map(|info| info.shape.clone()).unwrap_or_default();
    let (patches, widen) = (shape("conv_proj.weight"), shape("encoder.layers.encoder_layer_0.mlp.0.weight"));
    let ([hidden, _, patch, _], [inner, _]) = (patches.as_slice(), widen.as_slice()) else {
        let message = "not torchvision's vit weights, and no config.json next to them; give a folder with both files";
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), message: message.to_owned() });
    };
    let n_layers = file.tensors().keys().filter(|name| name.ends_with("self_attention.in_proj_weight")).count();
    let n_heads = if *hidden == 1280 { 16 } else { hidden / 64 };
    let encoder = json!({"patch_size": patch, "hidden_size": hidden, "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads.max(1), "intermediate_size": inner, "hidden_act": "gelu", "layer_norm_eps": 1e-6});
    Ok(Implied { encoder: map(encoder), preprocessing: imagenet(path)? })
}

fn clip_vision(path: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(path)?;
    config.expect("model_type", &["clip"])?;
    let sizes = json!({"patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5});
    let mut encoder = config.within("vision_config").sizes(sizes);
    encoder.extend(config.sizes(json!({"projection_dim": 512})));
    let prepared = json!({"height": 224, "width": 224, "num_channels": 3, "resize_shorter_side": 224, "interpolation": "bicubic",
        "standardize_image": "clip"});
    Ok(Implied { encoder, preprocessing: prepared_images(path)?.unwrap_or(map(prepared)) })
}

fn clip_text(path: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(path)?;
    config.expect("model_type", &["clip"])?;
    let sizes = json!({"vocab_size": 49_408, "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8,
        "intermediate_size": 2048, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77});
    let mut encoder = config.within("text_config").sizes(sizes);
    encoder.extend(config.sizes(json!({"projection_dim": 512})));
    let preprocessing = tokenized(path, &encoder)?;
    Ok(Implied { encoder, preprocessing })
}

fn bert(path: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(path)?;
    config.expect("model_type", &["bert", "distilbert"])?;
    config.expect("position_embedding_type", &["absolute"])?;
    let encoder = if config.values.get("model_type") == Some(&json!("distilbert")) {
        let sizes = config.sizes(json!({"vocab_size": 30_522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
            "activation": "gelu", "max_position_embeddings": 512}));
        map(json!({"vocab_size": sizes["vocab_size"], "hidden_size": sizes["dim"], "num_hidden_layers": sizes["n_layers"],
            "num_attention_heads": sizes["n_heads"], "intermediate_size": sizes["hidden_dim"], "hidden_act": sizes["activation"],
            "max_position_embeddings": sizes["max_position_embeddings"], "type_vocab_size": 0, "layer_norm_eps": 1e-12}))
    } else {
        config.sizes(json!({"vocab_size": 30_522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
            "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12}))
    };
    let preprocessing = tokenized(path, &encoder)?;
    Ok(Implied { encoder, preprocessing })
}

fn wav2vec2(path: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(path)?;
    config.expect("model_type", &["wav2vec2"])?;
    // The large variant is normalized differently.
    config.expect("feat_extract_norm", &["group"])?;
    config.expect_false("do_stable_layer_norm")?;
    config.expect_false("conv_bias")?;
    let encoder = config.sizes(json!({"conv_dim": [512, 512, 512, 512, 512, 512, 512], "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16, "layer_norm_eps": 1e-5}));
    Ok(Implied { encoder, preprocessing: map(json!({"type": "raw", "sampling_rate": 16_000})) })
}

/// Returns the image preprocessing from the file next to the weights, or else that of ImageNet: resize the shorter side to 256,
/// crop the central 224 pixels.
fn imagenet(path: &Path) -> Result<Map<String, Value>, PretrainedError> {
    let defaults =
        json!({"height": 224, "width": 224, "num_channels": 3, "resize_shorter_side": 256, "standardize_image": "imagenet1k"});
    Ok(prepared_images(path)?.unwrap_or(map(defaults)))
}

/// Reads `preprocessor_config.json`, if it exists next to the weights.
fn prepared_images(path: &Path) -> Result<Option<Map<String, Value>>, PretrainedError> {
    let Some(file) = Described::read_sibling(path, "preprocessor_config.json")? else { return Ok(None) };
    let sides = |key: &str| match file.values.get(key)? {
        Value::Object(size) => {
            let of = |key: &str| size.get(key).and_then(Value::as_u64);
            of("shortest_edge").map(|side| (side, side)).or(of("height").zip(of("width")))
        }
        size => size.as_u64().map(|side| (side, side)),
    };
    let size = sides("size").ok_or_else(|| file.incompatible("size is missing"))?;
    let crops = file.values.get("do_center_crop").and_then(Value::as_bool).unwrap_or(false);
    let (height, width) = if crops { sides("crop_size").unwrap_or(size) } else { size };
    let numbers = |key: &str| file.values.get(key).cloned().unwrap_or_else(|| json!([0.5, 0.5, 0.5]));
    let (mean, std) = (numbers("image_mean"), numbers("image_std"));
    let standardize = if mean == json!([0.485, 0.456, 0.406]) {
        "imagenet1k"
    } else if mean == json!([0.5, 0.5, 0.5]) && std == mean {
        "inception"
    } else if mean == json!([0.48145466, 0.4578275, 0.40821073]) {
        "clip"
    } else {
        return Err(file.incompatible(&format!("unsupported image_mean {mean}; allowed: those of imagenet1k, inception, clip")));
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
fn tokenized(path: &Path, encoder: &Map<String, Value>) -> Result<Map<String, Value>, PretrainedError> {
    let tokenizer = sibling(path, "tokenizer.json");
    if !tokenizer.is_file() {
        let message = "this file is required next to the weights, to tokenize texts as in training";
        return Err(PretrainedError::Incompatible { path: tokenizer, message: message.to_owned() });
    }
    let n_positions = encoder.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(512);
    let sentences = Described::read_sibling(path, "sentence_bert_config.json")?;
    let longest = sentences.and_then(|it| it.values.get("max_seq_length").and_then(Value::as_u64));
    let longest = longest.map_or(n_positions, |longest| longest.min(n_positions));
    Ok(map(json!({"tokenizer": "hf_tokenizer", "vocab_file": tokenizer, "lowercase": false, "max_sequence_length": longest})))
}

/// A JSON file next to weights.
struct Described {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Described {
    fn read_sibling(weights: &Path, name: &str) -> Result<Option<Self>, PretrainedError> {
        let path = sibling(weights, name);
        if !path.is_file() {
            return Ok(None);
        }
        let incompatible = |message: String| PretrainedError::Incompatible { path: path.clone(), message };
        let text = std::fs::read(&path).map_err(|error| incompatible(error.to_string()))?;
        let values = serde_json::from_slice(&text).map_err(|error| incompatible(format!("not a JSON object: {error}")))?;
        Ok(Some(Self { path, values }))
    }

    fn required(weights: &Path) -> Result<Self, PretrainedError> {
        let message = "this file is required next to the weights, to determine the sizes of the network";
        let path = sibling(weights, "config.json");
        Self::read_sibling(weights, "config.json")?.ok_or(PretrainedError::Incompatible { path, message: message.to_owned() })
    }

    fn within(&self, key: &str) -> Self {
        let values = self.values.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { path: self.path.clone(), values }
    }

    fn has_sibling(&self, name: &str) -> bool {
        self.path.with_file_name(name).is_file()
    }

    fn incompatible(&self, message: &str) -> PretrainedError {
        PretrainedError::Incompatible { path: self.path.clone(), message: message.to_owned() }
    }

    /// Returns the values of these keys, or the defaults of the reference implementation where a key is missing.
    fn sizes(&self, defaults: Value) -> Map<String, Value> {
        let value = |(key, default): (String, Value)| {
            let value = self.values.get(&key).filter(|value| !value.is_null()).cloned().unwrap_or(default);
            (key, value)
        };
        map(defaults).into_iter().map(value).collect()
    }

    fn expect(&self, key: &str, allowed: &[&str]) -> Result<(), PretrainedError> {
        match self.values.get(key).and_then(Value::as_str) {
            Some(found) if !allowed.contains(&found) => {
                Err(self.incompatible(&format!("{key} is '{found}'; this encoder supports {}", allowed.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    fn expect_false(&self, key: &str) -> Result<(), PretrainedError> {
        let is_true = self.values.get(key) == Some(&Value::Bool(true));
        if is_true { Err(self.incompatible(&format!("{key}: true is not supported yet"))) } else { Ok(()) }
    }
}

/// Returns the path of a file in the same folder as the weights.
fn sibling(weights: &Path, name: &str) -> PathBuf {
    if weights.is_dir() { weights.join(name) } else { weights.with_file_name(name) }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is not an object"),
    }
}
