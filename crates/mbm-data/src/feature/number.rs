//! Numbers, normalized with statistics of the training rows.

use std::path::Path;

use mbm_config::{choices, settings};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, LARGEST, Moments, Preprocess, Preprocessor, Shape, ensure, number_of};
use crate::random::{Rng, rng};
use crate::{Cause, Cell, Fault, Payload};

choices! {
    /// How a number is scaled.
    pub enum Normalization {
        /// To mean 0 and standard deviation 1.
        Zscore = "zscore",
        /// To the range 0 to 1 over the training rows.
        Minmax = "minmax",
        /// By `sign(x) ln(1 + |x|)`, then to mean 0 and standard deviation 1.
        Log1p = "log1p",
        /// By median and interquartile range, then smoothly clipped to between -3 and 3, so that a few corrupt cells of any
        /// size have no effect.
        Robust = "robust",
        /// Not at all.
        None = "none",
    }
}

settings! {
    /// Preprocessing settings for numbers.
    pub struct NumberPreprocessing {
        /// How values are scaled.
        normalization: Normalization = Normalization::Zscore;
    }
}

/// A fitted number preprocessor: `Vector [1]` of `(f(x) - offset) / scale`, optionally smoothly clipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedNumber {
    /// Whether `f` is `sign(x) ln(1 + |x|)` rather than the identity.
    pub log: bool,
    /// Subtracted from `f(x)`.
    pub offset: f64,
    /// Divisor of the difference.
    pub scale: f64,
    /// Whether the result is smoothly clipped to between -3 and 3, by `x / sqrt(1 + (x / 3)^2)` (Holzmüller et al. 2024).
    #[serde(default)]
    pub squeezed: bool,
    /// Edges of 32 equally filled bins of the normalized training values, without duplicates.
    pub quantiles: Vec<f32>,
}

/// Number of values that the quantiles are computed from: a uniform sample of the training rows.
const N_SAMPLED: usize = 10_000;
const N_BINS: usize = 32;

/// Bound that smoothly clipped values stay below.
const BOUND: f64 = 3.0;

struct NumberFitter {
    normalization: Normalization,
    moments: Moments,
    range: (f64, f64),
    sample: Vec<f64>,
    n_seen: usize,
    rng: Rng,
}

impl NumberPreprocessing {
    /// Returns a fitter with these settings.
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
        } else if let Some(slot) = self.sample.get_mut(self.rng.random_range(0..self.n_seen)) {
            *slot = value;
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Preprocessor, FitError> {
        if self.sample.is_empty() {
            return Err(FitError::NoValue("number"));
        }
        self.sample.sort_by(f64::total_cmp);
        let (offset, scale) = match self.normalization {
            Normalization::Zscore | Normalization::Log1p => self.moments.exact(),
            Normalization::Minmax => (self.range.0, if self.range.1 > self.range.0 { self.range.1 - self.range.0 } else { 1.0 }),
            Normalization::Robust => robust(&self.sample),
            Normalization::None => (0.0, 1.0),
        };
        let mut fitted = FittedNumber {
            log: self.normalization == Normalization::Log1p,
            offset,
            scale,
            squeezed: self.normalization == Normalization::Robust,
            quantiles: Vec::new(),
        };
        let mut quantiles: Vec<f32> = (0..=N_BINS)
            .map(|bin| fitted.scaled(self.sample[bin * (self.sample.len() - 1) / N_BINS]).clamp(-LARGEST, LARGEST))
            .collect();
        quantiles.dedup();
        fitted.quantiles = quantiles;
        Ok(Preprocessor::Number(fitted))
    }
}

/// Returns the median and a scale of sorted values: the interquartile range, or half the full range where that is 0
/// (Holzmüller et al. 2024), or 1 where all values are equal.
fn robust(sorted: &[f64]) -> (f64, f64) {
    let spread = quantile(sorted, 0.75) - quantile(sorted, 0.25);
    let range = sorted[sorted.len() - 1] - sorted[0];
    let scale = [spread, range / 2.0].into_iter().find(|scale| *scale > 0.0);
    (quantile(sorted, 0.5), scale.unwrap_or(1.0))
}

/// Returns a quantile of sorted values, linearly interpolated.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

impl FittedNumber {
    /// Normalizes a value.
    pub fn normalize(&self, value: f64) -> f32 {
        self.scaled(if self.log { log1p(value) } else { value })
    }

    fn scaled(&self, value: f64) -> f32 {
        let value = (value - self.offset) / self.scale;
        (if self.squeezed { squeezed(value.clamp(-f64::MAX, f64::MAX)) } else { value }) as f32
    }

    /// Maps a normalized value back to the units of the data.
    pub fn restore(&self, normalized: f32) -> f64 {
        let normalized = if self.squeezed { stretched(f64::from(normalized)) } else { f64::from(normalized) };
        let value = normalized * self.scale + self.offset;
        if self.log { value.signum() * value.abs().exp_m1() } else { value }
    }
}

fn squeezed(value: f64) -> f64 {
    // `hypot` does not overflow where squaring would.
    value / 1f64.hypot(value / BOUND)
}

