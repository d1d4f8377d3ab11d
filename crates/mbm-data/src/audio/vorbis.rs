//! A check of what the setup header of Ogg Vorbis expands to, before a decoder allocates memory for it.
//!
//! A codebook of 131,072 entries with 32 values each takes 16 MB, and a dozen bytes can describe it; a header may hold 256 of
//! them. For the lengths and order of the fields, see the Vorbis I specification, section 3.2.1.

use std::io::Result;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;
use symphonia::core::io::{BitReaderRtl, ReadBitsRtl};

use crate::{Cause, Fault};

/// Number of bytes before the codebooks: the identification header, and the name of the setup header.
const IDENTIFICATION: usize = 30;
const NAME: usize = 7;

/// Maximum number of entries in all codebooks, and of values in their vectors. The encoders of Xiph.Org write about 50 codebooks
/// of up to 6,561 entries, with less than a million values in all.
const MAX_ENTRIES: u64 = 1 << 20;
const MAX_VALUES: u64 = 1 << 22;

/// Rejects a setup header whose codebooks are too large; audio in any other codec passes.
pub(super) fn check(parameters: &AudioCodecParameters) -> std::result::Result<(), Fault> {
    if parameters.codec != CODEC_ID_VORBIS {
        return Ok(());
    }
    let setup = parameters.extra_data.as_deref().and_then(|headers| headers.get(IDENTIFICATION + NAME..)).unwrap_or_default();
    let (entries, values) = size(setup).map_err(|error| unreadable(format!("damaged codebooks: {error}")))?;
    if entries > MAX_ENTRIES || values > MAX_VALUES {
        return Err(unreadable(format!(
            "codebooks of {entries} entries and {values} values, the limits are {MAX_ENTRIES} and {MAX_VALUES}"
        )));
    }
    Ok(())
}

fn unreadable(message: String) -> Fault {
    Fault::new(Cause::Unreadable, format!("vorbis: {message}"))
}

/// Returns the number of entries and values in the codebooks, which are read until they exceed a limit.
fn size(setup: &[u8]) -> Result<(u64, u64)> {
    let mut bits = BitReaderRtl::new(setup);
    let n_codebooks = bits.read_bits_leq32(8)? + 1;
    let (mut entries, mut values) = (0, 0);
    for _ in 0..n_codebooks {
        let codebook = codebook(&mut bits)?;
        (entries, values) = (entries + codebook.0, values + codebook.1);
        if entries > MAX_ENTRIES || values > MAX_VALUES {
            break;
        }
    }
    Ok((entries, values))
}

/// Returns the number of entries in one codebook and of values in their vectors, skipping the bits of the values.
fn codebook(bits: &mut BitReaderRtl) -> Result<(u64, u64)> {
    const SYNCHRONISATION: u32 = 24;
    bits.ignore_bits(SYNCHRONISATION)?;
    let (dimensions, entries) = (bits.read_bits_leq32(16)?, bits.read_bits_leq32(24)?);
    let n_values = u64::from(entries) * u64::from(dimensions);
    if u64::from(entries) > MAX_ENTRIES || n_values > MAX_VALUES {
        return Ok((u64::from(entries), n_values));
    }
    skip_lengths(bits, entries)?;
    let lookup = bits.read_bits_leq32(4)?;
    if lookup == 0 {
        return Ok((u64::from(entries), 0));
    }
    let (minimum, step) = (32, 32);
    bits.ignore_bits(minimum)?;
    bits.ignore_bits(step)?;
    let value_bits = bits.read_bits_leq32(4)? + 1;
    let _is_sequence = bits.read_bool()?;
    let n_written = if lookup == 1 { root(entries, dimensions) } else { n_values };
    for _ in 0..n_written {
        bits.ignore_bits(value_bits)?;
    }
    Ok((u64::from(entries), n_values))
}

/// Skips the lengths of the codewords.
fn skip_lengths(bits: &mut BitReaderRtl, entries: u32) -> Result<()> {
    let is_ordered = bits.read_bool()?;
    if is_ordered {
        bits.ignore_bits(5)?;
        let mut n_before = 0;
        while n_before < entries {
            n_before += bits.read_bits_leq32(u32::BITS - (entries - n_before).leading_zeros())?;
        }
        return Ok(());
    }
    let is_sparse = bits.read_bool()?;
    for _ in 0..entries {
        if !is_sparse || bits.read_bool()? {
            bits.ignore_bits(5)?;
        }
    }
    Ok(())
}

/// Returns the largest integer whose power `dimensions` is at most `entries` (`lookup1_values` in the specification).
fn root(entries: u32, dimensions: u32) -> u64 {
    if dimensions == 0 {
        0
    } else {
        (1..)
            .take_while(|value: &u64| value.checked_pow(dimensions).is_some_and(|power| power <= u64::from(entries)))
            .last()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, starting from the lowest bit of the first byte.
    #[derive(Default)]
    struct Bits(Vec<bool>);

    impl Bits {
        fn push(&mut self, value: u64, n_bits: u32) {
            self.0.extend((0..n_bits).map(|bit| value >> bit & 1 == 1));
        }

        fn bytes(&self) -> Vec<u8> {
            self.0.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
        }
    }

    /// Writes a codebook whose entries all have codewords of 17 bits, with one value per dimension.
    fn ordered(bits: &mut Bits, dimensions: u64, entries: u64) {
        bits.push(0x56_4342, 24);
        bits.push(dimensions, 16);
        bits.push(entries, 24);
        bits.push(1, 1);
        bits.push(16, 5);
        bits.push(entries, u64::BITS - entries.leading_zeros());
        bits.push(1, 4);
        bits.push(0, 64);
        bits.push(0, 5);
        bits.push(0, root(entries as u32, dimensions as u32) as u32);
    }

    #[test]
    fn codebooks_are_counted_without_allocating_them() {
        let mut bits = Bits::default();
        bits.push(1, 8);
        ordered(&mut bits, 3, 125);
        ordered(&mut bits, 2, 10);
        assert_eq!(size(&bits.bytes()).unwrap(), (135, 395));
        assert_eq!((root(125, 3), root(124, 3), root(131_072, 32), root(7, 1)), (5, 4, 1, 7));
    }

    #[test]
    fn small_header_that_expands_to_gigabytes_is_rejected() {
        let mut bits = Bits::default();
        bits.push(255, 8);
        (0..256).for_each(|_| ordered(&mut bits, 32, 131_072));
        let setup = bits.bytes();
        assert!(setup.len() < 7000, "{} bytes would take 4 GiB", setup.len());
        let mut parameters = AudioCodecParameters::new();
        let headers = [&[0; IDENTIFICATION + NAME][..], &setup].concat();
        parameters.for_codec(CODEC_ID_VORBIS).with_extra_data(headers.into());
        let fault = check(&parameters).unwrap_err();
        assert!(fault.to_string().contains("codebooks of 262144 entries and 8388608 values"), "{fault}");
    }
}
