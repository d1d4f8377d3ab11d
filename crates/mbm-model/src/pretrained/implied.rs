//! What weights say of the config around them: the encoder's sizes, and how its input was prepared when they were trained.

use std::path::{Path, PathBuf};

use mbm_weights::WeightFile;
use serde_json::{Map, Value, json};

use super::PretrainedError;

/// Keys that weights imply, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Implied {
    /// Of the encoder: another value than this does not fit the weights.
    pub encoder: Map<String, Value>,
    /// Of the input's preprocessing.
    pub preprocessing: Map<String, Value>,
}

/// What kind of input the weights read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Modality {
    Image,
    Text,
    Audio,
}

impl Modality {
    /// The input type as the config names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Text => "text",
            Self::Audio => "audio",
        }
    }
}

/// What the weights at `path` imply for an encoder of a type; nothing for encoders whose weights are of no family.
///
/// # Errors
/// A file that cannot be read; a folder whose `config.json` is missing or describes another kind of network.
pub fn implied(modality: Modality, encoder: &str, path: &Path) -> Result<Implied, PretrainedError> {
    let path = &*mbm_weights::locate(path)?;
    if !path.exists() {
        let message = "no such file or folder; paths start from the working folder".to_owned();
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
    if let Some(size) = config.values.get("image_size").filter(|_| !config.has_neighbour("preprocessor_config.json")) {
        let standardize = preprocessing.remove("standardize_image");
        preprocessing = map(json!({"height": size, "width": size, "num_channels": 3, "standardize_image": standardize}));
    }
    Ok(Implied { encoder: config.sizes(sizes), preprocessing })
}

/// torchvision's files hold tensors alone: their shapes say all but the number of heads, which is that of the published sizes.
fn torchvision_vit(path: &Path) -> Result<Implied, PretrainedError> {
    let file = WeightFile::open(path)?;
    let shape = |name: &str| file.tensors().get(name).map(|info| info.shape.clone()).unwrap_or_default();
    let (patches, widen) = (shape("conv_proj.weight"), shape("encoder.layers.encoder_layer_0.mlp.0.weight"));
    let ([hidden, _, patch, _], [inner, _]) = (patches.as_slice(), widen.as_slice()) else {
        let message = "no config.json beside these weights, and they are not torchvision's vit; a folder with both is needed";
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
    // The large form normalises elsewhere.
    config.expect("feat_extract_norm", &["group"])?;
    config.expect_false("do_stable_layer_norm")?;
    config.expect_false("conv_bias")?;
    let encoder = config.sizes(json!({"conv_dim": [512, 512, 512, 512, 512, 512, 512], "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16, "layer_norm_eps": 1e-5}));
    Ok(Implied { encoder, preprocessing: map(json!({"type": "raw", "sampling_rate": 16_000})) })
}

/// How images were prepared, by the file beside the weights or else as for ImageNet: the shorter side to 256, the middle 224.
fn imagenet(path: &Path) -> Result<Map<String, Value>, PretrainedError> {
    let habit =
        json!({"height": 224, "width": 224, "num_channels": 3, "resize_shorter_side": 256, "standardize_image": "imagenet1k"});
    Ok(prepared_images(path)?.unwrap_or(map(habit)))
}

/// `preprocessor_config.json`, if it lies beside the weights.
fn prepared_images(path: &Path) -> Result<Option<Map<String, Value>>, PretrainedError> {
    let Some(file) = Described::read_sibling(path, "preprocessor_config.json")? else { return Ok(None) };
    let sides = |key: &str| match file.values.get(key)? {
        Value::Object(size) => {
            let of = |key: &str| size.get(key).and_then(Value::as_u64);
            of("shortest_edge").map(|side| (side, side)).or(of("height").zip(of("width")))
        }
        size => size.as_u64().map(|side| (side, side)),
    };
    let size = sides("size").ok_or_else(|| file.incompatible("no size"))?;
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
        return Err(file.incompatible(&format!("image_mean {mean} is none of those that mbm knows: imagenet1k, inception, clip")));
    };
    let interpolation = if file.values.get("resample") == Some(&json!(3)) { "bicubic" } else { "bilinear" };
    let mut prepared = map(json!({"height": height, "width": width, "num_channels": 3, "standardize_image": standardize,
        "interpolation": interpolation}));
    if crops {
        prepared.insert("resize_shorter_side".to_owned(), json!(size.0));
    }
    Ok(Some(prepared))
}

/// The tokenizer beside the weights, and the longest text: what was trained on, at most the places that there are.
fn tokenized(path: &Path, encoder: &Map<String, Value>) -> Result<Map<String, Value>, PretrainedError> {
    let tokenizer = neighbour(path, "tokenizer.json");
    if !tokenizer.is_file() {
        let message = "this file is needed beside the weights: it cuts texts as they were cut in training";
        return Err(PretrainedError::Incompatible { path: tokenizer, message: message.to_owned() });
    }
    let places = encoder.get("max_position_embeddings").and_then(Value::as_u64).unwrap_or(512);
    let sentences = Described::read_sibling(path, "sentence_bert_config.json")?;
    let longest = sentences.and_then(|it| it.values.get("max_seq_length").and_then(Value::as_u64));
    let longest = longest.map_or(places, |longest| longest.min(places));
    Ok(map(json!({"tokenizer": "hf_tokenizer", "vocab_file": tokenizer, "lowercase": false, "max_sequence_length": longest})))
}

/// A JSON object beside weights.
struct Described {
    path: PathBuf,
    values: Map<String, Value>,
}

impl Described {
    fn read_sibling(weights: &Path, name: &str) -> Result<Option<Self>, PretrainedError> {
        let path = neighbour(weights, name);
        if !path.is_file() {
            return Ok(None);
        }
        let incompatible = |message: String| PretrainedError::Incompatible { path: path.clone(), message };
        let text = std::fs::read(&path).map_err(|error| incompatible(error.to_string()))?;
        let values = serde_json::from_slice(&text).map_err(|error| incompatible(format!("not a JSON object: {error}")))?;
        Ok(Some(Self { path, values }))
    }

    fn required(weights: &Path) -> Result<Self, PretrainedError> {
        let message = "this file is needed beside the weights: it says how large the network is";
        let path = neighbour(weights, "config.json");
        Self::read_sibling(weights, "config.json")?.ok_or(PretrainedError::Incompatible { path, message: message.to_owned() })
    }

    fn within(&self, key: &str) -> Self {
        let values = self.values.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { path: self.path.clone(), values }
    }

    fn has_neighbour(&self, name: &str) -> bool {
        self.path.with_file_name(name).is_file()
    }

    fn incompatible(&self, message: &str) -> PretrainedError {
        PretrainedError::Incompatible { path: self.path.clone(), message: message.to_owned() }
    }

    /// The values of these keys, or what the reference implementation takes where one is not written.
    fn sizes(&self, habits: Value) -> Map<String, Value> {
        let value = |(key, habit): (String, Value)| {
            let value = self.values.get(&key).filter(|value| !value.is_null()).cloned().unwrap_or(habit);
            (key, value)
        };
        map(habits).into_iter().map(value).collect()
    }

    fn expect(&self, key: &str, allowed: &[&str]) -> Result<(), PretrainedError> {
        match self.values.get(key).and_then(Value::as_str) {
            Some(found) if !allowed.contains(&found) => {
                Err(self.incompatible(&format!("{key} is '{found}', this encoder reads {}", allowed.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    fn expect_false(&self, key: &str) -> Result<(), PretrainedError> {
        let is_true = self.values.get(key) == Some(&Value::Bool(true));
        if is_true { Err(self.incompatible(&format!("{key} is true, which mbm does not have yet"))) } else { Ok(()) }
    }
}

/// A file of the weights' folder.
fn neighbour(weights: &Path, name: &str) -> PathBuf {
    if weights.is_dir() { weights.join(name) } else { weights.with_file_name(name) }
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is no object"),
    }
}
