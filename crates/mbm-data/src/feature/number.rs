//! Numbers, normalized with statistics of the training rows.

use std::path::Path;

use mbm_config::{choices, settings};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, LARGEST, Moments, Preprocess, Preprocessor, Shape, ensure, number_of};
use crate::notation::null_values::{self, NullValues};
use crate::notation::number::{Decimal, DecimalVotes};
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
    /// Preprocessing settings for numbers. `1,200.50`, `1 200`, `$5`, `5 EUR`, `12 %` and `(5)` for -5 are numbers, too; `12 %` is
    /// 12. Other units, such as in `5 kg`, are not.
    pub struct NumberPreprocessing {
        /// How values are scaled.
        normalization: Normalization = Normalization::Zscore;
        /// The character in front of the decimals. If unset, it is a comma if more training cells can be read only with a comma, such
        /// as `1,5` or `1.234,50`, than only with a point.
        decimal: Option<Decimal> = None;
        /// Words that mark a cell as empty; `[]` for none. If unset, they are `NA`, `N/A`, `n/a`, `#N/A`, `#NA`, `<NA>`, `NaN`, `nan`,
        /// `NaT`, `null`, `NULL`, `None`, `?`, `-`, `--`, `.` and `#VALUE!`.
        null_values: Option<Vec<String>> = None;
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
    /// The character in front of the decimals.
    #[serde(default)]
    pub decimal: Decimal,
    /// Words that mark a cell as empty.
    #[serde(default)]
    pub null_values: NullValues,
}

/// Number of values that the quantiles are computed from: a uniform sample of the training rows.
const N_SAMPLED: usize = 10_000;
const N_BINS: usize = 32;

/// Bound that smoothly clipped values stay below.
const BOUND: f64 = 3.0;

struct NumberFitter {
    settings: NumberPreprocessing,
    null_values: NullValues,
    with_point: Values,
    /// `None` as long as every cell reads the same with either notation.
    with_comma: Option<Values>,
    votes: DecimalVotes,
}

/// Statistics of the values of one notation.
#[derive(Debug, Clone)]
struct Values {
    is_log: bool,
    moments: Moments,
    range: (f64, f64),
    sample: Vec<f64>,
    n_seen: usize,
    rng: Rng,
}

impl NumberPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(NumberFitter {
            null_values: NullValues::of(self.null_values.as_ref()),
            with_point: Values::new(self.normalization == Normalization::Log1p),
            with_comma: None,
            votes: DecimalVotes::default(),
            settings: self.clone(),
        })
    }
}

fn log1p(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

impl Values {
    fn new(is_log: bool) -> Self {
        let range = (f64::INFINITY, f64::NEG_INFINITY);
        Self { is_log, moments: Moments::default(), range, sample: Vec::new(), n_seen: 0, rng: rng(0) }
    }

    fn add(&mut self, value: f64) {
        let value = if self.is_log { log1p(value) } else { value };
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

    /// Returns the offset and scale of a normalization; the sample must be sorted.
    fn offset_and_scale(&self, normalization: Normalization) -> (f64, f64) {
        match normalization {
            Normalization::Zscore | Normalization::Log1p => self.moments.exact(),
            Normalization::Minmax => (self.range.0, if self.range.1 > self.range.0 { self.range.1 - self.range.0 } else { 1.0 }),
            Normalization::Robust => robust(&self.sample),
            Normalization::None => (0.0, 1.0),
        }
    }
}

impl Fitter for NumberFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if self.null_values.word_in(cell).is_some() {
            return;
        }
        let [point, comma] = [Decimal::Point, Decimal::Comma].map(|decimal| number_of(cell, decimal).ok());
        self.votes.add(point, comma);
        if point != comma && self.with_comma.is_none() {
            self.with_comma = Some(self.with_point.clone());
        }
        point.into_iter().for_each(|value| self.with_point.add(value));
        comma.iter().zip(&mut self.with_comma).for_each(|(value, values)| values.add(*value));
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let Self { settings, null_values, with_point, with_comma, votes } = *self;
        let decimal = settings.decimal.unwrap_or_else(|| votes.decimal());
        let mut values = match decimal {
            Decimal::Point => with_point,
            Decimal::Comma => with_comma.unwrap_or(with_point),
        };
        if values.sample.is_empty() {
            return Err(FitError::NoValue("number"));
        }
        values.sample.sort_by(f64::total_cmp);
        let (offset, scale) = values.offset_and_scale(settings.normalization);
        let mut fitted = FittedNumber {
            log: values.is_log,
            offset,
            scale,
            squeezed: settings.normalization == Normalization::Robust,
            quantiles: Vec::new(),
            decimal,
            null_values,
        };
        let mut quantiles: Vec<f32> = (0..=N_BINS)
            .map(|bin| fitted.scaled(values.sample[bin * (values.sample.len() - 1) / N_BINS]).clamp(-LARGEST, LARGEST))
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
        if let Some(word) = self.null_values.word_in(cell) {
            return Err(null_values::fault(&word));
        }
        let value = number_of(cell, self.decimal)?;
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
mod tests;
