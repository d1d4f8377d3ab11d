//! Columns of integers: quantities, codes, row numbers, identifiers or times.

use super::column_name::ColumnName;
use super::seen::Seen;
use super::{Inferred, Purpose};
use crate::feature::EpochUnit;
use crate::notation::date::{self, is_plausible};

/// Maximum number of distinct integers in a target that is taken for class codes.
const N_CODES: usize = 20;

/// Number of rows from which consecutive integers are row numbers, and from which equally long ones are identifiers.
const N_ROW_NUMBERS: usize = 10;
const N_IDENTIFIERS: usize = 50;

/// Number of digits from which different numbers of the same length are identifiers.
const N_DIGITS: usize = 7;

/// The integers of a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Integers {
    /// Number of cells that are integers; `3.0` is one.
    pub n: usize,
    /// Number of integers with a zero in front, such as `01234`.
    pub n_padded: usize,
    range: Option<(i64, i64)>,
    /// The difference between value and row, and whether it is the same in all rows.
    offset: Option<i64>,
    is_uneven: bool,
    /// Number of digits, and whether it is the same in all rows.
    n_digits: Option<usize>,
    has_lengths: bool,
    n_days: usize,
    n_seconds: usize,
    n_milliseconds: usize,
}

impl Integers {
    /// Counts the text of a number, if it is an integer.
    pub fn add(&mut self, row_idx: usize, text: &str, value: f64) {
        let exact = 0.0..=(1i64 << 53) as f64;
        if value.fract() != 0.0 || !exact.contains(&value.abs()) {
            return;
        }
        let integer = value as i64;
        self.n += 1;
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        self.n_padded += usize::from(is_digits && text.len() > 1 && text.starts_with('0'));
        self.range = Some(self.range.map_or((integer, integer), |(least, most)| (least.min(integer), most.max(integer))));
        let offset = integer - row_idx as i64;
        self.is_uneven |= *self.offset.get_or_insert(offset) != offset;
        self.has_lengths |= !is_digits || *self.n_digits.get_or_insert(text.len()) != text.len();
        self.n_days += usize::from(is_digits && text.len() == 8 && is_day(text));
        self.n_seconds += usize::from(is_plausible(value, EpochUnit::Seconds));
        self.n_milliseconds += usize::from(is_plausible(value, EpochUnit::Milliseconds));
    }

    /// Returns the first value if they count up by one from row to row.
    fn first_of_row_numbers(&self) -> Option<i64> {
        self.offset.filter(|_| !self.is_uneven)
    }
}

/// Whether eight digits are a day of the last or this century.
fn is_day(text: &str) -> bool {
    ("1900".."2100").contains(&&text[..4]) && date::parse(text).is_some()
}

/// Returns the role of a column of integers, and a note. `None` if they are quantities, without anything special.
pub(super) fn infer(seen: &Seen, name: &ColumnName, purpose: Purpose) -> Option<(Inferred, Option<String>)> {
    let integers = &seen.integers;
    let feature = |kind| Inferred::Feature(kind);
    if seen.all(integers.n_days) {
        return Some((feature("date"), Some("is read as dates, as all its numbers are days such as 20241231".to_owned())));
    }
    if name.says_time() && (seen.all(integers.n_seconds) || seen.all(integers.n_milliseconds)) {
        let unit = if seen.all(integers.n_seconds) { "seconds" } else { "milliseconds" };
        return Some((feature("date"), Some(format!("is read as dates in {unit} since 1970, as its name and values suggest"))));
    }
    if integers.n_padded > 0 || name.says_code() {
        return codes(seen, name, purpose);
    }
    match purpose {
        Purpose::Input => row_numbers(seen, name).map(|reason| (Inferred::Ignored(reason), None)),
        Purpose::Target if seen.n_distinct() <= N_CODES.min(seen.n_filled / 2) => {
            let note = "holds few distinct integers and is treated as a category; set type: number in a config to treat it as a quantity";
            Some((feature("category"), Some(note.to_owned())))
        }
        Purpose::Target => None,
    }
}

/// Codes are a category where they repeat, and otherwise identify rows.
fn codes(seen: &Seen, name: &ColumnName, purpose: Purpose) -> Option<(Inferred, Option<String>)> {
    let evidence = if seen.integers.n_padded > 0 { "zeros in front of them show" } else { "its name shows" };
    if purpose == Purpose::Input
        && let Some(reason) = row_numbers(seen, name)
    {
        return Some((Inferred::Ignored(reason), None));
    }
    if seen.single_share() <= 0.5 || seen.n_filled <= super::strings::FEW {
        let note =
            format!("holds codes, as {evidence}, and is treated as a category; set type: number to treat it as a quantity");
        return Some((Inferred::Feature("category"), Some(note)));
    }
    match purpose {
        Purpose::Input => {
            let reason = format!(
                "it holds codes, as {evidence}, and {} of {} cells have a code of their own",
                seen.n_single(),
                seen.n_filled
            );
            Some((Inferred::Ignored(reason), None))
        }
        Purpose::Target => None,
    }
}

/// Returns why integers number or identify rows, if they do.
fn row_numbers(seen: &Seen, name: &ColumnName) -> Option<String> {
    let integers = &seen.integers;
    let are_distinct = seen.n_distinct() == seen.n_filled && seen.n_filled >= N_ROW_NUMBERS;
    let first = integers.first_of_row_numbers().filter(|_| are_distinct && seen.n_filled == seen.n_cells);
    match (first, integers.range) {
        (Some(first @ (0 | 1)), _) if !name.says_measure() => Some(format!("it numbers the rows, from {first} in steps of one")),
        (Some(first), _) if name.says_identifier() => Some(format!("it numbers the rows, from {first} in steps of one")),
        (_, Some((least, most))) if are_distinct && name.says_identifier() => {
            Some(format!("its name says that it identifies rows, and each cell has a value of its own, from {least} to {most}"))
        }
        _ if are_distinct && seen.n_filled >= N_IDENTIFIERS && !integers.has_lengths => {
            let n_digits = integers.n_digits.filter(|n_digits| *n_digits >= N_DIGITS)?;
            Some(format!("each cell has a number of its own, and all have {n_digits} digits, as identifiers have"))
        }
        _ => None,
    }
}
