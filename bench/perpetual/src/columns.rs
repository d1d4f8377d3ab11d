//! Columns of a CSV as numbers.

use std::collections::BTreeMap;

/// Maximum number of categories of a column.
const MAX_CATEGORIES: usize = 250;

/// Cells that are missing values.
const MISSING: [&str; 4] = ["", "?", "NA", "NaN"];

/// A column as numbers; NaN is a missing value.
pub struct Column {
    pub is_category: bool,
    pub values: Vec<f32>,
}

/// Reads a column whose first `n_training` cells are for training: as numbers if all of its cells are, else as the codes of its
/// categories, from 0. Returns `None` for a column without values or of too many categories, such as texts and dates.
pub fn read(cells: &[&str], n_training: usize) -> Option<Column> {
    let present = |cell: &&&str| !MISSING.contains(*cell);
    if cells[..n_training].iter().filter(present).count() == 0 {
        return None;
    }
    if cells.iter().filter(present).all(|cell| cell.parse::<f32>().is_ok()) {
        let number = |cell: &&str| cell.parse().unwrap_or(f32::NAN);
        return Some(Column { is_category: false, values: cells.iter().map(number).collect() });
    }
    let codes = codes(&cells[..n_training]);
    let code = |cell: &&str| codes.get(cell).map_or(f32::NAN, |code| *code as f32);
    (codes.len() <= MAX_CATEGORIES).then(|| Column { is_category: true, values: cells.iter().map(code).collect() })
}

/// Numbers the different values of cells, in their order.
pub fn codes<'a>(cells: &[&'a str]) -> BTreeMap<&'a str, usize> {
    let mut codes: BTreeMap<&str, usize> = cells.iter().filter(|cell| !MISSING.contains(cell)).map(|cell| (*cell, 0)).collect();
    codes.values_mut().enumerate().for_each(|(code, value)| *value = code);
    codes
}
