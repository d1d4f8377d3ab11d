//! Infers a config from the table, for runs without one.

use std::collections::HashSet;

use mbm_config::Node;
use mbm_data::{Inferred, InferredColumn, Table, infer_types, leaks};

use crate::config::default_network::DefaultNetwork;
use crate::config::nodes::{entry, list, map, text};
use crate::config::pretrained_encoders::{self, PretrainedEncoder};
use crate::config::source::ConfigSource;
use crate::error::Error;
use crate::learn::settings::Preset;

/// A column that cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is the names of several columns.
    #[error("there is no column '{column}'; for several targets, repeat the flag: {}", flags(column))]
    Several {
        /// The names, separated by commas.
        column: String,
    },
    /// It holds nothing to predict, such as a single value.
    #[error("the column '{column}' cannot be a target: {reason}")]
    Unusable {
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// No decoder predicts values of its type.
    #[error("the column '{column}' seems to hold {found}; a target must be a number, category, binary, set, vector or text")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: &'static str,
    },
}

/// Returns a config that predicts `targets` from all other usable columns, and a note on each choice that may surprise the user.
///
/// ```
/// let table = mbm::Table::read("../../examples/penguins/penguins.csv".as_ref())?;
/// let (config, notes) = mbm::infer_config(&table, &["species".to_owned()])?;
/// notes.iter().for_each(|note| println!("{note}"));
/// let plan = config.resolve()?;
/// # Ok::<(), mbm::Error>(())
/// ```
///
/// # Errors
/// Fails if a target is not a column, its type cannot be predicted, or there are no rows.
pub fn infer_config(table: &Table, targets: &[String]) -> Result<(ConfigSource, Vec<String>), Error> {
    infer_config_with(table, targets, &InferOptions::default())
}

/// What a config is inferred for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InferOptions {
    /// The work that is spent on the model.
    pub preset: Preset,
    /// The column with the weights of rows, which is not an input.
    pub sample_weight: Option<String>,
    /// Pretrained weights that may be used: files, folders of them, and names on the Hugging Face hub (`hf://owner/name`).
    pub weights: Vec<String>,
    /// Whether those in the hub's cache may be used, too.
    pub cached_weights: bool,
}

/// The environment variable with pretrained weights, separated by commas.
const WEIGHTS: &str = "MBM_WEIGHTS";

impl InferOptions {
    /// Sets the work that is spent on the model.
    pub fn preset(self, preset: Preset) -> Self {
        Self { preset, ..self }
    }

    /// Sets the column with the weights of rows.
    pub fn sample_weight(self, sample_weight: Option<String>) -> Self {
        Self { sample_weight, ..self }
    }

    /// Sets pretrained weights that may be used: files, folders of them, and names on the Hugging Face hub.
    pub fn weights(self, weights: Vec<String>) -> Self {
        Self { weights, ..self }
    }

    /// Allows the pretrained weights that are at hand: those that the environment variable `MBM_WEIGHTS` names, separated by commas, and
    /// those in the Hugging Face hub's cache. If the variable is set, but empty, none are used.
    pub fn weights_at_hand(self) -> Self {
        let named = std::env::var(WEIGHTS).ok();
        let cached_weights = named.as_deref() != Some("");
        let names = named.iter().flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty());
        Self { weights: names.map(str::to_owned).collect(), cached_weights, ..self }
    }
}

/// As [`infer_config`], with options.
///
/// # Errors
/// Fails as [`infer_config`] does, and if there is no column with the weights of rows.
pub fn infer_config_with(
    table: &Table,
    targets: &[String],
    options: &InferOptions,
) -> Result<(ConfigSource, Vec<String>), Error> {
    let InferOptions { preset, sample_weight, .. } = options;
    sample_weight.iter().try_for_each(|column| table.require(column).map(|_| ()))?;
    for target in targets {
        require_target(table, target)?;
    }
    table.require_rows()?;
    let (mut inputs, mut outputs, mut notes, mut split) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (column, InferredColumn { role, notes: reasons }) in table.columns.iter().zip(infer_types(table, targets)?) {
        let is_target = targets.contains(column);
        if sample_weight.as_ref() == Some(column) && !is_target {
            continue;
        }
        notes.extend(reasons);
        match role {
            Inferred::Feature(kind) if is_target => outputs.push((column, output_type(column, kind)?)),
            Inferred::Feature(kind) => inputs.push((column, kind)),
            Inferred::Ignored(reason) if is_target => {
                return Err(TargetError::Unusable { column: column.clone(), reason }.into());
            }
            Inferred::Split => split = Some(column.clone()),
            Inferred::Ignored(reason) => notes.push(format!("the column '{column}' is ignored: {reason}")),
        }
    }
    let notes = [warnings(table, &inputs, &outputs)?, notes].concat();
    let encoders = Encoders::find(options, &inputs, table.n_rows())?;
    let notes = [notes, encoders.notes.clone()].concat();
    let kinds: Vec<&str> = inputs.iter().map(|(_, kind)| *kind).collect();
    let network = DefaultNetwork::new(table.n_rows(), &kinds, *preset).pretrained(encoders.of("image"));
    let own = inputs.iter().map(|(column, kind)| network.input(column, kind));
    let inputs = own.chain(encoders.further_inputs(&inputs)).collect();
    let outputs = outputs.into_iter().map(|(column, kind)| network.output(column, kind)).collect();
    let mut config = vec![entry("input_features", list(inputs)), entry("output_features", list(outputs))];
    let split = split.map(|column| entry("split", map(vec![entry("type", text("fixed")), entry("column", text(&column))])));
    let preprocessing: Vec<_> =
        split.into_iter().chain(sample_weight.iter().map(|it| entry("sample_weight", text(it)))).collect();
    if !preprocessing.is_empty() {
        config.push(entry("preprocessing", map(preprocessing)));
    }
    config.extend([entry("combiner", network.combiner()), entry("trainer", network.trainer())]);
    config.push(entry("learners", text("auto")));
    if *preset != Preset::Good {
        config.push(entry("ensemble", map(vec![entry("preset", text(preset.as_str()))])));
    }
    Ok((ConfigSource::new(map(config), "the config inferred from the dataset"), notes))
}

