//! What of a pretrained encoder training changes, and how fast.

use burn::module::{Flag, Lora, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;
use mbm_config::settings;
use regex::Regex;

use crate::encoder::Encoder;
use crate::pretrained::PretrainedError;

settings! {
    /// What of an encoder is trained.
    pub struct FineTuningSettings {
        /// Only the last so many layers (residual blocks, of convolutional networks) and what comes after them.
        last_layers: Option<usize> = None => 0..=1000;
        /// Only parameters whose path in the encoder, such as `transformer.layers.5.attention.query.weight`, this regular expression
        /// finds something in.
        parameters: Option<String> = None;
        /// Times the trainer's learning rate.
        learning_rate_factor: f64 = 1.0 => 0.0..=1000.0;
        /// A layer's learning rate is that of the layer after it times this (Howard and Ruder 2018).
        layer_decay: f64 = 1.0 => 0.01..=1.0;
        /// Whether batch norm keeps its statistics, scales and shifts.
        freeze_batch_norm: bool = false;
        /// Matrices stay as they are and get low-rank terms that are trained in their place.
        lora: Option<LoraSettings> = None;
    }

    /// Low-rank adaptation (Hu et al. 2022).
    pub struct LoraSettings {
        /// The rank of a term.
        r: usize = 8 => 1..=1024;
        /// A term is scaled by `alpha / r`.
        alpha: f64 = 16.0 => 0.0..=10_000.0;
        /// The matrices that get a term, by a regular expression on their paths.
        target_modules: String = r"attention\.(query|value)\.weight$".to_owned();
    }
}

impl FineTuningSettings {
    /// Whether the regular expressions are ones.
    ///
    /// # Errors
    /// What is wrong with one.
    pub fn check(&self) -> Result<(), String> {
        let lora = self.lora.as_ref().map(|lora| &lora.target_modules);
        for pattern in self.parameters.iter().chain(lora) {
            Regex::new(pattern).map_err(|error| format!("'{pattern}' is no regular expression: {error}"))?;
        }
        Ok(())
    }

    /// The encoder, with what is not to be trained taken out of training.
    ///
    /// # Errors
    /// A regular expression that finds no parameter.
    pub(crate) fn apply(&self, encoder: Encoder) -> Result<Encoder, PretrainedError> {
        let Layers { found, n_layers, .. } = Layers::of(&encoder);
        let paths: Vec<String> = found.into_iter().map(|(path, _, _)| path).collect();
        if let Some(lora) = &self.lora {
            let pattern = found_in(&lora.target_modules, "lora.target_modules", &paths)?;
            let group = ParamGroup::from_regex(pattern.as_str()).unwrap_or_else(|_| ParamGroup::all());
            return Ok(encoder.freeze().apply_lora(Lora::new(lora.r, lora.alpha).set_param_group(group)));
        }
        let pattern = self.parameters.as_ref().map(|pattern| found_in(pattern, "parameters", &paths)).transpose()?;
        let has_batch_norm = matches!(encoder, Encoder::ResNet(_) | Encoder::MobileNet(_));
        let kept_norm = |path: &str| self.freeze_batch_norm && has_batch_norm && path.contains("norm.");
        let first = self.last_layers.map_or(0, |last| (n_layers + 1).saturating_sub(last));
        let is_trained = |path: &str, layer: usize| {
            layer >= first && !kept_norm(path) && pattern.as_ref().is_none_or(|pattern| pattern.is_match(path))
        };
        Ok(encoder.map(&mut Freezing { layers: Layers::default(), is_trained: &is_trained }))
    }

    /// Parameters with what their learning rate is times the trainer's, where that is not 1.
    pub(crate) fn learning_rate_factors(&self, encoder: &Encoder) -> Vec<(ParamId, f64)> {
        let layers = Layers::of(encoder);
        let factor = |layer: usize| self.learning_rate_factor * self.layer_decay.powi((layers.n_layers - layer) as i32);
        let each = layers.found.iter().map(|(_, id, layer)| (*id, factor(*layer)));
        each.filter(|(_, factor)| *factor != 1.0).collect()
    }
}

/// A regular expression that finds something in one of the paths at least.
fn found_in(pattern: &str, key: &'static str, paths: &[String]) -> Result<Regex, PretrainedError> {
    let regex = Regex::new(pattern).ok().filter(|regex| paths.iter().any(|path| regex.is_match(path)));
    regex.ok_or_else(|| {
        let some = paths.iter().step_by(paths.len().div_ceil(4).max(1)).cloned().collect();
        PretrainedError::NoneFound { key, pattern: pattern.to_owned(), paths: some }
    })
}

/// A walk that knows each parameter's path below the encoder and the number of layers begun before it: 0 in front of the first.
#[derive(Default)]
struct Layers {
    path: Vec<String>,
    last: String,
    n_layers: usize,
    found: Vec<(String, ParamId, usize)>,
}

impl Layers {
    fn of(encoder: &Encoder) -> Self {
        let mut layers = Self::default();
        encoder.visit(&mut layers);
        layers
    }

    /// The path of the value in hand; counts a layer when its first value comes.
    fn next(&mut self) -> (String, usize) {
        // The first name is that of the encoder's kind.
        let parts = &self.path[1..];
        let layer = match parts {
            [stages, stage, block, ..] if stages == "stages" => format!("{stage}.{block}"),
            [blocks, block, ..] if blocks == "blocks" => block.clone(),
            [transformer, layers, layer, ..] if transformer == "transformer" && layers == "layers" => layer.clone(),
            _ => self.last.clone(),
        };
        if layer != self.last {
            self.n_layers += 1;
            self.last = layer;
        }
        (parts.join("."), self.n_layers)
    }
}

impl ModuleVisitor for Layers {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (path, layer) = self.next();
        self.found.push((path, param.id, layer));
    }
}

