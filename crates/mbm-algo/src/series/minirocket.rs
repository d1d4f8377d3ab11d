//! MiniRocket: the shares of steps at which fixed convolutions exceed fitted thresholds.

use rand::seq::index;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::channels::Channels;
use super::dilations::dilations;
use super::padded::{N_TAPS, Padded};
use super::{ChannelScaling, Series, quantile};
use crate::AlgoError;

/// Number of kernels: the choices of three of nine weights.
const N_KERNELS: usize = 84;

/// The positions of the weights 2 of each kernel; the other six are -1.
const KERNELS: [[usize; 3]; N_KERNELS] = kernels();

/// Maximum number of channels that one convolution sums.
const MAX_CHANNELS: usize = 9;

/// How many features are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiniRocketOptions {
    /// Number of features, rounded down to a multiple of 84, and at least 84.
    pub n_features: usize,
    /// Maximum number of dilations.
    pub max_dilations: usize,
}

impl Default for MiniRocketOptions {
    /// Returns the paper's values: 9,996 features, 32 dilations.
    fn default() -> Self {
        Self { n_features: 10_000, max_dilations: 32 }
    }
}

/// Where kernels are applied near the ends of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Every other combination of kernel and dilation is applied only where the whole kernel lies within the series, if it fits
    /// at all; the others are applied at every step, with zeros around the series.
    Alternating,
    /// All are applied at every step, so that lengths may differ.
    Always,
}

/// A dilation of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dilation {
    /// Steps from one weight to the next.
    pub steps: u32,
    /// Number of thresholds of each kernel.
    pub n_features: u32,
}

/// A fitted transform of series to shares in `0..=1`, for a linear model on standardized features.
///
/// Kernels have nine weights, three of them 2 and six -1: all 84 choices, at up to 32 dilations. A feature is the share of steps
/// at which the convolution exceeds a threshold, which is a quantile of the convolution of a random training row. Each combination
/// of kernel and dilation reads the sum of one to nine random channels.
///
/// Differs from the reference implementation in that channels are standardized first (`scaling`), and missing values are interpolated.
///
/// Source: Dempster, Schmidt and Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series Classification",
/// KDD 2021, <https://arxiv.org/abs/2012.08791>, and the authors' extensions to several channels and different lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MiniRocket {
    /// Scales each channel.
    pub scaling: ChannelScaling,
    /// `Alternating` if all training rows have the same length.
    pub padding: Padding,
    /// The dilations, in ascending order.
    pub dilations: Vec<Dilation>,
    /// The channels of each combination, `[dilations * 84]`, 1 to 9 each.
    pub channels: Vec<Vec<u32>>,
    /// The thresholds, `[n_features]`: by dilation, then kernel.
    pub biases: Vec<f32>,
}

impl MiniRocket {
    /// Fits the scaling and the thresholds on the training rows; the dilations follow from the longest of them. `seed` determines
    /// the channels and which row each threshold is taken from.
    ///
    /// # Errors
    /// If there are no rows, or rows differ in their numbers of channels.
    pub fn fit(rows: &[Series], options: MiniRocketOptions, seed: u64) -> Result<Self, AlgoError> {
        let scaling = ChannelScaling::fit(rows)?;
        let longest = rows.iter().map(Series::n_steps).max().unwrap_or(0);
        let padding = if rows.iter().all(|row| row.n_steps() == longest) { Padding::Alternating } else { Padding::Always };
        let dilations: Vec<Dilation> = dilations(longest, (options.n_features / N_KERNELS).max(1), options.max_dilations)
            .into_iter()
            .map(|(steps, n_features)| Dilation { steps, n_features })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n_channels = scaling.means.len();
        let channels = (0..dilations.len() * N_KERNELS).map(|_| random_channels(n_channels, &mut rng)).collect();
        let mut transform = Self { scaling, padding, dilations, channels, biases: Vec::new() };
        transform.biases = transform.fit_biases(rows, &mut rng);
        Ok(transform)
    }

    /// Returns the number of features of a row.
    pub fn n_features(&self) -> usize {
        self.biases.len()
    }

    /// Whether the transform is consistent with series of `n_channels` channels, as one fitted on such rows is; checks deserialized
    /// transforms.
    pub fn suits(&self, n_channels: usize) -> bool {
        let n_thresholds: u64 = self.dilations.iter().map(|dilation| u64::from(dilation.n_features)).sum();
        let is_valid = |channels: &Vec<u32>| {
            (1..=MAX_CHANNELS).contains(&channels.len()) && channels.iter().all(|channel| (*channel as usize) < n_channels)
        };
        self.scaling.suits(n_channels)
            && self.channels.len() == self.dilations.len() * N_KERNELS
            && self.channels.iter().all(is_valid)
            && self.biases.len() as u64 == n_thresholds * N_KERNELS as u64
            && self.biases.iter().all(|bias| bias.is_finite())
    }

