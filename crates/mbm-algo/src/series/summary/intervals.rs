//! Statistics of eight intervals of equal length.

use super::{mean, slope, std};

/// Names of the statistics.
pub(super) const NAMES: [&str; 3 * N_INTERVALS] = [
    "mean_1", "std_1", "slope_1", "mean_2", "std_2", "slope_2", "mean_3", "std_3", "slope_3", "mean_4", "std_4", "slope_4",
    "mean_5", "std_5", "slope_5", "mean_6", "std_6", "slope_6", "mean_7", "std_7", "slope_7", "mean_8", "std_8", "slope_8",
];

const N_INTERVALS: usize = 8;

/// Returns the statistics of each interval; an interval is empty if there are too few values.
pub(super) fn statistics(values: &[f64]) -> [f64; NAMES.len()] {
    let interval = |idx: usize| &values[idx * values.len() / N_INTERVALS..(idx + 1) * values.len() / N_INTERVALS];
    std::array::from_fn(|at| [mean, std, slope][at % 3](interval(at / 3)))
}
