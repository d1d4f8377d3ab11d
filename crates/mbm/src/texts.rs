//! Texts that a model wrote beside those that would have been right.

use std::collections::HashMap;

use mbm_algo::metric::{TeacherForcing, Written};

/// The rows of a text output, those with the same inputs as one: their texts are all right.
#[derive(Debug, Clone, Default)]
pub struct TextRows {
    /// What was written, and what would have been right.
    pub written: Written,
    /// For each text the first row that has its inputs.
    pub rows: Vec<usize>,
    places: HashMap<Vec<u64>, usize>,
}

impl TextRows {
    /// Adds what would have been right for a row whose inputs' cells have these numbers; whether its text is still to be written, which
    /// then goes to the end of the hypotheses.
    pub fn add_references(&mut self, items: Vec<u64>, row_idx: usize, references: Vec<String>) -> bool {
        let next = self.rows.len();
        let place = *self.places.entry(items).or_insert(next);
        if place < next {
            self.written.references[place].extend(references);
            return false;
        }
        self.rows.push(row_idx);
        self.written.references.push(references);
        true
    }

    /// Adds what the tokens of a right text cost.
    pub fn add_costs(&mut self, costs: TeacherForcing) {
        let sum = &mut self.written.forced;
        sum.cross_entropy += costs.cross_entropy;
        sum.n_right += costs.n_right;
        sum.n_tokens += costs.n_tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_the_same_inputs_share_their_references() {
        let mut rows = TextRows::default();
        assert!(rows.add_references(vec![1], 5, vec!["a".into()]));
        assert!(rows.add_references(vec![2], 6, vec!["b".into()]));
        assert!(!rows.add_references(vec![1], 7, vec!["c".into()]));
        assert_eq!(rows.rows, [5, 6]);
        assert_eq!(rows.written.references, [vec!["a".to_owned(), "c".to_owned()], vec!["b".to_owned()]]);
    }
}