    /// Returns the features of all rows, `[rows, n_features]`: 40 KB for each row by default.
    pub fn transform(&self, rows: &[Series]) -> Vec<f32> {
        let n_features = self.n_features();
        let mut features = vec![0f32; rows.len() * n_features];
        rows.par_iter()
            .zip(features.par_chunks_mut(n_features.max(1)))
            .for_each_init(Convolution::default, |convolution, (row, features)| self.transform_row(*row, convolution, features));
        features
    }

    fn transform_row(&self, row: Series, convolution: &mut Convolution, features: &mut [f32]) {
        let channels = self.scaling.apply(row);
        convolution.clear();
        let mut start = 0;
        for combination in self.combinations() {
            let end = start + combination.n_features;
            let values = convolution.apply(&channels, combination);
            shares_above(values, &self.biases[start..end], &mut features[start..end]);
            start = end;
        }
    }

    /// Takes the thresholds of each combination from one random row.
    fn fit_biases(&self, rows: &[Series], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let sources: Vec<usize> = self.channels.iter().map(|_| rng.random_range(0..rows.len())).collect();
        let of_combination = |(combination, source): (Combination, &usize)| {
            let mut convolution = Convolution::default();
            let channels = self.scaling.apply(rows[*source]);
            let values = convolution.apply(&channels, Combination { is_padded: true, ..combination });
            let mut sorted: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let bias = |at| quantile(&sorted, golden_ratio_sequence(combination.start + at)) as f32;
            (0..combination.n_features).map(bias).collect()
        };
        let combinations: Vec<(Combination, &usize)> = self.combinations().zip(&sources).collect();
        let biases: Vec<Vec<f32>> = combinations.into_par_iter().map(of_combination).collect();
        biases.concat()
    }

    fn combinations(&self) -> impl Iterator<Item = Combination<'_>> {
        let mut start = 0;
        self.channels.iter().enumerate().map(move |(idx, channels)| {
            let (dilation_idx, kernel_idx) = (idx / N_KERNELS, idx % N_KERNELS);
            let Dilation { steps, n_features } = self.dilations[dilation_idx];
            let is_padded = self.padding == Padding::Always || (dilation_idx + kernel_idx).is_multiple_of(2);
            let combination = Combination {
                kernel: KERNELS[kernel_idx],
                dilation: steps as usize,
                channels,
                is_padded,
                start,
                n_features: n_features as usize,
            };
            start += combination.n_features;
            combination
        })
    }
}

/// A kernel at a dilation, the channels that it reads, and its features.
#[derive(Debug, Clone, Copy)]
struct Combination<'a> {
    kernel: [usize; 3],
    dilation: usize,
    channels: &'a [u32],
    is_padded: bool,
    /// Index of its first feature.
    start: usize,
    n_features: usize,
}

/// Convolves one row with one combination after another and keeps what consecutive ones have in common.
#[derive(Debug, Default)]
struct Convolution {
    signal: Padded,
    /// The channels in `signal`.
    channels: Vec<u32>,
    /// The sum over the nine taps at each step, and its dilation.
    sum: (usize, Vec<f32>),
    values: Vec<f32>,
}

impl Convolution {
    /// Forgets the last row.
    fn clear(&mut self) {
        self.channels.clear();
    }

    /// Returns the convolution, `[n_steps]`, or less without padding.
    fn apply(&mut self, channels: &Channels, combination: Combination) -> &[f32] {
        if self.channels != combination.channels {
            self.signal.set_sum(channels, combination.channels);
            self.channels = combination.channels.to_vec();
            self.sum.0 = 0;
        }
        let taps = self.signal.taps(combination.dilation);
        if self.sum.0 != combination.dilation {
            add_up(taps, &mut self.sum.1);
            self.sum.0 = combination.dilation;
        }
        // -1 at all nine weights, and 3 more at three of them.
        let [a, b, c] = combination.kernel.map(|tap| taps[tap]);
        self.values.resize(self.sum.1.len(), 0.0);
        for ((((value, sum), a), b), c) in self.values.iter_mut().zip(&self.sum.1).zip(a).zip(b).zip(c) {
            *value = 3.0 * (a + b + c) - sum;
        }
        let margin = combination.dilation.saturating_mul(N_TAPS / 2);
        let n_steps = self.values.len();
        if combination.is_padded || n_steps / 2 < margin || n_steps == 2 * margin {
            return &self.values;
        }
        &self.values[margin..n_steps - margin]
    }
}

