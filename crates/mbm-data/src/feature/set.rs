//! Sets of labels: `a, b, c`, or a list.

use std::collections::HashMap;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::category::most_common;
use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, ensure, shown, text_of};
use crate::notation::labels::{Delimiter, DelimiterVotes};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for sets. An empty list is the empty set, not a missing value.
    pub struct SetPreprocessing {
        /// Maximum number of labels; rarer ones are ignored.
        most_common: usize = 10_000 => 1..=100_000;
        /// What separates labels that are written as text; lists in brackets, such as `['a', 'b']`, are read as well. If unset, the
        /// training cells decide: bars, semicolons, line breaks or commas if at least one cell in a hundred has them, and spaces
        /// otherwise.
        delimiter: Option<Delimiter> = None;
    }
}

/// A fitted set preprocessor: `Vector [labels]` of zeros and ones (multi-hot).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct FittedSet {
    /// The labels, sorted.
    pub labels: Vec<String>,
    /// What separates labels that are written as text.
    pub delimiter: Delimiter,
    positions: HashMap<String, usize>,
}

/// Serialized form in the bundle.
#[derive(Serialize, Deserialize)]
struct Saved {
    labels: Vec<String>,
    #[serde(default)]
    delimiter: Delimiter,
}

impl From<Saved> for FittedSet {
    fn from(Saved { labels, delimiter }: Saved) -> Self {
        let positions = labels.iter().enumerate().map(|(at, label)| (label.clone(), at)).collect();
        Self { labels, delimiter, positions }
    }
}

impl From<FittedSet> for Saved {
    fn from(fitted: FittedSet) -> Self {
        Self { labels: fitted.labels, delimiter: fitted.delimiter }
    }
}

/// Number of training cells that decide the delimiter; until then, their texts are in memory.
const N_DECIDING: usize = 10_000;

struct SetFitter {
    most_common: usize,
    delimiter: Option<Delimiter>,
    votes: DelimiterVotes,
    waiting: Vec<String>,
    counts: HashMap<String, usize>,
    has_text: bool,
}

impl SetPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(SetFitter {
            most_common: self.most_common,
            delimiter: self.delimiter,
            votes: DelimiterVotes::default(),
            waiting: Vec::new(),
            counts: HashMap::new(),
            has_text: false,
        })
    }
}

/// Returns the labels of a cell: the items of a list, or those of a text.
fn labels_of(cell: &Cell, delimiter: Delimiter) -> Result<Vec<String>, Fault> {
    match cell {
        Cell::Words(words) => Ok(words.iter().filter(|word| !word.is_empty()).cloned().collect()),
        Cell::Numbers(values) => Ok(values.iter().map(f64::to_string).collect()),
        other => Ok(delimiter.split(&text_of(other)?).into_iter().map(str::to_owned).collect()),
    }
}

impl SetFitter {
    fn count(&mut self, labels: Vec<String>) {
        labels.into_iter().for_each(|label| *self.counts.entry(label).or_default() += 1);
    }

    /// Chooses the delimiter, and counts the labels of the cells that have waited for it.
    fn decide(&mut self) -> Delimiter {
        let delimiter = *self.delimiter.get_or_insert_with(|| self.votes.delimiter());
        for text in std::mem::take(&mut self.waiting) {
            self.count(delimiter.split(&text).into_iter().map(str::to_owned).collect());
        }
        delimiter
    }

    /// Returns the delimiter of predictions where all cells are lists: one that their labels do not hold.
    fn delimiter_of_lists(&self) -> Delimiter {
        let is_plain = !self.counts.keys().any(|label| label.contains(char::is_whitespace));
        if is_plain { Delimiter::Space } else { Delimiter::Comma }
    }
}

impl Fitter for SetFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if matches!(cell, Cell::Words(_) | Cell::Numbers(_)) {
            self.count(labels_of(cell, Delimiter::Any).unwrap_or_default());
            return;
        }
        let Ok(text) = text_of(cell) else { return };
        self.has_text = true;
        if self.delimiter.is_none() {
            self.votes.add(&text);
            self.waiting.push(text.into_owned());
            if self.waiting.len() == N_DECIDING {
                self.decide();
            }
        } else if let Some(delimiter) = self.delimiter {
            self.count(labels_of(cell, delimiter).unwrap_or_default());
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Preprocessor, FitError> {
        let is_set = self.delimiter.is_some();
        let decided = self.decide();
        let delimiter = if is_set || self.has_text { decided } else { self.delimiter_of_lists() };
        let labels = most_common(self.counts, self.most_common);
        if labels.is_empty() {
            return Err(FitError::NoValue("label"));
        }
        Ok(Preprocessor::Set(Saved { labels, delimiter }.into()))
    }
}

impl Preprocess for FittedSet {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let found = labels_of(cell, self.delimiter)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(cells: &[Cell]) -> FittedSet {
        let mut fitter = mbm_config::defaults::<SetPreprocessing>().fitter();
        cells.iter().for_each(|cell| fitter.observe(cell, Path::new("")));
        let Ok(Preprocessor::Set(fitted)) = fitter.finish() else { panic!("expected a set") };
        fitted
    }

    fn texts(texts: &[&str]) -> Vec<Cell> {
        texts.iter().map(|text| Cell::text(text)).collect()
    }

    #[test]
    fn delimiter_of_the_training_cells_is_that_of_prediction() {
        let genres = fitted(&texts(&["Action & Adventure, Comedy", "Comedy", "Stand Up,Comedy", ""]));
        assert_eq!(
            (genres.delimiter, genres.labels.join("|").as_str()),
            (Delimiter::Comma, "Action & Adventure|Comedy|Stand Up")
        );
        assert_eq!(genres.payload(&Cell::text("Stand Up"), Path::new("")), Ok(Payload::Vector(vec![0.0, 0.0, 1.0])));
        assert_eq!(genres.payload(&Cell::text("up"), Path::new("")).unwrap_err().cause, Cause::UnknownClass);
        assert_eq!(fitted(&texts(&["red round", "red"])).labels, ["red", "round"]);
        assert_eq!(fitted(&texts(&["['b c', 'a']", "[]"])).labels, ["a", "b c"]);
    }

    #[test]
    fn lists_stay_lists() {
        let words = |words: &[&str]| Cell::Words(words.iter().map(|word| (*word).to_owned()).collect());
        let plain = fitted(&[words(&["red", "a,b"]), words(&[])]);
        assert_eq!((plain.delimiter, plain.labels), (Delimiter::Space, vec!["a,b".to_owned(), "red".to_owned()]));
        assert_eq!(fitted(&[words(&["rock n roll"])]).delimiter, Delimiter::Comma);
        assert_eq!(fitted(&[Cell::Numbers(vec![1.0, 2.5])]).labels, ["1", "2.5"]);
    }

    #[test]
    fn first_cells_decide_in_a_long_column() {
        let mut cells = texts(&["a, b"; N_DECIDING]);
        cells.extend(texts(&["c|d"; N_DECIDING]));
        assert_eq!(fitted(&cells).labels, ["a", "b", "c|d"]);
    }

    #[test]
    fn set_of_an_earlier_version_splits_as_it_did() {
        let fitted: FittedSet = serde_json::from_str(r#"{"labels": ["a", "b"]}"#).unwrap();
        assert_eq!(fitted.payload(&Cell::text("b,x|a"), Path::new("")), Ok(Payload::Vector(vec![1.0, 1.0])));
    }
}
