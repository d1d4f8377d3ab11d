//! Audio front ends: power spectrogram, log-mel filter bank, and mel-frequency cepstral coefficients (MFCC).
//!
//! The mel scale and the triangular filters are those of HTK (and torchaudio's default), logarithms are natural with a floor of
//! 1e-6, and MFCCs are an orthonormal DCT-II of the log-mel energies (Davis and Mermelstein 1980).

use std::collections::HashMap;
use std::f32::consts::PI;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use mbm_config::choices;
use realfft::{RealFftPlanner, RealToComplex};

use crate::payload::Frames;

choices! {
    /// What a frame of audio is converted to.
    pub enum FrontEndKind {
        /// Log power of every frequency bin.
        Spectrogram = "spectrogram",
        /// Log energies of mel bands.
        Fbank = "fbank",
        /// Cepstral coefficients of the mel bands.
        Mfcc = "mfcc",
        /// The samples themselves, each clip standardized to mean 0 and standard deviation 1.
        Raw = "raw",
    }
}

/// A front end planned for one sampling rate.
pub(crate) struct FrontEnd {
    kind: FrontEndKind,
    window: Vec<f32>,
    shift: usize,
    filters: Vec<Vec<(usize, f32)>>,
    n_coefficients: usize,
    fft: Arc<dyn RealToComplex<f32>>,
}

const FLOOR: f32 = 1e-6;

/// Parameters of a front end: kind, rate, window, shift, bands, coefficients.
type Settings = (FrontEndKind, usize, usize, usize, usize, usize);

/// The front ends of this process: planning one takes longer than processing a short clip.
static PLANNED: LazyLock<Mutex<HashMap<Settings, Arc<FrontEnd>>>> = LazyLock::new(Mutex::default);

impl FrontEnd {
    /// Like [`FrontEnd::new`], but plans each front end only once per process.
    pub fn planned(settings: Settings) -> Arc<Self> {
        let mut planned = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, rate, window, shift, n_bands, n_coefficients) = settings;
        planned.entry(settings).or_insert_with(|| Arc::new(Self::new(kind, rate, window, shift, n_bands, n_coefficients))).clone()
    }

    /// Plans a front end: `window` and `shift` in samples, `n_bands` mel bands up to half the rate, `n_coefficients` for MFCC.
    pub fn new(kind: FrontEndKind, rate: usize, window: usize, shift: usize, n_bands: usize, n_coefficients: usize) -> Self {
        let n_fft = window.max(2).next_power_of_two();
        Self {
            kind,
            window: (0..window).map(|i| 0.54 - 0.46 * (2.0 * PI * i as f32 / window as f32).cos()).collect(),
            shift: shift.max(1),
            filters: mel_filters(rate, n_fft, n_bands),
            n_coefficients,
            fft: RealFftPlanner::new().plan_fft_forward(n_fft),
        }
    }

    /// Returns the number of values per frame.
    pub fn width(&self) -> usize {
        match self.kind {
            FrontEndKind::Spectrogram => self.fft.len() / 2 + 1,
            FrontEndKind::Fbank => self.filters.len(),
            FrontEndKind::Mfcc => self.n_coefficients,
            FrontEndKind::Raw => 1,
        }
    }

    /// Converts samples to frames, at least one; the last is padded with zeros.
    pub fn frames(&self, samples: &[f32]) -> Frames {
        if self.kind == FrontEndKind::Raw {
            return Frames { width: 1, data: standardized(samples) };
        }
        let n_frames = 1 + samples.len().saturating_sub(self.window.len()).div_ceil(self.shift);
        let mut input = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut data = Vec::with_capacity(n_frames * self.width());
        for start in (0..n_frames).map(|frame| frame * self.shift) {
            input.fill(0.0);
            let available = samples.get(start..).unwrap_or_default();
            input.iter_mut().zip(available.iter().zip(&self.window)).for_each(|(x, (sample, weight))| *x = sample * weight);
            // The plan itself allocated the buffers, so their lengths fit.
            let transformed = self.fft.process_with_scratch(&mut input, &mut spectrum, &mut scratch);
            debug_assert!(transformed.is_ok());
            let power: Vec<f32> = spectrum.iter().map(|bin| bin.norm_sqr()).collect();
            self.push_features(&power, &mut data);
        }
        Frames { width: self.width(), data }
    }

    fn push_features(&self, power: &[f32], out: &mut Vec<f32>) {
        if self.kind == FrontEndKind::Spectrogram {
            return out.extend(power.iter().map(|value| (value + FLOOR).ln()));
        }
        let energies = self.filters.iter().map(|filter| filter.iter().map(|(bin, weight)| power[*bin] * weight).sum::<f32>());
        let bands: Vec<f32> = energies.map(|energy| (energy + FLOOR).ln()).collect();
        match self.kind {
            FrontEndKind::Mfcc => out.extend((0..self.n_coefficients).map(|k| cosine_coefficient(&bands, k))),
            FrontEndKind::Fbank | FrontEndKind::Spectrogram | FrontEndKind::Raw => out.extend(bands),
        }
    }
}

