//! Growth of a boosted tree, leaf by leaf: the leaf whose split gains most is split next.

use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::Rng;
use super::bins::Binned;
use super::histogram::{Derivatives, Histogram, Sums};
use super::split::{LeftBins, Limits, Split, best_split};
use super::trees::{Grown, Node};

/// The settings of one tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TreeSettings {
    /// Limits of splits.
    pub limits: Limits,
    /// Maximum number of leaves.
    pub max_leaves: usize,
    /// Maximum depth.
    pub max_depth: usize,
    /// Whether thresholds are drawn instead of searched.
    pub random_thresholds: bool,
    /// The columns in use.
    pub columns: Vec<usize>,
}

/// Bytes of histograms that are kept while a tree grows; beyond them, histograms of both children are computed anew.
const MAX_HISTOGRAM_BYTES: usize = 128 << 20;

/// A leaf that may be split.
struct Leaf {
    node: usize,
    depth: usize,
    /// Its rows, as a range of the permuted rows.
    start: usize,
    end: usize,
    sums: Sums,
    split: Option<Split>,
    histogram: Option<Histogram>,
}

/// A grown tree and the leaf of each row that it was grown on.
pub(super) struct GrownTree {
    pub tree: Grown,
    /// The rows of each leaf value.
    pub leaves: Vec<Vec<u32>>,
}

/// Grows a tree on some rows; a leaf has the value of the best Newton step, times the learning rate.
pub(super) fn grow(
    binned: &Binned,
    rows: &[u32],
    derivatives: &[Derivatives],
    settings: &TreeSettings,
    learning_rate: f64,
    seed: u64,
) -> GrownTree {
    let mut growth = Growth { binned, derivatives, settings, rows: rows.to_vec(), nodes: vec![Node::Leaf(0)], seed };
    let histogram = Histogram::new(binned, &settings.columns, rows, derivatives);
    let sums = total(rows, derivatives);
    let mut leaves = vec![growth.leaf(0, 0, (0, rows.len()), sums, histogram)];
    while leaves.len() < settings.max_leaves {
        let gain = |leaf: &Leaf| leaf.split.as_ref().map_or(0.0, |split| split.gain);
        let best = (0..leaves.len()).fold(0, |best, at| if gain(&leaves[at]) > gain(&leaves[best]) { at } else { best });
        let Some(split) = leaves[best].split.take() else { break };
        let leaf = leaves.swap_remove(best);
        leaves.extend(growth.divide(leaf, split));
    }
    growth.finish(leaves, learning_rate)
}

pub(super) fn total(rows: &[u32], derivatives: &[Derivatives]) -> Sums {
    let (mut gradient, mut hessian) = (0.0, 0.0);
    for row in rows {
        let [g, h] = derivatives[*row as usize];
        gradient += f64::from(g);
        hessian += f64::from(h);
    }
    Sums { gradient, hessian, n_rows: rows.len() as u32 }
}

struct Growth<'a> {
    binned: &'a Binned,
    derivatives: &'a [Derivatives],
    settings: &'a TreeSettings,
    rows: Vec<u32>,
    nodes: Vec<Node>,
    seed: u64,
}

