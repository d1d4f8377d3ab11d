//! Sounds: bytes to samples at a rate, and samples to frames of a spectrum.

mod augmentation;
mod spectrum;
mod waveform;

pub use augmentation::AudioAugmentation;
pub(crate) use spectrum::{FrontEnd, FrontEndKind};
pub use waveform::Waveform;
pub(crate) use waveform::is_sound;
