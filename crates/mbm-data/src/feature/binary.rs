//! Binary features: the usual words for true and false, or any two values.

use std::collections::BTreeMap;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, shown, text_of};
use crate::notation::null_values::{self, MAY_BE_VALUES, NullValues};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for binary features. Predictions use the words of the training rows.
    pub struct BinaryPreprocessing {
        /// The value that counts as true, for values other than the usual words.
        fallback_true_label: Option<String> = None;
        /// Words that mark a cell as empty; `[]` for none. If unset, they are the same as those of numbers, such as `NA`, but for
        /// `None`, `-`, `--` and `.` where the training rows have only one other value.
        null_values: Option<Vec<String>> = None;
    }
}

/// A fitted binary preprocessor: `Class`, 0 for false and 1 for true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedBinary {
    /// The words for false and true in the training rows. `None` stands for `false` and `true`. Where they are usual words, such as
    /// `no` and `yes`, all usual words are read.
    pub labels: Option<[String; 2]>,
    /// Words that mark a cell as empty.
    #[serde(default)]
    pub null_values: NullValues,
}

struct BinaryFitter {
    true_label: Option<String>,
    null_values: Option<Vec<String>>,
    counts: BTreeMap<String, usize>,
    n_others: usize,
}

/// Number of different words that are counted: those for true and false in several spellings, and some that belong to neither.
const N_COUNTED: usize = 64;

/// The usual words for false and true, in pairs.
const PAIRS: [[&str; 2]; 7] =
    [["false", "true"], ["f", "t"], ["no", "yes"], ["n", "y"], ["0", "1"], ["0.0", "1.0"], ["off", "on"]];

impl BinaryPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        let Self { fallback_true_label, null_values } = self.clone();
        Box::new(BinaryFitter { true_label: fallback_true_label, null_values, counts: BTreeMap::new(), n_others: 0 })
    }
}

/// Parses one of the usual words or numbers for true and false.
pub fn as_bool(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.len() > "false".len() {
        return None;
    }
    let class = PAIRS.iter().find_map(|pair| pair.iter().position(|word| word.eq_ignore_ascii_case(text)));
    class.map(|class| class == 1)
}

impl Fitter for BinaryFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        let Ok(text) = text_of(cell) else { return };
        let text = text.trim();
        if let Some(count) = self.counts.get_mut(text) {
            *count += 1;
        } else if self.counts.len() < N_COUNTED {
            self.counts.insert(text.to_owned(), 1);
        } else {
            self.n_others += 1;
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let Self { true_label, null_values, mut counts, n_others } = *self;
        let null_values = listed(null_values, &counts);
        counts.retain(|word, _| !null_values.contain(word));
        let labels = labels(&counts, n_others, true_label.as_deref()).map_err(FitError::NotBinary)?;
        Ok(Preprocessor::Binary(FittedBinary { labels, null_values }))
    }
}

/// Returns the words that mark a cell as empty: without a setting, the usual ones, except for one of [`MAY_BE_VALUES`] that
/// is the second value of the column.
fn listed(setting: Option<Vec<String>>, counts: &BTreeMap<String, usize>) -> NullValues {
    let usual = NullValues::of(setting.as_ref());
    let n_values = counts.keys().filter(|word| !usual.contain(word)).count();
    let second = MAY_BE_VALUES.iter().copied().filter(|word| counts.contains_key(*word)).max_by_key(|word| counts[*word]);
    match second {
        Some(second) if setting.is_none() && n_values == 1 => {
            let words: Vec<String> = usual.into();
            words.into_iter().filter(|word| word != second).collect::<Vec<_>>().into()
        }
        _ => usual,
    }
}

/// Returns the words for false and true; the error lists the first words of a column that does not have two values.
fn labels(
    counts: &BTreeMap<String, usize>,
    n_others: usize,
    true_label: Option<&str>,
) -> Result<Option<[String; 2]>, Vec<String>> {
    let first = || counts.keys().take(3).cloned().collect::<Vec<_>>();
    if true_label.is_none() && n_others == 0 && counts.keys().all(|word| as_bool(word).is_some()) {
        return Ok(usual_words(counts));
    }
    let mut words: Vec<(&String, usize)> = counts.iter().map(|(word, count)| (word, *count)).collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let n_cells = words.iter().map(|(_, count)| count).sum::<usize>() + n_others;
    let [(a, n_a), (b, n_b), ..] = words[..] else { return Err(first()) };
    // A few typing errors do not make a third value.
    if (n_a + n_b) * 100 < n_cells * 99 {
        return Err(first());
    }
    let is_swapped = match true_label {
        Some(label) if label == a => true,
        Some(label) if label == b => false,
        _ => match (as_bool(a), as_bool(b)) {
            (Some(a), Some(b)) if a != b => a,
            _ => a > b,
        },
    };
    Ok(Some(if is_swapped { [b.clone(), a.clone()] } else { [a.clone(), b.clone()] }))
}

/// Returns the most frequent word for false and for true; in place of one that does not occur, the counterpart of the other.
fn usual_words(counts: &BTreeMap<String, usize>) -> Option<[String; 2]> {
    let most_frequent = |class: bool| {
        let words = counts.iter().filter(|(word, _)| as_bool(word) == Some(class));
        words.max_by_key(|(word, count)| (**count, std::cmp::Reverse(*word))).map(|(word, _)| word.clone())
    };
    match (most_frequent(false), most_frequent(true)) {
        (None, None) => None,
        (Some(no), Some(yes)) => Some([no, yes]),
        (Some(no), None) => Some([no.clone(), counterpart(&no)]),
        (None, Some(yes)) => Some([counterpart(&yes), yes]),
    }
}

