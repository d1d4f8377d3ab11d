//! Generated texts with their references.

use std::collections::HashMap;

use mbm_algo::metric::{TeacherForcing, TextSamples};

/// The rows of a text output. Rows with the same inputs count as one and share their references.
#[derive(Debug, Clone, Default)]
pub struct TextRows {
    /// The hypotheses and their references.
    pub written: TextSamples,
    /// For each text, the first row with its inputs.
    pub rows: Vec<usize>,
    positions: HashMap<Vec<u64>, usize>,
}

impl TextRows {
    /// Adds the references of a row whose input cells have these content ids. Returns whether its text has yet to be generated;
    /// the caller then appends it to the hypotheses.
    pub fn add_references(&mut self, items: Vec<u64>, row_idx: usize, references: Vec<String>) -> bool {
        let next = self.rows.len();
        let position = *self.positions.entry(items).or_insert(next);
        if position < next {
            self.written.references[position].extend(references);
            return false;
        }
        self.rows.push(row_idx);
        self.written.references.push(references);
        true
    }

    /// Adds the teacher-forcing costs of a reference.
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
