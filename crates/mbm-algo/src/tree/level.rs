//! The best test for all nodes of a level, by one column.

use super::bins::{BinnedColumn, Bins};
use super::split::{LeftBins, MIN_GAIN};
use super::sums::Sums;

/// The test of a level.
pub(super) struct LevelSplit {
    /// Position of the column among those in use.
    pub at: usize,
    /// By how much it reduces the loss, times two.
    pub gain: f64,
    /// Which bins go left.
    pub left_bins: LeftBins,
    /// For numbers, the next bin with rows; the last one that goes left if there is none.
    pub next_bin: usize,
    /// Whether missing values go left.
    pub missing_left: bool,
}

/// The gains of all splits by a column, summed over the nodes of a level. A split is known by the position, in the order in which bins go
/// left, of the last bin that does.
pub(super) struct Gains {
    /// By how much the gain with missing values on the right differs from that at the position before.
    missing_right: [f64; 256],
    /// The same with missing values on the left.
    missing_left: [f64; 256],
    /// Number of rows at each position.
    n_rows: [u32; 256],
    has_missing: bool,
    l2: f64,
}

impl Gains {
    pub fn new(l2: f64) -> Self {
        Self { missing_right: [0.0; 256], missing_left: [0.0; 256], n_rows: [0; 256], has_missing: false, l2 }
    }

    /// Adds a node, given the sums at the positions that have rows.
    pub fn add_node(&mut self, positions: impl Iterator<Item = (usize, Sums)>, missing: Sums, total: Sums) {
        let node = Node { total, score: total.score(self.l2), l2: self.l2 };
        let has_missing = missing.n_rows > 0;
        self.has_missing |= has_missing;
        let (mut left, mut before_right, mut before_left) = (Sums::default(), 0.0, node.gain(missing));
        self.missing_left[0] += before_left;
        for (at, sums) in positions {
            left = left.plus(sums);
            let right_gain = node.gain(left);
            let left_gain = if has_missing { node.gain(left.plus(missing)) } else { right_gain };
            self.missing_right[at] += right_gain - before_right;
            self.missing_left[at] += left_gain - before_left;
            self.n_rows[at] += sums.n_rows;
            (before_right, before_left) = (right_gain, left_gain);
        }
    }

    /// Returns the best split; `order` lists the bins of categories in their order, and is empty for numbers.
    pub fn best(&self, column: &BinnedColumn, at: usize, order: &[usize]) -> Option<LevelSplit> {
        let n_positions = if is_number(column) { column.n_bins } else { order.len() };
        // If no value is missing, all bins on the left leave nothing on the right.
        let n_splits = if self.has_missing { n_positions } else { n_positions.saturating_sub(1) };
        let (right, left) = (largest(&self.missing_right[..n_splits]), largest(&self.missing_left[..n_splits]));
        let missing_left = self.has_missing && left.0 > right.0;
        let (gain, position) = if missing_left { left } else { right };
        if gain <= MIN_GAIN {
            return None;
        }
        let missing_left = if self.has_missing { missing_left } else { self.is_majority(position) };
        let left_bins = match is_number(column) {
            true => LeftBins::UpTo(position),
            false => self.categories(order, position, missing_left),
        };
        let next_bin = (position + 1..n_positions).find(|next| self.n_rows[*next] > 0).unwrap_or(position);
        Some(LevelSplit { at, gain, left_bins, next_bin, missing_left })
    }

    /// Returns the categories that go left: of those with rows on the level, the ones up to a position.
    fn categories(&self, order: &[usize], position: usize, missing_left: bool) -> LeftBins {
        let filled: Vec<usize> = (0..order.len()).filter(|at| self.n_rows[*at] > 0).collect();
        let n_left = filled.iter().filter(|at| **at <= position).count();
        LeftBins::of_categories(filled.iter().map(|at| order[*at]), n_left, missing_left)
    }

    /// Whether at least half of the rows are at positions up to this one.
    fn is_majority(&self, position: usize) -> bool {
        let count = |n_rows: &[u32]| n_rows.iter().map(|n| u64::from(*n)).sum::<u64>();
        count(&self.n_rows[..=position]) >= count(&self.n_rows[position + 1..])
    }
}

/// A node whose rows are divided.
struct Node {
    total: Sums,
    score: f64,
    l2: f64,
}

impl Node {
    #[inline]
    fn gain(&self, left: Sums) -> f64 {
        let right = self.total.minus(left);
        let (left_hessian, right_hessian) = (left.hessian + self.l2, right.hessian + self.l2);
        let denominator = left_hessian * right_hessian;
        if left.n_rows == 0 || right.n_rows == 0 || denominator <= 0.0 {
            return 0.0;
        }
        let numerator = left.gradient * left.gradient * right_hessian + right.gradient * right.gradient * left_hessian;
        numerator / denominator - self.score
    }
}

fn is_number(column: &BinnedColumn) -> bool {
    matches!(column.kind, Bins::Number { .. })
}

/// Returns the largest sum of the first differences and its position; the first one on ties.
fn largest(differences: &[f64]) -> (f64, usize) {
    let (mut sum, mut best) = (0.0, (f64::NEG_INFINITY, 0));
    for (at, difference) in differences.iter().enumerate() {
        sum += difference;
        if sum > best.0 {
            best = (sum, at);
        }
    }
    best
}

/// Returns the better one of two tests; on ties that of the first column.
pub(super) fn better(a: Option<LevelSplit>, b: Option<LevelSplit>) -> Option<LevelSplit> {
    match (&a, &b) {
        (Some(first), Some(second)) if (second.gain, first.at) > (first.gain, second.at) => b,
        (None, _) => b,
        (Some(_), _) => a,
    }
}
