//! Numbers, normalised by what the training rows hold.

use std::path::Path;

use mbm_config::{choices, settings};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Fitter, MissingValueStrategy, Moments, Preprocess, Preprocessor, Shape, ensure, number_of};
use crate::random::{Rng, rng};
use crate::{Cell, Fault, Payload};

choices! {
    /// How a number is scaled.
    pub enum Normalization {
        /// To mean 0 and deviation 1.
        Zscore = "zscore",
        /// To 0 to 1 over the training rows.
        Minmax = "minmax",
        /// By `sign(x) ln(1 + |x|)`, then to mean 0 and deviation 1.
        Log1p = "log1p",
        /// Not at all.
        None = "none",
    }
}

settings! {
    /// How numbers are read.
    pub struct NumberPreprocessing {
        /// Scaling.
        normalization: Normalization = Normalization::Zscore;
        /// What becomes of cells that are no number.
        missing_value_strategy: MissingValueStrategy = MissingValueStrategy::Absent;
    }
}

/// A fitted number reader: `Vector [1]`, `(f(x) - offset) / scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedNumber {
    /// Whether `f` is the logarithm.
    pub log: bool,
    /// Taken off.
    pub offset: f64,
    /// Divided by.
    pub scale: f64,
    /// Edges of 32 equally filled bins of the normalised training values, without equals.
    pub quantiles: Vec<f32>,
}

/// Values that quantiles are taken from: a uniform sample of the training rows.
const N_SAMPLED: usize = 10_000;
const N_BINS: usize = 32;

struct NumberFitter {
    normalization: Normalization,
    moments: Moments,
    range: (f64, f64),
    sample: Vec<f64>,
    n_seen: usize,
    rng: Rng,
}

impl NumberPreprocessing {
    /// Starts fitting.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        let range = (f64::INFINITY, f64::NEG_INFINITY);
        Box::new(NumberFitter {
            normalization: self.normalization,
            moments: Moments::default(),
            range,
            sample: Vec::new(),
            n_seen: 0,
            rng: rng(0),
        })
    }
}

fn log1p(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

impl Fitter for NumberFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        let Ok(value) = number_of(cell) else { return };
        let value = if self.normalization == Normalization::Log1p { log1p(value) } else { value };
        self.moments.add(value);
        self.range = (self.range.0.min(value), self.range.1.max(value));
        self.n_seen += 1;
        // Reservoir sampling (Vitter 1985, algorithm R).
        if self.sample.len() < N_SAMPLED {
            self.sample.push(value);
        } else if let Some(kept) = self.sample.get_mut(self.rng.random_range(0..self.n_seen)) {
            *kept = value;
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Preprocessor, String> {
        if self.sample.is_empty() {
            return Err("no training cell holds a number".to_owned());
        }
        let (offset, scale) = match self.normalization {
            Normalization::Zscore | Normalization::Log1p => (f64::from(self.moments.mean()), f64::from(self.moments.deviation())),
            Normalization::Minmax => (self.range.0, if self.range.1 > self.range.0 { self.range.1 - self.range.0 } else { 1.0 }),
            Normalization::None => (0.0, 1.0),
        };
        self.sample.sort_by(f64::total_cmp);
        let edge = |bin: usize| ((self.sample[bin * (self.sample.len() - 1) / N_BINS] - offset) / scale) as f32;
        let mut quantiles: Vec<f32> = (0..=N_BINS).map(edge).collect();
        quantiles.dedup();
        Ok(Preprocessor::Number(FittedNumber { log: self.normalization == Normalization::Log1p, offset, scale, quantiles }))
    }
}

impl FittedNumber {
    /// The normalised value.
    pub fn normalize(&self, value: f64) -> f32 {
        let value = if self.log { log1p(value) } else { value };
        ((value - self.offset) / self.scale) as f32
    }

    /// The value in the units of the data.
    pub fn restore(&self, normalized: f32) -> f64 {
        let value = f64::from(normalized) * self.scale + self.offset;
        if self.log { value.signum() * value.abs().exp_m1() } else { value }
    }
}

impl Preprocess for FittedNumber {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        number_of(cell).map(|value| Payload::Vector(vec![self.normalize(value)]))
    }

    fn shape(&self) -> Shape {
        Shape::Number { quantiles: self.quantiles.clone() }
    }

    fn check(&self) -> Result<(), String> {
        ensure(self.offset.is_finite() && self.scale.is_finite() && self.scale > 0.0, "the offset or scale")?;
        let rise = self.quantiles.iter().all(|edge| edge.is_finite()) && self.quantiles.is_sorted_by(|a, b| a < b);
        ensure((1..=N_BINS + 1).contains(&self.quantiles.len()) && rise, "a quantile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(normalization: Normalization, values: &[&str]) -> FittedNumber {
        let mut fitter = NumberPreprocessing { normalization, missing_value_strategy: MissingValueStrategy::Absent }.fitter();
        values.iter().for_each(|value| fitter.observe(&Cell::text(value), Path::new("")));
        let Preprocessor::Number(fitted) = fitter.finish().unwrap() else { panic!("a number") };
        fitted
    }

    #[test]
    fn every_normalization_is_undone() {
        for normalization in [Normalization::Zscore, Normalization::Minmax, Normalization::Log1p, Normalization::None] {
            let fitted = fitted(normalization, &["1", "x", "", "5", "900"]);
            for value in [-3.0, 0.0, 5.0, 1234.5] {
                assert!((fitted.restore(fitted.normalize(value)) - value).abs() < 1e-2, "{normalization:?} {value}");
            }
        }
        assert_eq!(fitted(Normalization::Zscore, &["1", "3"]).normalize(3.0), 1.0);
    }

    #[test]
    fn a_constant_column_does_not_divide_by_nothing() {
        assert_eq!(fitted(Normalization::Zscore, &["7", "7"]).normalize(8.0), 1.0);
        assert_eq!(fitted(Normalization::Minmax, &["7", "7"]).normalize(8.0), 1.0);
    }

    #[test]
    fn what_is_not_a_number_says_so() {
        let fitted = fitted(Normalization::None, &["1"]);
        let fault = fitted.payload(&Cell::text("12a"), Path::new("")).unwrap_err();
        assert_eq!(fault.to_string(), "malformed: '12a' is not a number");
        assert!(fitted.payload(&Cell::text("inf"), Path::new("")).is_err());
    }
}
