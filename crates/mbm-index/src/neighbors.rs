//! Rows ranked by similarity, and the top `k` of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::Cancellation;

/// Which rows a search may return, and how many. A cancelled search returns the rows found so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SearchLimits<'a> {
    pub k: usize,
    pub allowed: Option<&'a [bool]>,
    pub cancellation: &'a Cancellation,
}

/// A row and its similarity to the query. Greater is nearer; among equal similarities the earlier row is greater.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbor {
    pub similarity: f32,
    pub row: u32,
}

impl Eq for Neighbor {}

impl Ord for Neighbor {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Neighbor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k` nearest rows so far.
#[derive(Debug, Clone)]
pub(crate) struct NearestNeighbors {
    k: usize,
    heap: BinaryHeap<Reverse<Neighbor>>,
}

impl NearestNeighbors {
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    /// Whether it holds `k` rows.
    pub fn is_full(&self) -> bool {
        self.heap.len() >= self.k
    }

    /// The similarity that a row must exceed; `None` while fewer than `k` rows are held.
    pub fn least(&self) -> Option<f32> {
        self.heap.peek().filter(|_| self.is_full()).map(|Reverse(neighbor)| neighbor.similarity)
    }

    pub fn push(&mut self, neighbor: Neighbor) {
        if !self.is_full() {
            self.heap.push(Reverse(neighbor));
        } else if self.heap.peek().is_some_and(|Reverse(least)| neighbor > *least) {
            self.heap.pop();
            self.heap.push(Reverse(neighbor));
        }
    }

    pub fn join(mut self, other: Self) -> Self {
        other.heap.into_iter().for_each(|Reverse(neighbor)| self.push(neighbor));
        self
    }

    /// Returns the rows, nearest first.
    pub fn into_sorted(self) -> Vec<Neighbor> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(neighbor)| neighbor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_largest_and_among_equals_the_earliest() {
        let mut nearest = NearestNeighbors::new(3);
        for (row, similarity) in [0.5, 0.1, 0.9, 0.5, 0.5, f32::NAN.min(0.2)].into_iter().enumerate() {
            nearest.push(Neighbor { similarity, row: row as u32 });
        }
        assert_eq!(nearest.least(), Some(0.5));
        assert_eq!(nearest.into_sorted().iter().map(|neighbor| neighbor.row).collect::<Vec<_>>(), [2, 0, 3]);
    }
}
