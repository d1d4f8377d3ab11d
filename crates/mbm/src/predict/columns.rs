//! Checks that a table has a column the model reads. Without one, every row would get the same prediction.

use std::collections::HashSet;

use mbm_config::{closest, excerpt, some_of};
use mbm_data::{Field, Table};

/// A table that has none of the columns a model reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the dataset has none of the columns that the model reads: {needed}; it has: {found}.{meant}")]
pub struct ColumnsError {
    /// The columns that the model reads, the first ones if there are many.
    needed: String,
    /// The columns of the table.
    found: String,
    /// Similar names.
    meant: String,
}

/// Maximum number of inputs for which a similar column name is suggested.
const N_COMPARED: usize = 20;

/// Checks that a table has the column of at least one input; other inputs may be absent.
///
/// # Errors
/// Fails if the table has none of them; the message lists the columns of both and suggests similar names.
pub(crate) fn check_columns(inputs: &[Field], table: &Table) -> Result<(), ColumnsError> {
    let available: HashSet<&str> = table.columns.iter().map(String::as_str).collect();
    if inputs.iter().any(|field| available.contains(field.column.as_str())) {
        return Ok(());
    }
    let needed: Vec<&str> = inputs.iter().map(|field| field.column.as_str()).collect();
    let meant: String = inputs.iter().take(N_COMPARED).filter_map(|field| suggestion(field, &available)).collect();
    let found = if table.columns.is_empty() { "none".to_owned() } else { some_of(&table.columns) };
    Err(ColumnsError { needed: some_of(&needed), found, meant })
}

/// Returns a hint at the available column whose name is most similar to that of an input, if any is.
fn suggestion(field: &Field, available: &HashSet<&str>) -> Option<String> {
    let near = similar(field, available)?;
    Some(format!(" Rename '{}' to '{}'?", excerpt(near), excerpt(&field.column)))
}

/// Returns the available column whose name is most similar to that of an input, if any is.
fn similar<'a>(field: &Field, available: &HashSet<&'a str>) -> Option<&'a str> {
    let wanted = field.column.to_lowercase();
    let same = available.iter().copied().filter(|name| name.to_lowercase() == wanted).min();
    same.or_else(|| closest(&field.column, available.iter().copied()))
}

/// Returns the columns of inputs that a table lacks although it has one with a similar name that the model does not know, with
/// that name; both shortened to be shown. Nothing if it lacks all of them, which is an error.
pub(crate) fn misspelled_columns(inputs: &[Field], outputs: &[Field], table: &Table) -> Vec<(String, String)> {
    let mut unknown: HashSet<&str> = table.columns.iter().map(String::as_str).collect();
    let (missing, present): (Vec<&Field>, Vec<&Field>) =
        inputs.iter().partition(|field| !unknown.contains(field.column.as_str()));
    if present.is_empty() {
        return Vec::new();
    }
    present.into_iter().chain(outputs).for_each(|field| _ = unknown.remove(field.column.as_str()));
    let found = missing.into_iter().take(N_COMPARED).filter_map(|field| Some((field, similar(field, &unknown)?)));
    found.map(|(field, near)| (excerpt(&field.column), excerpt(near))).collect()
}
