//! Rows ranked by similarity, and the top `k` of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::Cancellation;

/// Which rows a search may return, and how many. A cancelled search returns the rows found so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub k: usize,
    pub allowed: Option<&'a [bool]>,
    pub cancellation: &'a Cancellation,
}

/// A row and its similarity to the query. Greater is nearer; among equal similarities the earlier row is greater.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub similarity: f32,
    pub row: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` nearest rows so far.
#[derive(Debug, Clone)]
pub(crate) struct Nearest {
    k: usize,
    heap: BinaryHeap<Reverse<Near>>,
}

impl Nearest {
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether it holds `k` rows.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// The similarity that a row must exceed; `None` while fewer than `k` rows are held.
    pub fn least(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.is_full()).map(|Reverse(near)| near.similarity)
    }

    pub fn push(&mut self, near: Near) {
        if !self.is_full() {
            self.heap.push(Reverse(near));
        } else if self.heap.peek().is_some_and(|Reverse(least)| near > *least) {
            self.heap.pop();
            self.heap.push(Reverse(near));
        }
    }

    pub fn join(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|Reverse(near)| self.push(near));
        self
    }

    /// Returns the rows, nearest first.
    pub fn into_sorted(self) -> Vec<Near> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(near)| near).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_largest_and_among_equals_the_earliest() {
        let mut nearest = Nearest::new(3);
        for (row, similarity) in [0.5, 0.1, 0.9, 0.5, 0.5, f32::NAN.min(0.2)].into_iter().enumerate() {
            nearest.push(Near { similarity, row: row as u32 });
        }
        assert_eq!(nearest.least(), Some(0.5));
        assert_eq!(nearest.into_sorted().iter().map(|near| near.row).collect::<Vec<_>>(), [2, 0, 3]);
    }
}
