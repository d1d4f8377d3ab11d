//! The classes of a target: those with a single row, and rows that have none.

use std::collections::HashMap;

use super::{Inferred, InferredColumn};
use crate::feature::null_words;
use crate::{CellRef, DataError, Table};

/// Maximum number of different cells that are counted.
const N_COUNTED: usize = 1 << 17;

/// Number of classes that a note lists.
const N_SHOWN: usize = 5;

/// Adds notes on the classes of a target that is a category.
pub(super) fn add_notes(table: &Table, column: usize, inferred: &mut InferredColumn) -> Result<(), DataError> {
    if inferred.role != Inferred::Feature("category") {
        return Ok(());
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    table.visit(0..table.n_rows(), column..column + 1, |_, cell| {
        if cell == CellRef::Empty {
            return;
        }
        let text = cell.to_text();
        if let Some(count) = counts.get_mut(text.trim()) {
            *count += 1;
        } else if counts.len() < N_COUNTED {
            counts.insert(text.trim().to_owned(), 1);
        }
    })?;
    let name = &table.columns[column];
    let null_words = null_words(&counts);
    let missing: Vec<String> = null_words.iter().filter(|word| counts.contains_key(*word)).cloned().collect();
    if !missing.is_empty() {
        let n_rows: usize = missing.iter().map(|word| counts[word]).sum();
        inferred.notes.push(format!(
            "'{name}' is missing in {n_rows} rows, which hold {}; set preprocessing.null_values: [] if these are classes",
            quoted(&missing)
        ));
    }
    let mut single: Vec<String> =
        counts.into_iter().filter(|(word, count)| *count == 1 && !null_words.contains(word)).map(|(word, _)| word).collect();
    single.sort();
    if !single.is_empty() {
        inferred.notes.push(format!(
            "'{name}' has {} with a single row ({}), which cannot be both learned and tested",
            if single.len() == 1 { "a class".to_owned() } else { format!("{} classes", single.len()) },
            quoted(&single)
        ));
    }
    Ok(())
}

/// Lists the first words in quotes.
fn quoted(words: &[String]) -> String {
    let shown: Vec<String> = words.iter().take(N_SHOWN).map(|word| format!("'{}'", mbm_config::excerpt(word))).collect();
    shown.join(", ") + if words.len() > N_SHOWN { ", ..." } else { "" }
}
