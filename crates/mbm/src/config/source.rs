//! A config as it is written: parsed, with overrides applied, its keys not yet read.
//!
//! Parsing and checking touch neither disk nor network; [`ConfigSource::resolve`] alone opens pretrained weights.

use std::io::Read;
use std::path::Path;

use mbm_config::{Diagnostic, Diagnostics, Format, Node, SetError, Value, excerpt};
use mbm_data::source::TableFormat;

use crate::config::plan::Plan;
use crate::config::pretrained_defaults::pretrained_defaults;
use crate::error::Error;

/// A config that has been parsed.
///
/// ```
/// use mbm::{ConfigFormat, ConfigSource};
///
/// let text = "input_features: [{name: size, type: number}]\noutput_features: [{name: kind, type: category}]";
/// let mut source = ConfigSource::parse(text, ConfigFormat::Yaml, &[], "config.yaml")?;
/// source.set(&["trainer.epochs=3".to_owned()])?;
/// println!("{}", source.check()?.to_yaml());
/// # Ok::<(), mbm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSource {
    /// The name that errors use.
    file: String,
    node: Node,
    /// What was set on the command line.
    overrides: Vec<Override>,
}

/// A path that was set on the command line.
#[derive(Debug, Clone, PartialEq)]
struct Override {
    /// As it was given, such as `input_features.image.type`.
    given: String,
    /// As diagnostics write it, such as `input_features[0].type`.
    shown: String,
}

/// The maximum size of a config file; one of 10,000 features with every default written out takes 2 MB.
const MAX_BYTES: u64 = 64 << 20;

impl ConfigSource {
    /// Reads a YAML, JSON or TOML file; `overrides` are `path=value` pairs such as `trainer.epochs=3`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or parsed.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let file = path.display().to_string();
        let refused = |message: String| Error::Config { file: file.clone(), diagnostics: Diagnostic::at(0, "", message).into() };
        if is_table(path) {
            return Err(refused("this is a table; did you mean --dataset?".to_owned()));
        }
        let (mut text, opened) = (Vec::new(), std::fs::File::open(path).map_err(Error::io(path))?);
        opened.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(Error::io(path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refused(format!("more than {} MB, so not a config; did you mean --dataset?", MAX_BYTES >> 20)));
        }
        let text = String::from_utf8(text)
            .map_err(|_| refused("not UTF-8 text, so not a config; did you mean --dataset?".to_owned()))?;
        Self::parse(&text, Format::of(path), overrides, &file)
    }

    /// Parses a config; `file` is the name that errors use.
    ///
    /// # Errors
    /// Fails if the text is not a map of keys, or an override has no valid path or value.
    pub fn parse(text: &str, format: Format, overrides: &[String], file: &str) -> Result<Self, Error> {
        let located = |diagnostics: Diagnostics| Error::Config { file: file.to_owned(), diagnostics };
        let node = Node::parse(text, format).map_err(|diagnostic| located(diagnostic.into()))?;
        if !matches!(node.value, Value::Map(_)) {
            let found = node.value.name();
            let message =
                format!("a config is a map of keys such as input_features, found {found}; specify a table with --dataset");
            return Err(located(Diagnostic::at(node.line, "", message).into()));
        }
        let mut source = Self::new(node, file);
        source.set(overrides)?;
        Ok(source)
    }

    /// Creates a config from a tree; `file` is the name that errors use.
    pub(crate) fn new(node: Node, file: &str) -> Self {
        Self { file: file.to_owned(), node, overrides: Vec::new() }
    }

    /// Sets `path=value` pairs of the command line, with the values parsed as YAML. Mistakes in them are reported as those of `--set`.
    ///
    /// # Errors
    /// Fails if a pair has no valid path or value.
    pub fn set(&mut self, overrides: &[String]) -> Result<(), Error> {
        for pair in overrides {
            let refused = |error: OverrideError| Diagnostic::of_setting(&excerpt(pair), error.to_string());
            let given = set(&mut self.node, pair).map_err(|error| self.located(refused(error).into()))?;
            let shown = self.node.diagnostic_path(given);
            self.overrides.push(Override { given: given.to_owned(), shown });
        }
        Ok(())
    }

    /// Sets `path=value` pairs as [`ConfigSource::set`] does, but on behalf of a program.
    ///
    /// # Errors
    /// Fails if a pair has no valid path or value.
    pub(crate) fn change(&mut self, pairs: &[String]) -> Result<(), Error> {
        pairs.iter().try_for_each(|pair| match set(&mut self.node, pair) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.located(Diagnostic::at(0, &excerpt(pair), error.to_string()).into())),
        })
    }

    /// Checks the config as it is written, without opening the weights that it names.
    ///
    /// # Errors
    /// Returns every mistake with its line.
    pub fn check(&self) -> Result<Plan, Error> {
        Plan::from_node(&self.node).map_err(|diagnostics| self.located(diagnostics))
    }

    /// Adds what pretrained weights imply, such as sizes and tokenizers, and checks the config. Weights are opened, and those in
    /// a hub are downloaded.
    ///
    /// # Errors
    /// Returns every mistake with its line, and weights that cannot be read.
    pub fn resolve(mut self) -> Result<Plan, Error> {
        let mut diagnostics = Diagnostics::default();
        pretrained_defaults(&mut self.node, &mut diagnostics);
        Plan::checked(&self.node, diagnostics).map_err(|diagnostics| self.located(diagnostics))
    }

    /// Adds the file to diagnostics, and to those of overrides the path that was set.
    fn located(&self, mut diagnostics: Diagnostics) -> Error {
        for diagnostic in diagnostics.0.iter_mut().filter(|diagnostic| diagnostic.line == 0) {
            // A later override replaces what an earlier one has set.
            let found = self.overrides.iter().rev().find_map(|it| it.containing(&diagnostic.path));
            if let Some((setting, path)) = found {
                (diagnostic.setting, diagnostic.path) = (Some(setting), path);
            }
        }
        Error::Config { file: self.file.clone(), diagnostics }
    }
}

