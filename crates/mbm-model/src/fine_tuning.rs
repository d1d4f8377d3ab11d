//! Fine-tuning: which parameters of a pretrained encoder are trained, and at which learning rate.

use burn::module::{Flag, Lora, Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;
use mbm_config::settings;
use regex::Regex;

use crate::encoder::Encoder;
use crate::pretrained::{OriginError, PretrainedError};

settings! {
    /// Which parameters of an encoder are trained, and how.
    pub struct FineTuningSettings {
        /// Trains only this many of the last layers (residual blocks in convolutional networks) and everything after them.
        last_layers: Option<usize> = None => 0..=1000;
        /// Trains only parameters whose path in the encoder, such as `transformer.layers.5.attention.query.weight`, matches this
        /// regular expression.
        parameters: Option<String> = None;
        /// Factor on the trainer's learning rate.
        learning_rate_factor: f64 = 1.0 => 0.0..=1000.0;
        /// Layer-wise decay: a layer's learning rate is that of the next layer times this factor (Howard and Ruder 2018).
        layer_decay: f64 = 1.0 => 0.01..=1.0;
        /// Whether to freeze the running statistics, scales and shifts of batch norms.
        freeze_batch_norm: bool = false;
        /// Freezes the weight matrices and trains low-rank terms added to them instead.
        lora: Option<LoraSettings> = None;
    }

    /// Low-rank adaptation (Hu et al. 2022).
    pub struct LoraSettings {
        /// The rank of a term.
        r: usize = 8 => 1..=1024;
        /// Terms are scaled by `alpha / r`.
        alpha: f64 = 16.0 => 0.0..=10_000.0;
        /// Regular expression on the paths of the matrices that get a term.
        target_modules: String = r"attention\.(query|value)\.weight$".to_owned();
    }
}

impl FineTuningSettings {
    /// Checks that the regular expressions are valid.
    ///
    /// # Errors
    /// If one of them is not.
    pub fn check(&self) -> Result<(), OriginError> {
        let lora = self.lora.as_ref().map(|lora| &lora.target_modules);
        for pattern in self.parameters.iter().chain(lora) {
            Regex::new(pattern).map_err(|source| OriginError::Pattern { pattern: pattern.clone(), source })?;
        }
        Ok(())
    }

    /// Freezes all parameters of an encoder that are not to be trained.
    ///
    /// # Errors
    /// If a regular expression matches no parameter.
    pub(crate) fn apply(&self, encoder: Encoder) -> Result<Encoder, PretrainedError> {
        let Layers { found, n_layers, .. } = Layers::of(&encoder);
        let paths: Vec<String> = found.into_iter().map(|(path, _, _)| path).collect();
        if let Some(lora) = &self.lora {
            let pattern = found_in(&lora.target_modules, "lora.target_modules", &paths)?;
            let group = ParamGroup::from_regex(pattern.as_str()).unwrap_or_else(|_| ParamGroup::all());
            return Ok(encoder.freeze().apply_lora(Lora::new(lora.r, lora.alpha).set_param_group(group)));
        }
        let pattern = self.parameters.as_ref().map(|pattern| found_in(pattern, "parameters", &paths)).transpose()?;
        let freezes_norms = self.freeze_batch_norm && encoder.get().has_batch_norm();
        let first = self.last_layers.map_or(0, |last| (n_layers + 1).saturating_sub(last));
        let is_trained = |path: &str, layer: usize| {
            let is_frozen_norm = freezes_norms && path.contains("norm.");
            layer >= first && !is_frozen_norm && pattern.as_ref().is_none_or(|pattern| pattern.is_match(path))
        };
        Ok(encoder.map(&mut Freezing { layers: Layers::default(), is_trained: &is_trained }))
    }

    /// Returns the parameters whose learning rate is not the trainer's, with the factor to multiply it by.
    pub(crate) fn learning_rate_factors(&self, encoder: &Encoder) -> Vec<(ParamId, f64)> {
        let layers = Layers::of(encoder);
        let each = layers.found.iter().map(|(_, id, layer)| {
            let factor = self.learning_rate_factor * self.layer_decay.powi((layers.n_layers - layer) as i32);
            (*id, factor)
        });
        each.filter(|(_, factor)| *factor != 1.0).collect()
    }
}

/// Compiles a regular expression that must match at least one of the paths.
fn found_in(pattern: &str, key: &'static str, paths: &[String]) -> Result<Regex, PretrainedError> {
    let regex = Regex::new(pattern).ok().filter(|regex| paths.iter().any(|path| regex.is_match(path)));
    regex.ok_or_else(|| {
        let some = paths.iter().step_by(paths.len().div_ceil(4).max(1)).cloned().collect();
        PretrainedError::NoneFound { key, pattern: pattern.to_owned(), paths: some }
    })
}

/// Visitor that tracks each parameter's path below the encoder and the number of its layer, from 1; 0 before the first layer.
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

    /// Returns the path and layer of the current value; increments the layer count at a layer's first value.
    fn next(&mut self) -> (String, usize) {
        // The first name is the variant of the encoder.
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

/// Mapper that freezes parameters; a frozen batch norm keeps its running statistics.
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
        settings.get().init(
            &Shape::Image { channels: 3, height: 8, width: 8 },
            EncoderOutput::Summary,
            &Device::flex().autodiff(),
        )
    }

    fn bert() -> Encoder {
        let text = "{type: bert, hidden_size: 16, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 32}";
        let shape = Shape::Tokens { vocab_size: 9, max_steps: 4 };
        EncoderSettings::Text(read::<TextEncoder>(text)).get().init(&shape, EncoderOutput::Summary, &Device::flex().autodiff())
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
    fn only_the_last_layers_or_matching_parameters_are_trained() {
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
    fn pattern_without_a_match_is_an_error_listing_paths() {
        let error = read::<FineTuningSettings>("{parameters: 'layer4'}").apply(resnet()).unwrap_err().to_string();
        assert!(error.contains("parameters: no parameter path matches 'layer4'; examples of paths: stem.conv.weight"), "{error}");
        assert!(
            read::<FineTuningSettings>("{parameters: '('}")
                .check()
                .unwrap_err()
                .to_string()
                .contains("not a valid regular expression")
        );
    }

    #[test]
    fn learning_rates_decay_towards_the_first_layers() {
        let encoder = bert();
        let factors = read::<FineTuningSettings>("{learning_rate_factor: 0.5, layer_decay: 0.1}").learning_rate_factors(&encoder);
        let of = |path: &str| {
            let id = Layers::of(&encoder).found.into_iter().find(|(other, _, _)| other == path).unwrap().1;
            factors.iter().find(|(other, _)| *other == id).unwrap().1
        };
        let close = |found: f64, want: f64| assert!((found - want).abs() < 1e-12, "expected {want}, found {found}");
        close(of("transformer.layers.2.narrow.bias"), 0.5);
        close(of("transformer.layers.0.narrow.bias"), 0.005);
        close(of("tokens.weight"), 0.0005);
        assert!(read::<FineTuningSettings>("{}").learning_rate_factors(&encoder).is_empty());
    }

    #[test]
    fn only_adapters_are_trained_and_merging_removes_them() {
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
