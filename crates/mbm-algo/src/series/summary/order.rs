//! Statistics of how a channel's values follow one another.

use super::{mean, slope, std};

/// Names of the statistics.
pub(super) const NAMES: [&str; 12] = [
    "first",
    "last",
    "slope",
    "change_mean",
    "change_std",
    "change_max",
    "argmin",
    "argmax",
    "above_mean",
    "longest_above_mean",
    "crossings",
    "peaks",
];

/// Returns the statistics of at least one value.
pub(super) fn statistics(values: &[f64]) -> [f64; NAMES.len()] {
    let n_steps = values.len() as f64;
    let changes: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let mean_value = mean(values);
    let above: Vec<bool> = values.iter().map(|value| *value > mean_value).collect();
    let n_crossings = above.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let n_peaks = values.windows(3).filter(|it| it[1] > it[0] && it[1] > it[2]).count();
    [
        values[0],
        values[values.len() - 1],
        slope(values),
        mean(&changes),
        std(&changes),
        changes.iter().copied().reduce(f64::max).unwrap_or(f64::NAN),
        first(values, |value, least| value < least) as f64 / (n_steps - 1.0),
        first(values, |value, most| value > most) as f64 / (n_steps - 1.0),
        above.iter().filter(|it| **it).count() as f64 / n_steps,
        longest_run(&above) as f64 / n_steps,
        n_crossings as f64 / (n_steps - 1.0),
        n_peaks as f64 / n_steps,
    ]
}

/// Returns the index of the first value that none of the others precedes in the given order.
fn first(values: &[f64], precedes: impl Fn(f64, f64) -> bool) -> usize {
    (1..values.len()).fold(0, |best, step| if precedes(values[step], values[best]) { step } else { best })
}

/// Returns the length of the longest run of `true`.
fn longest_run(values: &[bool]) -> usize {
    values.split(|value| !value).map(<[bool]>::len).max().unwrap_or(0)
}
