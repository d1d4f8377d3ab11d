//! The role of a column, from the statistics of its cells.

use super::column_name::ColumnName;
use super::seen::{Dates, Numbers, Seen};
use super::{Inferred, InferredColumn, Purpose, integers, strings};
use crate::feature::{DateOrder, Decimal, parse_number};
use crate::notation::null_values::MAY_BE_VALUES;

/// Returns the role of a column, and notes on it.
pub(super) fn infer(seen: &Seen, name: &str, purpose: Purpose) -> InferredColumn {
    let (role, note) = role(seen, name, purpose);
    let notes = note.into_iter().map(|note| format!("'{name}' {note}")).collect();
    InferredColumn { role, notes }
}

/// Returns the role and a note that continues a sentence with the column's name.
fn role(seen: &Seen, name: &str, purpose: Purpose) -> (Inferred, Option<String>) {
    let column_name = ColumnName::new(name);
    let feature = |kind| (Inferred::Feature(kind), None);
    let [n_false, n_true] = seen.n_booleans;
    let n_values = seen.n_distinct() + n_possible_values(seen);
    match () {
        () if seen.n_filled == 0 && n_values < 2 => (Inferred::Ignored(empty(seen)), None),
        () if seen.n_filled == 0 => feature("category"),
        () if seen.all(seen.n_images) => feature("image"),
        () if seen.all(seen.n_bytes) => feature("audio"),
        () if seen.all(seen.n_word_lists) => feature("set"),
        () if name.to_ascii_lowercase().contains("split") && seen.all(seen.n_splits) => (Inferred::Split, None),
        () if seen.all(seen.n_image_names) => feature("image"),
        () if seen.all(seen.n_audio_names) => feature("audio"),
        () if n_values < 2 => constant(seen, purpose),
        () if seen.n_distinct() < 2 => feature("category"),
        () if n_false > 0 && n_true > 0 && n_false + n_true == seen.n_filled => feature("binary"),
        () => of_values(seen, &column_name, purpose),
    }
}

/// Returns the role of a column whose cells have different values.
fn of_values(seen: &Seen, name: &ColumnName, purpose: Purpose) -> (Inferred, Option<String>) {
    let is_integer = seen.integers.n == seen.n_filled;
    if is_integer && let Some(inferred) = integers::infer(seen, name, purpose) {
        return inferred;
    }
    let feature = |kind| Inferred::Feature(kind);
    if seen.all(seen.numbers.n()) {
        return (feature("number"), number_note(&seen.numbers));
    }
    if seen.all(seen.dates.n) {
        return (feature("date"), date_note(&seen.dates));
    }
    if seen.all(seen.lists.n) {
        let (kind, reason) = seen.lists.kind();
        return (feature(kind), reason.map(|reason| format!("is read as time series, as {reason}")));
    }
    if seen.all(seen.texts.n_lists) {
        return (feature("set"), Some("is read as sets of labels, as its cells are lists in brackets".to_owned()));
    }
    if let Some(delimiter) = seen.texts.delimiter(seen.n_distinct()) {
        let note = format!(
            "is read as sets of labels, as its cells hold labels that repeat, with a {} between them",
            delimiter.as_str()
        );
        return (feature("set"), Some(note));
    }
    strings::infer(seen, purpose)
}

/// Returns the number of words for a missing value that may be values of the column.
fn n_possible_values(seen: &Seen) -> usize {
    MAY_BE_VALUES.iter().filter(|word| seen.null_words.contains_key(*word)).count()
}

fn empty(seen: &Seen) -> String {
    match seen.null_words.first_key_value() {
        Some((word, _)) => format!("it is empty, apart from '{word}', which stands for a missing value"),
        None => "it is empty".to_owned(),
    }
}

/// A single value may still tell something by the rows in which it is missing.
fn constant(seen: &Seen, purpose: Purpose) -> (Inferred, Option<String>) {
    let n_empty = seen.n_cells - seen.n_filled;
    let is_partly_filled = n_empty * 20 >= seen.n_cells && seen.n_filled * 20 >= seen.n_cells && seen.n_cells >= strings::FEW;
    if purpose == Purpose::Input && is_partly_filled {
        let note = format!("has only one value, and {n_empty} of {} cells are empty; it is treated as a category", seen.n_cells);
        return (Inferred::Feature("category"), Some(note));
    }
    (Inferred::Ignored("it has only one value".to_owned()), None)
}

/// Shows how numbers are read that no program would write.
fn number_note(numbers: &Numbers) -> Option<String> {
    let example = numbers.example.as_deref()?;
    let value = parse_number(example, numbers.decimal())?;
    Some(match numbers.decimal() {
        Decimal::Point => format!("is read as numbers: '{example}' is {value}"),
        Decimal::Comma => format!("is read as numbers with a decimal comma: '{example}' is {value}"),
    })
}

/// Shows in which order day and month are read.
fn date_note(dates: &Dates) -> Option<String> {
    let example = dates.example.as_deref()?;
    let other = "set preprocessing.date_order in a config if that is wrong";
    Some(match dates.votes.order() {
        Some(DateOrder::DayFirst) => format!("is read as dates with the day first, such as '{example}'"),
        Some(DateOrder::MonthFirst) => format!("is read as dates with the month first, such as '{example}'"),
        None if example.contains('.') => {
            format!("is read as dates with the day first, such as '{example}', as no cell tells; {other}")
        }
        None => format!("is read as dates with the month first, such as '{example}', as no cell tells; {other}"),
    })
}
