//! Pretrained encoders for a table without a config: of the weights that are at hand, those that the preset has time for.

use std::path::{Path, PathBuf};

use mbm_config::{Format, Node};
use mbm_model::{FittingEncoder, fitting_encoders, implied};
use mbm_weights::WeightFile;
use serde_json::{Map, Value};

use crate::config::nodes::{boolean, text};
use crate::error::Error;
use crate::learn::settings::Preset;

/// An encoder with weights that are at hand.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PretrainedEncoder {
    /// The type of its input, such as `image`.
    input: &'static str,
    /// Its name, such as `mobilenet_v2`.
    name: String,
    /// Its settings, with the weights.
    settings: Node,
    /// The file, the folder or the name on the hub.
    weights: String,
    /// Work per cell, in 1e9 products.
    cost: f64,
}

/// Extensions of files of weights.
const EXTENSIONS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "th"];

/// Maximum number of models in a folder that are opened.
const MAX_MODELS: usize = 200;

impl Preset {
    /// Returns how much work encoders may take for all cells of an input type, in 1e12 products: some ten seconds with
    /// `good` on two cores.
    fn encoding_budget(self) -> f64 {
        match self {
            Self::Fast => 0.1,
            Self::Good => 2.0,
            Self::Best => 40.0,
        }
    }
}

/// Returns the encoders of files, folders of them, and names on the hub, and a note on each file in a folder that cannot be read.
///
/// # Errors
/// Fails if a file or folder cannot be read, or a name on the hub is not found.
pub(super) fn find(sources: &[String]) -> Result<(Vec<PretrainedEncoder>, Vec<String>), Error> {
    let (mut encoders, mut notes) = (Vec::new(), Vec::new());
    for source in sources {
        let path = mbm_weights::locate(Path::new(source))?;
        if !path.is_dir() || is_model(&path) {
            encoders.extend(PretrainedEncoder::all(&WeightFile::open(&path)?, Path::new(source)));
            continue;
        }
        for path in models(&path)? {
            match WeightFile::open(&path) {
                Ok(file) => encoders.extend(PretrainedEncoder::all(&file, &path)),
                Err(error) => notes.push(format!("weights are left out: {error}")),
            }
        }
    }
    Ok((encoders, notes))
}

/// Returns the encoders of the models in the hub's cache; those that cannot be read are left out.
pub(super) fn cached() -> Vec<PretrainedEncoder> {
    let models = mbm_weights::cached_models().into_iter().take(MAX_MODELS);
    models.filter_map(|path| Some(PretrainedEncoder::all(&WeightFile::open(&path).ok()?, &path))).flatten().collect()
}

/// Returns the largest encoder of an input type that the preset has time for, and, if there are only larger ones, a note that says so.
pub(super) fn choose<'a>(
    encoders: &'a [PretrainedEncoder],
    input: &str,
    n_cells: usize,
    preset: Preset,
) -> (Option<&'a PretrainedEncoder>, Option<String>) {
    let of_type: Vec<&PretrainedEncoder> = encoders.iter().filter(|it| it.input == input).collect();
    let work = |it: &PretrainedEncoder| it.cost * n_cells as f64 / 1e3;
    let by_cost = |a: &&&PretrainedEncoder, b: &&&PretrainedEncoder| a.cost.total_cmp(&b.cost);
    let chosen = of_type.iter().filter(|it| work(it) <= preset.encoding_budget()).max_by(by_cost);
    let smallest = of_type.iter().min_by(by_cost).filter(|_| chosen.is_none());
    let note = smallest.map(|it| {
        let (name, weights, preset) = (&it.name, &it.weights, preset.as_str());
        format!("the {name} of {weights} is not used: encoding {n_cells} cells takes too long for --preset {preset}")
    });
    (chosen.copied(), note)
}

/// Whether a folder holds one model.
fn is_model(folder: &Path) -> bool {
    ["config.json", "model.json", "model.safetensors"].iter().any(|name| folder.join(name).is_file())
}

/// Returns the models in a folder: files of weights and folders of a model, in the order of their names.
fn models(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_weights = |path: &Path| path.extension().and_then(|it| it.to_str()).is_some_and(|it| EXTENSIONS.contains(&it));
    let found = folder.read_dir().map_err(Error::io(folder))?;
    let paths = found.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = paths.filter(|path| if path.is_dir() { is_model(path) } else { is_weights(path) }).collect();
    paths.sort();
    paths.truncate(MAX_MODELS);
    Ok(paths)
}

impl PretrainedEncoder {
    /// Returns the encoders that a file fits and whose features suit other tasks than their own.
    fn all(file: &WeightFile, weights: &Path) -> Vec<Self> {
        fitting_encoders(file).into_iter().filter_map(|fitting| Self::new(&fitting, weights)).collect()
    }