impl Growth<'_> {
    /// Returns a leaf with its best split.
    fn leaf(&mut self, node: usize, depth: usize, (start, end): (usize, usize), sums: Sums, histogram: Histogram) -> Leaf {
        let limits = &self.settings.limits;
        let may_split = depth < self.settings.max_depth && sums.n_rows >= 2 * limits.min_rows.max(1);
        let split = if may_split { self.best_split(node, &histogram, sums) } else { None };
        let n_bytes: usize = histogram.columns.iter().map(|column| column.len() * size_of::<Sums>()).sum();
        let is_kept = split.is_some() && n_bytes * self.settings.max_leaves <= MAX_HISTOGRAM_BYTES;
        Leaf { node, depth, start, end, sums, split, histogram: is_kept.then_some(histogram) }
    }

    fn best_split(&self, node: usize, histogram: &Histogram, sums: Sums) -> Option<Split> {
        let settings = self.settings;
        let of_column = |(at, column): (usize, &Vec<Sums>)| {
            let mut rng = settings.random_thresholds.then(|| column_rng(self.seed, node, at));
            let binned = &self.binned.columns[settings.columns[at]];
            best_split(binned, column, sums, &settings.limits, rng.as_mut()).map(|split| Split { at, ..split })
        };
        const MIN_PARALLEL: usize = 128;
        let best = |a: Option<Split>, b: Option<Split>| match (&a, &b) {
            (Some(first), Some(second)) => {
                if (second.gain, first.at) > (first.gain, second.at) {
                    b
                } else {
                    a
                }
            }
            (None, _) => b,
            (_, None) => a,
        };
        if histogram.columns.len() < MIN_PARALLEL {
            return histogram.columns.iter().enumerate().map(of_column).fold(None, best);
        }
        histogram.columns.par_iter().enumerate().map(of_column).reduce(|| None, best)
    }

    /// Splits a leaf into two.
    fn divide(&mut self, leaf: Leaf, split: Split) -> [Leaf; 2] {
        let column = self.settings.columns[split.at];
        let middle = leaf.start + self.partition(leaf.start, leaf.end, column, &split);
        let (left, right) = (self.nodes.len(), self.nodes.len() + 1);
        let binned = &self.binned.columns[column];
        let share = match self.settings.random_thresholds {
            true => column_rng(self.seed, leaf.node, self.binned.n_cols()).random(),
            false => 0.5,
        };
        let test = split.left_bins.test(binned, share, split.next_bin);
        let (left_bins, missing_left) = (split.left_bins, split.missing_left);
        self.nodes[leaf.node] = Node::Split { column, test, left_bins, missing_left, left, right };
        self.nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
        let sums = [split.left, leaf.sums.minus(split.left)];
        let histograms = self.histograms(&leaf, middle);
        let ranges = [(leaf.start, middle), (middle, leaf.end)];
        let [of_left, of_right] = histograms;
        [
            self.leaf(left, leaf.depth + 1, ranges[0], sums[0], of_left),
            self.leaf(right, leaf.depth + 1, ranges[1], sums[1], of_right),
        ]
    }

    /// Returns the histograms of both children; that of the larger one is the difference to the parent's.
    fn histograms(&self, leaf: &Leaf, middle: usize) -> [Histogram; 2] {
        let of = |start, end| Histogram::new(self.binned, &self.settings.columns, &self.rows[start..end], self.derivatives);
        let is_left_smaller = middle - leaf.start <= leaf.end - middle;
        match &leaf.histogram {
            Some(parent) if is_left_smaller => {
                let left = of(leaf.start, middle);
                let right = parent.clone().subtract(&left);
                [left, right]
            }
            Some(parent) => {
                let right = of(middle, leaf.end);
                let left = parent.clone().subtract(&right);
                [left, right]
            }
            None => [of(leaf.start, middle), of(middle, leaf.end)],
        }
    }

    /// Moves the rows that go left to the front, in their order, and returns their number.
    fn partition(&mut self, start: usize, end: usize, column: usize, split: &Split) -> usize {
        let binned = &self.binned.columns[column];
        let goes_left = side_table(binned.n_bins, &split.left_bins, split.missing_left);
        let rows = &mut self.rows[start..end];
        let mut right = Vec::with_capacity(rows.len());
        let mut n_left = 0;
        for at in 0..rows.len() {
            let row = rows[at];
            if goes_left[usize::from(binned.bins[row as usize])] {
                rows[n_left] = row;
                n_left += 1;
            } else {
                right.push(row);
            }
        }
        rows[n_left..].copy_from_slice(&right);
        n_left
    }

    fn finish(self, leaves: Vec<Leaf>, learning_rate: f64) -> GrownTree {
        let Self { rows, mut nodes, settings, .. } = self;
        let (mut values, mut rows_of_leaves) = (Vec::new(), Vec::new());
        for leaf in leaves {
            nodes[leaf.node] = Node::Leaf(values.len());
            values.push(leaf_value(leaf.sums, settings.limits.l2, learning_rate));
            rows_of_leaves.push(rows[leaf.start..leaf.end].to_vec());
        }
        GrownTree { tree: Grown { nodes, values }, leaves: rows_of_leaves }
    }
}

/// Returns the Newton step of a leaf, times the learning rate.
pub(super) fn leaf_value(sums: Sums, l2: f64, learning_rate: f64) -> f32 {
    (-sums.gradient / (sums.hessian + l2).max(1e-12) * learning_rate) as f32
}

/// Returns for each bin, and for missing values, whether it goes left.
pub(super) fn side_table(n_bins: usize, left_bins: &LeftBins, missing_left: bool) -> Vec<bool> {
    let mut goes_left: Vec<bool> = (0..n_bins).map(|bin| left_bins.contains(bin)).collect();
    goes_left.push(missing_left);
    goes_left
}

/// Returns the generator for a column in a node, so that columns may be searched in any order.
fn column_rng(seed: u64, node: usize, at: usize) -> Rng {
    Rng::seed_from_u64(seed ^ (node as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (at as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
}
