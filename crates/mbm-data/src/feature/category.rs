//! Category features: one of several classes.

use std::collections::HashMap;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, ensure, shown, text_of};
use crate::notation::null_values::{self, MAY_BE_VALUES};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for categories.
    pub struct CategoryPreprocessing {
        /// Maximum number of classes; rarer ones count as unknown.
        most_common: usize = 10_000 => 1..=1_000_000;
        /// Words that mark a cell as empty, such as `unknown`; `[]` for none. If unset, they are the same as those of numbers, such as
        /// `NA`, except for words that are classes in the training rows: `None` among at most 20 classes, `-`, `--` and `.` if
        /// also at least one in twenty cells holds it, and any of these four if it is the most frequent class.
        null_values: Option<Vec<String>> = None;
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
        if let Ok(class) = class_of(cell) {
            *self.counts.entry(class).or_default() += 1;
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let Self { settings, mut counts } = *self;
        let null_values = settings.null_values.unwrap_or_else(|| null_words(&counts));
        counts.retain(|class, _| !null_values.contains(class));
        let classes = most_common(counts, settings.most_common);
        if classes.is_empty() {
            return Err(FitError::NoValue("class"));
        }
        Ok(Preprocessor::Category(Saved { classes, null_values }.into()))
    }
}

/// Maximum number of other classes among which a word such as `None` is likely to be a class.
const FEW_CLASSES: usize = 20;

/// Returns the usual words for a missing value, without those that are classes of the column.
pub(crate) fn null_words(counts: &HashMap<String, usize>) -> Vec<String> {
    let usual = null_values::usual();
    let n_classes = counts.keys().filter(|class| !usual.contains(class)).count();
    let n_cells: usize = counts.values().sum();
    let largest = counts.values().max().copied().unwrap_or(0);
    let is_class = |word: &String| {
        let count = counts.get(word).copied().unwrap_or(0);
        let is_frequent = word == "None" || count * 20 >= n_cells;
        count > 0 && MAY_BE_VALUES.contains(&word.as_str()) && (count == largest || (n_classes <= FEW_CLASSES && is_frequent))
    };
    usual.iter().filter(|word| !is_class(word)).cloned().collect()
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
            return Err(null_values::fault(&class));
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
        let mut fitter = CategoryPreprocessing { most_common: 3, null_values: Some(vec!["?".into()]) }.fitter();
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
    fn fitted(settings: &CategoryPreprocessing, classes: &[(&str, usize)]) -> FittedCategory {
        let mut fitter = settings.fitter();
        for (class, count) in classes {
            (0..*count).for_each(|_| fitter.observe(&Cell::text(class), Path::new("")));
        }
        let Ok(Preprocessor::Category(fitted)) = fitter.finish() else { panic!("expected a category") };
        fitted
    }

    #[test]
    fn usual_words_for_missing_values_are_no_classes() {
        let defaults: CategoryPreprocessing = mbm_config::defaults();
        let fitted = fitted(&defaults, &[("red", 2), ("blue", 2), ("NA", 3), ("?", 1), ("-", 0)]);
        assert_eq!(fitted.classes, ["blue", "red"]);
        assert_eq!(fitted.payload(&Cell::text("null"), Path::new("")).unwrap_err().cause, Cause::Empty);
        assert_eq!(fitted.payload(&Cell::text("-"), Path::new("")).unwrap_err().cause, Cause::Empty);
        let settings = CategoryPreprocessing { null_values: Some(Vec::new()), ..defaults };
        assert_eq!(self::fitted(&settings, &[("red", 2), ("NA", 3)]).classes, ["NA", "red"]);
    }

    #[test]
    fn words_that_may_be_values_are_classes_where_they_are_frequent() {
        let defaults: CategoryPreprocessing = mbm_config::defaults();
        let classes = |counts: &[(&str, usize)]| fitted(&defaults, counts).classes;
        assert_eq!(classes(&[("Minor", 1), ("Severe", 2), ("None", 1)]), ["Minor", "None", "Severe"]);
        assert_eq!(classes(&[("+", 9), ("-", 9)]), ["+", "-"]);
        assert_eq!(classes(&[("male", 60), ("female", 60), (".", 1)]), ["female", "male"]);
        let cities: Vec<String> = (0..30).map(|city| format!("city{city}")).collect();
        let mut counts: Vec<(&str, usize)> = cities.iter().map(|city| (city.as_str(), 5)).collect();
        counts.push(("None", 4));
        assert!(!classes(&counts).contains(&"None".to_owned()));
        counts.push(("None", 4));
        assert!(classes(&counts).contains(&"None".to_owned()));
    }
}
