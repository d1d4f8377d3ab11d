//! Hydra: random convolutional kernels that compete within groups, counted by who wins.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use super::padded::{N_TAPS, Padded};
use super::{ChannelScaling, Series};
use crate::AlgoError;

/// Kernels of each group (`k`).
const N_KERNELS: usize = 8;

/// Weights of each group.
const N_WEIGHTS: usize = N_KERNELS * N_TAPS;

/// Features of each group: as the largest, and as the smallest.
const N_COUNTS: usize = 2 * N_KERNELS;

/// Maximum number of channels that one group sums.
const MAX_CHANNELS: usize = 8;

/// Steps that are convolved at a time, so that they stay in the cache.
const N_BLOCK: usize = 512;

/// How many kernels compete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HydraOptions {
    /// Groups of eight kernels at each dilation, half of them on the series and half on its differences; rounded up to an even number.
    pub n_groups: usize,
}

impl Default for HydraOptions {
    /// Returns the paper's value, 64.
    fn default() -> Self {
        Self { n_groups: 64 }
    }
}

/// A fitted transform of series to counts, for [`SparseScaler`](super::SparseScaler) and a linear model.
///
/// Kernels have nine random weights, in groups of eight, at dilations 1, 2, 4, and so on. At each step, the kernel of a group with the
/// largest convolution adds that value to its first feature, and the one with the smallest adds 1 to its second. Half of the groups
/// read the series, and half its first differences. With several channels, each group reads the sum of some random ones.
///
/// Differs from the reference implementation in that channels are standardized first (`scaling`), missing values are interpolated, and
/// counts are scaled to the length of the longest training row, so that lengths may differ.
///
/// Source: Dempster, Schmidt and Webb, "Hydra: competing convolutional kernels for fast and accurate time series classification",
/// Data Mining and Knowledge Discovery 2023, <https://arxiv.org/abs/2203.13652>, and the authors' extension to several channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hydra {
    /// Scales each channel.
    pub scaling: ChannelScaling,
    /// The number of steps that counts refer to.
    pub reference_length: u32,
    /// Number of groups on the series, and again on its differences, at each dilation.
    pub n_groups: usize,
    /// The dilations, in ascending order.
    pub dilations: Vec<u32>,
    /// The channels of each group, `[dilations, 2, n_groups]`.
    pub channels: Vec<Vec<u32>>,
    /// The weights, `[dilations, 2, n_groups, 8, 9]`; those of a kernel sum to 0, and their magnitudes to 1.
    pub weights: Vec<f32>,
}

impl Hydra {
    /// Fits the scaling on the training rows; the dilations follow from the longest of them. `seed` determines weights and channels.
    ///
    /// # Errors
    /// If there are no rows, or rows differ in their numbers of channels.
    pub fn fit(rows: &[Series], options: HydraOptions, seed: u64) -> Result<Self, AlgoError> {
        let scaling = ChannelScaling::fit(rows)?;
        let longest = rows.iter().map(Series::n_steps).max().unwrap_or(0).max(N_TAPS);
        let n_dilations = 1 + ((longest - 1) / (N_TAPS - 1)).ilog2();
        let n_groups = options.n_groups.div_ceil(2).max(1);
        let n_groups_in_total = n_dilations as usize * 2 * n_groups;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n_channels = scaling.means.len();
        Ok(Self {
            reference_length: u32::try_from(longest).unwrap_or(u32::MAX),
            n_groups,
            dilations: (0..n_dilations).map(|exponent| 1 << exponent).collect(),
            channels: (0..n_groups_in_total).map(|_| random_channels(n_channels, &mut rng)).collect(),
            weights: (0..n_groups_in_total * N_KERNELS).flat_map(|_| random_kernel(&mut rng)).collect(),
            scaling,
        })
    }

    /// Returns the number of features of a row.
    pub fn n_features(&self) -> usize {
        self.channels.len() * N_COUNTS
    }

