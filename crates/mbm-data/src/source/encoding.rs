//! Encodings of text files: UTF-8 with or without a byte order mark, and UTF-16, which is converted to UTF-8 on the way.

use std::io::{self, Read};

use super::peeked::Peeked;

/// A text file.
pub(super) struct Text {
    /// The text in UTF-8, without a byte order mark.
    pub reader: Box<dyn Read>,
    /// Whether the file is in UTF-16.
    pub is_utf16: bool,
}

/// Detects the encoding of a text by its byte order mark, or by the zeros next to the first two letters in UTF-16.
pub(super) fn decoded(reader: Box<dyn Read>) -> Text {
    let peeked = Peeked::new(reader, 4);
    let (n_mark, order) = match peeked.start() {
        [0xef, 0xbb, 0xbf, ..] => (3, None),
        [0xff, 0xfe, ..] => (2, Some(u16::from_le_bytes as Order)),
        [0xfe, 0xff, ..] => (2, Some(u16::from_be_bytes as Order)),
        [1..=255, 0, 1..=255, 0] => (0, Some(u16::from_le_bytes as Order)),
        [0, 1..=255, 0, 1..=255] => (0, Some(u16::from_be_bytes as Order)),
        _ => (0, None),
    };
    let peeked = peeked.skip(n_mark);
    match order {
        Some(order) => Text { reader: Box::new(Utf16::new(peeked, order)), is_utf16: true },
        None => Text { reader: Box::new(peeked), is_utf16: false },
    }
}

/// The order of the two bytes of a code unit.
type Order = fn([u8; 2]) -> u16;

/// Code units that are decoded at a time.
const N_UNITS: usize = 1 << 14;

/// Converts UTF-16 to UTF-8. A surrogate without its partner becomes three bytes that are not UTF-8, so that its cell is reported.
struct Utf16<R> {
    inner: R,
    order: Order,
    /// A high surrogate at the end of the previous units.
    high: Option<u16>,
    decoded: Vec<u8>,
    n_taken: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the UTF-16 text ends within a character")]
struct HalfUnit;

impl<R: Read> Utf16<R> {
    fn new(inner: R, order: Order) -> Self {
        Self { inner, order, high: None, decoded: Vec::new(), n_taken: 0 }
    }

    /// Decodes the next units; nothing at the end.
    fn decode(&mut self) -> io::Result<()> {
        self.decoded.clear();
        self.n_taken = 0;
        let mut bytes = Vec::new();
        self.inner.by_ref().take(2 * N_UNITS as u64).read_to_end(&mut bytes)?;
        let (units, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, HalfUnit));
        }
        let units = self.high.take().into_iter().chain(units.iter().map(|unit| (self.order)(*unit)));
        let mut units: Vec<u16> = units.collect();
        if bytes.len() == 2 * N_UNITS {
            self.high = units.pop_if(|unit| (0xd800..0xdc00).contains(unit));
        }
        for unit in char::decode_utf16(units) {
            match unit {
                Ok(character) => self.decoded.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(error) => self.decoded.extend(three_bytes(error.unpaired_surrogate())),
            }
        }
        Ok(())
    }
}

/// Writes a surrogate as UTF-8 would write a character with its number.
fn three_bytes(unit: u16) -> [u8; 3] {
    [0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_taken == self.decoded.len() {
            self.decode()?;
        }
        let n_bytes = (&self.decoded[self.n_taken..]).read(buffer)?;
        self.n_taken += n_bytes;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> (Result<Vec<u8>, String>, bool) {
        let Text { mut reader, is_utf16 } = decoded(Box::new(io::Cursor::new(bytes)));
        let mut text = Vec::new();
        let result = reader.read_to_end(&mut text).map(|_| text).map_err(|error| error.to_string());
        (result, is_utf16)
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn utf16_is_recognized_with_and_without_a_byte_order_mark() {
        for text in ["\u{feff}a,ä\n😀,1\n", "a,ä\n", "\u{feff}"] {
            let want = text.trim_start_matches('\u{feff}').as_bytes().to_vec();
            assert_eq!(read(utf16(text, u16::to_le_bytes)), (Ok(want.clone()), true));
            assert_eq!(read(utf16(text, u16::to_be_bytes)), (Ok(want), true));
        }
    }

    #[test]
    fn utf8_loses_its_byte_order_mark_and_nothing_else() {
        for (bytes, want) in
            [(&b"\xef\xbb\xbfa"[..], &b"a"[..]), (b"\xef\xbb", b"\xef\xbb"), (b"a\xff\0", b"a\xff\0"), (b"", b"")]
        {
            assert_eq!(read(bytes.to_vec()), (Ok(want.to_vec()), false));
        }
    }

    #[test]
    fn surrogates_across_the_ends_of_buffers_are_joined() {
        let text = format!("\u{feff}{}😀😀", "a".repeat(N_UNITS - 1));
        assert_eq!(read(utf16(&text, u16::to_le_bytes)), (Ok(text.trim_start_matches('\u{feff}').into()), true));
    }

    #[test]
    fn lone_surrogates_are_not_utf8_and_half_a_unit_is_an_error() {
        let (text, _) = read(vec![0xff, 0xfe, b'a', 0, 0x00, 0xd8]);
        assert_eq!(text.unwrap(), b"a\xed\xa0\x80");
        assert_eq!(read(vec![0xff, 0xfe, b'a']).0, Err("the UTF-16 text ends within a character".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_to_the_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = read(bytes);
        }
    }
}
