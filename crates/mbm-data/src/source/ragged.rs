//! Rows with more or fewer fields than the header.

use super::options::RaggedRows;

/// Maximum number of fields that may be missing per byte of the file, and the number that any file may lack: a file of line ends
/// with a wide header would fill the disk with empty cells.
const MAX_MISSING_OF_BYTE: u64 = 64;
const FREE_MISSING: u64 = 1 << 24;

/// A row that does not fit the header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RaggedError {
    /// A row that is longer or shorter than the header.
    #[error(
        "{found} fields, but the header has {expected}; --ragged pad fills short rows with empty cells and drops surplus fields"
    )]
    FieldCount {
        /// Number of fields of the row.
        found: usize,
        /// Number of columns.
        expected: usize,
    },
    /// Rows that are nearly all shorter.
    #[error("nearly all fields of the header's {expected} are missing in the rows up to here")]
    NearlyEmpty {
        /// Number of columns.
        expected: usize,
    },
}

/// Counts the rows that do not fit the header.
#[derive(Debug)]
pub(super) struct Ragged {
    policy: RaggedRows,
    n_columns: usize,
    n_short: usize,
    n_long: usize,
    /// The first row that does not fit.
    first: usize,
    n_missing: u64,
    n_bytes: u64,
}

impl Ragged {
    pub fn new(policy: RaggedRows, n_columns: usize) -> Self {
        Self { policy, n_columns, n_short: 0, n_long: 0, first: 0, n_missing: 0, n_bytes: 0 }
    }

    /// Checks a row, numbered from 1, with `n_bytes` in the file; it may then be padded or truncated.
    ///
    /// # Errors
    /// Fails if the row does not fit and may not, or if nearly all fields are missing.
    pub fn check(&mut self, row: usize, n_fields: usize, n_bytes: usize) -> Result<(), RaggedError> {
        self.n_bytes += n_bytes as u64;
        if n_fields == self.n_columns {
            return Ok(());
        }
        if self.policy == RaggedRows::Error {
            return Err(RaggedError::FieldCount { found: n_fields, expected: self.n_columns });
        }
        if self.n_short + self.n_long == 0 {
            self.first = row;
        }
        if n_fields > self.n_columns {
            self.n_long += 1;
            return Ok(());
        }
        self.n_short += 1;
        self.add_missing(self.n_columns - n_fields)
    }

    /// Counts fields of a row that are not stored.
    ///
    /// # Errors
    /// Fails if nearly all fields of the file are missing.
    pub fn add_missing(&mut self, n_fields: usize) -> Result<(), RaggedError> {
        self.n_missing += n_fields as u64;
        let limit = FREE_MISSING.max(self.n_bytes.saturating_mul(MAX_MISSING_OF_BYTE));
        let is_within = self.n_missing <= limit;
        if is_within { Ok(()) } else { Err(RaggedError::NearlyEmpty { expected: self.n_columns }) }
    }

    /// Says how many rows did not fit.
    pub fn note(&self) -> Option<String> {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 row has {what} fields than the header")),
            n => Some(format!("{n} rows have {what} fields than the header")),
        };
        let short = count(self.n_short, "fewer").map(|text| format!("{text}: their cells are empty"));
        let long = count(self.n_long, "more").map(|text| format!("{text}: the surplus is dropped"));
        let counts: Vec<String> = [short, long].into_iter().flatten().collect();
        (!counts.is_empty()).then(|| format!("{}; the first is row {}", counts.join(", "), self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padded_rows_are_counted() {
        let mut ragged = Ragged::new(RaggedRows::Pad, 3);
        for (row, n_fields) in [(1, 3), (2, 2), (3, 4), (4, 1)] {
            ragged.check(row, n_fields, 6).unwrap();
        }
        let want = "2 rows have fewer fields than the header: their cells are empty, \
                    1 row has more fields than the header: the surplus is dropped; the first is row 2";
        assert_eq!(ragged.note().unwrap(), want);
        assert_eq!(Ragged::new(RaggedRows::Pad, 3).note(), None);
    }

    #[test]
    fn rows_that_are_nearly_empty_are_an_error() {
        let mut ragged = Ragged::new(RaggedRows::Pad, 1_000_000);
        let error = (1..).find_map(|row| ragged.check(row, 1, 2).err().map(|error| (row, error))).unwrap();
        assert_eq!(error, (17, RaggedError::NearlyEmpty { expected: 1_000_000 }));
    }
}
