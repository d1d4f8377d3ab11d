//! The delimiter of a CSV file, from its header and first rows.

use csv::{ByteRecord, ReaderBuilder};

/// Bytes and rows that are looked at.
pub(super) const N_BYTES: u64 = 1 << 16;
const N_ROWS: usize = 200;

/// Delimiters in the order in which they are preferred.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Returns the first delimiter that divides the header and all rows into the same number of fields, at least two. If none does, it
/// is the one that divides the header into the most fields.
pub(super) fn delimiter(start: &[u8]) -> u8 {
    let is_whole = (start.len() as u64) < N_BYTES;
    let counts: Vec<(u8, Vec<usize>)> =
        DELIMITERS.iter().map(|delimiter| (*delimiter, field_counts(start, *delimiter, is_whole))).collect();
    let is_consistent = |counts: &[usize]| counts.first() > Some(&1) && counts.iter().all(|n| n == &counts[0]);
    if let Some((delimiter, _)) = counts.iter().find(|(_, counts)| is_consistent(counts)) {
        return *delimiter;
    }
    let n_names = |counts: &[usize]| counts.first().copied().unwrap_or(0);
    let most = counts.iter().map(|(_, counts)| n_names(counts)).max().unwrap_or(0);
    counts.iter().find(|(_, counts)| n_names(counts) == most).map_or(DELIMITERS[0], |(delimiter, _)| *delimiter)
}

/// Returns the number of fields of each row; the last row of a file that goes on may be cut off, and is left out.
fn field_counts(start: &[u8], delimiter: u8, is_whole: bool) -> Vec<usize> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(start);
    let (mut record, mut counts) = (ByteRecord::new(), Vec::new());
    while counts.len() < N_ROWS && reader.read_byte_record(&mut record).is_ok_and(|more| more) {
        counts.push(record.len());
    }
    if !is_whole && counts.len() > 1 && counts.len() < N_ROWS {
        counts.pop();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiter_divides_all_rows_into_as_many_fields() {
        for (text, want) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1,5;2,5\n", b';'),
            ("a\tb c\n1, 2\tx;y\n", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("\"a,b\";c\n\"1;2,3\";4\n", b';'),
            ("id,tags\n1,a;b;c\n2,a\n", b','),
            ("id,scores|a|b\n1,3|4|5\n", b','),
            ("a;b;c\n", b';'),
            ("", b','),
        ] {
            assert_eq!(char::from(delimiter(text.as_bytes())), char::from(want), "{text}");
        }
    }

    #[test]
    fn a_single_column_of_text_is_not_divided() {
        assert_eq!(delimiter(b"text\nhello; world\nfoo | bar\na\tb\n"), b',');
    }

    #[test]
    fn ragged_rows_are_divided_as_the_header() {
        assert_eq!(delimiter(b"a;b\n1;2\n3\n"), b';');
        assert_eq!(delimiter(b"a,b\n1,2\n3\n"), b',');
    }

    #[test]
    fn a_row_that_is_cut_off_does_not_count() {
        let row = format!("1;{}\n", "x".repeat(100));
        let text = format!("a;b\n{}", row.repeat(1000));
        let start = &text.as_bytes()[..N_BYTES as usize];
        assert_eq!(delimiter(start), b';');
        let header_only = format!("a;b\n1;\"{}", "x,".repeat(1 << 16));
        assert_eq!(delimiter(&header_only.as_bytes()[..N_BYTES as usize]), b';');
    }
}
