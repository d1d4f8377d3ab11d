//! Vectors of fixed width: `0.1 0.2 0.3`, or a list of numbers.

use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, LARGEST, Preprocess, Preprocessor, Shape, ensure, shown, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for vectors.
    pub struct VectorPreprocessing {
        /// Width of a vector; that of the first training cell if unset.
        vector_size: Option<usize> = None => 1..=1_000_000;
    }
}

/// A fitted vector preprocessor: `Vector [width]`, with the values as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedVector {
    /// Number of values.
    pub width: usize,
}

struct VectorFitter(Option<usize>);

impl VectorPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(VectorFitter(self.vector_size))
    }
}

fn numbers_of(cell: &Cell) -> Result<Vec<f32>, Fault> {
    let malformed = |text: &str| Fault::new(Cause::Malformed, format!("'{}' is not a vector", shown(text)));
    let values: Vec<f32> = match cell {
        Cell::Numbers(values) => values.iter().map(|value| *value as f32).collect(),
        other => {
            let text = text_of(other)?;
            let words = text.trim_matches(['[', ']', ' ']).split([' ', ',', ';', '\t']).filter(|word| !word.is_empty());
            words.map(str::parse).collect::<Result<_, _>>().map_err(|_| malformed(&text))?
        }
    };
    if values.iter().all(|value| value.abs() <= LARGEST) { Ok(values) } else { Err(malformed(&cell.to_text())) }
}

impl Fitter for VectorFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if self.0.is_none() {
            self.0 = numbers_of(cell).ok().map(|values| values.len()).filter(|width| *width > 0);
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let width = self.0.ok_or(FitError::NoValue("vector"))?;
        Ok(Preprocessor::Vector(FittedVector { width }))
    }
}

impl Preprocess for FittedVector {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let values = numbers_of(cell)?;
        if values.len() != self.width {
            return Err(Fault::new(Cause::Malformed, format!("{} values, but training had {}", values.len(), self.width)));
        }
        Ok(Payload::Vector(values))
    }

    fn shape(&self) -> Shape {
        Shape::Vector { width: self.width }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure((1..=1_000_000).contains(&self.width), "the width")
    }
}
