//! Random augmentation of training audio, applied to its frames (SpecAugment, Park et al. 2019).

use mbm_config::{settings, tagged};
use rand::RngExt;

use crate::payload::Frames;
use crate::random::Rng;

settings! {
    /// A band of time steps or frequencies that is masked.
    pub struct Mask {
        /// Maximum share that is masked.
        share: f64 = 0.2 => 0.0..=0.9;
    }

    /// A random change of volume.
    pub struct Gain {
        /// Maximum change in either direction, in units of the normalized features.
        amount: f64 = 0.3 => 0.0..=10.0;
    }

    /// Gaussian noise on every value.
    pub struct Noise {
        /// Standard deviation, in units of the normalized features.
        amount: f64 = 0.1 => 0.0..=10.0;
    }
}

tagged! {
    /// One random augmentation of a training clip.
    pub enum AudioAugmentation {
        TimeMask(Mask) = "time_mask",
        FrequencyMask(Mask) = "frequency_mask",
        Gain(Gain) = "random_gain",
        Noise(Noise) = "random_noise",
    }
}

impl AudioAugmentation {
    /// Augments normalized frames in place, with `rng` as the only source of randomness; masked values become 0, the mean.
    pub fn apply(&self, frames: &mut Frames, rng: &mut Rng) {
        let width = frames.width.max(1);
        let n_steps = frames.data.len() / width;
        match self {
            Self::TimeMask(mask) => {
                let steps = band(n_steps, mask.share, rng);
                frames.data[steps.start * width..steps.end * width].fill(0.0);
            }
            Self::FrequencyMask(mask) => {
                let bands = band(width, mask.share, rng);
                frames.data.chunks_mut(width).for_each(|frame| frame[bands.clone()].fill(0.0));
            }
            Self::Gain(gain) => {
                let by = rng.random_range(-gain.amount..=gain.amount) as f32;
                frames.data.iter_mut().for_each(|value| *value += by);
            }
            Self::Noise(noise) => frames.data.iter_mut().for_each(|value| *value += (noise.amount * normal(rng)) as f32),
        }
    }
}

fn band(length: usize, share: f64, rng: &mut Rng) -> std::ops::Range<usize> {
    let size = rng.random_range(0..=(length as f64 * share) as usize);
    let start = rng.random_range(0..=length - size);
    start..start + size
}

/// Samples from the standard normal distribution (Box-Muller).
fn normal(rng: &mut Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequency_mask_zeroes_a_single_band() {
        let mut rng = crate::random::rng(3);
        let mut frames = Frames { width: 4, data: vec![1.0; 40] };
        AudioAugmentation::FrequencyMask(Mask { share: 0.5 }).apply(&mut frames, &mut rng);
        let silent: Vec<bool> = frames.data[..4].iter().map(|value| *value == 0.0).collect();
        assert!(frames.data.chunks(4).all(|frame| frame.iter().zip(&silent).all(|(value, is)| (*value == 0.0) == *is)));
        assert!(silent.iter().filter(|is| **is).count() <= 2);
    }
}
