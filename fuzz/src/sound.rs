//! Any bytes as audio: its samples at 16 kHz and their spectrum, or a fault. Nothing takes more memory than two seconds of audio
//! need.

use std::path::Path;

use mbm_data::feature::AudioPreprocessing;
use mbm_data::{Cell, Shape, Waveform};

const SECONDS: f64 = 2.0;

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Ok(wave) = Waveform::decode(bytes.to_vec(), SECONDS) else { return };
    assert!(wave.samples.len() as f64 <= (SECONDS * wave.rate as f64).ceil());
    let wave = wave.resampled(16_000).expect("a decoded rate can be resampled");
    assert!(wave.samples.len() <= 32_001 && wave.samples.iter().all(|sample| sample.is_finite()));
    let settings =
        AudioPreprocessing { sampling_rate: Some(16_000), audio_file_length_limit_in_s: SECONDS, ..mbm_config::defaults() };
    let cell = Cell::Bytes(bytes.to_vec());
    let mut fitter = settings.fitter();
    fitter.observe(&cell, Path::new("."));
    let fitted = fitter.finish().expect("decoded audio can be fitted");
    let reader = fitted.get();
    reader.check().expect("a fitted reader is within its bounds");
    let Shape::Frames { max_steps, .. } = reader.shape() else { panic!("audio has frames") };
    assert!(reader.payload(&cell, Path::new(".")).expect("decoded audio can be read").n_steps() <= max_steps);
}
