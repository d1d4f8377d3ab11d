//! Why a cell has no payload, or not a whole one, and the count of such cells.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The reason, without the details of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing in the cell.
    Empty,
    /// The table has no such column.
    NoColumn,
    /// A path to no file.
    FileNotFound,
    /// A file or bytes that do not decode: truncated, damaged, or of another format.
    Unreadable,
    /// More pixels, samples or bytes than the limit, or a number beyond what a model can take.
    TooLarge,
    /// Text that is not UTF-8.
    NotUtf8,
    /// Text that is not the number, date, vector or boolean that it should be.
    Malformed,
    /// A class that training did not see.
    UnknownClass,
    /// A text with more tokens than are read: there is a payload, of its beginning.
    Shortened,
}

impl Cause {
    /// The word in reports and in the `status` column.
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

    /// Whether the cell has no payload.
    pub fn is_absence(self) -> bool {
        self != Cause::Shortened
    }

    /// Whether there is something in the cell, and it cannot be read.
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

/// What becomes of a row with a cell that holds something and cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// What its feature's `missing_value_strategy` says of cells without a payload.
    #[default]
    Missing,
    /// An error, whatever the feature says.
    Error,
}

/// What becomes of a row because of one of its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The row stays; the feature is absent or shortened in it.
    Stays,
    /// The row takes no part in training and gets no prediction.
    Dropped,
    /// The feature's `missing_value_strategy: error` does not accept it.
    Refused,
    /// [`Unreadable::Error`] does not accept it.
    Strict,
}

/// Characters of a cell or of another program's message that a fault repeats, at most: enough to find the cell by, and no more than a line.
const MAX_DETAIL: usize = 200;

/// One cell's reason and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of reason.
    pub cause: Cause,
    /// The path, the text, or what is wrong with it; a line at most.
    pub detail: String,
}

impl Fault {
    /// A reason and its detail, of which no more than a line is kept.
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

/// How often, and where first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// Cells.
    pub count: usize,
    /// `row 17: path` of the first three.
    pub first: Vec<String>,
}

impl FaultReport {
    /// Counts one fault of a row (from 1).
    pub fn add(&mut self, feature: &str, row: usize, fault: &Fault) {
        let tally = self.0.entry(feature.to_owned()).or_default().entry(fault.cause).or_default();
        tally.count += 1;
        if tally.first.len() < 3 {
            let detail = if fault.detail.is_empty() { String::new() } else { format!(": {}", fault.detail) };
            tally.first.push(format!("row {row}{detail}"));
        }
    }

    /// One line a feature and cause, for people.
    pub fn lines(&self) -> Vec<String> {
        let line = |feature: &String, cause: &Cause, tally: &Tally| {
            format!(
                "{feature}: {} {} ({}{})",
                tally.count,
                cause.as_str(),
                tally.first.join("; "),
                if tally.count > tally.first.len() { "; ..." } else { "" }
            )
        };
        self.0.iter().flat_map(|(feature, causes)| causes.iter().map(move |(cause, tally)| line(feature, cause, tally))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_repeats_no_more_of_a_cell_than_a_line() {
        let fault = Fault::new(Cause::Malformed, "ä".repeat(1 << 20));
        assert_eq!(fault.detail, "ä".repeat(MAX_DETAIL) + "..");
        assert_eq!(Fault::new(Cause::Malformed, "ä".repeat(MAX_DETAIL)).detail, "ä".repeat(MAX_DETAIL));
    }
}
