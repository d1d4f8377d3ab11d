//! The names of the columns of a file with a header, each of which occurs once in a table.

use std::collections::{HashMap, HashSet};

use super::options::DuplicateColumns;

/// Two columns with the same name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the column '{name}' occurs twice; --duplicate-columns rename gives the second one another name")]
pub struct DuplicateColumn {
    /// The name.
    pub name: String,
}

/// The columns of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The names, each of which occurs once.
    pub columns: Vec<String>,
    /// What was changed, if anything.
    pub note: Option<String>,
}

/// Returns the columns of a header: names without surrounding spaces, and duplicates treated as `policy` says.
pub(super) fn header(fields: impl Iterator<Item = String>, policy: DuplicateColumns) -> Result<Header, DuplicateColumn> {
    let mut columns: Vec<String> = fields.map(|field| field.trim().to_owned()).collect();
    let mut taken: HashSet<String> = columns.iter().cloned().collect();
    if taken.len() == columns.len() {
        return Ok(Header { columns, note: None });
    }
    let mut seen = HashSet::with_capacity(columns.len());
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut renamed = Vec::new();
    for column in &mut columns {
        if seen.insert(column.clone()) {
            continue;
        }
        if policy == DuplicateColumns::Error {
            return Err(DuplicateColumn { name: column.clone() });
        }
        let number = numbers.entry(column.clone()).or_insert(1);
        let name = loop {
            *number += 1;
            let name = format!("{column}_{number}");
            if taken.insert(name.clone()) {
                break name;
            }
        };
        renamed.push(name.clone());
        *column = name;
    }
    let note = format!("columns with the name of an earlier one were renamed: {}", mbm_config::some_of(&renamed));
    Ok(Header { columns, note: Some(note) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        header(names.iter().map(|name| name.to_string()), DuplicateColumns::Rename).unwrap().columns
    }

    #[test]
    fn duplicates_get_a_number_that_no_other_column_has() {
        assert_eq!(columns(&["x", "y", " x ", "x"]), ["x", "y", "x_2", "x_3"]);
        assert_eq!(columns(&["x", "x", "x_2", "x_2"]), ["x", "x_3", "x_2", "x_2_2"]);
        assert_eq!(columns(&["", ""]), ["", "_2"]);
    }

    #[test]
    fn note_names_the_new_columns_and_the_error_the_option() {
        let fields = || ["a", "a", "a"].map(str::to_owned).into_iter();
        let note = header(fields(), DuplicateColumns::Rename).unwrap().note.unwrap();
        assert_eq!(note, "columns with the name of an earlier one were renamed: a_2, a_3");
        let error = header(fields(), DuplicateColumns::Error).unwrap_err().to_string();
        assert!(error.starts_with("the column 'a' occurs twice; --duplicate-columns rename"), "{error}");
    }

    #[test]
    fn a_million_duplicates_are_renamed_in_linear_time() {
        let names = (0..1_000_000).map(|at| if at % 2 == 0 { "x".to_owned() } else { format!("x_{at}") });
        let start = std::time::Instant::now();
        let found = header(names, DuplicateColumns::Rename).unwrap().columns;
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 1_000_000);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
