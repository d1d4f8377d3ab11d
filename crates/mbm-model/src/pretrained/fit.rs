//! Which of our encoders a file of weights fits.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use mbm_config::{Format, Node, Problems, Setting};
use mbm_data::Shape;
use mbm_weights::WeightFile;

use super::{Family, Layout, mobilenet, plain, resnet};
use crate::encoder::{Encoder, EncoderSettings, ImageEncoder, Reading};

/// Encoders that files are tried on.
const CANDIDATES: [&str; 11] = [
    "{type: resnet, model_variant: 18}",
    "{type: resnet, model_variant: 34}",
    "{type: resnet, model_variant: 50}",
    "{type: resnet, model_variant: 101}",
    "{type: resnet, model_variant: 152}",
    "{type: resnet, model_variant: 20}",
    "{type: resnet, model_variant: 32}",
    "{type: resnet, model_variant: 44}",
    "{type: resnet, model_variant: 56}",
    "{type: resnet, model_variant: 110}",
    "{type: mobilenet_v2}",
];

/// The encoder settings that a file fits, each of whose parameters it has in its shape, and that leave no layer of it over.
pub fn fitting_encoders(file: &WeightFile) -> Vec<&'static str> {
    CANDIDATES.into_iter().filter(|settings| fits(settings, file)).collect()
}

fn fits(settings: &str, file: &WeightFile) -> bool {
    let node = Node::parse(settings, Format::Yaml).ok();
    let read = node.and_then(|node| ImageEncoder::read(&node, "", &mut Problems::default()));
    let settings = EncoderSettings::Image(read.expect("the candidates are valid settings"));
    // Parameters are drawn when they are first used, which looking at their shapes does not.
    let encoder = settings.init(&Shape::Image { channels: 3, height: 224, width: 224 }, Reading::Summary, &Device::flex());
    match encoder {
        Encoder::ResNet(it) => all_there(&it, file, &resnet::FAMILY),
        Encoder::MobileNet(it) => all_there(&it, file, &mobilenet::FAMILY),
        _ => false,
    }
}

fn all_there<M: Module>(part: &M, file: &WeightFile, family: &Family) -> bool {
    let mut looking = Looking { file, family, path: Vec::new(), n_found: 0, fits: true };
    part.visit(&mut looking);
    let is_own = |name: &&String| !(family.is_elsewhere)(plain(name)) && !name.ends_with("num_batches_tracked");
    looking.fits && file.tensors().keys().filter(is_own).count() == looking.n_found
}

struct Looking<'a> {
    file: &'a WeightFile,
    family: &'a Family,
    path: Vec<String>,
    n_found: usize,
    fits: bool,
}

impl ModuleVisitor for Looking<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(source) = (self.family.source)(&self.path.join(".")) else { return };
        let mut dims = param.lazy_shape().to_vec();
        if source.layout == Layout::Transposed {
            dims.reverse();
        }
        let found = self.file.tensors().iter().find(|(name, _)| plain(name) == source.name);
        self.fits &= found.is_some_and(|(_, info)| info.shape == dims);
        self.n_found += 1;
    }
}