    /// Whether the transform is consistent with series of `n_channels` channels, as one fitted on such rows is; checks deserialized
    /// transforms.
    pub fn suits(&self, n_channels: usize) -> bool {
        let n_groups = self.dilations.len().checked_mul(2).and_then(|n| n.checked_mul(self.n_groups));
        let is_valid = |channels: &Vec<u32>| {
            (1..=MAX_CHANNELS).contains(&channels.len()) && channels.iter().all(|channel| (*channel as usize) < n_channels)
        };
        self.scaling.suits(n_channels)
            && self.reference_length > 0
            && self.n_groups > 0
            && n_groups == Some(self.channels.len())
            && self.channels.iter().all(is_valid)
            && self.weights.len() == self.channels.len() * N_WEIGHTS
            && self.weights.iter().all(|weight| weight.abs() <= 1.0)
    }

    /// Returns the features of all rows, `[rows, n_features]`: by dilation, then of the series and of its differences, the counts as the
    /// largest `[n_groups, 8]`, then those as the smallest.
    pub fn transform(&self, rows: &[Series]) -> Vec<f32> {
        let n_features = self.n_features();
        let mut features = vec![0f32; rows.len() * n_features];
        rows.par_iter()
            .zip(features.par_chunks_mut(n_features.max(1)))
            .for_each(|(row, features)| self.transform_row(&self.scaling.apply(*row), features));
        features
    }

    fn transform_row(&self, channels: &Channels, features: &mut [f32]) {
        let parts = self.channels.chunks(self.n_groups).zip(self.weights.chunks(self.n_groups * N_WEIGHTS));
        for (idx, (counts, (sources, weights))) in features.chunks_mut(self.n_groups * N_COUNTS).zip(parts).enumerate() {
            let (largest, smallest) = counts.split_at_mut(self.n_groups * N_KERNELS);
            let counts = largest.chunks_mut(N_KERNELS).zip(smallest.chunks_mut(N_KERNELS));
            let mut signal = Signal { uses_differences: !idx.is_multiple_of(2), ..Signal::default() };
            for ((sources, weights), (largest, smallest)) in sources.iter().zip(weights.chunks(N_WEIGHTS)).zip(counts) {
                compete(signal.taps(channels, sources, self.dilations[idx / 2]), weights, Counts { largest, smallest });
            }
        }
        let scale = self.reference_length as f32 / channels.n_steps.max(1) as f32;
        features.iter_mut().for_each(|count| *count *= scale);
    }
}

/// What a group reads; consecutive groups may read the same.
#[derive(Debug, Default)]
struct Signal {
    uses_differences: bool,
    /// The channels in `sum`.
    sources: Vec<u32>,
    sum: Padded,
}

impl Signal {
    fn taps(&mut self, channels: &Channels, sources: &[u32], dilation: u32) -> [&[f32]; N_TAPS] {
        if self.sources != sources {
            self.sum.set_sum(channels, sources);
            if self.uses_differences {
                self.sum.difference();
            }
            self.sources = sources.to_vec();
        }
        self.sum.taps(dilation as usize)
    }
}

/// The features of a group.
struct Counts<'a> {
    /// `[8]`: the sum of the values of each kernel where it is the largest.
    largest: &'a mut [f32],
    /// `[8]`: the number of steps at which each kernel is the smallest.
    smallest: &'a mut [f32],
}

/// Convolves with the kernels of a group, `[8, 9]`, and counts the winners at each step.
fn compete(taps: [&[f32]; N_TAPS], weights: &[f32], counts: Counts) {
    let n_steps = taps[0].len();
    let mut winners = Winners::default();
    for start in (0..n_steps).step_by(N_BLOCK) {
        let end = (start + N_BLOCK).min(n_steps);
        winners.clear(end - start);
        for (kernel, weights) in (0..).zip(weights.chunks(N_TAPS)) {
            winners.challenge(kernel, taps.map(|tap| &tap[start..end]), weights);
        }
        for (value, kernel) in winners.maximum.iter().zip(&winners.largest) {
            counts.largest[*kernel as usize] += value;
        }
        winners.smallest.iter().for_each(|kernel| counts.smallest[*kernel as usize] += 1.0);
    }
}

/// The kernels with the largest and the smallest convolution at consecutive steps; of equal ones the first.
#[derive(Default)]
struct Winners {
    maximum: Vec<f32>,
    largest: Vec<u32>,
    minimum: Vec<f32>,
    smallest: Vec<u32>,
    /// The convolution with the last kernel.
    values: Vec<f32>,
}