/// Adds up the nine taps at each step.
fn add_up(taps: [&[f32]; N_TAPS], sum: &mut Vec<f32>) {
    sum.clear();
    sum.extend_from_slice(taps[0]);
    for tap in &taps[1..] {
        sum.iter_mut().zip(*tap).for_each(|(sum, value)| *sum += value);
    }
}

/// Writes the shares of values above each threshold; 0 without values.
fn shares_above(values: &[f32], biases: &[f32], shares: &mut [f32]) {
    let n = values.len().max(1) as f32;
    for (biases, shares) in biases.chunks(4).zip(shares.chunks_mut(4)) {
        // Four at a time, for one reading of the values; what is missing of the last four has no values above.
        let biases = std::array::from_fn(|at| biases.get(at).copied().unwrap_or(f32::INFINITY));
        shares.iter_mut().zip(counts_above(values, biases)).for_each(|(share, count)| *share = count as f32 / n);
    }
}

fn counts_above(values: &[f32], [a, b, c, d]: [f32; 4]) -> [u32; 4] {
    let [mut above_a, mut above_b, mut above_c, mut above_d] = [0; 4];
    for value in values {
        above_a += u32::from(*value > a);
        above_b += u32::from(*value > b);
        above_c += u32::from(*value > c);
        above_d += u32::from(*value > d);
    }
    [above_a, above_b, above_c, above_d]
}

/// Draws 1 to 9 channels; fewer are more likely, so that their number is uniform in its logarithm.
fn random_channels(n_channels: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let most = n_channels.min(MAX_CHANNELS);
    let n = rng.random_range(0.0..((most + 1) as f64).log2()).exp2() as usize;
    index::sample(rng, n_channels, n.clamp(1, most)).into_iter().map(|channel| channel as u32).collect()
}

/// Returns the term at an index of a sequence that fills `0..1` evenly: the fractional parts of multiples of the golden ratio.
fn golden_ratio_sequence(idx: usize) -> f64 {
    f64::from((((idx + 1) as f64 * (5f64.sqrt() + 1.0) / 2.0) % 1.0) as f32)
}

const fn kernels() -> [[usize; 3]; N_KERNELS] {
    let mut kernels = [[0; 3]; N_KERNELS];
    let (mut idx, mut a) = (0, 0);
    while a < N_TAPS {
        let mut b = a + 1;
        while b < N_TAPS {
            let mut c = b + 1;
            while c < N_TAPS {
                kernels[idx] = [a, b, c];
                idx += 1;
                c += 1;
            }
            b += 1;
        }
        a += 1;
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_all_choices_of_three_weights() {
        assert_eq!((KERNELS[0], KERNELS[1], KERNELS[83]), ([0, 1, 2], [0, 1, 3], [6, 7, 8]));
        assert!(KERNELS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn shares_hardly_depend_on_the_length_of_a_series() {
        let wave = |n: usize| (0..n).map(|step| (step as f32 * 0.7).sin()).collect::<Vec<_>>();
        let (short, long) = (wave(200), wave(400));
        let rows = [Series { values: &short, n_channels: 1 }, Series { values: &long, n_channels: 1 }];
        let transform = MiniRocket::fit(&rows, MiniRocketOptions { n_features: 84, max_dilations: 1 }, 1).unwrap();
        let features = transform.transform(&rows);
        // Four of 200 steps at each end meet zeros.
        assert!(features[..84].iter().zip(&features[84..]).all(|(a, b)| (a - b).abs() < 0.05), "{features:?}");
    }

    #[test]
    fn combinations_without_padding_need_a_series_longer_than_the_kernel() {
        let ramp: Vec<f32> = (1..=17).map(|step| step as f32).collect();
        let rows = [Series { values: &ramp, n_channels: 1 }];
        let transform = MiniRocket::fit(&rows, MiniRocketOptions::default(), 1).unwrap();
        let n_values = |row: Series| {
            let mut convolution = Convolution::default();
            let channels = transform.scaling.apply(row);
            transform.combinations().map(|it| convolution.apply(&channels, it).len()).collect::<Vec<_>>()
        };
        assert_eq!(transform.dilations.iter().map(|it| it.steps).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((&n_values(rows[0])[..3], &n_values(rows[0])[84..87]), (&[17, 9, 17][..], &[1, 17, 1][..]));
        assert_eq!(n_values(Series { values: &ramp[..8], n_channels: 1 }), [8; 168]);
    }
}