/// Returns the opposite of a usual word, in the same case.
fn counterpart(word: &str) -> String {
    let pair = PAIRS.iter().find(|pair| pair.iter().any(|it| it.eq_ignore_ascii_case(word))).unwrap_or(&PAIRS[0]);
    let opposite = pair[usize::from(pair[0].eq_ignore_ascii_case(word))];
    let starts_upper = word.starts_with(|letter: char| letter.is_ascii_uppercase());
    if starts_upper && word.chars().all(|letter| letter.is_ascii_uppercase()) {
        opposite.to_ascii_uppercase()
    } else if starts_upper {
        opposite[..1].to_ascii_uppercase() + &opposite[1..]
    } else {
        opposite.to_owned()
    }
}

impl FittedBinary {
    /// Returns the name of a class.
    pub fn label(&self, class: usize) -> &str {
        self.labels.as_ref().map_or(["false", "true"][class], |labels| &labels[class])
    }

    /// Returns the class of a word: that of the label it equals, or its meaning where the labels are usual words with theirs.
    fn class_of(&self, text: &str) -> Option<bool> {
        let is_label = |class| self.labels.is_some() && self.label(class) == text;
        if is_label(0) || is_label(1) {
            return Some(is_label(1));
        }
        let have_meanings = (as_bool(self.label(0)), as_bool(self.label(1))) == (Some(false), Some(true));
        as_bool(text).filter(|_| have_meanings)
    }
}

impl Preprocess for FittedBinary {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        if let Some(word) = self.null_values.word_in(cell) {
            return Err(null_values::fault(&word));
        }
        let text = text_of(cell)?;
        let text = text.trim();
        self.class_of(text).map(|class| Payload::Class(u32::from(class))).ok_or_else(|| {
            let message = format!("'{}' is neither {} nor {}", shown(text), self.label(0), self.label(1));
            Fault::new(Cause::Malformed, message)
        })
    }

    fn shape(&self) -> Shape {
        Shape::Class { n_classes: 2 }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(settings: &BinaryPreprocessing, words: &[&str]) -> Result<FittedBinary, FitError> {
        let mut fitter = settings.fitter();
        words.iter().for_each(|word| fitter.observe(&Cell::text(word), Path::new("")));
        let Preprocessor::Binary(fitted) = fitter.finish()? else { panic!("expected a binary feature") };
        Ok(fitted)
    }

    fn labels(words: &[&str]) -> Option<[String; 2]> {
        fit(&mbm_config::defaults(), words).unwrap().labels
    }

    fn pair(no: &str, yes: &str) -> Option<[String; 2]> {
        Some([no.to_owned(), yes.to_owned()])
    }

    #[test]
    fn labels_are_the_words_of_the_training_rows() {
        assert_eq!(labels(&["yes", "no", "yes"]), pair("no", "yes"));
        assert_eq!(labels(&["Yes", "No", "yes", "Yes", "1"]), pair("No", "Yes"));
        assert_eq!(labels(&["0", "1"]), pair("0", "1"));
        assert_eq!(labels(&["male", "female"]), pair("female", "male"));
        assert_eq!(labels(&["NA", "Y", "?"]), pair("N", "Y"));
        assert_eq!(labels(&["False"]), pair("False", "True"));
        assert_eq!(labels(&[""]), None);
        assert_eq!(labels(&["+", "-", "+"]), pair("+", "-"));
        assert_eq!(labels(&["damaged", "None", "NA"]), pair("None", "damaged"));
        let mut words = vec!["b"; 100];
        words.extend(vec!["a"; 99]);
        words.push("typo");
        assert_eq!(labels(&words), pair("a", "b"));
    }

    #[test]
    fn usual_words_are_read_whatever_the_labels_and_others_exactly() {
        let class = |fitted: &FittedBinary, word: &str| fitted.payload(&Cell::text(word), Path::new("")).ok();
        let usual = fit(&mbm_config::defaults(), &["yes", "no"]).unwrap();
        for (word, want) in [("YES", Some(1)), ("true", Some(1)), ("0", Some(0)), ("maybe", None), ("NA", None)] {
            assert_eq!(class(&usual, word), want.map(Payload::Class), "{word}");
        }
        let others = fit(&mbm_config::defaults(), &["t", "x"]).unwrap();
        assert_eq!((class(&others, "t"), class(&others, "true")), (Some(Payload::Class(0)), None));
        let fault = usual.payload(&Cell::text("maybe"), Path::new("")).unwrap_err();
        assert_eq!(fault.to_string(), "malformed: 'maybe' is neither no nor yes");
        let set = BinaryPreprocessing { fallback_true_label: Some("female".into()), ..mbm_config::defaults() };
        assert_eq!(fit(&set, &["male", "female"]).unwrap().labels, pair("male", "female"));
    }

    #[test]
    fn three_values_are_an_error() {
        let error = fit(&mbm_config::defaults(), &["a", "b", "c"]).unwrap_err().to_string();
        assert_eq!(error, "a binary feature needs two values, the training rows have a, b, c");
        assert!(fit(&mbm_config::defaults(), &["yes", "no", "maybe"]).is_err());
        assert!(fit(&mbm_config::defaults(), &["a"]).is_err());
    }

    #[test]
    fn binary_feature_of_an_earlier_version_keeps_its_names() {
        let fitted: FittedBinary = serde_json::from_str(r#"{"labels": null}"#).unwrap();
        assert_eq!((fitted.label(0), fitted.label(1)), ("false", "true"));
        assert_eq!(fitted.payload(&Cell::text("yes"), Path::new("")), Ok(Payload::Class(1)));
    }
}
