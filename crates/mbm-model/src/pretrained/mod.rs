//! Weights that others have trained, in place of fresh parameters.
//!
//! A family is a function from the paths of our parameters to the names in its files; a new family is one file here. A parameter whose
//! tensor is missing or of another shape, and a tensor that nothing asked for, are errors that list names.

mod classifier;
mod fit;
mod mobilenet;
mod resnet;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use mbm_weights::WeightFile;

pub use fit::fitting_encoders;

use crate::decoder::Decoder;
use crate::encoder::Encoder;

/// Where a part's parameters come from, and whether training changes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The keys as written.
    pub use_pretrained: bool,
    /// The file or folder.
    pub weights: Option<&'a str>,
    /// Whether training changes them.
    pub trainable: bool,
}

impl<'a> Origin<'a> {
    /// Drawn by the seed and trained.
    pub const FRESH: Self = Self { use_pretrained: false, weights: None, trainable: true };

    pub(crate) fn new(use_pretrained: bool, weights: &'a Option<String>, trainable: bool) -> Self {
        Self { use_pretrained, weights: weights.as_deref(), trainable }
    }

    /// Whether the keys go together.
    ///
    /// # Errors
    /// What does not.
    pub fn check(self) -> Result<(), &'static str> {
        match (self.use_pretrained, self.weights) {
            (true, None) => Err("use_pretrained: true needs weights, the path of a file or folder"),
            (false, Some(_)) => Err("weights is given but use_pretrained is false; set use_pretrained: true to read it"),
            (true, Some(_)) | (false, None) => Ok(()),
        }
    }

    /// The file or folder, if it is to be read.
    pub(crate) fn file(self) -> Option<&'a Path> {
        self.weights.filter(|_| self.use_pretrained).map(Path::new)
    }
}

/// What can be wrong with weights from elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum PretrainedError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] mbm_weights::Error),
    /// Its tensors are not those of the part.
    #[error("{}: not the weights of this {part}: {}", path.display(), problems.join("; "))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What they were meant for.
        part: &'static str,
        /// What is missing, of another shape, or left over.
        problems: Vec<String>,
    },
}

/// Where a parameter's values lie.
pub(crate) struct Source {
    /// The tensor's name.
    pub name: String,
    pub layout: Layout,
}

/// How a tensor lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// As here.
    Same,
    /// A matrix `[out, in]`, ours are `[in, out]`.
    Transposed,
}

/// The weights of one kind of part.
struct Family {
    /// How errors call the part.
    part: &'static str,
    /// What every name begins with.
    prefix: &'static str,
    /// The rest of the name of a parameter's tensor, by the parameter's path in the part; none for parameters that have no counterpart.
    source: fn(&str) -> Option<Source>,
    /// Tensors that belong to what the part leaves out, such as the classifier above an encoder.
    is_elsewhere: fn(&str) -> bool,
}

/// An encoder with the weights of a file.
///
/// # Errors
/// A file that cannot be read, or of another family, depth or number of channels.
///
/// # Panics
/// An encoder of no family: its settings have no key for weights.
pub(crate) fn fill_encoder(encoder: Encoder, path: &Path) -> Result<Encoder, PretrainedError> {
    Ok(match encoder {
        Encoder::ResNet(it) => Encoder::ResNet(fill(it, path, &resnet::FAMILY)?),
        Encoder::MobileNet(it) => Encoder::MobileNet(fill(it, path, &mobilenet::FAMILY)?),
        other => panic!("no family of weights fits {other:?}"),
    })
}

/// A classifier with the last layer of a file.
///
/// # Errors
/// A file that cannot be read or whose last layer has another shape.
///
/// # Panics
/// A decoder that is none: its settings have no key for weights.
pub(crate) fn fill_decoder(decoder: Decoder, path: &Path) -> Result<Decoder, PretrainedError> {
    match decoder {
        Decoder::Classifier(it) => Ok(Decoder::Classifier(fill(it, path, &classifier::family(path)?)?)),
        other => panic!("no family of weights fits {other:?}"),
    }
}

fn fill<M: Module>(part: M, path: &Path, family: &Family) -> Result<M, PretrainedError> {
    let file = WeightFile::open(path)?;
    let left = file.tensors().keys().map(|name| plain(name).to_owned()).collect();
    let mut filling = Filling { file: &file, family, path: Vec::new(), left, problems: Vec::new(), failed: None };
    let part = part.map(&mut filling);
    let Filling { mut left, mut problems, failed, .. } = filling;
    if let Some(error) = failed {
        return Err(error.into());
    }
    left.retain(|name| !(family.is_elsewhere)(name) && !name.ends_with("num_batches_tracked"));
    if !left.is_empty() {
        problems.push(format!("left over: {}", listed(&left.into_iter().collect::<Vec<_>>())));
    }
    if problems.is_empty() { Ok(part) } else { Err(PretrainedError::Mismatch { path: path.into(), part: family.part, problems }) }
}

/// A name without what training on several devices puts before it.
fn plain(name: &str) -> &str {
    name.strip_prefix("module.").unwrap_or(name)
}

/// The first few names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 8;
    let more = names.len().saturating_sub(MOST);
    let shown = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A walk over the parameters of a part.
struct Filling<'a> {
    file: &'a WeightFile,
    family: &'a Family,
    path: Vec<String>,
    /// Tensors that no parameter has taken.
    left: BTreeSet<String>,
    problems: Vec<String>,
    failed: Option<mbm_weights::Error>,
}

