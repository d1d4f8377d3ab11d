//! Statistics of the distribution of a channel's values.

use super::{centered, mean};
use crate::series::quantile;

/// Names of the statistics.
pub(super) const NAMES: [&str; 11] = ["mean", "std", "min", "max", "q05", "q25", "median", "q75", "q95", "skewness", "kurtosis"];

/// Returns the statistics of at least one value.
pub(super) fn statistics(values: &[f64]) -> [f64; NAMES.len()] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let [q05, q25, median, q75, q95] = [0.05, 0.25, 0.5, 0.75, 0.95].map(|at| quantile(&sorted, at));
    let centered = centered(values);
    let moment = |order| mean(&centered.iter().map(|value| value.powi(order)).collect::<Vec<_>>());
    let variance = moment(2);
    let (skewness, kurtosis) = (moment(3) / variance.powf(1.5), moment(4) / variance.powi(2));
    [mean(values), variance.sqrt(), sorted[0], sorted[sorted.len() - 1], q05, q25, median, q75, q95, skewness, kurtosis]
}
