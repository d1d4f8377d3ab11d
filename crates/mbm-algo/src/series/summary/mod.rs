//! Summary statistics of time series, for trees: a fixed number of named features whatever the lengths.

mod distribution;
mod intervals;
mod order;
mod spectrum;

use rayon::prelude::*;

use self::spectrum::Fourier;
use super::Series;
use super::channels::Channels;

/// Pairs are correlated among the first channels only, so that the number of features grows with that of the channels.
const MAX_CORRELATED: usize = 8;

/// Returns the summary statistics of all rows, `[rows, summary_names(n_channels).len()]`; NaN where a statistic is not defined.
///
/// In this order, with the names that [`summary_names`] returns:
/// - `length`: the number of steps.
/// - Of each channel, after gaps have been interpolated (see [`Series`]):
///   - `missing`: the share of steps without a value. A channel without any values has no other statistics.
///   - Distribution: `mean`, `std` (of the population), `min`, `max`, the quantiles `q05`, `q25`, `median`, `q75` and `q95`
///     (interpolated linearly), `skewness`, and `kurtosis` (3 for a normal distribution).
///   - Order: `first`, `last`; `slope`, the least-squares change per step; `change_mean`, `change_std` and `change_max` of the absolute
///     differences between steps; `argmin` and `argmax`, the positions of the first extremes in `0..=1`; `above_mean`, the share of
///     steps; `longest_above_mean`, the share of steps in the longest run of these; `crossings` of the mean, and `peaks`, which are
///     larger than both neighbors, per step.
///   - Spectrum of the channel minus its mean: shares of power in six octaves, from `power_period_2` (periods of 2 to 4 steps) to
///     `power_period_64` (of 64 and more); `frequency_mean` and `frequency_max`, the strongest one, in cycles per step;
///     `spectral_entropy` in `0..=1`.
///   - Autocorrelation: `autocorrelation_1`, `_2`, `_4`, `_8`, `_16`, and `correlation_length`, the first lag at which it is below 1/e.
///   - Intervals: the mean, standard deviation and slope of each eighth of the channel, `mean_1`, `std_1`, `slope_1` to `slope_8`.
///     (A time series forest, Deng et al. 2013, draws such intervals randomly.)
/// - `correlation_0_1`, .. of each pair of the first eight channels.
///
/// Shapes of the distribution, spectrum, autocorrelation and correlation are undefined for a constant channel.
///
/// # Panics
/// If a row has not `n_channels` channels.
pub fn summarize(rows: &[Series], n_channels: usize) -> Vec<f32> {
    let width = 1 + n_channels * N_STATISTICS + pairs(n_channels).count();
    let mut features = vec![f32::NAN; rows.len() * width];
    rows.par_iter().zip(features.par_chunks_mut(width)).for_each_init(Fourier::default, |fourier, (row, features)| {
        assert_eq!(row.n_channels, n_channels, "all series have the same channels");
        features.iter_mut().zip(of_series(*row, fourier)).for_each(|(feature, value)| *feature = single(value));
    });
    features
}

/// Returns the names of the summary statistics, in order. With several channels they start with the channel, from 0: `channel_2_mean`.
pub fn summary_names(n_channels: usize) -> Vec<String> {
    let of_channel = || {
        std::iter::once("missing").chain(distribution::NAMES).chain(order::NAMES).chain(spectrum::NAMES).chain(intervals::NAMES)
    };
    let name = |channel, name: &str| if n_channels == 1 { name.to_owned() } else { format!("channel_{channel}_{name}") };
    let mut names = vec!["length".to_owned()];
    names.extend((0..n_channels).flat_map(|channel| of_channel().map(move |it| name(channel, it))));
    names.extend(pairs(n_channels).map(|(a, b)| format!("correlation_{a}_{b}")));
    names
}

/// Number of statistics of a channel.
const N_STATISTICS: usize = 1 + distribution::NAMES.len() + order::NAMES.len() + spectrum::NAMES.len() + intervals::NAMES.len();

/// Returns the pairs of channels that are correlated.
fn pairs(n_channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = n_channels.min(MAX_CORRELATED);
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

fn of_series(series: Series, fourier: &mut Fourier) -> Vec<f64> {
    let channels = Channels::new(series);
    let n_steps = channels.n_steps;
    let values = |channel: usize| -> Vec<f64> { channels.channel(channel).iter().map(|value| f64::from(*value)).collect() };
    let mut statistics = vec![n_steps as f64];
    for (channel, n_missing) in channels.n_missing.iter().enumerate() {
        statistics.push(*n_missing as f64 / n_steps as f64);
        if *n_missing == n_steps {
            statistics.extend([f64::NAN; N_STATISTICS - 1]);
            continue;
        }
        let values = values(channel);
        statistics.extend(distribution::statistics(&values));
        statistics.extend(order::statistics(&values));
        statistics.extend(fourier.statistics(&values));
        statistics.extend(intervals::statistics(&values));
    }
    statistics.extend(pairs(series.n_channels).map(|(a, b)| correlation(&values(a), &values(b))));
    statistics
}

/// Returns the mean; NaN without values.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the deviations from the mean, all 0 for equal values.
fn centered(values: &[f64]) -> Vec<f64> {
    if values.iter().all(|value| *value == values[0]) {
        return vec![0.0; values.len()];
    }
    let mean = mean(values);
    values.iter().map(|value| value - mean).collect()
}

/// Returns the inner product.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the standard deviation of the population; NaN without values.
fn std(values: &[f64]) -> f64 {
    let centered = centered(values);
    (dot(&centered, &centered) / values.len() as f64).sqrt()
}

/// Returns the least-squares change per step; NaN for less than two values.
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let steps = || (0..values.len()).map(|step| step as f64 - middle);
    let covariance: f64 = steps().zip(centered(values)).map(|(step, value)| step * value).sum();
    covariance / steps().map(|step| step * step).sum::<f64>()
}

