//! Decoding of WAV, FLAC, MP3, Ogg Vorbis and AIFF, downmixing to mono, and resampling.
//!
//! No allocation is sized by a number in a header alone: rate, channels and length are checked against limits before decoding.

use std::io::Cursor;
use std::ops::RangeInclusive;

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::vorbis;
use crate::catch_panic::{DECODER_FAILED, catch_panic};
use crate::{Cause, Fault};

/// Mono audio with samples between -1 and 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// Samples.
    pub samples: Vec<f32>,
    /// Sampling rate in Hz.
    pub rate: usize,
}

/// Supported sampling rates in Hz: from slow sensors to twice 192 kHz, the most that studio equipment records.
pub(crate) const RATES: RangeInclusive<usize> = 100..=384_000;

/// Maximum number of channels: as many as Ogg Vorbis can count, and more than there are named loudspeaker positions. A decoder
/// allocates memory for all of them up front.
const MAX_CHANNELS: usize = 255;

/// Maximum number of samples of a clip: an hour, the longest duration that a config allows, at 48 kHz. They take 691 MB.
const MAX_SAMPLES: usize = 3600 * 48_000;

/// Largest magnitude of a sample: that of 32-bit integers which a file declares as floating point. Its power in the longest
/// window is far below the limit of single precision.
const LOUDEST: f32 = 4_294_967_296.0;

/// Largest term of a ratio of rates for which resampling is exact. A transform spans that many samples, and that of an arbitrary
/// ratio, such as 44,101 to 16,000, would take seconds. The nearest ratio with terms up to this one is off by less than 50 parts
/// per million, the tolerance that IEC 60958-3 allows the clock of a high-accuracy (level I) digital audio source.
const MAX_TERM: usize = 1 << 14;

/// Number of samples that are resampled at a time.
const CHUNK: usize = 1024;

/// Maximum number of output samples per chunk; at a ratio of 1 to 3840, [`CHUNK`] samples would become four million.
const MAX_CHUNK_OUT: usize = 1 << 18;

/// Describes an error in our own words: a decoder's message names its internals, and may repeat content of the file.
fn cause(error: &Error) -> &'static str {
    match error {
        Error::Unsupported(_) => "unsupported format; supported are WAV, FLAC, MP3, Ogg Vorbis and AIFF",
        Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "truncated, or in an unsupported format",
        Error::LimitError(_) => "beyond the limits of its decoder",
        _ => "damaged",
    }
}

/// Whether a file extension is that of a supported audio format.
pub(crate) fn is_sound(extension: &str) -> bool {
    matches!(extension.to_ascii_lowercase().as_str(), "wav" | "flac" | "mp3" | "ogg" | "oga" | "aif" | "aiff")
}

fn unreadable(message: impl ToString) -> Fault {
    Fault::new(Cause::Unreadable, message.to_string())
}

impl Waveform {
    /// Decodes at most `max_seconds` of the first audio track, averaging its channels.
    ///
    /// # Errors
    /// [`Cause::Unreadable`] for data in an unsupported format, with a rate outside 100 to 384,000 Hz, without samples, or
    /// damaged before the limit; [`Cause::TooLarge`] if `max_seconds` of it have more samples than an hour at 48 kHz.
    pub fn decode(bytes: Vec<u8>, max_seconds: f64) -> Result<Self, Fault> {
        catch_panic(|| Self::decoded(bytes, max_seconds)).unwrap_or_else(|| Err(unreadable(DECODER_FAILED)))
    }

    fn decoded(bytes: Vec<u8>, max_seconds: f64) -> Result<Self, Fault> {
        let mut track = Track::open(bytes)?;
        let mut wave = Waveform { samples: Vec::new(), rate: 0 };
        let mut interleaved = Vec::new();
        while wave.rate == 0 || (wave.samples.len() as f64) < max_seconds * wave.rate as f64 {
            let Some(packet) = track.next_packet()? else {
                track.check_whole(wave.samples.len())?;
                break;
            };
            wave.append(track.decoder.as_mut(), &packet, &mut interleaved)?;
        }
        if wave.samples.is_empty() || wave.rate == 0 {
            return Err(unreadable("no samples"));
        }
        wave.samples.truncate((max_seconds * wave.rate as f64).ceil() as usize);
        Ok(wave)
    }

