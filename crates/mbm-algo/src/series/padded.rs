//! A signal between zeros, as dilated convolutions of nine weights read it.

use super::channels::Channels;

/// Number of weights of every kernel.
pub(super) const N_TAPS: usize = 9;

/// A signal with as many zeros before and after it as it has steps, which is enough for any dilation.
#[derive(Debug, Default)]
pub(super) struct Padded {
    /// `3 * n_steps` values.
    values: Vec<f32>,
    n_steps: usize,
}

impl Padded {
    /// Sets the signal to the sum of the channels at `idx`.
    pub fn set_sum(&mut self, channels: &Channels, idx: &[u32]) {
        self.n_steps = channels.n_steps;
        self.values.clear();
        self.values.resize(3 * self.n_steps, 0.0);
        let signal = &mut self.values[self.n_steps..2 * self.n_steps];
        for channel in idx {
            signal.iter_mut().zip(channels.channel(*channel as usize)).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Replaces the signal by the differences between steps, of which there is one less.
    pub fn difference(&mut self) {
        let signal = &self.values[self.n_steps..2 * self.n_steps];
        let differences: Vec<f32> = signal.windows(2).map(|pair| pair[1] - pair[0]).collect();
        self.n_steps = differences.len();
        self.values.clear();
        self.values.resize(3 * self.n_steps, 0.0);
        self.values[self.n_steps..2 * self.n_steps].copy_from_slice(&differences);
    }

    /// Returns for each weight the values that it meets at each step, `[9][n_steps]`: the signal, shifted by `-4..=4` times the
    /// dilation.
    pub fn taps(&self, dilation: usize) -> [&[f32]; N_TAPS] {
        std::array::from_fn(|tap| {
            let shift = dilation.saturating_mul(tap.abs_diff(N_TAPS / 2)).min(self.n_steps);
            let start = if tap < N_TAPS / 2 { self.n_steps - shift } else { self.n_steps + shift };
            &self.values[start..start + self.n_steps]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Series;

    #[test]
    fn taps_are_the_shifted_sum_of_channels() {
        let channels = Channels::new(Series { values: &[1.0, 10.0, 5.0, 2.0, 20.0, 5.0, 3.0, 30.0, 5.0], n_channels: 3 });
        let mut signal = Padded::default();
        signal.set_sum(&channels, &[0, 1]);
        let taps = signal.taps(1);
        assert_eq!((taps[0], taps[3], taps[4]), (&[0.0, 0.0, 0.0][..], &[0.0, 11.0, 22.0][..], &[11.0, 22.0, 33.0][..]));
        assert_eq!((taps[6], taps[8]), (&[33.0, 0.0, 0.0][..], &[0.0, 0.0, 0.0][..]));
        assert_eq!(signal.taps(usize::MAX)[4], [11.0, 22.0, 33.0]);
        assert_eq!(signal.taps(usize::MAX)[5], [0.0, 0.0, 0.0]);
        signal.difference();
        assert_eq!(signal.taps(1)[4], [11.0, 11.0]);
    }

    #[test]
    fn a_signal_without_steps_has_no_differences() {
        let mut signal = Padded::default();
        signal.set_sum(&Channels::new(Series { values: &[], n_channels: 1 }), &[0]);
        signal.difference();
        assert_eq!(signal.taps(3)[8], [] as [f32; 0]);
    }
}