impl Filling<'_> {
    /// The values for a parameter of a shape, if the file has them.
    fn values(&mut self, dims: &[usize]) -> Option<Vec<f32>> {
        let Source { name, layout } = (self.family.source)(&self.path.join("."))?;
        let name = format!("{}{name}", self.family.prefix);
        self.left.remove(&name);
        let found = self.file.tensors().iter().find(|(other, _)| plain(other) == name);
        let Some((full_name, info)) = found else {
            self.problems.push(format!("missing: {name} {dims:?}"));
            return None;
        };
        let own: Vec<usize> = if layout == Layout::Transposed { dims.iter().rev().copied().collect() } else { dims.to_vec() };
        if info.shape != own {
            self.problems.push(format!("{name} is {:?} in the file and {own:?} here", info.shape));
            return None;
        }
        match self.file.read(full_name) {
            Ok(values) if layout == Layout::Transposed => Some(transposed(&values, dims)),
            Ok(values) => Some(values),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }
}

/// `[out, in]` to `dims`, `[in, out]`.
fn transposed(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let (n_in, n_out) = (dims[0], dims[1]);
    (0..n_in * n_out).map(|at| values[at % n_out * n_in + at / n_out]).collect()
}

impl ModuleMapper for Filling<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let dims: [usize; D] = param.dims();
        match self.values(&dims) {
            Some(values) => param.map(|tensor| {
                let is_trained = tensor.is_require_grad();
                let filled = Tensor::from_data(TensorData::new(values, dims), &tensor.device());
                if is_trained { filled.require_grad() } else { filled }
            }),
            None => param,
        }
    }
}

/// The name of a normalised convolution's tensor, given those of its convolution and of its norm.
fn conv_norm(parts: &[&str], conv: String, norm: String) -> Option<Source> {
    let name = match parts {
        ["conv", "weight"] => format!("{conv}.weight"),
        ["norm", "gamma"] => format!("{norm}.weight"),
        ["norm", "beta"] => format!("{norm}.bias"),
        ["norm", running] => format!("{norm}.{running}"),
        _ => return None,
    };
    Some(Source { name, layout: Layout::Same })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mbm_config::{Format, Node, Problems, Setting};
    use mbm_data::{Column, Shape, Values};
    use serde::Deserialize;

    use super::*;
    use crate::Tensors;
    use crate::encoder::{EncoderSettings, ImageEncoder, Reading};

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
                4 => wave * (2.0 / fan_in).sqrt(),
                _ if name.ends_with("running_var") => 1.0 + 0.5 * wave,
                1 if name.ends_with("weight") => 1.0 + 0.1 * wave,
                _ => 0.1 * wave,
            }
        };
        (0..n).map(|at| value(at) as f32).collect()
    }

    /// A safetensors file of these tensors.
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
        let settings = EncoderSettings::Image(ImageEncoder::read(&node, "", &mut Problems::default()).unwrap());
        settings.init(&Shape::Image { channels: 3, height: 64, width: 64 }, Reading::Summary, &Device::flex())
    }

    fn problem(tensors: &[(String, Vec<usize>)], settings: &str) -> String {
        let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
        write(file.path(), tensors);
        fill_encoder(encoder(settings), file.path()).unwrap_err().to_string()
    }

    #[test]
    fn encoders_with_torchvision_weights_say_what_torchvision_says() {
        for (network, settings) in [
            ("resnet 18", "{type: resnet, model_variant: 18}"),
            ("resnet 50", "{type: resnet, model_variant: 50}"),
            ("mobilenet_v2", "mobilenet_v2"),
        ] {
            let golden = golden(network);
            let file = tempfile::Builder::new().suffix(".safetensors").tempfile().unwrap();
            write(file.path(), &golden.tensors);
            let encoder = fill_encoder(encoder(settings), file.path()).unwrap();
            let data = (0..3 * 64 * 64).map(|at| (0.01 * at as f64).sin() as f32).collect();
            let column = Column { present: vec![true], values: Values::Images { dims: [3, 64, 64], data } };
            let steps = encoder.get().encode(Tensors::new(&column, &Device::flex()));
            let features = steps.values.into_data().try_into_vec::<f32>().unwrap();
            let norm = features.iter().map(|value| value * value).sum::<f32>().sqrt();
            let worst = features.iter().zip(&golden.features).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max);
            // Fifty layers of f32 sums in another order.
            assert!(worst < 1e-4 * golden.norm, "{network}: {worst} of {}", golden.norm);
            assert!((norm - golden.norm).abs() < 1e-4 * golden.norm, "{network}: {norm} is not {}", golden.norm);
        }
    }

    #[test]
    fn weights_of_another_network_are_an_error_that_lists_names() {
        let tensors = golden("resnet 18").tensors;
        let mut changed: Vec<(String, Vec<usize>)> = tensors.iter().filter(|(name, _)| name != "bn1.bias").cloned().collect();
        changed.push(("extra.weight".to_owned(), vec![2]));
        changed.iter_mut().find(|(name, _)| name == "conv1.weight").unwrap().1 = vec![64, 1, 7, 7];
        let problem_of_changed = problem(&changed, "{type: resnet, model_variant: 18}");
        for want in [
            "not the weights of this resnet",
            "conv1.weight is [64, 1, 7, 7] in the file and [64, 3, 7, 7] here",
            "missing: bn1.bias [64]",
            "left over: extra.weight",
        ] {
            assert!(problem_of_changed.contains(want), "{want}: {problem_of_changed}");
        }
        assert!(problem(&tensors, "{type: resnet, model_variant: 50}").contains("missing: layer1.0.conv3.weight"));
    }

    #[test]
    fn a_matrix_is_turned_round() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn keys_that_do_not_go_together_are_named() {
        assert!(Origin::new(true, &None, true).check().unwrap_err().contains("needs weights"));
        assert!(Origin::new(false, &Some("x".to_owned()), true).check().unwrap_err().contains("use_pretrained is false"));
        assert_eq!(Origin::FRESH.check(), Ok(()));
    }
}