/// Inverts `squeezed`; predictions at or beyond the bound map to thousands of interquartile ranges from the median.
fn stretched(squeezed: f64) -> f64 {
    let most = BOUND * (1.0 - f64::from(f32::EPSILON));
    let squeezed = squeezed.clamp(-most, most);
    squeezed / (1.0 - (squeezed / BOUND).powi(2)).sqrt()
}

impl Preprocess for FittedNumber {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let value = number_of(cell)?;
        let normalized = self.normalize(value);
        if normalized.abs() > LARGEST {
            let message =
                format!("{value:e} is {normalized:e} after normalization, the limit is {LARGEST:e}; use normalization: robust");
            return Err(Fault::new(Cause::TooLarge, message));
        }
        Ok(Payload::Vector(vec![normalized]))
    }

    fn shape(&self) -> Shape {
        Shape::Number { quantiles: self.quantiles.clone() }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(self.offset.is_finite() && self.scale.is_finite() && self.scale > 0.0, "the offset or scale")?;
        let rise = self.quantiles.iter().all(|edge| edge.is_finite()) && self.quantiles.is_sorted_by(|a, b| a < b);
        ensure((1..=N_BINS + 1).contains(&self.quantiles.len()) && rise, "a quantile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(normalization: Normalization, values: &[&str]) -> FittedNumber {
        let mut fitter = NumberPreprocessing { normalization }.fitter();
        values.iter().for_each(|value| fitter.observe(&Cell::text(value), Path::new("")));
        let Preprocessor::Number(fitted) = fitter.finish().unwrap() else { panic!("expected a number") };
        fitted
    }

    #[test]
    fn restore_inverts_every_normalization() {
        let all =
            [Normalization::Zscore, Normalization::Minmax, Normalization::Log1p, Normalization::Robust, Normalization::None];
        for normalization in all {
            let fitted = fitted(normalization, &["1", "x", "", "5", "900"]);
            for value in [-3.0, 0.0, 5.0, 1234.5] {
                assert!((fitted.restore(fitted.normalize(value)) - value).abs() < 1e-2, "{normalization:?} {value}");
            }
        }
        assert_eq!(fitted(Normalization::Zscore, &["1", "3"]).normalize(3.0), 1.0);
    }

    #[test]
    fn constant_column_does_not_divide_by_zero() {
        assert_eq!(fitted(Normalization::Zscore, &["7", "7"]).normalize(8.0), 1.0);
        assert_eq!(fitted(Normalization::Minmax, &["7", "7"]).normalize(8.0), 1.0);
    }

    #[test]
    fn robust_normalization_ignores_a_few_huge_values() {
        let mut values: Vec<String> = (0..295).map(|value| value.to_string()).collect();
        let usual = fitted(Normalization::Robust, &values.iter().map(String::as_str).collect::<Vec<_>>());
        values.extend(["1e100", "-1e100", "1e100", "-1e100", "1e100"].map(str::to_owned));
        let robust = fitted(Normalization::Robust, &values.iter().map(String::as_str).collect::<Vec<_>>());
        robust.check().unwrap();
        for value in [0.0, 100.0, 294.0] {
            assert!((robust.normalize(value) - usual.normalize(value)).abs() < 0.05, "{value}");
        }
        assert_eq!((robust.normalize(1e100), robust.normalize(-1e100)), (3.0, -3.0));
        assert!(robust.restore(f32::INFINITY).is_finite() && robust.restore(3.0) > 100_000.0);
    }

    #[test]
    fn extreme_columns_yield_only_finite_values() {
        let columns: [&[&str]; 7] = [
            &["1", "2", "3", "1e100"],
            &["1", "2", "3", "1e139", "-1e139"],
            &["1e300", "5"],
            &["5e-324", "1e-310", "2e-310"],
            &["1e-12", "2e-12", "9e-12"],
            &["7", "7", "7", "1e100"],
            &["3"],
        ];
        for normalization in
            [Normalization::Zscore, Normalization::Minmax, Normalization::Log1p, Normalization::Robust, Normalization::None]
        {
            for column in columns {
                let fitted = fitted(normalization, column);
                fitted.check().unwrap();
                for text in column {
                    match fitted.payload(&Cell::text(text), Path::new("")) {
                        Ok(Payload::Vector(values)) => assert!(values[0].abs() <= LARGEST, "{normalization:?} {text}"),
                        Ok(other) => panic!("{other:?}"),
                        Err(fault) => assert_eq!(fault.cause, Cause::TooLarge, "{normalization:?} {text}"),
                    }
                }
            }
        }
        let small = fitted(Normalization::Zscore, &["1e-12", "3e-12"]);
        assert_eq!((small.normalize(1e-12), small.normalize(3e-12)), (-1.0, 1.0));
        let none = fitted(Normalization::None, &["1"]);
        let fault = none.payload(&Cell::text("1e100"), Path::new("")).unwrap_err();
        assert!(fault.to_string().contains("normalization: robust"), "{fault}");
    }

    #[test]
    fn non_numeric_cells_are_malformed() {
        let fitted = fitted(Normalization::None, &["1"]);
        let fault = fitted.payload(&Cell::text("12a"), Path::new("")).unwrap_err();
        assert_eq!(fault.to_string(), "malformed: '12a' is not a number");
        assert!(fitted.payload(&Cell::text("inf"), Path::new("")).is_err());
    }
}
