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
    if inferred.role == Inferred::Feature("category") {
        let counts = counts(table, column)?;
        let null_words = null_words(&counts);
        let notes = [missing(&counts, &null_words), single(&counts, &null_words)].into_iter().flatten();
        inferred.notes.extend(notes.map(|note| format!("'{}' {note}", table.columns[column])));
    }
    Ok(())
}

/// Counts the rows with each text.
fn counts(table: &Table, column: usize) -> Result<HashMap<String, usize>, DataError> {
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
    Ok(counts)
}

/// Notes the rows that hold words for a missing value.
fn missing(counts: &HashMap<String, usize>, null_words: &[String]) -> Option<String> {
    let found: Vec<String> = null_words.iter().filter(|word| counts.contains_key(*word)).cloned().collect();
    let n_rows: usize = found.iter().map(|word| counts[word]).sum();
    let words = quoted(&found);
    let note = format!("is missing in {n_rows} rows, which hold {words}; set preprocessing.null_values: [] if these are classes");
    (n_rows > 0).then_some(note)
}

/// Notes the classes with a single row.
fn single(counts: &HashMap<String, usize>, null_words: &[String]) -> Option<String> {
    let classes = counts.iter().filter(|(word, count)| **count == 1 && !null_words.contains(word));
    let mut classes: Vec<String> = classes.map(|(word, _)| word.clone()).collect();
    classes.sort();
    let n_classes = if classes.len() == 1 { "a class".to_owned() } else { format!("{} classes", classes.len()) };
    let note = format!("has {n_classes} with a single row ({}), which cannot be both learned and tested", quoted(&classes));
    (!classes.is_empty()).then_some(note)
}

/// Lists the first words in quotes.
fn quoted(words: &[String]) -> String {
    let shown: Vec<String> = words.iter().take(N_SHOWN).map(|word| format!("'{}'", mbm_config::excerpt(word))).collect();
    shown.join(", ") + if words.len() > N_SHOWN { ", ..." } else { "" }
}
