//! Time series: `1 2 3` or `[1, 2, 3]`, or multivariate as `1 10; 2 20; 3 30` or `[[1, 10], [2, 20]]`, one group per step.

use std::fmt;
use std::path::Path;

use mbm_config::settings;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{
    FitError, Fitter, InvalidFit, LARGEST, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, shown, text_of,
};
use crate::payload::Frames;
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for time series.
    pub struct TimeseriesPreprocessing {
        /// Maximum number of steps; of a longer series, the last ones are used.
        timeseries_length_limit: usize = 256 => 1..=65_536;
    }
}

/// A fitted time series preprocessor: `Frames [steps, width]`, each column of mean 0 and standard deviation 1 over the training
/// rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedTimeseries {
    /// Maximum number of steps.
    pub max_steps: usize,
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// Standard deviation of each column.
    #[serde(alias = "deviation")]
    pub std: Vec<f32>,
}

struct TimeseriesFitter {
    max_steps: usize,
    longest: usize,
    moments: Vec<Moments>,
}

impl TimeseriesPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(TimeseriesFitter { max_steps: self.timeseries_length_limit, longest: 0, moments: Vec::new() })
    }
}

impl Fitter for TimeseriesFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        let Ok(steps) = steps_of(cell) else { return };
        if self.moments.is_empty() {
            self.moments = vec![Moments::default(); steps.width];
        }
        self.longest = self.longest.max(steps.len());
        if steps.width == self.moments.len() {
            for step in steps.values.chunks(steps.width) {
                self.moments.iter_mut().zip(step).for_each(|(moments, value)| moments.add(*value));
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        if self.moments.is_empty() {
            return Err(FitError::Unreadable { kind: "series", first: None });
        }
        Ok(Preprocessor::Timeseries(FittedTimeseries {
            max_steps: self.longest.min(self.max_steps),
            mean: self.moments.iter().map(Moments::mean).collect(),
            std: self.moments.iter().map(Moments::std).collect(),
        }))
    }
}

impl Preprocess for FittedTimeseries {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let steps = steps_of(cell)?;
        let width = self.mean.len();
        if steps.width != width {
            return Err(Fault::new(Cause::Malformed, format!("steps of {} values, but training had {width}", steps.width)));
        }
        let last = &steps.values[steps.len().saturating_sub(self.max_steps) * width..];
        Ok(Payload::Frames(Frames {
            width,
            data: last
                .iter()
                .enumerate()
                .map(|(at, value)| (*value as f32 - self.mean[at % width]) / self.std[at % width])
                .collect(),
        }))
    }

    fn shape(&self) -> Shape {
        Shape::Frames { width: self.mean.len(), max_steps: self.max_steps }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure((1..=65_536).contains(&self.max_steps), "the length limit")?;
        ensure(!self.mean.is_empty() && are_moments(&self.mean, &self.std, self.mean.len()), "the mean or standard deviation")
    }
}

/// Steps of equal width, stored contiguously: a separate vector per step would take ten times the memory.
#[derive(Debug, Default, PartialEq)]
struct Steps {
    width: usize,
    values: Vec<f64>,
}

impl Steps {
    fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Ends a step of the values added since `start`; returns whether it is as wide as the steps before it.
    fn end_step(&mut self, start: usize) -> bool {
        let width = self.values.len() - start;
        if start == 0 {
            self.width = width;
        }
        width > 0 && width == self.width
    }
}

/// Returns the steps of a cell: at least one, each of at least one value.
fn steps_of(cell: &Cell) -> Result<Steps, Fault> {
    let steps = match cell {
        Cell::Numbers(values) => Some(Steps { width: 1, values: values.clone() }),
        Cell::Number(value) => Some(Steps { width: 1, values: vec![*value] }),
        Cell::Json(json) => serde_json::from_str(json).ok(),
        other => {
            let text = text_of(other)?;
            if text.trim_start().starts_with('[') { of_list(&text) } else { of_words(&text) }
        }
    };
    steps.filter(is_usable).ok_or_else(|| malformed(cell))
}

fn is_usable(steps: &Steps) -> bool {
    !steps.values.is_empty() && steps.values.iter().all(|value| value.abs() <= f64::from(LARGEST))
}

fn malformed(cell: &Cell) -> Fault {
    let shown = match cell {
        Cell::Numbers(values) => format!("a list of {} numbers", values.len()),
        other => format!("'{}'", shown(&text_of(other).unwrap_or_default())),
    };
    Fault::new(Cause::Malformed, format!("{shown} is not a time series"))
}

/// Parses `[1, 2]` or `[[1, 10], [2, 20]]`.
fn of_list(text: &str) -> Option<Steps> {
    let numbers = serde_json::from_str(text).ok().map(|values| Steps { width: 1, values });
    numbers.or_else(|| serde_json::from_str(text).ok())
}

/// Parses `1 2 3` or `1 10; 2 20`.
fn of_words(text: &str) -> Option<Steps> {
    let mut steps = Steps::default();
    let mut n_parts = 0;
    for part in text.split(';').filter(|part| !part.trim().is_empty()) {
        let start = steps.values.len();
        for word in part.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
            steps.values.push(word.parse().ok()?);
        }
        steps.end_step(start).then_some(())?;
        n_parts += 1;
    }
    if n_parts == 1 {
        steps.width = 1;
    }
    Some(steps)
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListOfSteps)
    }
}

struct ListOfSteps;

impl<'de> Visitor<'de> for ListOfSteps {
    type Value = Steps;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of steps of equal width")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Steps, A::Error> {
        let mut steps = Steps::default();
        loop {
            let start = steps.values.len();
            if items.next_element_seed(Step(&mut steps.values))?.is_none() {
                return Ok(steps);
            }
            if !steps.end_step(start) {
                return Err(A::Error::custom("steps of different widths"));
            }
        }
    }
}

/// Appends the values of a step.
struct Step<'a>(&'a mut Vec<f64>);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element()? {
            self.0.push(value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_in_every_notation() {
        let steps = |text: &str| steps_of(&Cell::text(text)).map(|steps| (steps.width, steps.values));
        assert_eq!(steps("1 2.5 -3").unwrap(), (1, vec![1.0, 2.5, -3.0]));
        assert_eq!(steps("1 10; 2 20").unwrap(), (2, vec![1.0, 10.0, 2.0, 20.0]));
        assert_eq!(steps("[[1, 10], [2, 20]]").unwrap(), (2, vec![1.0, 10.0, 2.0, 20.0]));
        assert_eq!(steps("[1, 2.5]").unwrap(), (1, vec![1.0, 2.5]));
        for text in ["1 x", "1 nan", "1 2; 3", "[[1, 2], [3]]", "[[]]", "[]", "1 1e100", "[[1], 2]"] {
            assert_eq!(steps(text).unwrap_err().cause, Cause::Malformed, "{text}");
        }
    }

    #[test]
    fn series_with_a_huge_value_do_not_affect_the_fit() {
        let mut fitter = mbm_config::defaults::<TimeseriesPreprocessing>().fitter();
        ["1 2 3", "2 3 4", "1 1e100 3"].iter().for_each(|text| fitter.observe(&Cell::text(text), Path::new("")));
        let Ok(Preprocessor::Timeseries(fitted)) = fitter.finish() else { panic!() };
        fitted.check().unwrap();
        assert_eq!(fitted.mean, [2.5]);
    }
}