    /// Decodes a packet and appends the mean of its channels.
    fn append(&mut self, decoder: &mut dyn AudioDecoder, packet: &Packet, interleaved: &mut Vec<f32>) -> Result<(), Fault> {
        let decoded = decoder.decode(packet).map_err(|error| unreadable(cause(&error)))?;
        let rate = decoded.spec().rate() as usize;
        check_rate(rate)?;
        if self.rate != 0 && self.rate != rate {
            return Err(unreadable(format!("the sampling rate changes from {} to {rate} Hz", self.rate)));
        }
        self.rate = rate;
        let n_channels = decoded.num_planes().max(1);
        decoded.copy_to_vec_interleaved(interleaved);
        if self.samples.len() + interleaved.len() / n_channels > MAX_SAMPLES {
            return Err(Fault::new(Cause::TooLarge, format!("more than {MAX_SAMPLES} samples (an hour at 48 kHz)")));
        }
        if let Some(sample) = interleaved.iter().find(|sample| sample.is_nan() || sample.abs() > LOUDEST) {
            return Err(unreadable(format!("invalid sample: {sample}")));
        }
        self.samples.extend(interleaved.chunks(n_channels).map(|frame| frame.iter().sum::<f32>() / n_channels as f32));
        Ok(())
    }

    /// Resamples to another rate, band-limited (synchronous FFT resampling). If the rates have too small a common divisor, their
    /// ratio is rounded by less than 50 parts per million.
    ///
    /// # Errors
    /// [`Cause::Unreadable`] for rates outside 100 to 384,000 Hz.
    pub fn resampled(mut self, rate: usize) -> Result<Self, Fault> {
        if rate == self.rate {
            return Ok(self);
        }
        check_rate(self.rate)?;
        check_rate(rate)?;
        let (from, to) = ratio(self.rate, rate);
        let n_samples = (self.samples.len() * rate).div_ceil(self.rate);
        let mut samples = std::mem::take(&mut self.samples);
        if from != to {
            samples = resample(samples, from, to)
                .map_err(|error| unreadable(format!("cannot resample {} to {rate} Hz: {error}", self.rate)))?;
        }
        samples.truncate(n_samples);
        Ok(Self { samples, rate })
    }
}

fn check_rate(rate: usize) -> Result<(), Fault> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(unreadable(format!("a sampling rate of {rate} Hz, supported are {} to {} Hz", RATES.start(), RATES.end())))
}

/// An audio track and its decoder.
struct Track {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    id: u32,
    /// Samples per channel that the header declares, and how many of them may be missing; `None` if the format only estimates
    /// them.
    promised: Option<(u64, u64)>,
}

impl Track {
    fn open(mut bytes: Vec<u8>) -> Result<Self, Fault> {
        if bytes.is_empty() {
            return Err(unreadable("zero bytes"));
        }
        leave_length_open(&mut bytes);
        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| unreadable(cause(&error)))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| unreadable("no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| unreadable("no audio track"))?;
        check_parameters(parameters)?;
        // A truncated block yields the samples up to its last whole one, or none.
        let is_exact = EXACT.contains(&format.format_info().short_name);
        let promised = track.num_frames.filter(|_| is_exact).map(|n| (n, parameters.frames_per_block.unwrap_or(1)));
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| unreadable(cause(&error)))?;
        Ok(Self { id: track.id, format, decoder, promised })
    }

    /// Checks that a track that ended after `n_samples` is as long as its header declares.
    fn check_whole(&self, n_samples: usize) -> Result<(), Fault> {
        match self.promised {
            Some((promised, slack)) if (n_samples as u64).saturating_add(slack) <= promised => {
                Err(unreadable(format!("truncated: {n_samples} of {promised} samples")))
            }
            _ => Ok(()),
        }
    }

    /// Returns the next packet of this track; `None` at the end of the file, even in the middle of a packet.
    fn next_packet(&mut self) -> Result<Option<Packet>, Fault> {
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.id => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(Error::IoError(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(unreadable(cause(&error))),
            }
        }
    }
}

/// Formats whose headers declare the exact number of samples, by symphonia's names.
const EXACT: [&str; 3] = ["wave", "aiff", "flac"];

