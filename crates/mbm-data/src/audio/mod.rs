//! Audio: decoding bytes to samples at a rate, and converting samples to spectral frames.

mod augmentation;
mod spectrum;
mod vorbis;
mod waveform;

pub use augmentation::AudioAugmentation;
pub(crate) use spectrum::{FrontEnd, FrontEndKind};
pub use waveform::Waveform;
pub(crate) use waveform::{RATES, is_sound};

#[cfg(test)]
pub(crate) use waveform::tests;
