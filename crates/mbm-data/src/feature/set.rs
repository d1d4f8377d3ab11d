//! Sets of labels: `a b c`, or a list.

use std::collections::HashMap;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::category::most_common;
use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, ensure, shown, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for sets. An empty list is the empty set, not a missing value.
    pub struct SetPreprocessing {
        /// Maximum number of labels; rarer ones are ignored.
        most_common: usize = 10_000 => 1..=100_000;
    }
}

/// A fitted set preprocessor: `Vector [labels]` of zeros and ones (multi-hot).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct FittedSet {
    /// The labels, sorted.
    pub labels: Vec<String>,
    positions: HashMap<String, usize>,
}

/// Serialized form in the bundle.
#[derive(Serialize, Deserialize)]
struct Saved {
    labels: Vec<String>,
}

impl From<Saved> for FittedSet {
    fn from(Saved { labels }: Saved) -> Self {
        let positions = labels.iter().enumerate().map(|(at, label)| (label.clone(), at)).collect();
        Self { labels, positions }
    }
}

impl From<FittedSet> for Saved {
    fn from(fitted: FittedSet) -> Self {
        Self { labels: fitted.labels }
    }
}

struct SetFitter {
    most_common: usize,
    counts: HashMap<String, usize>,
}

impl SetPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(SetFitter { most_common: self.most_common, counts: HashMap::new() })
    }
}

/// Returns the labels of a cell: the items of a list, or the words separated by spaces, commas, bars or tabs.
fn labels_of(cell: &Cell) -> Result<Vec<String>, Fault> {
    match cell {
        Cell::Words(words) => Ok(words.iter().filter(|word| !word.is_empty()).cloned().collect()),
        Cell::Numbers(values) => Ok(values.iter().map(f64::to_string).collect()),
        other => {
            let text = text_of(other)?;
            Ok(text.split([' ', ',', '|', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
        }
    }
}

impl Fitter for SetFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        labels_of(cell).unwrap_or_default().into_iter().for_each(|label| *self.counts.entry(label).or_default() += 1);
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let labels = most_common(self.counts, self.most_common);
        if labels.is_empty() { Err(FitError::NoValue("label")) } else { Ok(Preprocessor::Set(Saved { labels }.into())) }
    }
}

impl Preprocess for FittedSet {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let found = labels_of(cell)?;
        let mut vector = vec![0.0; self.labels.len()];
        let positions: Vec<usize> = found.iter().filter_map(|label| self.positions.get(label).copied()).collect();
        if positions.is_empty() && !found.is_empty() {
            return Err(Fault::new(Cause::UnknownClass, format!("'{}'", shown(&found.join(" ")))));
        }
        positions.into_iter().for_each(|at| vector[at] = 1.0);
        Ok(Payload::Vector(vector))
    }

    fn shape(&self) -> Shape {
        Shape::Vector { width: self.labels.len() }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(!self.labels.is_empty(), "the number of labels")
    }
}
