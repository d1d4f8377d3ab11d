//! Any bytes as an image, preprocessed for a model, and as audio: pixels, samples or a fault, never a panic.

use std::path::Path;

use mbm_data::Cell;
use mbm_data::feature::ImagePreprocessing;

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let _ = mbm_data::decode_image(bytes, 1 << 20);
    let settings = ImagePreprocessing { max_pixels: 1 << 20, resize_shorter_side: Some(32), ..mbm_config::defaults() };
    let cell = Cell::Bytes(bytes.to_vec());
    let mut fitter = settings.fitter();
    fitter.observe(&cell, Path::new("."));
    if let Ok(fitted) = fitter.finish() {
        fitted.get().check().expect("a fitted reader is within its bounds");
        let _ = fitted.get().payload(&cell, Path::new("."));
    }
    let _ = mbm_data::Waveform::decode(bytes.to_vec(), 1.0).and_then(|wave| wave.resampled(16_000));
}
