//! A check of the sizes that the pages of a Parquet file declare against the size of the file, before any page is read.
//!
//! The reader allocates as many bytes as the header of a page declares and as many words as that of a dictionary does, and yields
//! as many rows as the footer declares, so a few hundred bytes can demand gigabytes. Headers are read here in Thrift's compact
//! protocol, as described in `parquet.thrift` of Apache Parquet, and fields other than sizes are skipped.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::page_error::PageError;

/// Maximum number of bytes per compressed byte of a page, and the number that any page may expand to. Writers end a page after
/// about a megabyte.
const MAX_RATIO: u64 = 200;
const FREE_BYTES: u64 = 1 << 26;

/// Maximum number of rows, and of values in lists, per byte of the file, and the numbers that any file may have. Runs of equal
/// cells take almost no bytes; a list is held in memory as a whole.
const ROWS_OF_BYTE: u64 = 8192;
const FREE_ROWS: u64 = 1 << 24;
const LISTED_OF_BYTE: u64 = 64;
const FREE_LISTED: u64 = 1 << 22;

/// Number of bytes that are read to find a header, tried in order; statistics may make it long.
const HEADER: [usize; 2] = [1 << 12, 1 << 24];

/// A column of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub group_idx: usize,
    pub column_idx: usize,
}

/// Rejects a file that declares too much for its `n_bytes`; returns the columns with delta-encoded pages, whose content declares sizes as well.
///
/// # Errors
/// Names what is out of proportion, or a page that is missing.
pub(super) fn check(file: &File, n_bytes: u64, metadata: &ParquetMetaData) -> Result<Vec<Chunk>, PageError> {
    let groups = metadata.row_groups();
    let n_rows = groups.iter().try_fold(0, |n_rows: u64, group| n_rows.checked_add(u64::try_from(group.num_rows()).ok()?));
    let n_rows = n_rows.ok_or(PageError::RowCount)?;
    within("rows", n_rows, FREE_ROWS.max(n_bytes.saturating_mul(ROWS_OF_BYTE)))?;
    let (mut n_listed, mut deltas) = (0, Vec::new());
    for (group_idx, group) in groups.iter().enumerate() {
        for (column_idx, column) in group.columns().iter().enumerate() {
            let found = check_pages(file, column)
                .map_err(|source| PageError::Column { column: column.column_path().to_string(), source: Box::new(source) })?;
            if column.column_descr().max_rep_level() > 0 {
                n_listed += found.n_values;
            }
            deltas.extend(found.has_deltas.then_some(Chunk { group_idx, column_idx }));
        }
    }
    within("values in lists", n_listed, FREE_LISTED.max(n_bytes.saturating_mul(LISTED_OF_BYTE)))?;
    Ok(deltas)
}

fn within(quantity: &'static str, found: u64, limit: u64) -> Result<(), PageError> {
    if found <= limit { Ok(()) } else { Err(PageError::Limit { quantity, found, limit }) }
}

/// Summary of the pages of a column.
#[derive(Default)]
struct Found {
    /// Number of values, including those in lists and missing ones.
    n_values: u64,
    has_deltas: bool,
}

fn check_pages(file: &File, column: &ColumnChunkMetaData) -> Result<Found, PageError> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let place = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let (mut start, n_bytes) = place.ok_or(PageError::NegativeOffset)?;
    let end = start.saturating_add(n_bytes);
    let mut found = Found::default();
    while start < end {
        let (mut page, n_header) = page_at(file, start, end).ok_or(PageError::NoHeader)?;
        start += n_header;
        if column.compression() == Compression::UNCOMPRESSED {
            page.uncompressed = page.compressed;
        }
        if page.compressed > end - start {
            return Err(PageError::BeyondColumn { n_bytes: page.compressed });
        }
        page.check()?;
        if matches!(column.compression(), Compression::GZIP(_)) && page.is_compressed {
            check_gzip(file, start, &page)?;
        }
        start += page.compressed;
        found.n_values = found.n_values.saturating_add(page.n_values);
        found.has_deltas |= matches!(page.encoding, DELTA_LENGTHS | DELTA_WORDS);
    }
    Ok(found)
}

/// Checks the size of a gzip page, which the reader decompresses whatever size the header declares.
fn check_gzip(file: &File, start: u64, page: &Page) -> Result<(), PageError> {
    let mut bytes = vec![0; (page.compressed - page.n_level_bytes) as usize];
    file.read_exact_at(&mut bytes, start + page.n_level_bytes)?;
    let limit = page.uncompressed - page.n_level_bytes + 1;
    let n_bytes = io::copy(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(limit), &mut io::sink())?;
    if n_bytes < limit { Ok(()) } else { Err(PageError::Expands) }
}

/// The sizes declared in a page header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    uncompressed: u64,
    compressed: u64,
    /// Number of values in a data page.
    n_values: u64,
    /// Number of words in a dictionary page.
    n_words: u64,
    /// Number of bytes before the compressed part.
    n_level_bytes: u64,
    is_compressed: bool,
    encoding: u64,
}

/// `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY`.
const DELTA_LENGTHS: u64 = 6;
const DELTA_WORDS: u64 = 7;

impl Page {
    fn check(&self) -> Result<(), PageError> {
        within("bytes of a page", self.uncompressed, FREE_BYTES.max(self.compressed.saturating_mul(MAX_RATIO)))?;
        within("words of a dictionary", self.n_words, self.uncompressed)?;
        let levels_fit = self.n_level_bytes <= self.compressed.min(self.uncompressed);
        if levels_fit { Ok(()) } else { Err(PageError::LongLevels) }
    }

