//! Tests of weight families against reference implementations, with both networks filled by the same formula.

use burn::tensor::Device;
use mbm_config::{Diagnostics, Format, Node, Setting};
use mbm_data::{BatchColumn, Shape, Values};
use serde::Deserialize;

use super::*;
use crate::Tensors;
use crate::encoder::{EncoderOutput, EncoderSettings, ImageEncoder, TextEncoder};

#[derive(Deserialize)]
struct Golden {
    tensors: Vec<(String, Vec<usize>)>,
    features: Vec<f32>,
    norm: f32,
}

fn golden(network: &str) -> Golden {
    let text = include_str!("../../tests/golden/pretrained.json");
    let mut all: std::collections::BTreeMap<String, Golden> = serde_json::from_str(text).unwrap();
    all.remove(network).unwrap()
}

/// The formula of `golden_pretrained.py`.
fn filled(name: &str, shape: &[usize]) -> Vec<f32> {
    let n: usize = shape.iter().product();
    let fan_in = shape.iter().skip(1).product::<usize>() as f64;
    let value = |at: usize| {
        let wave = (0.7 * at as f64 + name.len() as f64).sin();
        match shape.len() {
            3.. => wave * (2.0 / fan_in).sqrt(),
            _ if name.ends_with("running_var") => 1.0 + 0.5 * wave,
            1 if name.ends_with("weight") => 1.0 + 0.1 * wave,
            _ => 0.1 * wave,
        }
    };
    (0..n).map(|at| value(at) as f32).collect()
}

/// Writes a safetensors file with these tensors.
fn write(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let mut values: Vec<u8> = Vec::new();
    let mut header = serde_json::Map::new();
    for (name, shape) in tensors {
        let start = values.len();
        values.extend(filled(name, shape).iter().flat_map(|value| value.to_le_bytes()));
        let info = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, values.len()]});
        header.insert(name.clone(), info);
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::write(path, [(header.len() as u64).to_le_bytes().as_slice(), &header, &values].concat()).unwrap();
}

fn encoder(settings: &str) -> Encoder {
    let node = Node::parse(settings, Format::Yaml).unwrap();
    let settings = EncoderSettings::Image(ImageEncoder::read(&node, "", &mut Diagnostics::default()).unwrap());
    settings.get().init(&Shape::Image { channels: 3, height: 64, width: 64 }, EncoderOutput::Summary, &Device::flex())
}

fn diagnostic(tensors: &[(String, Vec<usize>)], settings: &str) -> String {
    let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
    write(file.path(), tensors);
    fill_encoder(encoder(settings), file.path(), &[]).unwrap_err().to_string()
}

#[test]
fn encoders_match_torchvision_given_the_same_weights() {
    for (network, settings) in [
        ("resnet 18", "{type: resnet, model_variant: 18}"),
        ("resnet 50", "{type: resnet, model_variant: 50}"),
        ("mobilenet_v2", "mobilenet_v2"),
    ] {
        let golden = golden(network);
        let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
        write(file.path(), &golden.tensors);
        let encoder = fill_encoder(encoder(settings), file.path(), &[]).unwrap();
        let data = (0..3 * 64 * 64).map(|at| (0.01 * at as f64).sin() as f32).collect();
        let column = BatchColumn { present: vec![true], values: Values::Images { dims: [3, 64, 64], data } };
        let steps = encoder.get().encode(Tensors::new(&column, &Device::flex()));
        let features = steps.values.into_data().try_into_vec::<f32>().unwrap();
        let norm = features.iter().map(|value| value * value).sum::<f32>().sqrt();
        let worst = features.iter().zip(&golden.features).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
        // Fifty layers of f32 sums in a different order.
        assert!(worst < 1e-4 * golden.norm, "{network}: {worst} of {}", golden.norm);
        assert!((norm - golden.norm).abs() < 1e-4 * golden.norm, "{network}: norm {norm} differs from {}", golden.norm);
    }
}

#[test]
fn weights_of_another_network_are_an_error_listing_names() {
    let tensors = golden("resnet 18").tensors;
    let mut changed: Vec<(String, Vec<usize>)> = tensors.iter().filter(|(name, _)| name != "bn1.bias").cloned().collect();
    changed.push(("extra.weight".to_owned(), vec![2]));
    changed.iter_mut().find(|(name, _)| name == "conv1.weight").unwrap().1 = vec![64, 1, 7, 7];
    let message = diagnostic(&changed, "{type: resnet, model_variant: 18}");
    for want in [
        "not the weights of this resnet",
        "conv1.weight is [64, 1, 7, 7] in the file, expected [64, 3, 7, 7]",
        "missing: bn1.bias [64]",
        "unexpected: extra.weight",
    ] {
        assert!(message.contains(want), "{want}: {message}");
    }
    assert!(diagnostic(&tensors, "{type: resnet, model_variant: 50}").contains("missing: layer1.0.conv3.weight"));
}

#[test]
fn contradictory_keys_are_an_error() {
    let origin = |use_pretrained, weights| Origin { use_pretrained, weights, ..Origin::FRESH };
    assert_eq!(origin(true, None).check(), Err(OriginError::NoWeights));
    assert_eq!(origin(false, Some("x")).check(), Err(OriginError::UnusedWeights));
    assert_eq!(Origin::FRESH.check(), Ok(()));
}

/// A network from transformers or torchvision, generated by `golden_transformers.py`.
#[derive(Deserialize)]
struct Network {
    modality: String,
    encoder: String,
    config: Option<serde_json::Value>,
    tensors: Vec<(String, Vec<usize>)>,
    features: Vec<f32>,
}

