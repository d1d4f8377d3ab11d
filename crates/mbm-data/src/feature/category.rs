//! Category features: one of several classes.

use std::collections::HashMap;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, ensure, shown, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for categories.
    pub struct CategoryPreprocessing {
        /// Maximum number of classes; rarer ones count as unknown.
        most_common: usize = 10_000 => 1..=1_000_000;
        /// Words that mark a cell as empty, such as `unknown`.
        null_values: Vec<String> = Vec::new();
    }
}

/// A fitted category preprocessor: `Class`, the index in `classes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct FittedCategory {
    /// The classes, sorted.
    pub classes: Vec<String>,
    /// Words that mark a cell as empty.
    pub null_values: Vec<String>,
    positions: HashMap<String, u32>,
}

/// Serialized form in the bundle.
#[derive(Serialize, Deserialize)]
struct Saved {
    classes: Vec<String>,
    null_values: Vec<String>,
}

impl From<Saved> for FittedCategory {
    fn from(Saved { classes, null_values }: Saved) -> Self {
        let positions = classes.iter().enumerate().map(|(at, class)| (class.clone(), at as u32)).collect();
        Self { classes, null_values, positions }
    }
}

impl From<FittedCategory> for Saved {
    fn from(fitted: FittedCategory) -> Self {
        Self { classes: fitted.classes, null_values: fitted.null_values }
    }
}

struct CategoryFitter {
    settings: CategoryPreprocessing,
    counts: HashMap<String, usize>,
}

impl CategoryPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(CategoryFitter { settings: self.clone(), counts: HashMap::new() })
    }
}

fn class_of(cell: &Cell) -> Result<String, Fault> {
    text_of(cell).map(|text| text.trim().to_owned())
}

impl Fitter for CategoryFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if let Ok(class) = class_of(cell)
            && !self.settings.null_values.contains(&class)
        {
            *self.counts.entry(class).or_default() += 1;
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let classes = most_common(self.counts, self.settings.most_common);
        if classes.is_empty() {
            return Err(FitError::NoValue("class"));
        }
        Ok(Preprocessor::Category(Saved { classes, null_values: self.settings.null_values }.into()))
    }
}

/// Returns the most frequent words, sorted by value if all are numbers, else lexicographically.
pub(super) fn most_common(counts: HashMap<String, usize>, limit: usize) -> Vec<String> {
    let mut counted: Vec<(String, usize)> = counts.into_iter().collect();
    counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counted.truncate(limit);
    let mut words: Vec<String> = counted.into_iter().map(|(word, _)| word).collect();
    if words.iter().all(|word| number(word).is_some()) {
        words.sort_by(|a, b| number(a).partial_cmp(&number(b)).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.cmp(b)));
    } else {
        words.sort();
    }
    words
}

fn number(word: &str) -> Option<f64> {
    word.parse::<f64>().ok().filter(|value| value.is_finite())
}

impl Preprocess for FittedCategory {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let class = class_of(cell)?;
        if self.null_values.contains(&class) {
            return Err(Fault::new(Cause::Empty, format!("'{class}' is one of null_values")));
        }
        let position = self.positions.get(&class);
        position.map(|at| Payload::Class(*at)).ok_or_else(|| Fault::new(Cause::UnknownClass, format!("'{}'", shown(&class))))
    }

    fn shape(&self) -> Shape {
        Shape::Class { n_classes: self.classes.len() }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(!self.classes.is_empty() && self.positions.len() == self.classes.len(), "the number of distinct classes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_sorted_and_unseen_ones_are_unknown() {
        let mut fitter = CategoryPreprocessing { most_common: 3, null_values: vec!["?".into()] }.fitter();
        for word in ["b", "a", "b", " a ", "d", "d", "e", "", "?", "?", "?"] {
            fitter.observe(&Cell::text(word), Path::new(""));
        }
        let Preprocessor::Category(fitted) = fitter.finish().unwrap() else { panic!("expected a category") };
        assert_eq!(fitted.classes, ["a", "b", "d"]);
        assert_eq!(fitted.payload(&Cell::text("b"), Path::new("")), Ok(Payload::Class(1)));
        assert_eq!(fitted.payload(&Cell::text("e"), Path::new("")).unwrap_err().cause, Cause::UnknownClass);
        assert_eq!(fitted.payload(&Cell::text("?"), Path::new("")).unwrap_err().cause, Cause::Empty);
        let counts = ["10", "9", "2"].map(|word| (word.to_owned(), 1)).into();
        assert_eq!(most_common(counts, 9), ["2", "9", "10"]);
    }
}
