//! Columns that give a target away: equal to it, its values under other names, or alone enough to predict it almost perfectly.
//!
//! Such a column is seldom known before the target is. A model that reads it looks far better on the test rows than it will be.

mod classes;
mod column;
mod numbers;

use std::ops::Range;

use self::column::Column;
use crate::infer::spread;
use crate::{DataError, Table};

/// A column that gives a target away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// The column.
    pub column: String,
    /// What was found in the rows, as a sentence that continues with the column as its subject.
    pub evidence: String,
}

/// Number of rows that are compared, and of cells in total.
const N_ROWS: usize = 5000;
const N_CELLS: usize = 1 << 20;

/// The fewest rows from which something can be concluded.
const MIN_ROWS: usize = 30;

/// Number of rows of a block.
const N_BLOCK: usize = 16;

/// Cells that are in memory at the same time.
const N_CELLS_AT_ONCE: usize = 1 << 19;

/// Returns the columns that give `target` away in a sample of `rows` (in ascending order). `kind` is the type of the target: a
/// column is tested for predicting a `number`, `category` or `binary`, and for being equal to any other type.
///
/// The test learns a column's relation to the target from half of the rows and applies it to the others: the most frequent class of
/// each value, or the class of the nearest number; the mean of each value, or linear interpolation between numbers. The halves are blocks
/// of rows, because neighbours may belong together, such as the images of a patient.
///
/// # Errors
/// Fails if the column does not exist or the temporary file cannot be read.
pub fn leaks(table: &Table, rows: &[usize], target: &str, kind: &str) -> Result<Vec<Leak>, DataError> {
    let target = table.require(target)?;
    let n_columns = table.columns.len();
    let n_rows = (N_CELLS / n_columns).clamp(MIN_ROWS, N_ROWS);
    let rows: Vec<usize> = spread(rows.len(), n_rows).into_iter().map(|at| rows[at]).collect();
    let of_target = columns(table, &rows, target..target + 1)?.remove(0);
    let n_at_once = (N_CELLS_AT_ONCE / rows.len().max(1)).max(1);
    let mut found = Vec::new();
    for start in (0..n_columns).step_by(n_at_once) {
        let range = start..(start + n_at_once).min(n_columns);
        for (at, column) in range.clone().zip(columns(table, &rows, range)?) {
            let evidence = if at == target { None } else { evidence(&column, &of_target, kind) };
            found.extend(evidence.map(|evidence| Leak { column: table.columns[at].clone(), evidence }));
        }
    }
    Ok(found)
}

/// Reads the cells of some columns.
fn columns(table: &Table, rows: &[usize], range: Range<usize>) -> Result<Vec<Column>, DataError> {
    let start = range.start;
    let mut columns: Vec<Column> = range.clone().map(|_| Column::default()).collect();
    table.visit_rows(rows, range, |_, column, cell| columns[column - start].add(&cell))?;
    Ok(columns)
}

/// Whether the relation is learned from a row rather than tested on it.
fn is_learned(at: usize) -> bool {
    (at / N_BLOCK).is_multiple_of(2)
}

/// Returns how a column gives the target away, if it does.
fn evidence(column: &Column, target: &Column, kind: &str) -> Option<String> {
    let rows: Vec<usize> = (0..target.n_rows()).filter(|row| target.is_filled(*row)).collect();
    let is_constant = rows.iter().all(|row| target.value(*row) == target.value(rows[0]));
    if rows.len() < MIN_ROWS || is_constant {
        return None;
    }
    if rows.iter().all(|row| column.value(*row) == target.value(*row)) {
        return Some(format!("equals the target in all {} rows that were compared", rows.len()));
    }
    match kind {
        "category" | "binary" => classes::evidence(column, target, &rows),
        "number" => numbers::evidence(column, target, &rows),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
