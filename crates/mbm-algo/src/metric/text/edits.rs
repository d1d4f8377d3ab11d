//! Edit distance, and word and character error rates as in jiwer.

use rayon::prelude::*;

use super::TextSamples;

/// Computes the minimum number of insertions, deletions and replacements that turn `from` into `to` (Levenshtein 1966).
pub fn edit_distance<T: PartialEq>(from: &[T], to: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, token) in from.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(token != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// Computes the edits per word of the references; of several references, the one with the lowest rate counts.
pub fn word_error_rate(written: &TextSamples) -> Option<f64> {
    error_rate(written, |text| text.split_whitespace().map(str::to_owned).collect())
}

/// Computes the edits per character of the references; of several references, the one with the lowest rate counts.
pub fn character_error_rate(written: &TextSamples) -> Option<f64> {
    error_rate(written, |text| text.trim().chars().collect())
}

fn error_rate<T: PartialEq>(written: &TextSamples, cut: impl Fn(&str) -> Vec<T> + Sync) -> Option<f64> {
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let rows = rows.map(|(text, references)| fewest_edits(&cut(text), references.iter().map(|reference| cut(reference))));
    let (edits, length) = rows.reduce(|| (0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    (length > 0).then(|| edits as f64 / length as f64)
}

/// Returns the edits to the reference with the lowest rate, and the length of this reference.
fn fewest_edits<T: PartialEq>(text: &[T], references: impl Iterator<Item = Vec<T>>) -> (usize, usize) {
    let all = references.map(|reference| (edit_distance(text, &reference), reference.len()));
    let share = |(edits, length): &(usize, usize)| *edits as f64 / (*length).max(1) as f64;
    all.min_by(|a, b| share(a).total_cmp(&share(b))).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edit_distance_of_known_pairs() {
        let distance = |a: &str, b: &str| edit_distance(a.as_bytes(), b.as_bytes());
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("abc", "abc")), (3, 3, 0));
    }

    proptest! {
        #[test]
        fn edit_distance_is_a_metric(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            let distance = |a: &str, b: &str| edit_distance(a.as_bytes(), b.as_bytes());
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }
    }
}
