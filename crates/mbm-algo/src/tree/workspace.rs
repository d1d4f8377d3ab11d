//! The memory of a tree that grows, used again for the next one.

use std::ops::Range;

use super::bins::BinnedColumn;
use super::histogram::{Histogram, Layout};
use super::rows::{NodeRows, Sides};
use super::sums::{ColumnSums, Derivatives, Gradients, Sums, total};

/// Rows, histograms and sums of a tree that grows.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// The rows that the tree is grown on.
    pub rows: NodeRows,
    /// Rows that only follow its tests, to be predicted.
    pub followers: NodeRows,
    /// The derivatives of the rows of a node.
    pub gathered: Vec<Derivatives>,
    /// The sums of a column.
    pub sums: ColumnSums,
    /// Histograms that are not in use.
    free: Vec<Histogram>,
}

/// The rows of a node and those that follow, as ranges of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct NodeRanges {
    pub rows: Range<usize>,
    pub followers: Range<usize>,
}

/// A child whose histogram may be wanted.
pub(super) struct Child<'a> {
    pub rows: &'a Range<usize>,
    pub is_wanted: bool,
}

impl Workspace {
    /// Starts with all rows at the root, and returns it.
    pub fn reset(&mut self, rows: &[u32], followers: &[u32]) -> NodeRanges {
        self.rows.reset(rows);
        self.followers.reset(followers);
        NodeRanges { rows: 0..rows.len(), followers: 0..followers.len() }
    }

    /// Divides the rows of a node among its children.
    pub fn divide(&mut self, node: &NodeRanges, column: &BinnedColumn, sides: &Sides) -> [NodeRanges; 2] {
        let middle = self.rows.divide(&node.rows, column, |bin| sides[bin]);
        let between = self.followers.divide(&node.followers, column, |bin| sides[bin]);
        [
            NodeRanges { rows: node.rows.start..middle, followers: node.followers.start..between },
            NodeRanges { rows: middle..node.rows.end, followers: between..node.followers.end },
        ]
    }

    /// Gathers the derivatives of some rows.
    pub fn gather(&mut self, rows: &Range<usize>, derivatives: &[Derivatives]) {
        self.gathered.clear();
        self.gathered.extend(self.rows.of(rows).iter().map(|row| derivatives[*row as usize]));
    }

    /// Gathers the derivatives of all rows in the order of the nodes.
    pub fn gather_all(&mut self, derivatives: &[Derivatives]) {
        self.gather(&(0..self.rows.len()), derivatives);
    }

    /// Sums the derivatives of some rows.
    pub fn total(&mut self, rows: &Range<usize>, derivatives: &[Derivatives]) -> Sums {
        self.gather(rows, derivatives);
        total(&self.gathered)
    }

    /// Returns the histogram of a node.
    pub fn histogram(&mut self, layout: &Layout, rows: &Range<usize>, gradients: Gradients) -> Histogram {
        let mut histogram = self.free.pop().unwrap_or_default();
        histogram.build(layout, self.rows.of(rows), gradients);
        histogram
    }

    /// Keeps the memory of a histogram for another one.
    pub fn free(&mut self, histogram: Option<Histogram>) {
        self.free.extend(histogram);
    }

    /// Returns those histograms of two siblings that are wanted; that of the one with more rows is the difference to the parent's.
    pub fn histograms(
        &mut self,
        layout: &Layout,
        gradients: Gradients,
        parent: Option<Histogram>,
        [left, right]: [Child; 2],
    ) -> [Option<Histogram>; 2] {
        let is_left_small = left.rows.len() <= right.rows.len();
        let (small, large) = if is_left_small { (left, right) } else { (right, left) };
        let of_small = small.is_wanted.then(|| self.histogram(layout, small.rows, gradients));
        let of_large = match (parent, &of_small) {
            (Some(mut parent), Some(small)) if large.is_wanted => {
                parent.subtract(small);
                Some(parent)
            }
            (Some(mut parent), None) if large.is_wanted => {
                self.gather(small.rows, gradients.rows);
                parent.subtract_rows(layout, self.rows.of(small.rows), &self.gathered);
                Some(parent)
            }
            (parent, _) => {
                self.free(parent);
                large.is_wanted.then(|| self.histogram(layout, large.rows, gradients))
            }
        };
        if is_left_small { [of_small, of_large] } else { [of_large, of_small] }
    }
}