    fn new(fitting: &FittingEncoder, weights: &Path) -> Option<Self> {
        let weights = weights.to_str()?.to_owned();
        let mut settings = Node::parse(&fitting.settings, Format::Yaml).ok()?.without_lines();
        let name = word(&settings, "type")?;
        let sizes = implied(fitting.input, &name, Path::new(&weights)).ok()?.encoder;
        let cost = cost(&name, word(&settings, "model_variant").as_deref(), &sizes)?;
        let origin = [("use_pretrained", boolean(true)), ("weights", text(&weights)), ("trainable", boolean(false))];
        origin.into_iter().try_for_each(|(key, value)| settings.set(key, value)).ok()?;
        Some(Self { input: fitting.input, name, settings, weights, cost })
    }

    /// Returns the name, such as `mobilenet_v2`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the settings of the encoder.
    pub fn settings(&self) -> Node {
        self.settings.clone()
    }

    /// Says what is read by the encoder.
    pub fn note(&self, columns: &[&str]) -> String {
        format!("the pretrained {} of {} reads {}", self.name, self.weights, columns.join(", "))
    }
}

fn word(node: &Node, key: &str) -> Option<String> {
    match &node.at(key)?.value {
        mbm_config::Value::Text(text) => Some(text.clone()),
        mbm_config::Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the products per cell in 1e9; `None` for encoders that are not used without a config: those trained on small images, and word vectors.
fn cost(name: &str, variant: Option<&str>, sizes: &Map<String, Value>) -> Option<f64> {
    let size = |key: &str, default: f64| sizes.get(key).and_then(Value::as_f64).unwrap_or(default);
    let (width, n_layers) = (size("hidden_size", 768.0), size("num_hidden_layers", 12.0));
    // Per step and layer: four projections and a feed-forward block of four times the width; attention to all steps.
    let transformer = |n_steps: f64| n_layers * n_steps * (12.0 * width * width + 2.0 * n_steps * width) / 1e9;
    match (name, variant) {
        ("resnet", Some("18")) => Some(1.8),
        ("resnet", Some("34")) => Some(3.7),
        ("resnet", Some("50")) => Some(4.1),
        ("resnet", Some("101")) => Some(7.8),
        ("resnet", Some("152")) => Some(11.5),
        // 0.3, but its convolutions of single channels wait for memory.
        ("mobilenet_v2", _) => Some(0.6),
        ("vit" | "clip", _) if sizes.contains_key("patch_size") => {
            Some(transformer((224.0 / size("patch_size", 16.0)).powi(2) + 1.0))
        }
        // A text of 64 tokens.
        ("bert", _) => Some(transformer(64.0)),
        // Four seconds, in steps of 20 ms.
        ("wav2vec2", _) => Some(transformer(200.0)),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An encoder of images that takes some work per image.
    pub fn encoder(name: &str, cost: f64) -> PretrainedEncoder {
        let settings = Node::parse(&format!("{{type: {name}, use_pretrained: true, trainable: false}}"), Format::Yaml).unwrap();
        PretrainedEncoder { input: "image", name: name.to_owned(), settings, weights: format!("{name}.pth"), cost }
    }

    #[test]
    fn the_largest_encoder_within_the_budget_is_chosen() {
        let encoders = [encoder("mobilenet_v2", 0.6), encoder("resnet", 4.1), encoder("vit", 17.6)];
        let name = |n_cells, preset| choose(&encoders, "image", n_cells, preset).0.map(PretrainedEncoder::name);
        assert_eq!(name(100, Preset::Good), Some("vit"));
        assert_eq!(name(400, Preset::Good), Some("resnet"));
        assert_eq!(name(3_000, Preset::Good), Some("mobilenet_v2"));
        assert_eq!(name(3_000, Preset::Best), Some("resnet"));
        assert_eq!(choose(&encoders, "audio", 10, Preset::Good), (None, None));
        let (chosen, note) = choose(&encoders, "image", 10_000, Preset::Good);
        assert_eq!(chosen, None);
        let want = "the mobilenet_v2 of mobilenet_v2.pth is not used: encoding 10000 cells takes too long for --preset good";
        assert_eq!(note.as_deref(), Some(want));
    }

    #[test]
    fn work_of_transformers_follows_from_their_sizes() {
        let sizes = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let base = sizes(r#"{"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 16}"#);
        // Dosovitskiy et al. 2021 and torchvision: 17.6e9 for 224 pixels.
        assert!((cost("vit", None, &base).unwrap() - 17.6).abs() < 0.3);
        assert_eq!(cost("resnet", Some("20"), &Map::new()), None);
        assert_eq!(cost("embed", None, &Map::new()), None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_if_it_is_named_and_a_note_in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.safetensors");
        std::fs::write(&path, "none").unwrap();
        std::fs::write(folder.path().join("notes.txt"), "none").unwrap();
        let source = |path: &Path| vec![path.to_str().unwrap().to_owned()];
        let (encoders, notes) = find(&source(folder.path())).unwrap();
        assert!(encoders.is_empty());
        assert!(notes.len() == 1 && notes[0].contains("broken.safetensors"), "{notes:?}");
        assert!(find(&source(&path)).unwrap_err().to_string().contains("broken.safetensors"));
        assert!(find(&source(&folder.path().join("missing"))).unwrap_err().to_string().contains("missing"));
    }
}