/// Smallest length in a WAV header that counts as a placeholder: programs that write to a pipe put in a huge number (SoX
/// `0x7FFFFFFF` minus the header, arecord `0x80000000`, FFmpeg `0xFFFFFFFF`) and never correct it.
const PLACEHOLDER: u32 = 0x7FFF_0000;

/// Replaces placeholder lengths in a WAV file that was written to a pipe by FFmpeg's, which mean: until the end of the file.
fn leave_length_open(bytes: &mut [u8]) {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return;
    }
    let mut at = 12;
    while let Some([name @ .., a, b, c, d]) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([*a, *b, *c, *d]);
        if name == b"data" {
            if length >= PLACEHOLDER {
                bytes[at + 4..at + 8].fill(0xFF);
                bytes[4..8].fill(0xFF);
            }
            return;
        }
        at += 8 + length as usize + (length & 1) as usize;
    }
}

/// Checks what a header declares before a decoder allocates memory for it.
fn check_parameters(parameters: &AudioCodecParameters) -> Result<(), Fault> {
    if let Some(rate) = parameters.sample_rate {
        check_rate(rate as usize)?;
    }
    let n_channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    if n_channels > MAX_CHANNELS {
        return Err(unreadable(format!("{n_channels} channels, the limit is {MAX_CHANNELS}")));
    }
    vorbis::check(parameters)
}