impl Override {
    /// Returns the path that was set, with the position in a list, and the key below it, if a diagnostic's path leads there.
    fn containing(&self, path: &str) -> Option<(String, String)> {
        let rest = path.strip_prefix(&self.shown)?;
        if rest.is_empty() || rest.starts_with('[') {
            return Some((format!("{}{rest}", self.given), String::new()));
        }
        Some((self.given.clone(), rest.strip_prefix('.')?.to_owned()))
    }
}

/// Whether a file name is that of a table.
fn is_table(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    // A config may be JSON, too.
    name.ends_with(".npy") || !name.ends_with(".json") && TableFormat::of_name(path).is_some()
}

/// A `path=value` pair that cannot be applied.
#[derive(Debug, thiserror::Error)]
enum OverrideError {
    #[error("expected path=value, such as trainer.epochs=3")]
    NoValue,
    #[error("{}", .0.message)]
    Value(Diagnostic),
    #[error(transparent)]
    Path(#[from] SetError),
}

/// Applies a pair, and returns its path.
fn set<'a>(node: &mut Node, pair: &'a str) -> Result<&'a str, OverrideError> {
    let (path, value) = pair.split_once('=').ok_or(OverrideError::NoValue)?;
    let value = Node::parse(value, Format::Yaml).map_err(OverrideError::Value)?;
    node.set(path, value.without_lines())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "input_features: [{name: image, type: image}]\noutput_features: [{name: label, type: category}]";

    /// Returns the lines of the error after its first one.
    fn mistakes(overrides: &[&str]) -> Vec<String> {
        let overrides: Vec<String> = overrides.iter().map(|it| (*it).to_owned()).collect();
        let read = ConfigSource::parse(TEXT, Format::Yaml, &overrides, "c.yaml").and_then(|source| source.check());
        read.unwrap_err().to_string().lines().skip(1).map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn mistakes_in_overrides_name_them_instead_of_a_line() {
        let found = mistakes(&["trainer.epochs=many"]);
        assert_eq!(found, ["--set trainer.epochs: expected a whole number, found the text 'many'"]);
        let found = mistakes(&["trainer.epoch=3"]);
        assert!(found[0].starts_with("--set trainer.epoch: unknown key 'epoch', did you mean 'epochs'?"), "{found:?}");
        let found = mistakes(&["input_features.image.encoder={type: stacked_cnn, num_filter: 3}"]);
        assert!(found[0].starts_with("--set input_features.image.encoder: num_filter: unknown key"), "{found:?}");
        let found = mistakes(&["combiner.type=mean", "combiner=gatde"]);
        assert!(found[0].starts_with("--set combiner: type: unknown type 'gatde', did you mean 'gated'?"), "{found:?}");
        let found = mistakes(&["input_features.image.augmentation=[{type: random_turn}]"]);
        assert!(found[0].starts_with("--set input_features.image.augmentation[0].type: unknown type"), "{found:?}");
        let found = mistakes(&["trainer.validation_metric=f2"]);
        assert!(found[0].starts_with("--set trainer.validation_metric: 'f2' is not a metric"), "{found:?}");
    }

    #[test]
    fn overrides_that_cannot_be_applied_are_shown_as_given() {
        assert_eq!(mistakes(&["trainer.epochs"]), ["--set trainer.epochs: expected path=value, such as trainer.epochs=3"]);
        assert!(mistakes(&["trainer.epochs=[1"])[0].starts_with("--set trainer.epochs=[1: not valid YAML"));
        let found = mistakes(&["input_features.photo.type=text"]);
        assert_eq!(
            found,
            ["--set input_features.photo.type=text: 'photo' is neither a position below 1 nor the name of a feature"]
        );
    }

    #[test]
    fn mistakes_in_the_file_keep_their_line() {
        let text = TEXT.replace("category", "categry");
        let read = ConfigSource::parse(&text, Format::Yaml, &["trainer.epochs=3".to_owned()], "c.yaml");
        let error = read.unwrap().check().unwrap_err().to_string();
        assert!(error.contains("line 2: output_features[0].type: unknown type 'categry'"), "{error}");
    }
}
