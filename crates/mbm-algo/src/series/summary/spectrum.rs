//! The power spectrum and the autocorrelation of a channel.

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::{centered, dot};

/// Names of the statistics.
pub(super) const NAMES: [&str; N_OCTAVES + 3 + LAGS.len() + 1] = [
    "power_period_2",
    "power_period_4",
    "power_period_8",
    "power_period_16",
    "power_period_32",
    "power_period_64",
    "frequency_mean",
    "frequency_max",
    "spectral_entropy",
    "autocorrelation_1",
    "autocorrelation_2",
    "autocorrelation_4",
    "autocorrelation_8",
    "autocorrelation_16",
    "correlation_length",
];

const N_OCTAVES: usize = 6;

const LAGS: [usize; 5] = [1, 2, 4, 8, 16];

/// Computes spectra, and keeps the plans of Fourier transforms for the next ones.
#[derive(Default)]
pub(super) struct Fourier {
    planner: RealFftPlanner<f64>,
}

impl Fourier {
    /// Returns the statistics of at least one value.
    pub fn statistics(&mut self, values: &[f64]) -> [f64; NAMES.len()] {
        let mut statistics = [f64::NAN; NAMES.len()];
        let centered = centered(values);
        if dot(&centered, &centered) > 0.0 {
            let power = self.power(&centered);
            let (of_spectrum, of_lags) = statistics.split_at_mut(N_OCTAVES + 3);
            of_spectrum.copy_from_slice(&spectral(&power));
            of_lags.copy_from_slice(&correlations(&self.autocorrelation(&power, values.len())));
        }
        statistics
    }

    /// Returns the power at frequencies `0, 1/n, .. 1/2`, where `n`, a power of two, leaves room for as many zeros as there are values.
    fn power(&mut self, values: &[f64]) -> Vec<f64> {
        let n = (2 * values.len()).next_power_of_two();
        let mut padded = values.to_vec();
        padded.resize(n, 0.0);
        let mut spectrum = vec![Complex::default(); n / 2 + 1];
        // It fails only for buffers of other lengths than these.
        let done = self.planner.plan_fft_forward(n).process(&mut padded, &mut spectrum);
        debug_assert!(done.is_ok());
        spectrum.iter().map(Complex::norm_sqr).collect()
    }

    /// Returns the autocorrelation at each lag, `[n_steps]`, as the inverse transform of the power (Wiener and Khinchin).
    fn autocorrelation(&mut self, power: &[f64], n_steps: usize) -> Vec<f64> {
        let mut spectrum: Vec<Complex<f64>> = power.iter().map(|power| Complex::new(*power, 0.0)).collect();
        let n = 2 * (power.len() - 1);
        let mut products = vec![0f64; n];
        let done = self.planner.plan_fft_inverse(n).process(&mut spectrum, &mut products);
        debug_assert!(done.is_ok());
        products.iter().take(n_steps).map(|product| product / products[0]).collect()
    }
}

/// Returns the shares of the octaves, the mean and the strongest frequency, and the entropy.
fn spectral(power: &[f64]) -> [f64; N_OCTAVES + 3] {
    let total: f64 = power[1..].iter().sum();
    let frequency = |bin: usize| bin as f64 / (2 * (power.len() - 1)) as f64;
    let mut found = [0f64; N_OCTAVES + 3];
    let mut strongest = 1;
    for (bin, value) in power.iter().enumerate().skip(1) {
        let share = value / total;
        let octave = ((0.5 / frequency(bin)).log2() as usize).min(N_OCTAVES - 1);
        found[octave] += share;
        found[N_OCTAVES] += share * frequency(bin);
        found[N_OCTAVES + 2] -= if share > 0.0 { share * share.ln() } else { 0.0 };
        strongest = if *value > power[strongest] { bin } else { strongest };
    }
    found[N_OCTAVES + 1] = frequency(strongest);
    found[N_OCTAVES + 2] /= ((power.len() - 1) as f64).ln();
    found
}

/// Returns the autocorrelation at the chosen lags, and the first lag at which it is below 1/e; NaN where there is none.
fn correlations(autocorrelation: &[f64]) -> [f64; LAGS.len() + 1] {
    let mut found = [f64::NAN; LAGS.len() + 1];
    found.iter_mut().zip(LAGS).for_each(|(found, lag)| *found = autocorrelation.get(lag).copied().unwrap_or(f64::NAN));
    let length = autocorrelation.iter().position(|value| *value < (-1f64).exp());
    found[LAGS.len()] = length.map_or(f64::NAN, |lag| lag as f64);
    found
}