/// Returns the ratio of two rates in lowest terms, or the nearest one with terms up to [`MAX_TERM`].
fn ratio(from: usize, to: usize) -> (usize, usize) {
    let divisor = greatest_common_divisor(from, to);
    let (small, large) = (from.min(to) / divisor, from.max(to) / divisor);
    let error = |(few, many): &(usize, usize)| (many * small).abs_diff(few * large) as f64 / *few as f64;
    let (small, large) = if large <= MAX_TERM {
        (small, large)
    } else {
        let terms = (1..=(small * MAX_TERM / large).max(1)).map(|few| (few, (2 * few * large + small) / (2 * small)));
        terms.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or((small, large))
    };
    if from < to { (small, large) } else { (large, small) }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// An error of the resampler.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ResampleError {
    Construction(#[from] rubato::ResamplerConstructionError),
    Size(#[from] rubato::audioadapter_buffers::SizeError),
    Processing(#[from] rubato::ResampleError),
}

fn resample(samples: Vec<f32>, from: usize, to: usize) -> Result<Vec<f32>, ResampleError> {
    let n_samples = samples.len();
    let chunk = CHUNK.min(MAX_CHUNK_OUT * from / to).max(1);
    let mut resampler = Fft::<f32>::new(from, to, chunk, 1, FixedSync::Both)?;
    let input = InterleavedOwned::new_from(samples, 1, n_samples)?;
    let output = resampler.process_all(&input, n_samples, None)?;
    Ok(output.take_data())
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
        file.extend(rate.wrapping_mul(2).to_le_bytes());
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
    fn wav_decodes_to_its_samples() {
        let samples = tone(440.0, 8000, 0.1);
        let wave = Waveform::decode(wav(&samples, 8000), 10.0).unwrap();
        assert_eq!((wave.rate, wave.samples.len()), (8000, 800));
        let worst = wave.samples.iter().zip(&samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-4, "16-bit rounding only: {worst}");
        assert_eq!(Waveform::decode(wav(&samples, 8000), 0.05).unwrap().samples.len(), 400);
    }

    #[test]
    fn every_format_decodes_to_the_same_tone() {
        // 0.1 seconds of 440 Hz at 8 kHz by SoX 14.4.2: `sox -n -r 8000 -c 1 tone.ogg synth 0.1 sine 440`.
        let files: [(&str, &[u8], usize); 4] = [
            ("ogg", include_bytes!("../../tests/golden/tone.ogg"), 800),
            ("flac", include_bytes!("../../tests/golden/tone.flac"), 800),
            ("aiff", include_bytes!("../../tests/golden/tone.aiff"), 800),
            ("mp3", include_bytes!("../../tests/golden/tone.mp3"), 2304),
        ];
        for (name, bytes, n_samples) in files {
            let wave = Waveform::decode(bytes.to_vec(), 10.0).unwrap();
            assert_eq!(wave.rate, 8000, "{name}");
            assert!(wave.samples.len().abs_diff(n_samples) <= 576, "{name}: {} samples", wave.samples.len());
            // Such a tone rises by a third of its amplitude at each zero crossing; the padding that an encoder adds is quiet.
            let rises = |pair: &&[f32]| pair[0] < 0.0 && pair[1] >= 0.0 && pair[1] - pair[0] > 0.1;
            let n_periods = wave.samples.windows(2).filter(rises).count();
            assert!((42..=46).contains(&n_periods), "{name}: {n_periods} periods");
        }
    }

    #[test]
    fn files_that_overflow_a_decoder_are_at_most_unreadable() {
        // Arithmetic of symphonia 0.6 overflows on these files, and panics in builds with overflow checks, such as this one.
        let files: [&[u8]; 2] =
            [include_bytes!("../../tests/golden/damaged_adpcm.wav"), include_bytes!("../../tests/golden/damaged_chunk.wav")];
        for bytes in files {
            let decoded = Waveform::decode(bytes.to_vec(), 2.0);
            assert!(decoded.is_ok() || decoded.is_err_and(|fault| fault.cause == Cause::Unreadable));
        }
    }

    #[test]
    fn file_with_fewer_samples_than_declared_is_unreadable() {
        let whole = wav(&tone(440.0, 8000, 0.5), 8000);
        for n_bytes in [whole.len() / 2, whole.len() - 2] {
            let fault = Waveform::decode(whole[..n_bytes].to_vec(), 10.0).unwrap_err();
            assert_eq!(fault.to_string(), format!("unreadable: truncated: {} of 4000 samples", (n_bytes - 44) / 2));
        }
        assert_eq!(Waveform::decode(whole[..whole.len() / 2].to_vec(), 0.1).unwrap().samples.len(), 800, "all that is requested");
        let files: [&[u8]; 2] = [include_bytes!("../../tests/golden/tone.flac"), include_bytes!("../../tests/golden/tone.aiff")];
        for bytes in files {
            let fault = Waveform::decode(bytes[..bytes.len() * 2 / 3].to_vec(), 10.0).unwrap_err();
            assert_eq!(fault.cause, Cause::Unreadable, "{fault}");
        }
    }

    #[test]
    fn wav_written_to_a_pipe_is_read_to_its_end() {
        let samples = tone(440.0, 8000, 0.1);
        for (riff, data) in [(u32::MAX, u32::MAX), (0x7FFF_FFFF, 0x7FFF_FFDB), (0x8000_0024, 0x8000_0000), (36 + 1600, u32::MAX)]
        {
            let mut file = wav(&samples, 8000);
            file[4..8].copy_from_slice(&riff.to_le_bytes());
            file[40..44].copy_from_slice(&data.to_le_bytes());
            assert_eq!(Waveform::decode(file, 10.0).unwrap().samples.len(), 800, "{riff:x} {data:x}");
        }
    }

    #[test]
    fn empty_random_and_header_only_files_are_unreadable() {
        for bytes in [vec![], vec![7; 500], wav(&[], 8000)] {
            assert_eq!(Waveform::decode(bytes, 1.0).unwrap_err().cause, Cause::Unreadable);
        }
    }

    /// A WAV file of 32-bit floating-point samples.
    fn float_wav(samples: &[f32], n_channels: u16) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0".to_vec();
        file.extend(n_channels.to_le_bytes());
        file.extend(8000u32.to_le_bytes());
        file.extend((8000 * 4 * u32::from(n_channels)).to_le_bytes());
        file.extend(n_channels.wrapping_mul(4).to_le_bytes());
        file.extend(b"\x20\0data");
        file.extend((4 * samples.len() as u32).to_le_bytes());
        file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        let n_bytes = file.len() as u32 - 8;
        file[4..8].copy_from_slice(&n_bytes.to_le_bytes());
        file
    }

    #[test]
    fn rates_out_of_range_are_unreadable() {
        for rate in [1, 99, 384_001, 10_000_019, 2_147_483_647, u32::MAX] {
            let fault = Waveform::decode(wav(&[0.1; 800], rate), 10.0).unwrap_err();
            assert_eq!(fault.to_string(), format!("unreadable: a sampling rate of {rate} Hz, supported are 100 to 384000 Hz"));
        }
        assert_eq!(Waveform::decode(wav(&[0.1; 800], 0), 10.0).unwrap_err().cause, Cause::Unreadable);
        let slow = Waveform { samples: vec![0.1; 800], rate: 1 };
        assert_eq!(slow.resampled(16_000).unwrap_err().cause, Cause::Unreadable);
        let clip = Waveform { samples: vec![0.1; 800], rate: 8000 };
        assert_eq!(clip.resampled(usize::MAX).unwrap_err().cause, Cause::Unreadable);
    }

    #[test]
    fn invalid_samples_and_channel_counts_are_unreadable() {
        assert_eq!(Waveform::decode(float_wav(&[0.5, -0.25], 1), 1.0).unwrap().samples, [0.5, -0.25]);
        for sample in [f32::NAN, f32::INFINITY, -1e38] {
            let fault = Waveform::decode(float_wav(&[0.5, sample], 1), 1.0).unwrap_err();
            assert_eq!((fault.cause, fault.detail), (Cause::Unreadable, format!("invalid sample: {sample}")));
        }
        assert_eq!(Waveform::decode(float_wav(&[0.5; 20_000], 10_000), 1.0).unwrap_err().cause, Cause::Unreadable);
    }

    #[test]
    fn resampling_by_a_rounded_ratio_preserves_a_tone() {
        let wave = Waveform { samples: tone(440.0, 44_101, 0.5), rate: 44_101 }.resampled(16_000).unwrap();
        assert_eq!(wave.samples.len(), 8000);
        let want = tone(440.0, 16_000, 0.5);
        // In half a second, 50 parts per million shift the tone by a hundredth of its period, 0.03 of its amplitude.
        let worst = (2000..6000).map(|i| (wave.samples[i] - want[i]).abs()).fold(0.0, f32::max);
        assert!(worst < 0.04, "{worst}");
        let close = Waveform { samples: vec![0.5; 44_101], rate: 44_101 }.resampled(44_100).unwrap();
        assert_eq!((close.samples.len(), close.rate), (44_100, 44_100));
    }

    #[test]
    fn extreme_ratios_are_resampled_in_small_chunks() {
        let fast = Waveform { samples: vec![0.5; 10], rate: 100 }.resampled(384_000).unwrap();
        assert_eq!(fast.samples.len(), 38_400);
        let slow = Waveform { samples: vec![0.5; 383_987], rate: 383_987 }.resampled(100).unwrap();
        assert_eq!(slow.samples.len(), 100);
    }

    proptest::proptest! {
        #[test]
        fn any_two_rates_have_a_close_ratio_of_small_terms(from in RATES, to in RATES) {
            let (few, many) = ratio(from, to);
            proptest::prop_assert!(few.max(many) <= MAX_TERM + 1, "{few} : {many}");
            let error = (few * to) as f64 / (many * from) as f64 - 1.0;
            proptest::prop_assert!(error.abs() < 50e-6, "{from} : {to} as {few} : {many} is off by {error}");
        }

        #[test]
        fn resampling_preserves_length_and_level(from in 100usize..9000, to in 100usize..9000, n_samples in 1usize..600) {
            let samples = vec![0.5; n_samples];
            let resampled = Waveform { samples, rate: from }.resampled(to).unwrap().samples;
            let want = (n_samples as f64 * to as f64 / from as f64).ceil() as usize;
            proptest::prop_assert!(resampled.len().abs_diff(want) <= 1, "{} for {want}", resampled.len());
            proptest::prop_assert!(resampled.iter().all(|value| value.abs() < 1.0), "ringing stays bounded");
        }
    }

    #[test]
    fn resampling_preserves_a_tone_and_its_length() {
        let wave = Waveform { samples: tone(440.0, 8000, 0.5), rate: 8000 }.resampled(16000).unwrap();
        let want = tone(440.0, 16000, 0.5);
        assert_eq!(wave.samples.len(), want.len());
        let middle = 2000..6000;
        let worst = middle.map(|i| (wave.samples[i] - want[i]).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{worst}");
    }
}
