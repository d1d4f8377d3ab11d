//! Detection of the encoders that a weight file fits.

use std::fmt;

use burn::tensor::Device;
use mbm_config::{Diagnostics, Format, Node, Value};
use mbm_data::Shape;
use mbm_weights::WeightFile;

use super::family::fits;
use crate::encoder::{AudioEncoder, EncoderOutput, EncoderSettings, ImageEncoder, TextEncoder};

/// An encoder that a file of weights fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FittingEncoder {
    /// The type of its input, such as `image`.
    pub input: &'static str,
    /// Its settings in YAML, on one line.
    pub settings: String,
}

impl fmt::Display for FittingEncoder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.settings, self.input)
    }
}

/// Returns the encoders that a file fits: the file has all parameters in the right shapes, and no unexpected tensors.
pub fn fitting_encoders(file: &WeightFile) -> Vec<FittingEncoder> {
    let image = (Shape::Image { channels: 3, height: 224, width: 224 }, "image", ImageEncoder::TYPES);
    let text = (Shape::Tokens { vocab_size: 2, max_steps: 1 }, "text", TextEncoder::TYPES);
    let audio = (Shape::Frames { width: 1, max_steps: 1 }, "audio", AudioEncoder::TYPES);
    let all = [image, text, audio].into_iter().flat_map(|(shape, input, types)| {
        let settings = types.iter().flat_map(move |encoder| fitting(&shape, input, encoder, file));
        settings.map(|settings| FittingEncoder { input, settings }).collect::<Vec<_>>()
    });
    all.collect()
}

/// Returns the settings of an encoder that a file fits, of which an encoder has several if its sizes cannot be read from a config
/// next to the weights.
fn fitting(shape: &Shape, input: &str, encoder: &str, file: &WeightFile) -> Vec<String> {
    let named = Node::bare(Value::Text(encoder.to_owned()));
    let Some(settings) = read(input, &named) else { return Vec::new() };
    let candidates = settings.get().candidates();
    let is_keras = file.tensors().contains_key("conv1/kernel");
    if !candidates.is_empty() {
        let candidates = candidates.iter().filter(|it| it.contains("stride_in_1x1") == is_keras);
        let fit = candidates.filter(|it| Node::parse(it, Format::Yaml).is_ok_and(|node| is_fit(shape, input, &node, file)));
        return fit.map(|it| (*it).to_owned()).collect();
    }
    let Ok(implied) = settings.get().implied(file.path()) else { return Vec::new() };
    let mut settings = implied.encoder;
    settings.insert("type".to_owned(), encoder.into());
    let node = Node::from(&serde_json::Value::Object(settings));
    if is_fit(shape, input, &node, file) { vec![format!("{{type: {encoder}}}")] } else { Vec::new() }
}

fn is_fit(shape: &Shape, input: &str, node: &Node, file: &WeightFile) -> bool {
    // Parameters are initialized lazily, and reading their shapes does not initialize them.
    let encoder = read(input, node).map(|settings| settings.get().init(shape, EncoderOutput::Summary, &Device::flex()));
    encoder.is_some_and(|encoder| fits(&encoder, file, encoder.get().families()))
}

fn read(input: &str, settings: &Node) -> Option<EncoderSettings> {
    EncoderSettings::read(input, settings, &mut Diagnostics::default())
}