    fn read(thrift: &mut Thrift) -> Option<Self> {
        let mut page = Page { is_compressed: true, ..Self::default() };
        thrift.fields(|thrift, field, kind| match (field, kind) {
            (2, INTEGER) => thrift.size().map(|size| page.uncompressed = size),
            (3, INTEGER) => thrift.size().map(|size| page.compressed = size),
            (5, STRUCT) => thrift.sizes(&mut [(1, &mut page.n_values), (2, &mut page.encoding)]),
            (7, STRUCT) => thrift.sizes(&mut [(1, &mut page.n_words)]),
            (8, STRUCT) => {
                let (mut definitions, mut repetitions, mut is_plain) = (0, 0, 0);
                let fields = &mut [
                    (1, &mut page.n_values),
                    (4, &mut page.encoding),
                    (5, &mut definitions),
                    (6, &mut repetitions),
                    (7, &mut is_plain),
                ];
                thrift.sizes(fields)?;
                page.n_level_bytes = definitions.checked_add(repetitions)?;
                page.is_compressed = is_plain != u64::from(FALSE);
                Some(())
            }
            _ => thrift.skip(kind, MAX_DEPTH),
        })?;
        Some(page)
    }
}

/// Reads the page header at an offset; returns it with its length.
fn page_at(file: &File, start: u64, end: u64) -> Option<(Page, u64)> {
    HEADER.iter().find_map(|most| {
        let mut bytes = vec![0; (end - start).min(*most as u64) as usize];
        file.read_exact_at(&mut bytes, start).ok()?;
        let mut thrift = Thrift(&bytes);
        let page = Page::read(&mut thrift)?;
        Some((page, (bytes.len() - thrift.0.len()) as u64))
    })
}

/// A reader of Thrift's compact protocol.
struct Thrift<'a>(&'a [u8]);

const FALSE: u8 = 2;
const BYTE: u8 = 3;
const SHORT: u8 = 4;
const INTEGER: u8 = 5;
const LONG: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// Maximum depth of nested structs; a page header has two levels.
const MAX_DEPTH: usize = 8;

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads an integer that must not be negative.
    fn size(&mut self) -> Option<u64> {
        let zigzag = self.varint()?;
        (zigzag & 1 == 0).then_some(zigzag >> 1)
    }

    /// Calls `read` with the id and type of each field of a struct; `read` must consume the value.
    fn fields(&mut self, mut read: impl FnMut(&mut Self, u64, u8) -> Option<()>) -> Option<()> {
        let mut field = 0u64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            field = if head >> 4 == 0 { self.size()? } else { field.checked_add(u64::from(head >> 4))? };
            read(self, field, head & 0xf)?;
        }
    }

    /// Reads the `wanted` fields of a struct by id; a boolean is stored as the number of its type.
    fn sizes(&mut self, wanted: &mut [(u64, &mut u64)]) -> Option<()> {
        self.fields(|thrift, field, kind| match wanted.iter_mut().find(|(number, _)| *number == field) {
            Some((_, value)) if kind == INTEGER => thrift.size().map(|size| **value = size),
            Some((_, value)) if kind <= FALSE => {
                **value = u64::from(kind);
                Some(())
            }
            Some(_) | None => thrift.skip(kind, MAX_DEPTH),
        })
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            0..=FALSE => Some(()),
            BYTE => self.byte().map(drop),
            SHORT | INTEGER | LONG => self.varint().map(drop),
            DOUBLE => self.0.split_at_checked(8).map(|(_, rest)| self.0 = rest),
            BINARY => {
                let n_bytes = usize::try_from(self.varint()?).ok()?;
                self.0.split_at_checked(n_bytes).map(|(_, rest)| self.0 = rest)
            }
            LIST | SET => {
                let head = self.byte()?;
                let n_items = if head >> 4 == 0xf { self.varint()? } else { u64::from(head >> 4) };
                // An item takes at least one byte, even a boolean.
                let fits = n_items <= self.0.len() as u64;
                fits.then_some(())?;
                (0..n_items)
                    .try_for_each(|_| if head & 0xf <= FALSE { self.byte().map(drop) } else { self.skip(head & 0xf, depth) })
            }
            STRUCT => self.fields(|thrift, _, kind| thrift.skip(kind, depth)),
            // Page headers contain no maps.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_a_page_header() {
        // Type 0, uncompressed 100, compressed 60, then a page of data with 7 values and encoding 0.
        let bytes = [0x15, 0, 0x15, 200, 1, 0x15, 120, 0x2c, 0x15, 14, 0x15, 0, 0, 0, 99];
        let mut thrift = Thrift(&bytes);
        let page = Page::read(&mut thrift).unwrap();
        assert_eq!(page, Page { uncompressed: 100, compressed: 60, n_values: 7, is_compressed: true, ..Page::default() });
        assert_eq!(thrift.0, [99]);
        assert_eq!(Page::read(&mut Thrift(&bytes[..9])), None);
    }

    #[test]
    fn oversized_dictionaries_and_pages_are_rejected() {
        let page = Page { uncompressed: 1000, compressed: 900, n_words: 2_000_000_000, ..Page::default() };
        assert!(page.check().unwrap_err().to_string().contains("2000000000 words of a dictionary"));
        let page = Page { uncompressed: 2_000_000_000, compressed: 900, ..Page::default() };
        assert!(page.check().unwrap_err().to_string().contains("2000000000 bytes of a page"));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = Page::read(&mut Thrift(&bytes));
        }
    }
}
