//! Any bytes as a sound: its samples at 16 kHz and their spectrum, or a fault. Nothing takes more room than two seconds need.

use std::path::Path;

use mbm_data::feature::AudioPreprocessing;
use mbm_data::{Cell, Shape, Waveform};

const SECONDS: f64 = 2.0;

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    let Ok(wave) = Waveform::decode(bytes.to_vec(), SECONDS) else { return };
    assert!(wave.samples.len() as f64 <= (SECONDS * wave.rate as f64).ceil());
    let wave = wave.resampled(16_000).expect("a rate that was decoded is resampled");
    assert!(wave.samples.len() <= 32_001 && wave.samples.iter().all(|sample| sample.is_finite()));
    let settings =
        AudioPreprocessing { sampling_rate: Some(16_000), audio_file_length_limit_in_s: SECONDS, ..mbm_config::defaults() };
    let cell = Cell::Bytes(bytes.to_vec());
    let mut fitter = settings.fitter();
    fitter.observe(&cell, Path::new("."));
    let fitted = fitter.finish().expect("a sound that was decoded can be fitted");
    let reader = fitted.get();
    reader.check().expect("a fitted reader is within its bounds");
    let Shape::Frames { max_steps, .. } = reader.shape() else { panic!("a sound has frames") };
    assert!(reader.payload(&cell, Path::new(".")).expect("a sound that was decoded is read").n_steps() <= max_steps);
}
