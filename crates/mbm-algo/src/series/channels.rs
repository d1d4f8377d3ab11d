//! The channels of a series, one after another, with gaps filled.

use super::Series;

/// A series by channel, `[n_channels, n_steps]`, without missing values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Channels {
    /// `n_channels * n_steps` finite values.
    values: Vec<f32>,
    /// Number of steps.
    pub n_steps: usize,
    /// Number of values of each channel that were missing.
    pub n_missing: Vec<usize>,
}

impl Channels {
    /// Transposes a series and fills its gaps; a channel without any values is 0.
    pub fn new(series: Series) -> Self {
        let (n_steps, n_channels) = (series.n_steps(), series.n_channels);
        let mut values = Vec::with_capacity(n_steps * n_channels);
        for channel in 0..n_channels {
            values.extend(series.values.iter().skip(channel).step_by(n_channels).take(n_steps));
        }
        let mut channels = Self { values, n_steps, n_missing: vec![0; n_channels] };
        for channel in 0..n_channels {
            channels.n_missing[channel] = fill_gaps(channels.channel_mut(channel));
        }
        channels
    }

    /// Returns the values of one channel, `[n_steps]`.
    pub fn channel(&self, channel: usize) -> &[f32] {
        &self.values[channel * self.n_steps..(channel + 1) * self.n_steps]
    }

    /// Returns the values of one channel, `[n_steps]`.
    pub fn channel_mut(&mut self, channel: usize) -> &mut [f32] {
        &mut self.values[channel * self.n_steps..(channel + 1) * self.n_steps]
    }
}

/// Interpolates missing values between their neighbors and returns how many there were.
fn fill_gaps(values: &mut [f32]) -> usize {
    let mut n_missing = 0;
    let mut last = None;
    for step in 0..values.len() {
        let value = values[step];
        if !value.is_finite() {
            n_missing += 1;
            continue;
        }
        match last {
            Some((last, _)) => interpolate(&mut values[last..=step]),
            None => values[..step].fill(value),
        }
        last = Some((step, value));
    }
    let (end, value) = last.unwrap_or((0, 0.0));
    values[end..].fill(value);
    n_missing
}

/// Sets the values between the first and the last one of a slice to the line through these.
fn interpolate(values: &mut [f32]) {
    let end = values.len() - 1;
    let (from, to) = (f64::from(values[0]), f64::from(values[end]));
    for (step, value) in values.iter_mut().enumerate().take(end).skip(1) {
        *value = (from + (to - from) * step as f64 / end as f64) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    #[test]
    fn gaps_are_interpolated_and_ends_take_the_nearest_value() {
        let values = [NAN, 1.0, 2.0, NAN, f32::INFINITY, NAN, 6.0, NAN, NAN, NAN];
        let channels = Channels::new(Series { values: &values, n_channels: 2 });
        assert_eq!(channels.n_missing, [3, 4]);
        assert_eq!(channels.channel(0), [2.0, 2.0, 4.0, 6.0, 6.0]);
        assert_eq!(channels.channel(1), [1.0, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_channel_without_values_is_zero() {
        let channels = Channels::new(Series { values: &[NAN, 1.0, NAN, 3.0], n_channels: 2 });
        assert_eq!(channels.channel(0), [0.0, 0.0]);
        assert_eq!(Channels::new(Series { values: &[], n_channels: 2 }).channel(1), [] as [f32; 0]);
    }

    proptest::proptest! {
        #[test]
        fn every_value_is_finite_and_present_ones_are_unchanged(
            values in proptest::collection::vec(proptest::num::f32::ANY, 0..60), n_channels in 1usize..5,
        ) {
            let channels = Channels::new(Series { values: &values, n_channels });
            for step in 0..channels.n_steps {
                for channel in 0..n_channels {
                    let (got, given) = (channels.channel(channel)[step], values[step * n_channels + channel]);
                    proptest::prop_assert!(got.is_finite() && (got == given || !given.is_finite()), "{got} {given}");
                }
            }
        }
    }
}
