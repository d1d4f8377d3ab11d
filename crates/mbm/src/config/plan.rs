//! A validated config: everything that can be checked without data is checked here, once, and all mistakes are reported together.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use mbm_algo::metric::{CLASSIFICATION, Metric, REGRESSION, RETRIEVAL, SETS, TEXTS};
use mbm_config::{Diagnostics, Format, Mistakes, Node, Setting, Value, closest, some_of};
use mbm_data::feature::TokenizerKind;
use mbm_data::{Augmentation, Field, Preprocessor, Shape};
use mbm_model::{InputSpec, InputSummary, ModelSpec, OutputSpec};
use mbm_tune::COMBINED;

use crate::config::features::{Config, FeatureError, InputFeature, OutputFeature, TextOutput};
use crate::config::infer::infer_config;
use crate::config::source::ConfigSource;
use crate::error::Error;
use crate::into_table::IntoTable;
use crate::learn::settings::Learners;
use crate::predict::embedded_rows::directions;
use crate::predict::prediction::class_names;

/// A validated config.
///
/// ```
/// let plan: mbm::Plan = "
/// input_features: [{name: photo, type: image}, {name: notes, type: text}]
/// output_features: [{name: label, type: category}]
/// ".parse()?;
/// let shorter = plan.with("trainer.epochs=3")?;
/// assert_eq!(shorter.to_json()["trainer"]["epochs"], 3);
///
/// let error = plan.with("trainer.epoch=3").unwrap_err();
/// assert!(error.to_string().contains("did you mean 'epochs'?"), "{error}");
/// # Ok::<(), mbm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The config, with every default filled in.
    pub(crate) config: Config,
}

impl FromStr for Plan {
    type Err = Error;

    /// Reads a config from YAML or JSON, as [`Plan::read`] does.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::read(text, Format::Yaml, &[], "the config")
    }
}

impl Plan {
    /// Reads a YAML, JSON or TOML file; `overrides` are `path=value` pairs such as `trainer.epochs=3`. What pretrained weights imply
    /// is added, for which they are opened and perhaps downloaded; [`ConfigSource`] does this in steps.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or with every mistake in it and its line.
    pub fn read_file(path: impl AsRef<Path>, overrides: &[String]) -> Result<Self, Error> {
        ConfigSource::read(path.as_ref(), overrides)?.resolve()
    }

    /// Reads a config from text; `file` is the name that errors use. As [`Plan::read_file`] otherwise.
    ///
    /// # Errors
    /// Returns every mistake with its line.
    pub fn read(text: &str, format: Format, overrides: &[String], file: &str) -> Result<Self, Error> {
        ConfigSource::parse(text, format, overrides, file)?.resolve()
    }

    /// Returns a plan that predicts some columns of a table from the others; [`crate::infer_config`] also returns notes on its choices.
    ///
    /// # Errors
    /// Fails if the data cannot be read, a target is not a column, or its type cannot be predicted.
    pub fn infer<S: Into<String>>(data: impl IntoTable, targets: impl IntoIterator<Item = S>) -> Result<Self, Error> {
        let targets: Vec<String> = targets.into_iter().map(Into::into).collect();
        infer_config(&data.into_table()?, &targets)?.0.resolve()
    }

    /// Changes a setting: a `path=value` pair such as `trainer.epochs=3`, with the value in YAML.
    ///
    /// # Errors
    /// Fails if the path or the value is not valid.
    pub fn with(&self, setting: &str) -> Result<Self, Error> {
        let mut source = ConfigSource::new(Node::from(&self.to_json()), "the plan");
        source.change(&[setting.to_owned()])?;
        source.check()
    }

    /// Validates a config that is already parsed into a tree.
    ///
    /// # Errors
    /// Returns every mistake with its line.
    pub(crate) fn from_node(node: &Node) -> Result<Self, Diagnostics> {
        Self::checked(node, Diagnostics::default())
    }

    pub(crate) fn checked(node: &Node, mut diagnostics: Diagnostics) -> Result<Self, Diagnostics> {
        let config = Config::read(node, "", &mut diagnostics);
        if let Some(config) = &config {
            Check { config, node, diagnostics: &mut diagnostics }.run();
        }
        let mut plan = diagnostics.unless_any(config).map(|config| Self { config })?;
        plan.balance_classes();
        Ok(plan)
    }