/// The pretrained encoders of a config: at most one per type of input.
struct Encoders {
    chosen: Vec<(&'static str, PretrainedEncoder)>,
    notes: Vec<String>,
}

/// Types of inputs that pretrained encoders read. Texts and sounds are read in another way, too.
const TYPES_OF_ENCODERS: [&str; 3] = ["image", "audio", "text"];

impl Encoders {
    /// Chooses among the weights that the options allow; looks for them only if there is an input that they can read.
    fn find(options: &InferOptions, inputs: &[(&String, &str)], n_rows: usize) -> Result<Self, Error> {
        let mut encoders = Self { chosen: Vec::new(), notes: Vec::new() };
        if !inputs.iter().any(|(_, kind)| TYPES_OF_ENCODERS.contains(kind)) {
            return Ok(encoders);
        }
        let (mut found, notes) = pretrained_encoders::find(&options.weights)?;
        if options.cached_weights {
            found.extend(pretrained_encoders::cached());
        }
        encoders.notes = notes;
        for kind in TYPES_OF_ENCODERS {
            let columns: Vec<&str> = inputs.iter().filter(|(_, of)| *of == kind).map(|(column, _)| column.as_str()).collect();
            if columns.is_empty() {
                continue;
            }
            let (chosen, note) = pretrained_encoders::choose(&found, kind, columns.len() * n_rows, options.preset);
            encoders.notes.extend(note);
            if let Some(encoder) = chosen {
                encoders.notes.push(encoder.note(&columns));
                encoders.chosen.push((kind, encoder));
            }
        }
        Ok(encoders)
    }

    fn of(&self, kind: &str) -> Option<&PretrainedEncoder> {
        self.chosen.iter().find(|(of, _)| *of == kind).map(|(_, encoder)| encoder)
    }

    /// Returns a second input for each text and each sound, which reads the same column by a pretrained encoder.
    fn further_inputs(&self, inputs: &[(&String, &str)]) -> Vec<Node> {
        let input = |(column, kind): &(&String, &str)| {
            let encoder = self.of(kind).filter(|_| *kind != "image")?;
            let name = format!("{column} ({})", encoder.name());
            if inputs.iter().any(|(other, _)| **other == name) {
                return None;
            }
            let entries =
                [("name", text(&name)), ("column", text(column)), ("type", text(kind)), ("encoder", encoder.settings())];
            Some(map(entries.into_iter().map(|(key, node)| entry(key, node)).collect()))
        };
        inputs.iter().filter_map(input).collect()
    }
}

/// Checks that a target is a column.
fn require_target(table: &Table, target: &str) -> Result<(), Error> {
    let is_list = target.contains(',') && target.split(',').all(|name| table.position(name.trim()).is_some());
    match table.require(target) {
        Err(_) if is_list => Err(TargetError::Several { column: target.to_owned() }.into()),
        found => Ok(found.map(|_| ())?),
    }
}

fn flags(columns: &str) -> String {
    columns.split(',').map(|column| format!("--target {}", column.trim())).collect::<Vec<_>>().join(" ")
}

/// Returns a warning for each input that gives an output away.
fn warnings(table: &Table, inputs: &[(&String, &str)], outputs: &[(&String, &str)]) -> Result<Vec<String>, Error> {
    let rows: Vec<usize> = (0..table.n_rows()).collect();
    let inputs: HashSet<&str> = inputs.iter().map(|(column, _)| column.as_str()).collect();
    let mut warnings = Vec::new();
    for (target, kind) in outputs {
        let found = leaks(table, &rows, target, kind)?.into_iter().filter(|leak| inputs.contains(leak.column.as_str()));
        warnings.extend(found.map(|leak| {
            let (column, evidence) = (leak.column, leak.evidence);
            format!("warning: the column '{column}' gives '{target}' away: it {evidence}; leave it out unless it is known before '{target}' is")
        }));
    }
    Ok(warnings)
}

/// Returns the output type for the inferred type of a column.
fn output_type(column: &str, kind: &'static str) -> Result<&'static str, TargetError> {
    match kind {
        "number" | "category" | "binary" | "set" | "vector" | "text" => Ok(kind),
        found => Err(TargetError::Type { column: column.to_owned(), found }),
    }
}
