//! Audio features: clips resampled to one rate and converted to frames.

use std::path::Path;
use std::sync::Arc;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, FramesTooLarge, InvalidFit, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, media};
use crate::audio::{FrontEnd, FrontEndKind, RATES};
use crate::payload::Frames;
use crate::{Cause, Cell, Fault, Payload, Waveform};

settings! {
    /// Preprocessing settings for audio.
    pub struct AudioPreprocessing {
        /// The front end.
        r#type: FrontEndKind = FrontEndKind::Fbank;
        /// Sampling rate in Hz; that of the first training clip if unset.
        sampling_rate: Option<usize> = None => RATES;
        /// Maximum duration in seconds; the rest is cut off.
        audio_file_length_limit_in_s: f64 = 7.5 => 0.01..=3600.0;
        /// Frame length in seconds.
        window_length_in_s: f64 = 0.04 => 0.001..=1.0;
        /// Shift from one frame to the next, in seconds.
        window_shift_in_s: f64 = 0.02 => 0.001..=1.0;
        /// Number of mel bands.
        num_filter_bands: usize = 40 => 2..=512;
        /// Number of cepstral coefficients (`mfcc`).
        num_coefficients: usize = 13 => 2..=512;
    }
}

/// A fitted audio preprocessor: `Frames [steps, width]`, each column of mean 0 and standard deviation 1 over the training clips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedAudio {
    /// The front end.
    pub front_end: FrontEndKind,
    /// Sampling rate in Hz.
    pub rate: usize,
    /// Maximum duration in seconds.
    pub max_seconds: f64,
    /// Frame length in samples.
    pub window: usize,
    /// Shift from one frame to the next, in samples.
    pub shift: usize,
    /// Number of mel bands.
    pub n_bands: usize,
    /// Number of cepstral coefficients.
    pub n_coefficients: usize,
    /// Mean of each column.
    pub mean: Vec<f32>,
    /// Standard deviation of each column.
    #[serde(alias = "deviation")]
    pub std: Vec<f32>,
}

/// Maximum number of values in one clip's frames: 1 GiB, as for the largest image that a model reads.
const MAX_VALUES: usize = 1 << 28;

/// Number of training clips that mean and standard deviation are estimated from.
const N_SAMPLED: usize = 256;

struct AudioFitter {
    settings: AudioPreprocessing,
    fitted: Option<(FittedAudio, Arc<FrontEnd>)>,
    moments: Vec<Moments>,
    n_seen: usize,
    first_fault: Option<Fault>,
}

impl AudioPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(AudioFitter { settings: self.clone(), fitted: None, moments: Vec::new(), n_seen: 0, first_fault: None })
    }

    fn at_rate(&self, rate: usize) -> FittedAudio {
        let samples = |seconds: f64| ((seconds * rate as f64).round() as usize).max(1);
        let is_raw = self.r#type == FrontEndKind::Raw;
        FittedAudio {
            front_end: self.r#type,
            rate,
            max_seconds: self.audio_file_length_limit_in_s,
            window: if is_raw { 1 } else { samples(self.window_length_in_s) },
            shift: if is_raw { 1 } else { samples(self.window_shift_in_s) },
            n_bands: self.num_filter_bands,
            n_coefficients: self.num_coefficients.min(self.num_filter_bands),
            mean: Vec::new(),
            std: Vec::new(),
        }
    }
}

impl AudioFitter {
    fn try_observe(&mut self, cell: &Cell, folder: &Path) -> Result<(), Fault> {
        let wave = Waveform::decode(media::bytes_of(cell, folder)?, self.settings.audio_file_length_limit_in_s)?;
        let settings = &self.settings;
        let (fitted, front_end) = match &self.fitted {
            Some(fitted) => fitted,
            None => {
                let fitted = settings.at_rate(settings.sampling_rate.unwrap_or(wave.rate));
                let front_end = fitted.front_end();
                fitted.check_size(front_end.width()).map_err(|error| Fault::new(Cause::TooLarge, error.to_string()))?;
                self.fitted.insert((fitted, front_end))
            }
        };
        let frames = front_end.frames(&wave.resampled(fitted.rate)?.samples);
        self.moments.resize(frames.width, Moments::default());
        for frame in frames.data.chunks(frames.width) {
            self.moments.iter_mut().zip(frame).for_each(|(moments, value)| moments.add(f64::from(*value)));
        }
        self.n_seen += 1;
        Ok(())
    }
}