    /// Balances the classes of an output whose learners are chosen by `balanced_accuracy`, so that the class with the highest probability is
    /// the one that the metric asks for.
    fn balance_classes(&mut self) {
        let is_balanced = |plan: &Self, at: usize| {
            let name = plan.config.output_features[at].name();
            plan.config.learners != Learners::Network && plan.metric_of(at, name) == Some("balanced_accuracy")
        };
        for at in 0..self.config.output_features.len() {
            if is_balanced(self, at) {
                self.config.output_features[at].balance_classes();
            }
        }
    }

    /// Returns the config as YAML, with every default written out.
    pub fn to_yaml(&self) -> String {
        mbm_config::to_yaml(&Node::from(&self.to_json()))
    }

    /// Returns the config as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }
}

impl Plan {
    /// Returns the metric of an output by which epochs and learners are selected; `None` if that is the loss.
    pub(crate) fn metric_of(&self, output: usize, name: &str) -> Option<&str> {
        let trainer = &self.config.trainer;
        let is_deciding = trainer.validation_field.as_ref().map_or(output == 0, |field| field == name);
        trainer.validation_metric.as_deref().filter(|metric| is_deciding && *metric != "loss")
    }

    /// Returns the maximum size of the feature cache on disk, in bytes.
    pub(crate) fn cache_bytes(&self) -> u64 {
        (self.config.preprocessing.cache_size_in_mb as u64) << 20
    }

    /// Returns the specification of the model for fitted features. `class_counts` holds the number of training rows of each class
    /// for each output; it may be empty if the model will not be trained.
    ///
    /// # Errors
    /// Fails if the settings do not fit the features.
    pub(crate) fn model_spec(
        &self,
        inputs: &[Field],
        outputs: &[Field],
        class_counts: &[Vec<usize>],
    ) -> Result<ModelSpec, FeatureError> {
        let config = &self.config;
        for (feature, field) in config.input_features.iter().zip(inputs) {
            let suits = feature.encoder().get().suits(&field.preprocessor.get().shape());
            suits.map_err(|source| FeatureError::Encoder { input: feature.name().to_owned(), source })?;
        }
        let inputs = config.input_features.iter().zip(inputs).map(|(feature, field)| InputSpec {
            name: feature.name().to_owned(),
            encoder: feature.encoder(),
            shape: field.preprocessor.get().shape(),
            projection: feature.projection().cloned(),
            vocabulary: vocabulary(feature, field),
        });
        let outputs = config.output_features.iter().zip(outputs).enumerate();
        let outputs = outputs.map(|(at, (feature, field))| output_spec(feature, field, class_counts.get(at)));
        Ok(ModelSpec { inputs: inputs.collect(), combiner: config.combiner.clone(), outputs: outputs.collect::<Result<_, _>>()? })
    }
}

fn output_spec(feature: &OutputFeature, field: &Field, class_counts: Option<&Vec<usize>>) -> Result<OutputSpec, FeatureError> {
    let width = match field.preprocessor.get().shape() {
        Shape::ContentIds => feature.n_embedded(),
        Shape::Class { n_classes: 0 | 1 } => {
            let found = some_of(&class_names(&field.preprocessor));
            return Err(FeatureError::OneClass { output: feature.name().to_owned(), found });
        }
        Shape::Class { n_classes } => n_classes,
        Shape::Vector { width } => width,
        Shape::Number { .. } => 1,
        Shape::Tokens { vocab_size, .. } => vocab_size,
        other => {
            let shape = other.to_string();
            return Err(FeatureError::NoDecoder { output: feature.name().to_owned(), shape });
        }
    };
    let counts = class_counts.cloned().unwrap_or_else(|| vec![1; width]);
    let (loss, loss_weight) = feature.loss(&counts)?;
    Ok(OutputSpec { name: feature.name().to_owned(), decoder: feature.decoder(), width, loss, loss_weight })
}

/// Returns the tokens of a text by id, if their vectors are pretrained; else nothing.
fn vocabulary(feature: &InputFeature, field: &Field) -> Vec<String> {
    match &field.preprocessor {
        Preprocessor::Text(text) if feature.encoder().get().origin().use_pretrained => text.tokenizer.vocabulary(),
        _ => Vec::new(),
    }
}