impl Winners {
    fn clear(&mut self, n_steps: usize) {
        self.values.resize(n_steps, 0.0);
        self.maximum.clear();
        self.maximum.resize(n_steps, f32::NEG_INFINITY);
        self.minimum.clear();
        self.minimum.resize(n_steps, f32::INFINITY);
        self.largest.resize(n_steps, 0);
        self.smallest.resize(n_steps, 0);
    }

    fn challenge(&mut self, kernel: u32, taps: [&[f32]; N_TAPS], weights: &[f32]) {
        convolve(taps, weights, &mut self.values);
        for ((value, maximum), largest) in self.values.iter().zip(&mut self.maximum).zip(&mut self.largest) {
            *largest = if *value > *maximum { kernel } else { *largest };
            *maximum = if *value > *maximum { *value } else { *maximum };
        }
        for ((value, minimum), smallest) in self.values.iter().zip(&mut self.minimum).zip(&mut self.smallest) {
            *smallest = if *value < *minimum { kernel } else { *smallest };
            *minimum = if *value < *minimum { *value } else { *minimum };
        }
    }
}

/// Writes the weighted sum of the nine taps at each step.
fn convolve(taps: [&[f32]; N_TAPS], weights: &[f32], out: &mut [f32]) {
    let n = out.len();
    let [a, b, c, d, e, f, g, h, i] = taps.map(|tap| &tap[..n]);
    let [p, q, r, s, t, u, v, w, x] = std::array::from_fn(|tap| weights[tap]);
    for step in 0..n {
        let left = p * a[step] + q * b[step] + r * c[step] + s * d[step];
        let right = u * f[step] + v * g[step] + w * h[step] + x * i[step];
        out[step] = left + t * e[step] + right;
    }
}

/// Draws half of the channels, at least two and at most eight, with replacement.
fn random_channels(n_channels: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let n = if n_channels == 1 { 1 } else { (n_channels / 2).clamp(2, MAX_CHANNELS) };
    (0..n).map(|_| rng.random_range(0..n_channels) as u32).collect()
}

/// Draws normally distributed weights, of which the mean is subtracted, divided by the sum of their magnitudes.
fn random_kernel(rng: &mut ChaCha8Rng) -> [f32; N_TAPS] {
    let weights: [f64; N_TAPS] = std::array::from_fn(|_| normal(rng));
    let mean = weights.iter().sum::<f64>() / N_TAPS as f64;
    let magnitude: f64 = weights.iter().map(|weight| (weight - mean).abs()).sum();
    weights.map(|weight| ((weight - mean) / magnitude.max(f64::MIN_POSITIVE)) as f32)
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_kernel_sum_to_0_and_their_magnitudes_to_1() {
        let kernel = random_kernel(&mut ChaCha8Rng::seed_from_u64(1));
        assert!(kernel.iter().sum::<f32>().abs() < 1e-6 && (kernel.iter().map(|it| it.abs()).sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_first_of_equal_kernels_wins() {
        let zeros = Series { values: &[0.0; 20], n_channels: 1 };
        let transform = Hydra::fit(&[zeros], HydraOptions { n_groups: 2 }, 1).unwrap();
        let features = transform.transform(&[zeros]);
        assert_eq!(features.len(), 2 * 2 * 16);
        // Of the series and of its differences: as the largest, as the smallest.
        assert_eq!(features[..16], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(features[24..27], [19.0, 0.0, 0.0]);
    }

    #[test]
    fn every_step_has_a_winner_in_each_group() {
        let values: Vec<f32> = (0..700).map(|step| (step as f32 * 0.3).sin() * 10.0).collect();
        let row = Series { values: &values, n_channels: 1 };
        let transform = Hydra::fit(&[row], HydraOptions { n_groups: 6 }, 1).unwrap();
        for (idx, features) in transform.transform(&[row]).chunks(3 * N_COUNTS).enumerate() {
            for smallest in features[3 * N_KERNELS..].chunks(N_KERNELS) {
                assert_eq!(smallest.iter().sum::<f32>(), if idx.is_multiple_of(2) { 700.0 } else { 699.0 });
            }
        }
    }
}
