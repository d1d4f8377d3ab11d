//! Regression metrics of numbers and of vectors (over all their elements).

use super::{Metric, SampleWeights, higher, lower, ranks};

/// True and predicted values, in the units of the data.
#[derive(Debug, Clone, Default)]
pub struct RegressionSamples {
    /// The true values.
    pub truth: Vec<f64>,
    /// The predictions, in the same order.
    pub predicted: Vec<f64>,
    /// The weight of each value.
    pub weights: SampleWeights,
}

metrics! {
    /// The metrics of a number or vector output.
    pub REGRESSION of RegressionSamples {
        lower "mean_absolute_error" = |scored| scored.weights.mean(scored.errors().map(f64::abs));
        lower "mean_squared_error" = mean_squared_error;
        lower "root_mean_squared_error" = |scored| mean_squared_error(scored).map(f64::sqrt);
        higher "r2" = r2;
        lower "mean_absolute_percentage_error" = mean_absolute_percentage_error;
        higher "spearman" = spearman;
        higher "pearson" = |scored| correlation(&scored.truth, &scored.predicted, &scored.weights);
    }
}

impl RegressionSamples {
    fn errors(&self) -> impl Iterator<Item = f64> {
        self.truth.iter().zip(&self.predicted).map(|(truth, predicted)| predicted - truth)
    }
}

fn mean_squared_error(scored: &RegressionSamples) -> Option<f64> {
    scored.weights.mean(scored.errors().map(|error| error * error))
}

/// The coefficient of determination; `None` if the true values are constant.
fn r2(scored: &RegressionSamples) -> Option<f64> {
    let weights = &scored.weights;
    let centre = weights.mean(scored.truth.iter().copied())?;
    let spread = weights.mean(scored.truth.iter().map(|truth| (truth - centre).powi(2)))?;
    let error = mean_squared_error(scored)?;
    let is_defined = spread > 0.0 && !is_constant(&scored.truth, weights);
    is_defined.then(|| 1.0 - error / spread)
}

/// Whether all values of rows that count are equal. The mean of equal values may differ from them in its last bit, so that their spread
/// is not zero.
fn is_constant(values: &[f64], weights: &SampleWeights) -> bool {
    let mut counted = values.iter().enumerate().filter(|(at, _)| weights.of(*at) > 0.0).map(|(_, value)| value);
    let first = counted.next();
    counted.all(|value| Some(value) == first)
}

fn mean_absolute_percentage_error(scored: &RegressionSamples) -> Option<f64> {
    let shares = scored.truth.iter().zip(scored.errors()).map(|(truth, error)| error.abs() / truth.abs().max(f64::EPSILON));
    scored.weights.mean(shares)
}

/// Spearman's rank correlation coefficient.
fn spearman(scored: &RegressionSamples) -> Option<f64> {
    let weights = &scored.weights;
    correlation(&ranks(&scored.truth, weights), &ranks(&scored.predicted, weights), weights)
}

/// Pearson correlation coefficient; `None` if either side is constant.
fn correlation(a: &[f64], b: &[f64], weights: &SampleWeights) -> Option<f64> {
    let (a_mean, b_mean) = (weights.mean(a.iter().copied())?, weights.mean(b.iter().copied())?);
    let sum = |of: &dyn Fn(f64, f64) -> f64| {
        let products = a.iter().zip(b).map(|(x, y)| of(x - a_mean, y - b_mean));
        products.enumerate().map(|(at, product)| weights.of(at) * product).sum::<f64>()
    };
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    let is_defined = spread > 0.0 && !is_constant(a, weights) && !is_constant(b, weights);
    is_defined.then(|| sum(&|x, y| x * y) / spread)
}