/// Checks that involve several keys, which the reader of a single key cannot make.
struct Check<'a> {
    config: &'a Config,
    node: &'a Node,
    diagnostics: &'a mut Diagnostics,
}

impl Check<'_> {
    fn run(&mut self) {
        self.features();
        self.sample_weight();
        self.parts();
        self.input_texts();
        self.embeddings();
        self.texts();
        self.pretrained();
        self.augmentation();
        self.trainer();
        self.hyperopt();
    }

    /// Adds a problem at a dotted path such as `input_features.0.name`.
    fn add(&mut self, path: &str, message: String) {
        let mut node = Some(self.node);
        let mut line = self.node.line;
        for part in path.split('.') {
            node = node.and_then(|node| match &node.value {
                Value::List(items) => part.parse().ok().and_then(|at: usize| items.get(at)),
                _ => node.at(part),
            });
            line = node.map_or(line, |node| node.line);
        }
        let mut shown = String::new();
        for part in path.split('.') {
            match part.parse::<usize>() {
                Ok(at) => shown.push_str(&format!("[{at}]")),
                Err(_) if shown.is_empty() => shown.push_str(part),
                Err(_) => shown.push_str(&format!(".{part}")),
            }
        }
        self.diagnostics.add(line, &shown, message);
    }

    fn features(&mut self) {
        let config = self.config;
        let (inputs, outputs) = (&config.input_features, &config.output_features);
        for (list, is_empty) in [("input_features", inputs.is_empty()), ("output_features", outputs.is_empty())] {
            if is_empty {
                self.add(list, "at least one feature is required".to_owned());
            }
        }
        let ins = inputs.iter().enumerate().map(|(at, it)| (it.name(), "input_features", at));
        let outs = outputs.iter().enumerate().map(|(at, it)| (it.name(), "output_features", at));
        let mut taken = HashSet::new();
        for (name, list, at) in ins.chain(outs) {
            if !taken.insert(name) {
                self.add(&format!("{list}.{at}.name"), format!("the name '{name}' is taken by another feature"));
            }
        }
        let read: HashSet<&str> = inputs.iter().map(InputFeature::column).collect();
        for (at, output) in outputs.iter().enumerate() {
            if read.contains(output.column()) {
                let message = format!("the column '{}' is also an input: the model would see the target", output.column());
                self.add(&format!("output_features.{at}.name"), message);
            }
        }
    }

    /// Rejects a column of weights that is also an input or an output.
    fn sample_weight(&mut self) {
        let config = self.config;
        let Some(weights) = config.preprocessing.sample_weight.as_deref() else { return };
        let inputs = config.input_features.iter().map(InputFeature::column).enumerate().map(|it| ("input", it));
        let outputs = config.output_features.iter().map(OutputFeature::column).enumerate().map(|it| ("output", it));
        for (role, (at, column)) in inputs.chain(outputs).filter(|(_, (_, column))| *column == weights) {
            let message = format!(
                "the column '{column}' holds the weights of rows (preprocessing.sample_weight), so it cannot be an {role}; \
                 remove one of the two"
            );
            self.add(&format!("{role}_features.{at}.name"), message);
        }
    }

    fn embeddings(&mut self) {
        let config = self.config;
        let names: Vec<&str> = config.input_features.iter().map(InputFeature::name).collect();
        for (at, output) in config.output_features.iter().enumerate() {
            let OutputFeature::Embedding(it) = output else { continue };
            let path = format!("output_features.{at}");
            for (tower, name) in it.align.iter().enumerate() {
                let (path, others) = (format!("{path}.align.{tower}"), &it.align[..tower]);
                if !names.contains(&name.as_str()) {
                    let meant = meant(name, &names);
                    self.add(&path, format!("'{name}' is not an input{meant}; available: {}", some_of(&names)));
                } else if others.contains(name) {
                    self.add(&path, format!("'{name}' is listed twice"));
                }
            }
            if it.align.len() < 2 {
                self.add(&format!("{path}.align"), "at least two inputs are required".to_owned());
            }
            if it.column.is_some() {
                self.add(&format!("{path}.column"), "an embedding has no column of its own; align lists its inputs".to_owned());
            }
            if config.trainer.mixup > 0.0 {
                self.add(
                    "trainer.mixup",
                    format!("rows cannot be mixed because '{}' compares them; remove one of the two", it.name),
                );
            }
        }
    }

    fn texts(&mut self) {
        let config = self.config;
        for (at, output) in config.output_features.iter().enumerate() {
            let OutputFeature::Text(it) = output else { continue };
            let path = format!("output_features.{at}");
            if it.preprocessing.tokenizer == TokenizerKind::HfTokenizer {
                let message = "a text output needs a tokenizer of its own: bpe, wordpiece, characters or space_punct";
                self.add(&format!("{path}.preprocessing.tokenizer"), message.to_owned());
            }
            let longest = it.preprocessing.max_sequence_length;
            let decoder = output.decoder();
            let max_length = decoder.get().decoding().and_then(|decoding| decoding.max_length);
            if let Some(length) = max_length.filter(|length| *length > longest) {
                let message = format!("{length} exceeds the max_sequence_length of the output's preprocessing, {longest}");
                self.add(&format!("{path}.decoder.decoding.max_length"), message);
            }
            self.shared_vocabulary(&format!("{path}.preprocessing.share_vocabulary_with"), it);
            for key in ["mixup", "gradient_cache_chunk_size"] {
                let is_on =
                    if key == "mixup" { config.trainer.mixup > 0.0 } else { config.trainer.gradient_cache_chunk_size.is_some() };
                if is_on {
                    self.add(
                        &format!("trainer.{key}"),
                        format!("cannot be combined with the text output '{}'; remove one of the two", it.name),
                    );
                }
            }
        }
    }

    /// Checks that a text output can share the vocabulary of an input.
    fn shared_vocabulary(&mut self, path: &str, output: &TextOutput) {
        let Some(name) = &output.preprocessing.share_vocabulary_with else { return };
        let texts = self
            .config
            .input_features
            .iter()
            .filter_map(|input| if let InputFeature::Text(it) = input { Some(it) } else { None });
        let texts: Vec<_> = texts.collect();
        let Some(text) = texts.iter().find(|text| text.name == *name) else {
            let names: Vec<&str> = texts.iter().map(|text| text.name.as_str()).collect();
            let available = if names.is_empty() { "there is none".to_owned() } else { format!("available: {}", some_of(&names)) };
            return self.add(path, format!("'{name}' is not a text input{}; {available}", meant(name, &names)));
        };
        let (own, other) = (&output.preprocessing, &text.preprocessing);
        if (own.tokenizer, own.lowercase) != (other.tokenizer, other.lowercase) {
            let message = format!(
                "'{name}' has tokenizer: {}, lowercase: {}, but this output has {}, {}; use the same in both",
                other.tokenizer.as_str(),
                other.lowercase,
                own.tokenizer.as_str(),
                own.lowercase
            );
            self.add(path, message);
        }
    }

    fn pretrained(&mut self) {
        let config = self.config;
        let inputs = config.input_features.iter().map(|input| input.encoder().get().origin().check());
        let outputs = config.output_features.iter().map(|output| output.decoder().get().origin().check());
        let inputs = inputs.enumerate().map(|(at, diagnostic)| (format!("input_features.{at}.encoder"), diagnostic));
        let outputs = outputs.enumerate().map(|(at, diagnostic)| (format!("output_features.{at}.decoder"), diagnostic));
        for (path, diagnostic) in inputs.chain(outputs).collect::<Vec<_>>() {
            if let Err(error) = diagnostic {
                self.add(&path, error.to_string());
            }
        }
    }

    /// Rejects augmentation for encoders that are not trained: their features are computed once, so inputs cannot vary.
    fn augmentation(&mut self) {
        for (at, input) in self.config.input_features.iter().enumerate() {
            if input.augmentation() != Augmentation::None && input.encoder().get().is_computed_once() {
                let message = "the encoder is not trained, so its features are computed once, without augmentation; remove this or set \
                               trainable: true";
                self.add(&format!("input_features.{at}.augmentation"), message.to_owned());
            }
        }
    }

    /// Adds the mistakes that a part found in its own settings, at its path.
    fn report(&mut self, path: &str, mistakes: Mistakes) {
        for (key, message) in mistakes {
            let path = if key.is_empty() { path.to_owned() } else { format!("{path}.{key}") };
            self.add(&path, message);
        }
    }

    /// Lets every encoder, decoder and the combiner check its own settings.
    fn parts(&mut self) {
        let config = self.config;
        let inputs: Vec<InputSummary> = config.input_features.iter().map(InputFeature::summary).collect();
        for (at, input) in config.input_features.iter().enumerate() {
            let mut mistakes = Mistakes::default();
            input.encoder().get().check(&mut mistakes);
            self.report(&format!("input_features.{at}.encoder"), mistakes);
        }
        let mut mistakes = Mistakes::default();
        config.combiner.get().check(&inputs, &mut mistakes);
        self.report("combiner", mistakes);
        for (at, output) in config.output_features.iter().enumerate() {
            let mut mistakes = Mistakes::default();
            output.decoder().get().check(&inputs, &mut mistakes);
            self.report(&format!("output_features.{at}.decoder"), mistakes);
        }
    }

    /// Checks the length and the tokenizer of text inputs.
    fn input_texts(&mut self) {
        for (at, input) in self.config.input_features.iter().enumerate() {
            let InputFeature::Text(text) = input else { continue };
            let (path, longest) = (format!("input_features.{at}.preprocessing"), text.preprocessing.max_sequence_length);
            if let Some(n_positions) = text.encoder.get().max_steps().filter(|n_positions| longest > *n_positions) {
                let message =
                    format!("max_sequence_length {longest} exceeds the max_position_embeddings of its encoder, {n_positions}");
                self.add(&path, message);
            }
            if text.preprocessing.tokenizer == TokenizerKind::HfTokenizer && text.preprocessing.vocab_file.is_none() {
                let message = "tokenizer: hf_tokenizer requires vocab_file, the path of a tokenizer.json";
                self.add(&path, message.to_owned());
            }
        }
    }

    fn trainer(&mut self) {
        let config = self.config;
        let trainer = &config.trainer;
        if let (Some(_), Some(_)) = (trainer.batch_tokens, trainer.gradient_cache_chunk_size) {
            self.add("trainer.batch_tokens", "batches in chunks have a fixed number of rows; use batch_size".to_owned());
        }
        if let Some(chunk) = trainer.gradient_cache_chunk_size {
            if !trainer.batch_size.is_multiple_of(chunk) {
                let message = format!("batch_size {} is not a multiple of it", trainer.batch_size);
                self.add("trainer.gradient_cache_chunk_size", message);
            }
            if trainer.gradient_accumulation_steps > 1 {
                let message = "batches in chunks and gradient accumulation cannot be combined; use a larger batch_size";
                self.add("trainer.gradient_accumulation_steps", message.to_owned());
            }
            if trainer.mixup > 0.0 {
                self.add("trainer.mixup", "mixup cannot be combined with gradient_cache_chunk_size".to_owned());
            }
        }
        let field = trainer.validation_field.as_deref().map(|field| ("trainer.validation_field", field));
        self.metric(field, trainer.validation_metric.as_deref().map(|metric| ("trainer.validation_metric", metric)));
    }

    fn hyperopt(&mut self) {
        if let Some(search) = &self.config.hyperopt {
            let field = Some(search.output_feature.as_str()).filter(|field| *field != COMBINED);
            self.metric(field.map(|field| ("hyperopt.output_feature", field)), Some(("hyperopt.metric", &search.metric)));
        }
    }

    /// Checks the path and name of an output, by default the first, and of one of its metrics.
    fn metric(&mut self, field: Option<(&str, &str)>, metric: Option<(&str, &str)>) {
        let outputs = &self.config.output_features;
        let names: Vec<&str> = outputs.iter().map(OutputFeature::name).collect();
        if let Some((path, field)) = field.filter(|(_, field)| !names.contains(field)) {
            let meant = meant(field, &names);
            self.add(path, format!("'{field}' is not an output{meant}; available: {}", some_of(&names)));
            return;
        }
        let output = outputs.iter().find(|output| field.is_none_or(|(_, field)| output.name() == field));
        if let (Some((path, metric)), Some(output)) = (metric, output) {
            let metrics = metric_names(output);
            let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
            if metric != "loss" && !metrics.contains(&metric) {
                let meant = match usual_name(metric).filter(|name| metrics.contains(name)) {
                    Some(name) => format!(", did you mean '{name}'?"),
                    None => meant(metric, &metrics),
                };
                let message = format!(
                    "'{metric}' is not a metric of a {} output{meant}; available: loss, {}",
                    output.type_name(),
                    metrics.join(", ")
                );
                self.add(path, message);
            }
        }
    }
}