impl Network {
    /// Writes the files of a published network to a folder.
    fn publish(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("model.safetensors"), &self.tensors);
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        if let Some(config) = &self.config {
            std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        }
        folder
    }

    /// Builds the encoder that results from a config with only the path of the weights.
    fn encoder(&self, path: &Path, shape: &Shape) -> Encoder {
        let mut settings = implied(&self.modality, &self.encoder, path).unwrap().encoder;
        settings.insert("type".to_owned(), self.encoder.clone().into());
        let node = Node::from(&serde_json::Value::Object(settings));
        let mut diagnostics = Diagnostics::default();
        let settings = EncoderSettings::read(&self.modality, &node, &mut diagnostics);
        let settings = diagnostics.unless_any(settings).unwrap();
        fill_encoder(settings.get().init(shape, EncoderOutput::Summary, &Device::flex()), path, &[]).unwrap()
    }
}

fn wave(step: f64, n: usize) -> Vec<f32> {
    (0..n).map(|at| (step * at as f64).sin() as f32).collect()
}

/// Returns the input of a network in `golden_transformers.py`.
fn input(name: &str) -> (Shape, Values) {
    let image = |height: usize, width: usize| {
        let dims = [3, height, width];
        (Shape::Image { channels: 3, height, width }, Values::Images { dims, data: wave(0.01, 3 * height * width) })
    };
    let tokens = |ids: [u32; 10]| {
        let shape = Shape::Tokens { vocab_size: 50, max_steps: 16 };
        (shape, Values::Tokens { steps: 5, lengths: vec![5, 3], ids: ids.to_vec(), texts: Vec::new() })
    };
    match name {
        "vit, more places" => image(48, 32),
        "bert" | "distilbert" => tokens([2, 5, 9, 17, 3, 2, 7, 3, 0, 0]),
        "clip texts" => tokens([48, 5, 9, 17, 49, 48, 7, 49, 0, 0]),
        "wav2vec2" => {
            let data = [wave(0.05, 400), wave(0.05, 150), vec![0.0; 250]].concat();
            let values = Values::Frames { steps: 400, width: 1, lengths: vec![400, 150], data };
            (Shape::Frames { width: 1, max_steps: 400 }, values)
        }
        _ => image(32, 32),
    }
}

#[test]
fn encoders_match_transformers_and_torchvision() {
    let text = include_str!("../../tests/golden/transformers.json");
    let networks: std::collections::BTreeMap<String, Network> = serde_json::from_str(text).unwrap();
    assert_eq!(networks.len(), 7);
    for (name, network) in networks {
        let folder = network.publish();
        // torchvision publishes a single file.
        let path = if network.config.is_some() { folder.path().to_owned() } else { folder.path().join("model.safetensors") };
        let (shape, values) = input(&name);
        let n_rows = match &values {
            Values::Tokens { lengths, .. } | Values::Frames { lengths, .. } => lengths.len(),
            _ => 1,
        };
        let encoder = network.encoder(&path, &shape);
        let column = BatchColumn { present: vec![true; n_rows], values };
        let features = encoder.get().encode(Tensors::new(&column, &Device::flex())).values.into_data();
        let features = features.try_into_vec::<f32>().unwrap();
        assert_eq!(features.len(), network.features.len(), "{name}");
        let worst = features.iter().zip(&network.features).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
        // Values of about 1 after two layers of f32 sums in a different order.
        assert!(worst < 2e-5, "{name}: {worst}");
    }
}

#[test]
fn missing_or_wrong_companion_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let diagnostic = |encoder: &str| implied("text", encoder, folder.path()).unwrap_err().to_string();
    assert!(diagnostic("bert").contains("config.json: this file is required next to"), "{}", diagnostic("bert"));
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    assert!(diagnostic("bert").contains("model_type is 't5'; this encoder supports bert"), "{}", diagnostic("bert"));
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
    assert!(diagnostic("bert").contains("tokenizer.json: this file is required"), "{}", diagnostic("bert"));
    std::fs::write(folder.path().join("config.json"), "[]").unwrap();
    assert!(diagnostic("clip").contains("not a JSON object"), "{}", diagnostic("clip"));
}

#[test]
fn embeddings_are_initialized_from_word_vectors() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "dog 1 2\ncat 3 4\n").unwrap();
    let settings = implied("text", "embed", file.path()).unwrap().encoder;
    assert_eq!(settings["embedding_size"], 2);
    let embed = || {
        let node = Node::parse("{type: embed, embedding_size: 2}", Format::Yaml).unwrap();
        let settings = EncoderSettings::Text(TextEncoder::read(&node, "", &mut Diagnostics::default()).unwrap());
        settings.get().init(&Shape::Tokens { vocab_size: 4, max_steps: 3 }, EncoderOutput::Steps, &Device::flex())
    };
    let vocabulary = ["<PAD>", "<UNK>", "cat", "cow"].map(str::to_owned);
    let encoder = fill_encoder(embed(), file.path(), &vocabulary).unwrap();
    let values = Values::Tokens { steps: 2, lengths: vec![2], ids: vec![2, 3], texts: Vec::new() };
    let steps = encoder.get().encode(Tensors::new(&BatchColumn { present: vec![true], values }, &Device::flex()));
    let values = steps.values.into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(values[..2], [3.0, 4.0]);
    assert_ne!(values[2..], [3.0, 4.0]);
    let error = fill_encoder(embed(), file.path(), &vocabulary[3..]).unwrap_err().to_string();
    assert!(error.contains("no word in this file is a token of the training texts"), "{error}");
}
