//! Infers a config from the table, for runs without one.

use mbm_config::{Entry, Node, Value};
use mbm_data::{Inferred, Table, infer_types};

use crate::config::source::ConfigSource;
use crate::error::Error;

/// A column that cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It holds nothing to predict, such as a single value.
    #[error("the column '{column}' cannot be a target: {reason}")]
    Unusable {
        /// The column.
        column: String,
        /// Why not.
        reason: &'static str,
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
/// Fails if a target is not a column, or its type cannot be predicted.
pub fn infer_config(table: &Table, targets: &[String]) -> Result<(ConfigSource, Vec<String>), Error> {
    for target in targets {
        table.require(target)?;
    }
    let network = Network::new(table.n_rows());
    let (mut inputs, mut outputs, mut notes, mut split) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (column, inferred) in table.columns.iter().zip(infer_types(table)?) {
        let is_target = targets.contains(column);
        match inferred {
            Inferred::Feature(kind) if is_target => outputs.push(feature(column, output_type(column, kind)?)),
            Inferred::Codes if is_target => {
                notes.push(format!("'{column}' holds few distinct integers and is treated as a category; set type: number in a config to treat it as a quantity"));
                outputs.push(feature(column, "category"));
            }
            Inferred::Codes => inputs.push(network.input(column, "number")),
            Inferred::Feature(kind) => inputs.push(network.input(column, kind)),
            Inferred::Ignored(reason) if is_target => {
                return Err(TargetError::Unusable { column: column.clone(), reason }.into());
            }
            Inferred::Split => split = Some(column.clone()),
            Inferred::Ignored(reason) => notes.push(format!("the column '{column}' is ignored: {reason}")),
        }
    }
    let mut config = vec![entry("input_features", list(inputs)), entry("output_features", list(outputs))];
    if let Some(column) = split {
        let split = map(vec![entry("type", text("fixed")), entry("column", text(&column))]);
        config.push(entry("preprocessing", map(vec![entry("split", split)])));
    }
    config.extend([entry("combiner", network.combiner()), entry("trainer", network.trainer())]);
    config.push(entry("learners", text("auto")));
    Ok((ConfigSource::new(map(config), "the config inferred from the dataset"), notes))
}

/// The network for a table without a config.
struct Network {
    n_rows: usize,
}

/// Number of rows from which numbers are encoded in bins; with fewer rows, so many inputs would be learned by heart.
const MIN_ROWS_OF_BINS: usize = 2_000;

/// Number of training steps, and of passes over the rows at most.
const N_STEPS: usize = 3_000;
const MAX_EPOCHS: usize = 256;

impl Network {
    fn new(n_rows: usize) -> Self {
        Self { n_rows }
    }

    fn input(&self, column: &str, kind: &str) -> Node {
        let mut entries = vec![entry("name", text(column)), entry("type", text(kind))];
        if kind == "number" {
            entries.push(entry("preprocessing", map(vec![entry("normalization", text("robust"))])));
        }
        if kind == "number" && self.n_rows >= MIN_ROWS_OF_BINS {
            let bins = vec![entry("type", text("ple")), entry("output_size", Node::bare(Value::Null)), entry("num_bins", int(16))];
            entries.push(entry("encoder", map(bins)));
        }
        map(entries)
    }

    fn combiner(&self) -> Node {
        map(vec![entry("type", text("concat")), entry("num_fc_layers", int(2)), entry("dropout", Node::bare(Value::Float(0.1)))])
    }

    /// Returns settings that count in steps: small tables have small batches and many epochs.
    fn trainer(&self) -> Node {
        let batch_size = (self.n_rows / 12).next_power_of_two().clamp(16, 256);
        let epochs = (N_STEPS * batch_size).div_ceil(self.n_rows.max(1)).clamp(1, MAX_EPOCHS);
        map(vec![
            entry("batch_size", int(batch_size)),
            entry("epochs", int(epochs)),
            entry("early_stop", int((epochs / 6).max(5))),
            entry("optimizer", text("adamw")),
            entry("modality_dropout", Node::bare(Value::Float(0.0))),
        ])
    }
}

fn int(value: usize) -> Node {
    Node::bare(Value::Int(value as i64))
}

/// Returns the output type for the inferred type of a column.
fn output_type(column: &str, kind: &'static str) -> Result<&'static str, TargetError> {
    match kind {
        "number" | "category" | "binary" | "set" | "vector" | "text" => Ok(kind),
        found => Err(TargetError::Type { column: column.to_owned(), found }),
    }
}

fn feature(column: &str, kind: &str) -> Node {
    map(vec![entry("name", text(column)), entry("type", text(kind))])
}

fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.to_owned(), line: 0, node }
}

fn map(entries: Vec<Entry>) -> Node {
    Node::bare(Value::Map(entries))
}

fn list(items: Vec<Node>) -> Node {
    Node::bare(Value::List(items))
}

fn text(value: &str) -> Node {
    Node::bare(Value::Text(value.to_owned()))
}
