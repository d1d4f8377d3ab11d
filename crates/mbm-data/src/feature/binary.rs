//! Binary features: the usual words for true and false, or any two values.

use std::collections::BTreeSet;
use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, shown, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for binary features.
    pub struct BinaryPreprocessing {
        /// The value that counts as true, for values other than the usual words.
        fallback_true_label: Option<String> = None;
    }
}

/// A fitted binary preprocessor: `Class`, 0 for false and 1 for true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedBinary {
    /// Names of false and true, unless they are the usual words.
    pub labels: Option<[String; 2]>,
}

struct BinaryFitter {
    true_label: Option<String>,
    labels: BTreeSet<String>,
}

impl BinaryPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(BinaryFitter { true_label: self.fallback_true_label.clone(), labels: BTreeSet::new() })
    }
}

/// Parses one of the usual words or numbers for true and false.
pub fn as_bool(text: &str) -> Option<bool> {
    const TRUE: [&str; 7] = ["true", "t", "yes", "y", "1", "1.0", "on"];
    const FALSE: [&str; 7] = ["false", "f", "no", "n", "0", "0.0", "off"];
    let is_one_of = |words: [&str; 7]| words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()));
    if is_one_of(TRUE) { Some(true) } else { is_one_of(FALSE).then_some(false) }
}

impl Fitter for BinaryFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if self.labels.len() <= 2
            && let Ok(text) = text_of(cell)
        {
            self.labels.insert(text.trim().to_owned());
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let labels: Vec<String> = self.labels.into_iter().collect();
        if labels.iter().all(|label| as_bool(label).is_some()) && self.true_label.is_none() {
            return Ok(Preprocessor::Binary(FittedBinary { labels: None }));
        }
        let [first, second] = <[String; 2]>::try_from(labels).map_err(FitError::NotBinary)?;
        let labels = if self.true_label.as_ref() == Some(&first) { [second, first] } else { [first, second] };
        Ok(Preprocessor::Binary(FittedBinary { labels: Some(labels) }))
    }
}

impl FittedBinary {
    /// Returns the name of a class.
    pub fn label(&self, class: usize) -> &str {
        self.labels.as_ref().map_or(["false", "true"][class], |labels| &labels[class])
    }
}

impl Preprocess for FittedBinary {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let text = text_of(cell)?;
        let text = text.trim();
        let class = match &self.labels {
            None => as_bool(text).map(u32::from),
            Some(labels) => labels.iter().position(|label| label == text).map(|at| at as u32),
        };
        class.map(Payload::Class).ok_or_else(|| {
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
