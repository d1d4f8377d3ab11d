//! The cells of a column as values that can be compared, and as numbers.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::CellRef;
use crate::feature::{Decimal, is_null_word, parse_number};
use crate::notation::number::DecimalVotes;

/// The cells of a column in the rows that are compared.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// Hashes of the cells; 0 is a missing value.
    values: Vec<u64>,
    with_point: Vec<Option<f64>>,
    with_comma: Vec<Option<f64>>,
    votes: DecimalVotes,
}

/// Longest text of a number.
const N_BYTES: usize = 64;

impl Column {
    pub fn add(&mut self, cell: &CellRef) {
        let [value, point, comma] = match cell {
            CellRef::Empty => return self.push(0, None, None),
            CellRef::Bytes(bytes) => return self.push(hash(bytes), None, None),
            CellRef::Numbers(values) => return self.push(hash(&bits(values)), None, None),
            CellRef::Number(value) => [Some(*value); 3],
            other => {
                let text = other.to_text();
                let text = text.trim();
                if is_null_word(text) {
                    return self.push(0, None, None);
                }
                let number = |decimal| parse_number(text, decimal).filter(|_| text.len() <= N_BYTES);
                let [point, comma] = [number(Decimal::Point), number(Decimal::Comma)];
                self.votes.add(point, comma);
                let plain = text.parse().ok().filter(|_| text.len() <= N_BYTES);
                let Some(plain) = plain else { return self.push(hash(text), point, comma) };
                [Some(plain), point, comma]
            }
        };
        self.push(hash(&bits(&[value.unwrap_or_default()])), point, comma);
    }

    fn push(&mut self, value: u64, point: Option<f64>, comma: Option<f64>) {
        self.values.push(value);
        self.with_point.push(point.filter(|value| value.is_finite()));
        self.with_comma.push(comma.filter(|value| value.is_finite()));
    }

    pub fn n_rows(&self) -> usize {
        self.values.len()
    }

    /// Returns a number that equal cells share; numbers are equal however they are written.
    pub fn value(&self, row: usize) -> u64 {
        self.values[row]
    }

    pub fn is_filled(&self, row: usize) -> bool {
        self.values[row] != 0
    }

    pub fn n_distinct(&self, rows: &[usize]) -> usize {
        rows.iter().map(|row| self.values[*row]).collect::<HashSet<_>>().len()
    }

    /// Returns the number of each row, if nearly all filled cells are numbers.
    pub fn numbers(&self, rows: &[usize]) -> Option<Vec<Option<f64>>> {
        let read = match self.votes.decimal() {
            Decimal::Point => &self.with_point,
            Decimal::Comma => &self.with_comma,
        };
        let numbers: Vec<Option<f64>> = rows.iter().map(|row| read[*row]).collect();
        let n_filled = rows.iter().filter(|row| self.is_filled(**row)).count();
        (n_filled > 0 && numbers.iter().flatten().count() * 20 >= n_filled * 19).then_some(numbers)
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish().max(1)
}

/// Returns the bits of numbers, those of 0 for -0.
fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| (value + 0.0).to_bits()).collect()
}