/// A walk that takes parameters out of training; a batch norm outside training keeps its statistics.
struct Freezing<'a> {
    layers: Layers,
    is_trained: &'a dyn Fn(&str, usize) -> bool,
}

impl ModuleMapper for Freezing<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.layers.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.layers.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (path, layer) = self.layers.next();
        let is_trained = param.is_require_grad() && (self.is_trained)(&path, layer);
        param.set_require_grad(is_trained)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let (path, layer) = self.layers.next();
        if (self.is_trained)(&path, layer) { flag } else { flag.with_value(false) }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mbm_config::{Diagnostics, Format, Node, Setting};
    use mbm_data::Shape;

    use super::*;
    use crate::encoder::{EncoderOutput, EncoderSettings, ImageEncoder, TextEncoder};

    fn read<T: Setting>(text: &str) -> T {
        T::read(&Node::parse(text, Format::Yaml).unwrap(), "", &mut Diagnostics::default()).unwrap()
    }

    fn resnet() -> Encoder {
        let settings = EncoderSettings::Image(read::<ImageEncoder>("{type: resnet, model_variant: 20}"));
        settings.init(&Shape::Image { channels: 3, height: 8, width: 8 }, EncoderOutput::Summary, &Device::flex().autodiff())
    }

    fn bert() -> Encoder {
        let text = "{type: bert, hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32}";
        let shape = Shape::Tokens { vocab_size: 9, max_steps: 4 };
        EncoderSettings::Text(read::<TextEncoder>(text)).init(&shape, EncoderOutput::Summary, &Device::flex().autodiff())
    }

    /// Paths of trained parameters.
    fn trained(encoder: &Encoder) -> Vec<String> {
        struct Trained(Layers);
        impl ModuleVisitor for Trained {
            fn enter_module(&mut self, name: &str, _container_type: &str) {
                self.0.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _name: &str, _container_type: &str) {
                self.0.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if param.is_require_grad() {
                    self.0.visit_float(param);
                }
            }
        }
        let mut visitor = Trained(Layers::default());
        encoder.visit(&mut visitor);
        visitor.0.found.into_iter().map(|(path, _, _)| path).collect()
    }

    #[test]
    fn the_last_layers_or_those_named_are_trained_and_nothing_else() {
        let all = trained(&resnet());
        let last = trained(&read::<FineTuningSettings>("{last_layers: 1}").apply(resnet()).unwrap());
        assert_eq!(last.len(), 6, "{last:?}");
        assert!(last.iter().all(|path| path.starts_with("stages.2.2.")), "{last:?}");
        let without_norms = trained(&read::<FineTuningSettings>("{freeze_batch_norm: true}").apply(resnet()).unwrap());
        assert_eq!(without_norms.len() * 3, all.len());
        let named = trained(&read::<FineTuningSettings>("{parameters: 'layers.2.widen'}").apply(bert()).unwrap());
        assert_eq!(named, ["transformer.layers.2.widen.weight", "transformer.layers.2.widen.bias"]);
        assert!(trained(&read::<FineTuningSettings>("{last_layers: 0}").apply(bert()).unwrap()).is_empty());
    }

    #[test]
    fn an_expression_that_finds_nothing_is_an_error_that_shows_paths() {
        let error = read::<FineTuningSettings>("{parameters: 'layer4'}").apply(resnet()).unwrap_err().to_string();
        assert!(error.contains("parameters: no parameter's path holds 'layer4'; paths are such as stem.conv.weight"), "{error}");
        assert!(read::<FineTuningSettings>("{parameters: '('}").check().unwrap_err().contains("no regular expression"));
    }

    #[test]
    fn learning_rates_fall_towards_the_first_layers() {
        let encoder = bert();
        let factors = read::<FineTuningSettings>("{learning_rate_factor: 0.5, layer_decay: 0.1}").learning_rate_factors(&encoder);
        let of = |path: &str| {
            let id = Layers::of(&encoder).found.into_iter().find(|(other, _, _)| other == path).unwrap().1;
            factors.iter().find(|(other, _)| *other == id).unwrap().1
        };
        let close = |found: f64, want: f64| assert!((found - want).abs() < 1e-12, "{found} is not {want}");
        close(of("transformer.layers.2.narrow.bias"), 0.5);
        close(of("transformer.layers.0.narrow.bias"), 0.005);
        close(of("tokens.weight"), 0.0005);
        assert!(read::<FineTuningSettings>("{}").learning_rate_factors(&encoder).is_empty());
    }

    #[test]
    fn adapters_start_at_nothing_and_are_all_that_is_trained() {
        let encoder = read::<FineTuningSettings>("{lora: {r: 2}}").apply(bert()).unwrap();
        let adapted = trained(&encoder);
        assert_eq!(adapted.len(), 3 * 2 * 2);
        assert!(
            adapted.iter().all(|path| path.contains("query.weight.lora.") || path.contains("value.weight.lora.")),
            "{adapted:?}"
        );
        let merged = Layers::of(&encoder.valid().materialize()).found;
        assert!(merged.iter().all(|(path, _, _)| !path.contains("lora")));
    }
}