impl Fitter for AudioFitter {
    fn observe(&mut self, cell: &Cell, folder: &Path) {
        if self.n_seen >= N_SAMPLED {
            return;
        }
        if let Err(fault) = self.try_observe(cell, folder) {
            self.first_fault.get_or_insert(media::named(cell, fault));
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let unreadable = FitError::Unreadable { kind: "audio", first: self.first_fault };
        let (mut fitted, _) = self.fitted.ok_or(unreadable)?;
        if fitted.front_end == FrontEndKind::Raw {
            // Raw clips are standardized one by one.
            (fitted.mean, fitted.std) = (vec![0.0], vec![1.0]);
        } else {
            fitted.mean = self.moments.iter().map(Moments::mean).collect();
            fitted.std = self.moments.iter().map(Moments::std).collect();
        }
        Ok(Preprocessor::Audio(fitted))
    }
}

impl FittedAudio {
    /// Returns the maximum number of samples of a clip, at least one.
    fn max_samples(&self) -> usize {
        ((self.max_seconds * self.rate as f64).ceil() as usize).max(1)
    }

    /// Returns the maximum number of steps of a clip.
    fn max_steps(&self) -> usize {
        1 + self.max_samples().saturating_sub(self.window).div_ceil(self.shift)
    }

    fn check_size(&self, width: usize) -> Result<(), FramesTooLarge> {
        let n_steps = self.max_steps();
        if n_steps.saturating_mul(width) <= MAX_VALUES {
            return Ok(());
        }
        Err(FramesTooLarge { seconds: self.max_seconds, n_steps, width, limit: MAX_VALUES })
    }

    fn front_end(&self) -> Arc<FrontEnd> {
        FrontEnd::planned((self.front_end, self.rate, self.window, self.shift, self.n_bands, self.n_coefficients))
    }

    fn frames(&self, bytes: Vec<u8>) -> Result<Frames, Fault> {
        let mut wave = Waveform::decode(bytes, self.max_seconds)?.resampled(self.rate)?;
        // Rounding up to a whole sample at the clip's own rate may leave one sample too many at this rate.
        wave.samples.truncate(self.max_samples());
        let mut frames = self.front_end().frames(&wave.samples);
        for frame in frames.data.chunks_mut(frames.width) {
            frame.iter_mut().zip(self.mean.iter().zip(&self.std)).for_each(|(value, (mean, std))| *value = (*value - mean) / std);
        }
        Ok(frames)
    }
}

impl Preprocess for FittedAudio {
    fn payload(&self, cell: &Cell, folder: &Path) -> Result<Payload, Fault> {
        if matches!(cell, Cell::Empty) {
            return Err(Fault::new(Cause::Empty, ""));
        }
        let frames =
            media::bytes_of(cell, folder).and_then(|bytes| self.frames(bytes).map_err(|fault| media::named(cell, fault)))?;
        Ok(Payload::Frames(frames))
    }

    fn content(&self, cell: &Cell, folder: &Path) -> Result<Vec<u8>, Fault> {
        media::bytes_of(cell, folder)
    }

    fn shape(&self) -> Shape {
        Shape::Frames { width: self.mean.len(), max_steps: self.max_steps() }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(RATES.contains(&self.rate), "the sampling rate")?;
        ensure((1..=*RATES.end()).contains(&self.window) && (1..=*RATES.end()).contains(&self.shift), "the window")?;
        ensure((0.0..=3600.0).contains(&self.max_seconds), "the length limit")?;
        ensure((2..=512).contains(&self.n_bands) && (1..=self.n_bands).contains(&self.n_coefficients), "the number of bands")?;
        self.check_size(self.mean.len())?;
        ensure(are_moments(&self.mean, &self.std, self.front_end().width()), "the mean or standard deviation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::{tone, wav};

    #[test]
    fn settings_with_too_many_values_are_an_error() {
        let settings = AudioPreprocessing {
            r#type: FrontEndKind::Spectrogram,
            audio_file_length_limit_in_s: 3600.0,
            window_length_in_s: 1.0,
            window_shift_in_s: 0.001,
            ..mbm_config::defaults()
        };
        let mut fitter = settings.fitter();
        fitter.observe(&Cell::Bytes(wav(&tone(440.0, 8000, 0.1), 8000)), Path::new("."));
        let error = fitter.finish().unwrap_err().to_string();
        assert!(error.contains("3600 s would be 3599001 frames of 4097 values"), "{error}");
    }

    #[test]
    fn truncated_clip_has_no_more_steps_than_its_shape() {
        // 7.5 seconds at 44,101 Hz end within a sample, which becomes one sample too many at 16,000 Hz.
        let cell = Cell::Bytes(wav(&tone(440.0, 44_101, 8.0), 44_101));
        let settings = AudioPreprocessing { sampling_rate: Some(16_000), window_shift_in_s: 0.001, ..mbm_config::defaults() };
        let mut fitter = settings.fitter();
        fitter.observe(&cell, Path::new("."));
        let fitted = fitter.finish().unwrap();
        let Shape::Frames { max_steps, .. } = fitted.get().shape() else { panic!() };
        assert_eq!(fitted.get().payload(&cell, Path::new(".")).unwrap().n_steps(), max_steps);
    }
}