/// Returns Pearson's correlation; NaN if one of both is constant.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (centered(a), centered(b));
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// Converts to f32 within its range.
fn single(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn summary(values: &[f32], n_channels: usize) -> BTreeMap<String, f32> {
        let features = summarize(&[Series { values, n_channels }], n_channels);
        let names = summary_names(n_channels);
        assert_eq!(names.len(), features.len());
        names.into_iter().zip(features).collect()
    }

    #[test]
    fn a_line_has_its_slope_and_quantiles() {
        let values: Vec<f32> = (0..81).map(|step| step as f32 * 0.5).collect();
        let found = summary(&values, 1);
        for (name, want) in [
            ("length", 81.0),
            ("missing", 0.0),
            ("mean", 20.0),
            ("min", 0.0),
            ("q05", 2.0),
            ("median", 20.0),
            ("q95", 38.0),
            ("max", 40.0),
            ("skewness", 0.0),
            ("first", 0.0),
            ("last", 40.0),
            ("slope", 0.5),
            ("change_mean", 0.5),
            ("change_std", 0.0),
            ("change_max", 0.5),
            ("argmin", 0.0),
            ("argmax", 1.0),
            ("peaks", 0.0),
            ("slope_1", 0.5),
            ("slope_8", 0.5),
            ("mean_1", 2.25),
        ] {
            assert!((found[name] - want).abs() < 1e-6, "{name}: {} is not {want}", found[name]);
        }
        assert_eq!(
            (found["above_mean"], found["longest_above_mean"], found["crossings"]),
            (40.0 / 81.0, 40.0 / 81.0, 1.0 / 80.0)
        );
    }

    #[test]
    fn a_sine_has_its_frequency_and_autocorrelation() {
        let values: Vec<f32> = (0..512).map(|step| (step as f32 * std::f32::consts::TAU / 16.0).sin()).collect();
        let found = summary(&values, 1);
        assert_eq!(found["frequency_max"], 1.0 / 16.0);
        // The ends of the series broaden the line.
        assert!(found["power_period_16"] + found["power_period_8"] > 0.97, "{found:?}");
        // A share of 1 - lag / length of the products is left.
        assert!((found["autocorrelation_16"] - (1.0 - 16.0 / 512.0)).abs() < 1e-4, "{}", found["autocorrelation_16"]);
        assert!((found["autocorrelation_8"] + 1.0 - 8.0 / 512.0).abs() < 1e-4);
        assert_eq!(found["correlation_length"], 4.0);
        assert_eq!(found["peaks"], 32.0 / 512.0);
    }

    #[test]
    fn channels_are_named_and_correlated() {
        let found = summary(&[1.0, -2.0, 2.0, -4.0, 4.0, -8.0, f32::NAN, -8.0], 2);
        assert_eq!((found["length"], found["channel_0_missing"], found["channel_1_min"]), (4.0, 0.25, -8.0));
        assert!((found["correlation_0_1"] + 1.0).abs() < 1e-6);
        assert_eq!(summary_names(1)[..3], ["length", "missing", "mean"]);
        assert_eq!(summary_names(20).iter().filter(|name| name.starts_with("correlation")).count(), 28);
    }

    #[test]
    fn what_is_undefined_is_nan() {
        let constant = summary(&[0.1; 40], 1);
        assert_eq!((constant["std"], constant["slope"], constant["slope_3"], constant["crossings"]), (0.0, 0.0, 0.0, 0.0));
        for name in
            ["skewness", "power_period_2", "frequency_mean", "spectral_entropy", "autocorrelation_1", "correlation_length"]
        {
            assert!(constant[name].is_nan(), "{name}: {}", constant[name]);
        }
        let one = summary(&[2.0], 1);
        assert_eq!((one["mean"], one["std"], one["first"], one["last"]), (2.0, 0.0, 2.0, 2.0));
        assert!(
            ["slope", "change_mean", "argmax", "crossings", "autocorrelation_1", "mean_1"].iter().all(|name| one[*name].is_nan())
        );
        let absent = summary(&[f32::NAN; 3], 1);
        assert_eq!((absent["length"], absent["missing"]), (3.0, 1.0));
        assert_eq!(absent.values().filter(|value| !value.is_nan()).count(), 2);
        assert_eq!(summary(&[], 1).values().filter(|value| !value.is_nan()).count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn statistics_of_any_series_are_finite_or_nan(
            values in proptest::collection::vec(proptest::num::f32::ANY, 0..100), n_channels in 1usize..4,
        ) {
            let features = summarize(&[Series { values: &values, n_channels }], n_channels);
            proptest::prop_assert_eq!(features.len(), summary_names(n_channels).len());
            proptest::prop_assert!(features.iter().all(|value| !value.is_infinite()), "{:?}", features);
        }
    }
}
