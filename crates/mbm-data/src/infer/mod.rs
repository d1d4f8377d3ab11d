//! Infers feature types from a table, for runs without a config.
//!
//! A sample of rows, spread over the whole table, is tested against every notation ([`seen`]). The type of a column follows from
//! how many cells pass ([`role`], [`integers`], [`strings`]) and in few cases from its name ([`column_name`]). Each choice that may
//! surprise has a note with its reason.

mod classes;
mod column_name;
mod duplicates;
mod integers;
mod lists;
mod role;
mod rows;
mod seen;
mod strings;
mod texts;

use std::collections::HashSet;

pub(crate) use self::rows::spread;
use self::seen::Seen;
use crate::{DataError, Table};

/// The inferred role of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inferred {
    /// A feature of this type.
    Feature(&'static str),
    /// A column of `train`, `validation` and `test`.
    Split,
    /// An uninformative column, such as one that is empty, constant, or a row number, with the reason.
    Ignored(String),
}

/// The inferred role of a column, and what a user should know about the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredColumn {
    /// The role.
    pub role: Inferred,
    /// Sentences about how the column is read, and why.
    pub notes: Vec<String>,
}

/// What a column is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Input,
    Target,
}

/// Number of rows that are inspected, and of cells in total: a wide table shows its types in fewer rows.
const N_LOOKED_AT: usize = 5000;
const MIN_LOOKED_AT: usize = 200;
const N_CELLS: usize = 1 << 22;

/// Cells whose statistics are in memory at the same time.
const N_CELLS_AT_ONCE: usize = 1 << 19;

/// Infers the role of every column, in order, for a model that predicts `targets`.
///
/// # Errors
/// Fails if the temporary file cannot be read.
pub fn infer_types(table: &Table, targets: &[String]) -> Result<Vec<InferredColumn>, DataError> {
    let n_columns = table.columns.len();
    let rows = sample(table);
    let targets: HashSet<&str> = targets.iter().map(String::as_str).collect();
    let is_target = |column: usize| targets.contains(table.columns[column].as_str());
    let (mut inferred, mut hashes) = (Vec::with_capacity(n_columns), Vec::with_capacity(n_columns));
    let n_at_once = (N_CELLS_AT_ONCE / rows.len().max(1)).max(1);
    for start in (0..n_columns).step_by(n_at_once) {
        let end = (start + n_at_once).min(n_columns);
        let mut columns = vec![Seen::default(); end - start];
        table.visit_rows(&rows, start..end, |row_idx, column, cell| columns[column - start].add(row_idx, &cell))?;
        for (seen, column) in columns.iter().zip(start..end) {
            let purpose = if is_target(column) { Purpose::Target } else { Purpose::Input };
            inferred.push(role::infer(seen, &table.columns[column], purpose));
            hashes.push(seen.hash());
        }
    }
    duplicates::leave_out(table, &rows, &hashes, &is_target, &mut inferred)?;
    for column in (0..n_columns).filter(|column| is_target(*column)) {
        classes::add_notes(table, column, &mut inferred[column])?;
    }
    Ok(inferred)
}

/// Returns the rows that are inspected, spread over the table.
fn sample(table: &Table) -> Vec<usize> {
    let n_rows = (N_CELLS / table.columns.len().max(1)).clamp(MIN_LOOKED_AT, N_LOOKED_AT);
    spread(table.n_rows(), n_rows)
}

#[cfg(test)]
mod tests;
