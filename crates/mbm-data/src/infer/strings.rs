//! Columns of strings: categories, texts, or values that nothing can be learned from.

use super::seen::Seen;
use super::{Inferred, Purpose};

/// Number of distinct values, or of rows, that are few in any table.
pub(super) const FEW: usize = 20;

/// Returns the role of a column of strings, and a note.
///
/// A category has values that repeat. A text has several words, which repeat even if the whole does not. What remains, such as
/// names, ticket numbers or hashes, is different in nearly every row.
pub(super) fn infer(seen: &Seen, purpose: Purpose) -> (Inferred, Option<String>) {
    let (n_distinct, single, mean_words) = (seen.n_distinct(), seen.single_share(), seen.texts.mean_words());
    let is_few =
        (n_distinct <= FEW && (n_distinct * 2 <= seen.n_filled || seen.n_filled <= FEW)) || n_distinct <= seen.n_filled / 20;
    let repeats = single <= 0.5 && mean_words < 6.0;
    let is_text = mean_words >= 5.0 || (mean_words >= 1.5 && seen.texts.repeated_words() >= 0.25);
    let category = Inferred::Feature("category");
    match purpose {
        _ if is_few => (category, None),
        Purpose::Target if repeats => (category, None),
        Purpose::Input if single <= 0.2 && mean_words < 6.0 => (category, None),
        _ if is_text => (Inferred::Feature("text"), None),
        _ if repeats || seen.n_filled <= FEW => (category, None),
        Purpose::Input => (Inferred::Ignored(differ(seen)), None),
        Purpose::Target => (Inferred::Ignored(format!("{}; the classes of a target repeat", differ(seen))), None),
    }
}

/// Describes a column with a different value in nearly every row.
fn differ(seen: &Seen) -> String {
    let example = seen.example.as_deref().unwrap_or_default();
    format!(
        "{} of {} cells have a value of their own, such as '{example}', without words that repeat",
        seen.n_single(),
        seen.n_filled
    )
}