/// Standardizes samples to mean 0 and variance 1, and returns at least one (like wav2vec 2.0's feature extractor, including its
/// epsilon of 1e-7).
fn standardized(samples: &[f32]) -> Vec<f32> {
    if samples.is_empty() {
        return vec![0.0];
    }
    let n = samples.len() as f64;
    let mean = samples.iter().map(|sample| f64::from(*sample)).sum::<f64>() / n;
    let variance = samples.iter().map(|sample| (f64::from(*sample) - mean).powi(2)).sum::<f64>() / n;
    samples.iter().map(|sample| ((f64::from(*sample) - mean) / (variance + 1e-7).sqrt()) as f32).collect()
}

/// Returns coefficient `k` of the orthonormal DCT-II.
fn cosine_coefficient(values: &[f32], k: usize) -> f32 {
    let n = values.len() as f32;
    let sum: f32 = values.iter().enumerate().map(|(i, value)| value * (PI * k as f32 * (i as f32 + 0.5) / n).cos()).sum();
    sum * if k == 0 { (1.0 / n).sqrt() } else { (2.0 / n).sqrt() }
}

/// Returns triangular filters of height 1, evenly spaced in mel from 0 to half the rate, as lists of `(bin, weight)`.
fn mel_filters(rate: usize, n_fft: usize, n_bands: usize) -> Vec<Vec<(usize, f32)>> {
    let top = mel(rate as f64 / 2.0);
    let edges: Vec<f64> = (0..n_bands + 2).map(|i| hertz(top * i as f64 / (n_bands + 1) as f64)).collect();
    let frequencies = (0..=n_fft / 2).map(|bin| bin as f64 * rate as f64 / n_fft as f64);
    edges
        .windows(3)
        .map(|edges| {
            let weights = frequencies.clone().map(|at| triangle(at, edges[0], edges[1], edges[2]));
            weights.enumerate().filter(|(_, weight)| *weight > 0.0).collect()
        })
        .collect()
}

fn mel(hertz: f64) -> f64 {
    2595.0 * (1.0 + hertz / 700.0).log10()
}

fn hertz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2595.0) - 1.0)
}

/// Returns the height at `at` of the triangle with these corners: 1 at its centre, 0 at and beyond its ends.
fn triangle(at: f64, low: f64, centre: f64, high: f64) -> f32 {
    ((at - low) / (centre - low)).min((high - at) / (high - centre)).max(0.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::waveform::tests::tone;

    #[test]
    fn tone_peaks_in_the_bin_and_band_of_its_frequency() {
        let samples = tone(1000.0, 8000, 0.064);
        let loudest = |kind: FrontEndKind| {
            let frames = FrontEnd::new(kind, 8000, 256, 128, 20, 13).frames(&samples);
            let frame = &frames.data[..frames.width];
            (0..frame.len()).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap()
        };
        assert_eq!(loudest(FrontEndKind::Spectrogram), 32);
        // 1000 Hz is 1000 mel; band centers are 2146.06 / 21 = 102.2 mel apart, the tenth at 1021.9.
        assert_eq!(loudest(FrontEndKind::Fbank), 9);
    }

    #[test]
    fn frames_cover_all_samples_and_empty_input_has_one() {
        let front_end = FrontEnd::new(FrontEndKind::Mfcc, 8000, 320, 160, 40, 13);
        assert_eq!(front_end.frames(&[]).data.len(), 13);
        assert_eq!(front_end.frames(&vec![0.1; 320]).data.len(), 13);
        assert_eq!(front_end.frames(&vec![0.1; 321]).data.len(), 26);
        assert_eq!(front_end.frames(&vec![0.1; 8000]).data.len(), 13 * 49);
    }

    #[test]
    fn raw_front_end_standardizes_samples() {
        let frames = FrontEnd::new(FrontEndKind::Raw, 8000, 1, 1, 40, 13).frames(&[1.0, 3.0]);
        assert_eq!((frames.width, frames.data.len()), (1, 2));
        assert!((frames.data[0] + 1.0).abs() < 1e-6 && (frames.data[1] - 1.0).abs() < 1e-6);
        assert_eq!(standardized(&[]), [0.0]);
    }

    #[test]
    fn cosine_transform_preserves_energy() {
        let values = [1.0, -2.0, 0.5, 3.0];
        let squares: f32 = (0..4).map(|k| cosine_coefficient(&values, k).powi(2)).sum();
        assert!((squares - 14.25).abs() < 1e-4, "{squares}");
    }

    #[test]
    fn frames_match_torchaudio() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/front_ends.json");
        let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let size = |name: &str| golden[name].as_u64().unwrap() as usize;
        let floats = |value: &serde_json::Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap() as f32).collect()
        };
        let samples = floats(&golden["samples"]);
        for kind in [FrontEndKind::Spectrogram, FrontEndKind::Fbank, FrontEndKind::Mfcc] {
            let front_end =
                FrontEnd::new(kind, size("rate"), size("window"), size("shift"), size("n_bands"), size("n_coefficients"));
            let want: Vec<f32> = golden[kind.as_str()].as_array().unwrap().iter().flat_map(floats).collect();
            let got = front_end.frames(&samples).data;
            assert_eq!(got.len(), want.len(), "{kind:?}");
            // The tolerance covers single precision of a 256-sample transform, in logarithms.
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!((got - want).abs() < 2e-3 * (1.0 + want.abs()), "{kind:?}, value {at}: {got} is not {want}");
            }
        }
    }
}
