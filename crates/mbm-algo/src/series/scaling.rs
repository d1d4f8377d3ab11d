//! Standardization of channels, so that channels can be summed and zeros around a series are its mean.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use super::{Series, check};
use crate::AlgoError;

/// Scaled values beyond this are clamped, so that sums over steps, channels and weights stay finite.
const LARGEST: f32 = 1e30;

/// Mean and standard deviation of each channel over all steps of the training rows.
///
/// The kernels of this module sum to zero, so the mean matters only at the ends of a series, which zeros surround; the deviations
/// matter where channels are summed. Series that are standardized already, as those of the UCR archive, change little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelScaling {
    /// The mean of each channel.
    pub means: Vec<f32>,
    /// The standard deviation of each channel; 1 for a constant one.
    pub deviations: Vec<f32>,
}

impl ChannelScaling {
    /// Measures the values that are present.
    ///
    /// # Errors
    /// If there are no rows, or rows differ in their numbers of channels.
    pub fn fit(rows: &[Series]) -> Result<Self, AlgoError> {
        let n_channels = check(rows)?;
        let sums = sums(rows, n_channels, |_, value| value);
        let counts = self::sums(rows, n_channels, |_, _| 1.0);
        let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count.max(1.0)).collect();
        let squares = self::sums(rows, n_channels, |channel, value| (value - means[channel]).powi(2));
        let deviation = |(square, count): (&f64, &f64)| match (square / count.max(1.0)).sqrt() as f32 {
            deviation if deviation > 0.0 => deviation,
            _ => 1.0,
        };
        let deviations = squares.iter().zip(&counts).map(deviation).collect();
        Ok(Self { means: means.into_iter().map(|mean| mean as f32).collect(), deviations })
    }

    /// Whether this scales `n_channels` channels to finite values; checks deserialized models.
    pub fn suits(&self, n_channels: usize) -> bool {
        (self.means.len(), self.deviations.len()) == (n_channels, n_channels)
            && self.means.iter().all(|mean| mean.is_finite())
            && self.deviations.iter().all(|deviation| deviation.is_finite() && *deviation > 0.0)
    }

    /// Returns the scaled channels of a series, which are finite.
    pub(super) fn apply(&self, series: Series) -> Channels {
        let mut channels = Channels::new(series);
        for (channel, (mean, deviation)) in self.means.iter().zip(&self.deviations).enumerate() {
            let scale = |value: &mut f32| *value = ((*value - mean) / deviation).clamp(-LARGEST, LARGEST);
            channels.channel_mut(channel).iter_mut().for_each(scale);
        }
        channels
    }
}

/// Sums `term(channel, value)` over the finite values of each channel. Rows are summed in order, for the same result on any number of
/// threads.
fn sums(rows: &[Series], n_channels: usize, term: impl Fn(usize, f64) -> f64 + Sync) -> Vec<f64> {
    let of_row = |row: &Series| {
        let mut sums = vec![0f64; n_channels];
        for step in row.values.chunks_exact(n_channels) {
            for (channel, value) in step.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                sums[channel] += term(channel, f64::from(*value));
            }
        }
        sums
    };
    let by_row: Vec<Vec<f64>> = rows.par_iter().map(of_row).collect();
    by_row.iter().fold(vec![0f64; n_channels], |total, row| total.iter().zip(row).map(|(a, b)| a + b).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_have_mean_0_and_deviation_1_over_all_rows() {
        let rows = [[1.0, 5.0, 3.0, 5.0], [1.0, f32::NAN, 3.0, 5.0]];
        let rows = [Series { values: &rows[0], n_channels: 2 }, Series { values: &rows[1], n_channels: 2 }];
        let scaling = ChannelScaling::fit(&rows).unwrap();
        assert_eq!((&scaling.means[..], &scaling.deviations[..]), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
        let scaled = scaling.apply(rows[1]);
        assert_eq!((scaled.channel(0), scaled.channel(1)), (&[-1.0, 1.0][..], &[0.0, 0.0][..]));
        assert!(scaling.suits(2) && !scaling.suits(1));
    }

    #[test]
    fn rows_need_the_same_channels() {
        let rows = [Series { values: &[1.0, 2.0], n_channels: 2 }, Series { values: &[1.0], n_channels: 1 }];
        let error = ChannelScaling::fit(&rows).unwrap_err();
        assert_eq!(error, AlgoError::Channels { row: 1, channels: 1, expected: 2 });
        assert_eq!(error.to_string(), "the series of row 1 has 1 channels, that of row 0 has 2");
        assert_eq!(ChannelScaling::fit(&[]).unwrap_err(), AlgoError::Shape { rows: 0, targets: 0 });
    }

    #[test]
    fn extreme_values_stay_finite() {
        let scaling = ChannelScaling { means: vec![-3e38], deviations: vec![1e-38] };
        let scaled = scaling.apply(Series { values: &[f32::MAX, f32::MIN, 0.0], n_channels: 1 });
        assert_eq!(scaled.channel(0), [1e30, -1e30, 1e30]);
    }
}
