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
        Self { file: file.to_owned(), node }
    }

    /// Sets `path=value` pairs, with the values parsed as YAML.
    ///
    /// # Errors
    /// Fails if a pair has no valid path or value.
    pub fn set(&mut self, overrides: &[String]) -> Result<(), Error> {
        overrides.iter().try_for_each(|pair| {
            set(&mut self.node, pair).map_err(|error| self.located(Diagnostic::at(0, &excerpt(pair), error.to_string()).into()))
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
    pub fn resolve(self) -> Result<Plan, Error> {
        let Self { file, mut node } = self;
        let mut diagnostics = Diagnostics::default();
        pretrained_defaults(&mut node, &mut diagnostics);
        Plan::checked(&node, diagnostics).map_err(|diagnostics| Error::Config { file, diagnostics })
    }

    fn located(&self, diagnostics: Diagnostics) -> Error {
        Error::Config { file: self.file.clone(), diagnostics }
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

fn set(node: &mut Node, pair: &str) -> Result<(), OverrideError> {
    let (path, value) = pair.split_once('=').ok_or(OverrideError::NoValue)?;
    let value = Node::parse(value, Format::Yaml).map_err(OverrideError::Value)?;
    Ok(node.set(path, value)?)
}
