//! Series of numbers: `1 2 3`, `[1, 2, 3]`, or several at once as `1 10; 2 20; 3 30` or `[[1, 10], [2, 20]]`, a step each.

use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{Fitter, MissingValueStrategy, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, text_of};
use crate::payload::Frames;
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// How series are read.
    pub struct TimeseriesPreprocessing {
        /// The most steps; of a longer series the last ones count.
        timeseries_length_limit: usize = 256 => 1..=65_536;
        /// What becomes of series that cannot be read.
        missing_value_strategy: MissingValueStrategy = MissingValueStrategy::Absent;
    }
}

/// A fitted series reader: `Frames [steps, width]`, each column of mean 0 and deviation 1 over the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedTimeseries {
    /// The most steps.
    pub max_steps: usize,
    /// Of each column.
    pub mean: Vec<f32>,
    /// Of each column.
    pub deviation: Vec<f32>,
}

struct TimeseriesFitter {
    max_steps: usize,
    longest: usize,
    moments: Vec<Moments>,
}

impl TimeseriesPreprocessing {
    /// Starts fitting.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(TimeseriesFitter { max_steps: self.timeseries_length_limit, longest: 0, moments: Vec::new() })
    }
}

impl Fitter for TimeseriesFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        let Ok(steps) = steps_of(cell) else { return };
        if self.moments.is_empty() {
            self.moments = vec![Moments::default(); steps[0].len()];
        }
        self.longest = self.longest.max(steps.len());
        let width = self.moments.len();
        for step in steps.iter().filter(|step| step.len() == width) {
            self.moments.iter_mut().zip(step).for_each(|(moments, value)| moments.add(*value));
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, String> {
        if self.moments.is_empty() {
            return Err("no training series can be read".to_owned());
        }
        Ok(Preprocessor::Timeseries(FittedTimeseries {
            max_steps: self.longest.min(self.max_steps),
            mean: self.moments.iter().map(Moments::mean).collect(),
            deviation: self.moments.iter().map(Moments::deviation).collect(),
        }))
    }
}

impl Preprocess for FittedTimeseries {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let steps = steps_of(cell)?;
        let width = self.mean.len();
        if let Some(step) = steps.iter().find(|step| step.len() != width) {
            return Err(Fault::new(Cause::Malformed, format!("a step of {} values where training had {width}", step.len())));
        }
        let kept = &steps[steps.len().saturating_sub(self.max_steps)..];
        let scaled =
            |step: &Vec<f64>| -> Vec<f32> { (0..width).map(|i| (step[i] as f32 - self.mean[i]) / self.deviation[i]).collect() };
        Ok(Payload::Frames(Frames { width, data: kept.iter().flat_map(scaled).collect() }))
    }

    fn shape(&self) -> Shape {
        Shape::Frames { width: self.mean.len(), max_steps: self.max_steps }
    }

    fn check(&self) -> Result<(), String> {
        ensure((1..=65_536).contains(&self.max_steps), "the length limit")?;
        ensure(!self.mean.is_empty() && are_moments(&self.mean, &self.deviation, self.mean.len()), "the mean or deviation")
    }
}

/// The steps of a cell, at least one, each of one value at least.
fn steps_of(cell: &Cell) -> Result<Vec<Vec<f64>>, Fault> {
    let malformed =
        || Fault::new(Cause::Malformed, format!("'{}' is not a series", cell.to_text().chars().take(60).collect::<String>()));
    let steps: Vec<Vec<f64>> = match cell {
        Cell::Numbers(values) => values.iter().map(|value| vec![*value]).collect(),
        Cell::Number(value) => vec![vec![*value]],
        Cell::Json(json) => serde_json::from_str(json).map_err(|_| malformed())?,
        other => {
            let text = text_of(other)?;
            if text.trim_start().starts_with('[') {
                return steps_of(&Cell::json(serde_json::from_str(&text).map_err(|_| malformed())?));
            }
            let split = |part: &str| {
                part.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::parse).collect::<Result<Vec<f64>, _>>()
            };
            let parts: Vec<&str> = text.split(';').filter(|part| !part.trim().is_empty()).collect();
            let parsed = parts.iter().map(|part| split(part)).collect::<Result<Vec<_>, _>>().map_err(|_| malformed())?;
            if parsed.len() == 1 { parsed[0].iter().map(|value| vec![*value]).collect() } else { parsed }
        }
    };
    let usable = !steps.is_empty() && steps.iter().all(|step| !step.is_empty() && step.iter().all(|value| value.is_finite()));
    if usable { Ok(steps) } else { Err(malformed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_in_every_spelling() {
        let steps = |text: &str| steps_of(&Cell::text(text));
        assert_eq!(steps("1 2.5 -3").unwrap(), [[1.0], [2.5], [-3.0]]);
        assert_eq!(steps("1 10; 2 20").unwrap(), [[1.0, 10.0], [2.0, 20.0]]);
        assert_eq!(steps("[[1, 10], [2, 20]]").unwrap(), [[1.0, 10.0], [2.0, 20.0]]);
        assert_eq!(steps("1 x").unwrap_err().cause, Cause::Malformed);
        assert_eq!(steps("1 nan").unwrap_err().cause, Cause::Malformed);
    }
}
