//! Detection of the encoders that a weight file fits.

use burn::tensor::Device;
use mbm_config::{Diagnostics, Format, Node, Setting};
use mbm_data::Shape;
use mbm_weights::WeightFile;

use super::family::fits;
use super::{Modality, families, implied};
use crate::encoder::{AudioEncoder, Encoder, EncoderOutput, EncoderSettings, ImageEncoder, TextEncoder};

/// Encoders to try for files without a config.
const SIZED: [&str; 12] = [
    "{type: resnet, model_variant: 18}",
    "{type: resnet, model_variant: 34}",
    "{type: resnet, model_variant: 50}",
    "{type: resnet, model_variant: 50, stride_in_1x1: true}",
    "{type: resnet, model_variant: 101}",
    "{type: resnet, model_variant: 152}",
    "{type: resnet, model_variant: 20}",
    "{type: resnet, model_variant: 32}",
    "{type: resnet, model_variant: 44}",
    "{type: resnet, model_variant: 56}",
    "{type: resnet, model_variant: 110}",
    "{type: mobilenet_v2}",
];

/// Encoders whose sizes are read from the config next to the weights.
const DESCRIBED: [(Modality, &str); 5] = [
    (Modality::Image, "vit"),
    (Modality::Image, "clip"),
    (Modality::Text, "clip"),
    (Modality::Text, "bert"),
    (Modality::Audio, "wav2vec2"),
];

/// Returns the encoder settings that a file fits: the file has all parameters in the right shapes, and no unexpected tensors.
pub fn fitting_encoders(file: &WeightFile) -> Vec<String> {
    let is_keras = file.tensors().contains_key("conv1/kernel");
    let read = |settings: &str| Node::parse(settings, Format::Yaml).ok();
    let sized = SIZED.into_iter().filter(|settings| settings.contains("stride_in_1x1") == is_keras);
    let sized = sized.filter(|settings| read(settings).is_some_and(|node| fit(Modality::Image, &node, file)));
    let described = DESCRIBED.into_iter().filter(|(modality, encoder)| {
        let Ok(mut settings) = implied(*modality, encoder, file.path()).map(|implied| implied.encoder) else { return false };
        settings.insert("type".to_owned(), (*encoder).into());
        fit(*modality, &Node::from(&serde_json::Value::Object(settings)), file)
    });
    let described = described.map(|(modality, encoder)| format!("{{type: {encoder}}} ({})", modality.as_str()));
    sized.map(|settings| format!("{settings} (image)")).chain(described).collect()
}

fn fit(modality: Modality, node: &Node, file: &WeightFile) -> bool {
    let mut diagnostics = Diagnostics::default();
    let (settings, shape) = match modality {
        Modality::Image => (
            ImageEncoder::read(node, "", &mut diagnostics).map(EncoderSettings::Image),
            Shape::Image { channels: 3, height: 224, width: 224 },
        ),
        Modality::Text => (
            TextEncoder::read(node, "", &mut diagnostics).map(EncoderSettings::Text),
            Shape::Tokens { vocab_size: 2, max_steps: 1 },
        ),
        Modality::Audio => {
            (AudioEncoder::read(node, "", &mut diagnostics).map(EncoderSettings::Audio), Shape::Frames { width: 1, max_steps: 1 })
        }
    };
    let Some(settings) = settings else { return false };
    // Parameters are initialized lazily, and reading their shapes does not initialize them.
    let encoder = settings.init(&shape, EncoderOutput::Summary, &Device::flex());
    let families = families(&encoder);
    match encoder {
        Encoder::ResNet(it) => fits(&it, file, families),
        Encoder::MobileNet(it) => fits(&it, file, families),
        Encoder::Vit(it) => fits(&it, file, families),
        Encoder::TextTransformer(it) => fits(&it, file, families),
        Encoder::Wav2Vec2(it) => fits(&it, file, families),
        _ => false,
    }
}
