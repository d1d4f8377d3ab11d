//! Whether a table has anything that a model reads. Of a table without one, every row would get the same prediction.

use std::collections::HashSet;

use mbm_config::{closest, excerpt, some_of};
use mbm_data::{Field, Table};

use crate::error::Error;

/// Inputs for which a near column is looked for.
const N_COMPARED: usize = 20;

/// Checks that a table has the column of one input at least; other inputs may be absent.
///
/// # Errors
/// A table that has none of them, with the columns of both and those that may have been meant.
pub(crate) fn check_columns(inputs: &[Field], table: &Table) -> Result<(), Error> {
    let there: HashSet<&str> = table.columns.iter().map(String::as_str).collect();
    if inputs.iter().any(|field| there.contains(field.column.as_str())) {
        return Ok(());
    }
    let meant = |field: &Field| {
        let wanted = field.column.to_lowercase();
        let same = there.iter().copied().filter(|name| name.to_lowercase() == wanted).min();
        let near = same.or_else(|| closest(&field.column, there.iter().copied()))?;
        Some(format!(" Did you mean '{}' by '{}'?", excerpt(&field.column), excerpt(near)))
    };
    let needed: Vec<&str> = inputs.iter().map(|field| field.column.as_str()).collect();
    let meant: String = inputs.iter().take(N_COMPARED).filter_map(meant).collect();
    Err(Error::Incompatible(format!(
        "the dataset has none of the columns that the model reads: {}; it has: {}.{meant}",
        some_of(&needed),
        if table.columns.is_empty() { "none".to_owned() } else { some_of(&table.columns) }
    )))
}
