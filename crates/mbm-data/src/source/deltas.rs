//! A check of how many values a delta-encoded Parquet page declares: the reader allocates memory for all of them up front.
//!
//! A page in `DELTA_LENGTH_BYTE_ARRAY` starts with the lengths of its values; one in `DELTA_BYTE_ARRAY` starts with the lengths
//! of the prefixes that they share with the preceding value, followed by the lengths of the suffixes. Both are in
//! `DELTA_BINARY_PACKED`, as described in Apache Parquet's `Encodings.md`. Writers rarely choose these encodings.

use parquet::basic::Encoding;
use parquet::column::page::Page;

use super::page_error::PageError;

/// Maximum levels of a column; the levels precede the values.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    pub max_definition: i16,
    pub max_repetition: i16,
}

/// Rejects a page that declares more lengths than it has values.
pub(super) fn check(page: &Page, levels: Levels) -> Result<(), PageError> {
    let n_streams = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => return Ok(()),
    };
    let bytes = values(page, levels).ok_or(PageError::LevelsBeyondPage)?;
    let n_values = u64::from(page.num_values());
    let rest = (0..n_streams).try_fold(bytes, |bytes, _| after_lengths(bytes, n_values));
    rest.map(drop).ok_or(PageError::DeltaLengths { n_values })
}

/// Returns the bytes after the levels of a page.
fn values(page: &Page, levels: Levels) -> Option<&[u8]> {
    match page {
        Page::DataPage { buf, .. } => {
            let n_levels = usize::from(levels.max_repetition > 0) + usize::from(levels.max_definition > 0);
            (0..n_levels).try_fold(buf.as_ref(), |bytes, _| {
                let (n_bytes, rest) = bytes.split_first_chunk::<4>()?;
                rest.get(u32::from_le_bytes(*n_bytes) as usize..)
            })
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            buf.get(def_levels_byte_len.checked_add(*rep_levels_byte_len)? as usize..)
        }
        Page::DictionaryPage { buf, .. } => Some(buf),
    }
}

/// Returns the bytes after packed deltas; `None` if they are more than `n_values` or incomplete.
fn after_lengths(mut bytes: &[u8], n_values: u64) -> Option<&[u8]> {
    let [block, n_parts, n_lengths, _first] = [(); 4].map(|()| varint(&mut bytes));
    let (block, n_parts, n_lengths) = (block?, n_parts?, n_lengths?);
    if n_lengths > n_values || n_parts == 0 || block == 0 || !block.is_multiple_of(n_parts) {
        return None;
    }
    let in_part = block / n_parts;
    let mut n_left = n_lengths.saturating_sub(1);
    while n_left > 0 {
        varint(&mut bytes)?;
        let (widths, rest) = bytes.split_at_checked(usize::try_from(n_parts).ok()?)?;
        bytes = rest;
        for width in widths {
            if n_left > 0 {
                let n_bytes = in_part.checked_mul(u64::from(*width))? / 8;
                bytes = bytes.get(usize::try_from(n_bytes).ok()?..)?;
                n_left = n_left.saturating_sub(in_part);
            }
        }
    }
    Some(bytes)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_deltas_end_after_their_last_miniblock() {
        // Blocks of 128 in 4 miniblocks, 34 lengths, the first 3; a block: least delta 0, widths 2, 1, 0, 0; then 8 and 4 bytes.
        let mut bytes = vec![0x80, 1, 4, 34, 6, 0, 2, 1, 0, 0];
        bytes.extend([0; 12]);
        bytes.push(77);
        assert_eq!(after_lengths(&bytes, 34), Some(&[77][..]));
        assert_eq!(after_lengths(&bytes, 33), None, "more lengths than values");
        assert_eq!(after_lengths(&bytes[..21], 34), None, "bytes are missing");
        assert_eq!(after_lengths(&[0x80, 1, 4, 0xff, 0xff, 0xff, 0xff, 0x7f, 0], 1000), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = after_lengths(&bytes, 1000);
        }
    }
}
