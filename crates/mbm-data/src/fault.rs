//! Faults: why cells have no payload or a shortened one, and how many such cells there are.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::{Field, FieldFault};

/// The cause of a fault, without the details of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The cell is empty.
    Empty,
    /// The table has no such column.
    NoColumn,
    /// A path to a file that does not exist.
    FileNotFound,
    /// A file or bytes that cannot be decoded: truncated, damaged, or in another format.
    Unreadable,
    /// More pixels, samples or bytes than the limit, or a number beyond the range of a model.
    TooLarge,
    /// Text that is not valid UTF-8.
    NotUtf8,
    /// Text that cannot be parsed as the expected number, date, vector or boolean.
    Malformed,
    /// A class that does not occur in the training rows.
    UnknownClass,
    /// A text with more tokens than the limit: the payload holds its beginning.
    Shortened,
}

impl Cause {
    /// Every cause, in declaration order.
    pub(crate) const ALL: [Cause; 9] = [
        Cause::Empty,
        Cause::NoColumn,
        Cause::FileNotFound,
        Cause::Unreadable,
        Cause::TooLarge,
        Cause::NotUtf8,
        Cause::Malformed,
        Cause::UnknownClass,
        Cause::Shortened,
    ];

    /// Returns the word used in reports and in the `status` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Empty => "empty",
            Cause::NoColumn => "no_column",
            Cause::FileNotFound => "file_not_found",
            Cause::Unreadable => "unreadable",
            Cause::TooLarge => "too_large",
            Cause::NotUtf8 => "not_utf8",
            Cause::Malformed => "malformed",
            Cause::UnknownClass => "unknown_class",
            Cause::Shortened => "shortened",
        }
    }

    /// Returns whether the cell has no payload.
    pub fn is_absence(self) -> bool {
        self != Cause::Shortened
    }

    /// Returns whether the cell holds something that cannot be read.
    pub fn is_unreadable(self) -> bool {
        match self {
            Cause::Empty | Cause::NoColumn | Cause::Shortened => false,
            Cause::FileNotFound
            | Cause::Unreadable
            | Cause::TooLarge
            | Cause::NotUtf8
            | Cause::Malformed
            | Cause::UnknownClass => true,
        }
    }
}

/// Maximum number of characters of a cell or of a library's message that a fault repeats: enough to identify the cell, and at
/// most a line.
const MAX_DETAIL: usize = 200;

/// The fault of one cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The cause.
    pub cause: Cause,
    /// The path, the text, or what is wrong with it; at most a line.
    pub detail: String,
}

impl Fault {
    /// Creates a fault, whose detail is truncated to the length of a line.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push_str("..");
        }
        Self { cause, detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            out.write_str(self.cause.as_str())
        } else {
            write!(out, "{}: {}", self.cause.as_str(), self.detail)
        }
    }
}

/// Faults counted by feature and cause, with the first few of each.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FaultReport(pub BTreeMap<String, BTreeMap<Cause, Tally>>);

/// The count of a fault and its first occurrences.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Number of cells.
    pub count: usize,
    /// The first three occurrences, such as `row 17: path`.
    pub first: Vec<String>,
}

impl FaultReport {
    /// Counts one fault of a row (starting at 1).
    pub fn add(&mut self, feature: &str, row: usize, fault: &Fault) {
        let tally = self.0.entry(feature.to_owned()).or_default().entry(fault.cause).or_default();
        tally.count += 1;
        if tally.first.len() < 3 {
            let detail = if fault.detail.is_empty() { String::new() } else { format!(": {}", fault.detail) };
            tally.first.push(format!("row {row}{detail}"));
        }
    }

    /// Counts the faults of a row of features.
    pub fn add_row(&mut self, fields: &[Field], row_idx: usize, faults: &[FieldFault]) {
        for FieldFault { field, fault } in faults {
            self.add(&fields[*field].name, row_idx + 1, fault);
        }
    }

    /// Returns one human-readable line per feature and cause.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|(feature, causes)| causes.iter().map(move |(cause, tally)| line(feature, *cause, tally)))
            .collect()
    }
}

fn line(feature: &str, cause: Cause, tally: &Tally) -> String {
    format!(
        "{feature}: {} {} ({}{})",
        tally.count,
        cause.as_str(),
        tally.first.join("; "),
        if tally.count > tally.first.len() { "; ..." } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_listed_in_declaration_order() {
        assert!(Cause::ALL.iter().enumerate().all(|(at, cause)| *cause as usize == at));
    }

    #[test]
    fn fault_detail_is_truncated_to_a_line() {
        let fault = Fault::new(Cause::Malformed, "ä".repeat(1 << 20));
        assert_eq!(fault.detail, "ä".repeat(MAX_DETAIL) + "..");
        assert_eq!(Fault::new(Cause::Malformed, "ä".repeat(MAX_DETAIL)).detail, "ä".repeat(MAX_DETAIL));
    }
}
