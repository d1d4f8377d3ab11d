//! Any bytes as a picture or a sound: pixels or samples or a fault, never a panic.

/// Reads the bytes.
pub fn run(bytes: &[u8]) {
    let _ = mbm_data::decode_image(bytes, 1 << 20);
    let _ = mbm_data::Waveform::decode(bytes.to_vec(), 1.0).and_then(|wave| wave.resampled(16_000));
}
