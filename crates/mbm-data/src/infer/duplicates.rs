//! Columns that equal an earlier one in every row, which add nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Inferred, InferredColumn};
use crate::{DataError, Table};

/// Leaves out inputs that equal an earlier input. `hashes` are those of the cells in `rows`; where these are not all rows, equal
/// hashes are compared over the whole table.
pub(super) fn leave_out(
    table: &Table,
    rows: &[usize],
    hashes: &[u64],
    is_target: &dyn Fn(usize) -> bool,
    inferred: &mut [InferredColumn],
) -> Result<(), DataError> {
    let mut first: HashMap<u64, usize> = HashMap::new();
    for (column, hash) in hashes.iter().enumerate() {
        if is_target(column) || !matches!(inferred[column].role, Inferred::Feature(_)) {
            continue;
        }
        let earlier = *first.entry(*hash).or_insert(column);
        let is_sample = rows.len() < table.n_rows();
        if earlier < column && (!is_sample || hash_of(table, earlier)? == hash_of(table, column)?) {
            let reason = format!("it equals the column '{}' in every row", table.columns[earlier]);
            inferred[column] = InferredColumn { role: Inferred::Ignored(reason), notes: Vec::new() };
        }
    }
    Ok(())
}

/// Returns a hash of all cells of a column.
fn hash_of(table: &Table, column: usize) -> Result<u64, DataError> {
    let mut hasher = DefaultHasher::new();
    table.visit(0..table.n_rows(), column..column + 1, |_, cell| {
        let text = cell.to_text();
        match text.trim().parse::<f64>() {
            Ok(number) => (number + 0.0).to_bits().hash(&mut hasher),
            Err(_) => text.trim().hash(&mut hasher),
        }
    })?;
    Ok(hasher.finish())
}