/// Returns the name of a metric that is known by another one, too.
fn usual_name(metric: &str) -> Option<&'static str> {
    match metric.to_ascii_lowercase().as_str() {
        "rmse" => Some("root_mean_squared_error"),
        "mse" => Some("mean_squared_error"),
        "mae" => Some("mean_absolute_error"),
        "mape" => Some("mean_absolute_percentage_error"),
        "auc" | "auroc" => Some("roc_auc"),
        "auprc" | "average_precision" => Some("pr_auc"),
        "f1" => Some("f1_macro"),
        "precision" => Some("precision_macro"),
        "recall" => Some("recall_macro"),
        "cross_entropy" | "logloss" | "nll" => Some("log_loss"),
        _ => None,
    }
}

/// Suggests the name closest to a mistaken one, if any is close.
fn meant(name: &str, names: &[&str]) -> String {
    closest(name, names.iter().copied()).map(|name| format!(", did you mean '{name}'?")).unwrap_or_default()
}

/// Returns the names of an output's metrics.
pub(crate) fn metric_names(output: &OutputFeature) -> Vec<String> {
    fn names<S>(metrics: &[Metric<S>]) -> Vec<String> {
        metrics.iter().map(|metric| metric.name.to_owned()).collect()
    }
    match output {
        OutputFeature::Category(_) | OutputFeature::Binary(_) => names(CLASSIFICATION),
        OutputFeature::Set(_) => names(SETS),
        OutputFeature::Text(_) => names(TEXTS),
        OutputFeature::Number(_) | OutputFeature::Vector(_) => names(REGRESSION),
        OutputFeature::Embedding(it) => {
            let ways = directions(&it.align).into_iter().map(|(_, _, way)| way);
            let both = names(RETRIEVAL);
            let each = ways.flat_map(|way| both.iter().map(move |name| format!("{way}.{name}")).collect::<Vec<_>>());
            both.iter().cloned().chain(each).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "
input_features:
  - {name: image, type: image, preprocessing: {height: 28, width: 28, num_channels: 1}, encoder: {type: stacked_cnn}}
  - {name: audio, type: audio, preprocessing: {type: fbank, num_filter_bands: 40}, encoder: {type: rnn, cell_type: lstm}}
combiner: {type: concat}
output_features:
  - {name: label, type: category}
preprocessing: {split: {type: fixed, column: split}}
trainer: {epochs: 20, batch_size: 64, learning_rate: 0.001}
";

    fn diagnostics(text: &str) -> String {
        Plan::read(text, Format::Yaml, &[], "config.yaml").unwrap_err().to_string()
    }

    #[test]
    fn readme_config_is_valid_and_round_trips() {
        let plan = Plan::read(DIGITS, Format::Yaml, &[], "config.yaml").unwrap();
        let again = Plan::read(&plan.to_yaml(), Format::Yaml, &[], "config.yaml").unwrap();
        assert_eq!(again, plan);
        let from_json = Plan::read(&plan.to_json().to_string(), Format::Yaml, &[], "config.json").unwrap();
        assert_eq!(from_json, plan);
    }

    #[test]
    fn overrides_are_checked_like_the_file() {
        let overrides =
            ["trainer.epochs=3".to_owned(), "input_features.image.encoder.type=resnet".to_owned(), "combiner=gated".to_owned()];
        let plan = Plan::read(DIGITS, Format::Yaml, &overrides, "config.yaml").unwrap();
        assert_eq!(plan.config.trainer.epochs, 3);
        assert_eq!(plan.config.combiner.type_name(), "gated");
        let wrong = Plan::read(DIGITS, Format::Yaml, &["trainer.epoch=3".to_owned()], "config.yaml").unwrap_err().to_string();
        assert!(wrong.contains("did you mean 'epochs'"), "{wrong}");
    }

    #[test]
    fn cross_key_mistakes_are_reported_with_their_lines() {
        let text = "
input_features:
  - {name: a, type: text, encoder: {type: transformer, hidden_size: 100, num_heads: 3}}
  - {name: a, type: number}
combiner: {type: film, condition: b}
output_features:
  - {name: y, type: number}
  - {name: z, type: category, column: a}
trainer: {validation_field: y, validation_metric: r3}
hyperopt: {metric: f1, output_feature: z, parameters: {trainer.epochs: {space: choice, categories: [1, 2]}}}
";
        let diagnostics = diagnostics(text);
        for want in [
            "config.yaml: 6 problems",
            "line 3: input_features[0].encoder: hidden_size 100 is not a multiple",
            "line 4: input_features[1].name: the name 'a' is taken",
            "line 5: combiner.condition: 'b' is not an input; available: a, a",
            "line 8: output_features[1].name: the column 'a' is also an input",
            "line 9: trainer.validation_metric: 'r3' is not a metric of a number output, did you mean 'r2'?",
            "line 10: hyperopt.metric: 'f1' is not a metric of a category output, did you mean 'f1_macro'?",
        ] {
            assert!(diagnostics.contains(want), "{want}\n{diagnostics}");
        }
    }

    #[test]
    fn learners_chosen_by_balanced_accuracy_are_fitted_on_balanced_classes() {
        let balanced = |rest: &str, loss: &str| {
            let text = format!(
                "{{input_features: [{{name: a, type: number}}], output_features: [{{name: y, type: category, loss: {{{loss}}}}}, \
                 {{name: z, type: binary}}], {rest}}}"
            );
            let outputs = text.parse::<Plan>().unwrap().to_json()["output_features"].clone();
            [0, 1].map(|at: usize| outputs[at]["loss"]["balance_classes"].as_bool())
        };
        let by_metric = "learners: auto, trainer: {validation_metric: balanced_accuracy}";
        assert_eq!(balanced(by_metric, ""), [Some(true), None]);
        let of_second = "learners: auto, trainer: {validation_field: z, validation_metric: balanced_accuracy}";
        assert_eq!(balanced(of_second, ""), [None, Some(true)]);
        assert_eq!(balanced(by_metric, "balance_classes: false"), [Some(false), None]);
        assert_eq!(balanced(by_metric, "class_weights: [1, 2]"), [None, None]);
        assert_eq!(balanced("learners: auto, trainer: {validation_metric: accuracy}", ""), [None, None]);
        assert_eq!(balanced("trainer: {validation_metric: balanced_accuracy}", ""), [None, None], "the network alone");
    }

    #[test]
    fn lists_of_settings_to_choose_from_need_a_value() {
        let text = format!(
            "{DIGITS}learners:\n  - {{type: linear, penalties: [], column_scales: []}}\n  - {{type: convolutions, penalties: []}}\n"
        );
        let diagnostics = diagnostics(&text);
        for place in ["learners[0].penalties", "learners[0].column_scales", "learners[1].penalties"] {
            assert!(diagnostics.contains(&format!("{place}: at least one value is required")), "{diagnostics}");
        }
    }

    #[test]
    fn a_column_of_weights_is_no_feature() {
        let text = DIGITS.replace("preprocessing: {split", "preprocessing: {sample_weight: audio, split");
        let diagnostics = diagnostics(&text);
        let want = "line 4: input_features[1].name: the column 'audio' holds the weights of rows (preprocessing.sample_weight), so it \
                    cannot be an input; remove one of the two";
        assert!(diagnostics.contains(want), "{diagnostics}");
        assert!(Plan::read(&text.replace("sample_weight: audio", "sample_weight: n"), Format::Yaml, &[], "config.yaml").is_ok());
    }

    #[test]
    fn unsupported_ludwig_keys_are_named() {
        let text = DIGITS.replace("batch_size: 64", "batch_size: 64, use_mixed_precision: true");
        assert!(diagnostics(&text).contains("'use_mixed_precision' (Ludwig has it, mbm does not yet)"));
    }
}
