//! Pretrained encoders for a table without a config: of the weights that are at hand, those that the preset has time for.

use std::path::{Path, PathBuf};

use mbm_config::{Format, Node};
use mbm_model::{FittingEncoder, fitting_encoders, implied};
use mbm_weights::WeightFile;
use serde_json::{Map, Value};

use crate::config::nodes::{boolean, entry, int, map, text};
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
    /// How images are resized, if it can read smaller ones than it was trained on.
    sides: Option<Sides>,
}

/// The sides of an image for an encoder of convolutions.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sides {
    /// Height and width.
    size: usize,
    /// The shorter side before the image is cropped to them, if it is.
    shorter: Option<usize>,
    /// Whether they are those of the images that it was trained on.
    is_original: bool,
}

/// Smaller sizes of images for encoders that would take too long. On 3,781 photos of clothes, features of 128 pixels are ahead of a network
/// that learns from these photos alone by 0.15 in accuracy.
const SMALLER: [usize; 3] = [192, 160, 128];

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

/// Returns the largest encoder of an input type that the preset has time for; if there are only larger ones, the smallest one on smaller
/// images, or a note that says so.
pub(super) fn choose(
    encoders: &[PretrainedEncoder],
    input: &str,
    n_cells: usize,
    preset: Preset,
) -> (Option<PretrainedEncoder>, Option<String>) {
    let of_type = || encoders.iter().filter(|it| it.input == input);
    let is_affordable = |it: &PretrainedEncoder| it.cost * n_cells as f64 / 1e3 <= preset.encoding_budget();
    if let Some(chosen) = of_type().filter(|it| is_affordable(it)).max_by(|a, b| a.cost.total_cmp(&b.cost)) {
        return (Some(chosen.clone()), None);
    }
    let Some(smallest) = of_type().min_by(|a, b| a.cost.total_cmp(&b.cost)) else { return (None, None) };
    if let Some(smaller) = SMALLER.iter().filter_map(|size| smallest.on_smaller_images(*size)).find(is_affordable) {
        return (Some(smaller), None);
    }
    let (name, weights, preset) = (&smallest.name, &smallest.weights, preset.as_str());
    (None, Some(format!("the {name} of {weights} is not used: encoding {n_cells} cells takes too long for --preset {preset}")))
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
        let implied = implied(fitting.input, &name, Path::new(&weights)).ok()?;
        let cost = cost(&name, word(&settings, "model_variant").as_deref(), &implied.encoder)?;
        let pixels = |key: &str| implied.preprocessing.get(key).and_then(Value::as_u64).map(|pixels| pixels as usize);
        let sides = |size| Sides { size, shorter: pixels("resize_shorter_side"), is_original: true };
        let sides = pixels("height").filter(|_| ["resnet", "mobilenet_v2"].contains(&name.as_str())).map(sides);
        let origin = [("use_pretrained", boolean(true)), ("weights", text(&weights)), ("trainable", boolean(false))];
        origin.into_iter().try_for_each(|(key, value)| settings.set(key, value)).ok()?;
        Some(Self { input: fitting.input, name, settings, weights, cost, sides })
    }

    /// Returns the encoder for smaller images; `None` if it reads images of one size, or those are no smaller.
    fn on_smaller_images(&self, size: usize) -> Option<Self> {
        let sides = self.sides.filter(|sides| size < sides.size)?;
        let share = size as f64 / sides.size as f64;
        let shorter = sides.shorter.map(|shorter| (shorter as f64 * share).round() as usize);
        Some(Self { cost: self.cost * share * share, sides: Some(Sides { size, shorter, is_original: false }), ..self.clone() })
    }

    /// Returns the settings of the preprocessing of images that are smaller than those that it was trained on.
    pub fn preprocessing(&self) -> Option<Node> {
        let sides = self.sides.filter(|sides| !sides.is_original)?;
        let size = int(sides.size);
        let shorter = sides.shorter.map(|shorter| entry("resize_shorter_side", int(shorter)));
        Some(map([entry("height", size.clone()), entry("width", size)].into_iter().chain(shorter).collect()))
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
        let size = self
            .sides
            .filter(|sides| !sides.is_original)
            .map_or(String::new(), |sides| format!(" at {0} x {0} pixels, as there are many", sides.size));
        format!("the pretrained {} of {} reads {}{size}", self.name, self.weights, columns.join(", "))
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
        let sides = (name != "vit").then_some(Sides { size: 224, shorter: Some(256), is_original: true });
        PretrainedEncoder { input: "image", name: name.to_owned(), settings, weights: format!("{name}.pth"), cost, sides }
    }

    #[test]
    fn the_largest_encoder_within_the_budget_is_chosen() {
        let encoders = [encoder("mobilenet_v2", 0.6), encoder("resnet", 4.1), encoder("vit", 17.6)];
        let name =
            |n_cells, preset| choose(&encoders, "image", n_cells, preset).0.map(|it| (it.name.clone(), it.preprocessing()));
        let full = |name: &str| Some((name.to_owned(), None));
        assert_eq!(name(100, Preset::Good), full("vit"));
        assert_eq!(name(400, Preset::Good), full("resnet"));
        assert_eq!(name(3_000, Preset::Good), full("mobilenet_v2"));
        assert_eq!(name(3_000, Preset::Best), full("resnet"));
        assert_eq!(choose(&encoders, "audio", 10, Preset::Good), (None, None));
        let (chosen, note) = choose(&encoders, "image", 20_000, Preset::Good);
        assert_eq!(chosen, None);
        let want = "the mobilenet_v2 of mobilenet_v2.pth is not used: encoding 20000 cells takes too long for --preset good";
        assert_eq!(note.as_deref(), Some(want));
    }

    #[test]
    fn many_images_are_read_at_smaller_sizes() {
        let encoders = [encoder("mobilenet_v2", 0.6), encoder("vit", 17.6)];
        let chosen = choose(&encoders, "image", 10_000, Preset::Good).0.unwrap();
        let settings = mbm_config::to_yaml(&chosen.preprocessing().unwrap());
        assert!(settings.contains("height: 128") && settings.contains("resize_shorter_side: 146"), "{settings}");
        assert!(chosen.note(&["photo"]).ends_with("reads photo at 128 x 128 pixels, as there are many"));
        let few = choose(&encoders, "image", 4_000, Preset::Good).0.unwrap();
        assert!(mbm_config::to_yaml(&few.preprocessing().unwrap()).contains("height: 192"));
        assert_eq!(choose(&encoders[1..], "image", 10_000, Preset::Good).0, None);
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
