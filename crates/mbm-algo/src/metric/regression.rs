//! Regression metrics of numbers and of vectors (over all their elements).

use super::{Metric, higher, lower, mean, ranks};

/// True and predicted values, in the units of the data.
#[derive(Debug, Clone, Default)]
pub struct RegressionSamples {
    /// The true values.
    pub truth: Vec<f64>,
    /// The predictions, in the same order.
    pub predicted: Vec<f64>,
}

metrics! {
    /// The metrics of a number or vector output.
    pub REGRESSION of RegressionSamples {
        lower "mean_absolute_error" = |scored| mean(scored.errors().map(f64::abs));
        lower "mean_squared_error" = mean_squared_error;
        lower "root_mean_squared_error" = |scored| mean_squared_error(scored).map(f64::sqrt);
        higher "r2" = r2;
        lower "mean_absolute_percentage_error" = mean_absolute_percentage_error;
        higher "spearman" = |scored| correlation(&ranks(&scored.truth), &ranks(&scored.predicted));
        higher "pearson" = |scored| correlation(&scored.truth, &scored.predicted);
    }
}

impl RegressionSamples {
    fn errors(&self) -> impl Iterator<Item = f64> {
        self.truth.iter().zip(&self.predicted).map(|(truth, predicted)| predicted - truth)
    }
}

fn mean_squared_error(scored: &RegressionSamples) -> Option<f64> {
    mean(scored.errors().map(|error| error * error))
}

/// The coefficient of determination; `None` if the true values are constant.
fn r2(scored: &RegressionSamples) -> Option<f64> {
    let centre = mean(scored.truth.iter().copied())?;
    let spread: f64 = scored.truth.iter().map(|truth| (truth - centre).powi(2)).sum();
    let is_defined = spread > 0.0 && !is_constant(&scored.truth);
    is_defined.then(|| 1.0 - scored.errors().map(|error| error * error).sum::<f64>() / spread)
}

/// Whether all values are equal. The mean of equal values may differ from them in its last bit, so that their spread is not zero.
fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn mean_absolute_percentage_error(scored: &RegressionSamples) -> Option<f64> {
    let shares = scored.truth.iter().zip(scored.errors()).map(|(truth, error)| error.abs() / truth.abs().max(f64::EPSILON));
    mean(shares)
}

/// Pearson correlation coefficient; `None` if either side is constant.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a_mean, b_mean) = (mean(a.iter().copied())?, mean(b.iter().copied())?);
    let sum = |of: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| of(x - a_mean, y - b_mean)).sum::<f64>();
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    let is_defined = spread > 0.0 && !is_constant(a) && !is_constant(b);
    is_defined.then(|| sum(&|x, y| x * y) / spread)
}
