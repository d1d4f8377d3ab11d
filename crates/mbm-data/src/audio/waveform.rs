//! Decoding WAV, FLAC, MP3, Ogg Vorbis and AIFF, mixing to one channel, and resampling.

use std::io::Cursor;

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler};
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use crate::{Cause, Fault};

/// One channel of samples between -1 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// Samples.
    pub samples: Vec<f32>,
    /// Samples a second.
    pub rate: usize,
}

/// Whether a file's extension is that of a sound format that is read here.
pub(crate) fn is_sound(extension: &str) -> bool {
    matches!(extension.to_ascii_lowercase().as_str(), "wav" | "flac" | "mp3" | "ogg" | "oga" | "aif" | "aiff")
}

impl Waveform {
    /// Decodes the first sound track, its channels averaged, at most `max_seconds` of it.
    ///
    /// # Errors
    /// [`Cause::Unreadable`] for data of no known format, without samples, or damaged before the limit.
    pub fn decode(bytes: Vec<u8>, max_seconds: f64) -> Result<Self, Fault> {
        let unreadable = |message: String| Fault::new(Cause::Unreadable, message);
        if bytes.is_empty() {
            return Err(unreadable("zero bytes".to_owned()));
        }
        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let mut format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| unreadable(error.to_string()))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| unreadable("no sound track".to_owned()))?;
        let track_id = track.id;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| unreadable("no sound track".to_owned()))?;
        let mut decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| unreadable(error.to_string()))?;
        let mut wave = Waveform { samples: Vec::new(), rate: 0 };
        let mut interleaved: Vec<f32> = Vec::new();
        while wave.rate == 0 || (wave.samples.len() as f64) < max_seconds * wave.rate as f64 {
            let packet = match format.next_packet() {
                Ok(Some(packet)) if packet.track_id == track_id => packet,
                Ok(Some(_)) => continue,
                Ok(None) => break,
                Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(unreadable(error.to_string())),
            };
            let decoded = decoder.decode(&packet).map_err(|error| unreadable(error.to_string()))?;
            let n_channels = decoded.num_planes().max(1);
            wave.rate = decoded.spec().rate() as usize;
            decoded.copy_to_vec_interleaved(&mut interleaved);
            wave.samples.extend(interleaved.chunks(n_channels).map(|frame| frame.iter().sum::<f32>() / n_channels as f32));
        }
        if wave.samples.is_empty() || wave.rate == 0 {
            return Err(unreadable("no samples".to_owned()));
        }
        wave.samples.truncate((max_seconds * wave.rate as f64).ceil() as usize);
        Ok(wave)
    }

    /// The same sound at another rate, band-limited (synchronous FFT resampling).
    ///
    /// # Errors
    /// [`Cause::Unreadable`] for a rate that cannot be resampled.
    pub fn resampled(self, rate: usize) -> Result<Self, Fault> {
        if rate == self.rate {
            return Ok(self);
        }
        let fault = |error: String| Fault::new(Cause::Unreadable, format!("cannot resample {} Hz: {error}", self.rate));
        let n_samples = self.samples.len();
        let mut resampler =
            Fft::<f32>::new(self.rate, rate, 1024, 1, FixedSync::Both).map_err(|error| fault(error.to_string()))?;
        let input = InterleavedOwned::new_from(self.samples.clone(), 1, n_samples).map_err(|error| fault(error.to_string()))?;
        let output = resampler.process_all(&input, n_samples, None).map_err(|error| fault(error.to_string()))?;
        Ok(Self { samples: output.take_data(), rate })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A 16-bit mono WAV file.
    pub(crate) fn wav(samples: &[f32], rate: u32) -> Vec<u8> {
        let data: Vec<u8> = samples.iter().flat_map(|value| ((value * 32767.0) as i16).to_le_bytes()).collect();
        let mut file = Vec::new();
        file.extend(b"RIFF");
        file.extend((36 + data.len() as u32).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2).to_le_bytes());
        file.extend(b"\x02\0\x10\0data");
        file.extend((data.len() as u32).to_le_bytes());
        file.extend(data);
        file
    }

    pub(crate) fn tone(frequency: f32, rate: usize, seconds: f32) -> Vec<f32> {
        let n_samples = (rate as f32 * seconds) as usize;
        (0..n_samples).map(|i| 0.5 * (std::f32::consts::TAU * frequency * i as f32 / rate as f32).sin()).collect()
    }

    #[test]
    fn a_wav_decodes_to_its_samples() {
        let samples = tone(440.0, 8000, 0.1);
        let wave = Waveform::decode(wav(&samples, 8000), 10.0).unwrap();
        assert_eq!((wave.rate, wave.samples.len()), (8000, 800));
        let worst = wave.samples.iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "16-bit rounding only: {worst}");
        assert_eq!(Waveform::decode(wav(&samples, 8000), 0.05).unwrap().samples.len(), 400);
    }

    #[test]
    fn zero_bytes_noise_and_a_bare_header_are_unreadable() {
        for bytes in [vec![], vec![7; 500], wav(&[], 8000)] {
            assert_eq!(Waveform::decode(bytes, 1.0).unwrap_err().cause, Cause::Unreadable);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_rates_keep_the_length_and_the_level(from in 100usize..9000, to in 100usize..9000, n_samples in 1usize..600) {
            let samples = vec![0.5; n_samples];
            let resampled = Waveform { samples, rate: from }.resampled(to).unwrap().samples;
            let want = (n_samples as f64 * to as f64 / from as f64).ceil() as usize;
            proptest::prop_assert!(resampled.len().abs_diff(want) <= 1, "{} for {want}", resampled.len());
            proptest::prop_assert!(resampled.iter().all(|value| value.abs() < 1.0), "it rings but does not grow");
        }
    }

    #[test]
    fn resampling_keeps_a_tone_and_its_length() {
        let wave = Waveform { samples: tone(440.0, 8000, 0.5), rate: 8000 }.resampled(16000).unwrap();
        let want = tone(440.0, 16000, 0.5);
        assert_eq!(wave.samples.len(), want.len());
        let middle = 2000..6000;
        let worst = middle.map(|i| (wave.samples[i] - want[i]).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }
}
