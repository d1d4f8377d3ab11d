//! The best split of a node of a forest's tree: the one that leaves the smallest squared error of the targets.

use rand::RngExt;

use super::Rng;
use super::bins::{Binned, BinnedColumn, Bins};
use super::groups::{Groups, Totals};
use super::split::LeftBins;

/// A split of a node.
pub(super) struct Split {
    pub column: usize,
    pub left_bins: LeftBins,
    /// The bin after the last one that goes left, among those of the node's rows; for thresholds of numbers.
    pub next_bin: usize,
    pub missing_left: bool,
}

impl Split {
    pub fn goes_left(&self, column: &BinnedColumn, bin: usize) -> bool {
        if bin == column.n_bins { self.missing_left } else { self.left_bins.contains(bin) }
    }
}

/// The rows of a node.
#[derive(Clone, Copy)]
pub(super) struct NodeData<'a, T> {
    pub rows: &'a [u32],
    /// The sums of each row.
    pub gathered: &'a [f64],
    /// The sums of all.
    pub total: &'a T,
    /// Minimum number of rows of a child.
    pub min_rows: f64,
}

/// The best split of a node so far. The sum of the squared sums of both sides over their weights, which grows as the squared error falls,
/// is kept as a fraction.
pub(super) struct Best<'a, T> {
    node: NodeData<'a, T>,
    numerator: f64,
    denominator: f64,
    split: Option<Split>,
}

impl<'a, T: Totals> Best<'a, T> {
    pub fn new(node: NodeData<'a, T>) -> Self {
        Self { node, numerator: f64::NEG_INFINITY, denominator: 1.0, split: None }
    }

    pub fn split(self, binned: &Binned, is_drawn: bool) -> Option<Split> {
        let split = self.split?;
        match split.left_bins {
            LeftBins::UpTo(last_left) if is_drawn => Some(between_filled(split, last_left, binned, self.node.rows)),
            _ => Some(split),
        }
    }

    /// Considers the splits of a column, or a drawn one. Returns false if the column is constant.
    pub fn try_column(
        &mut self,
        index: usize,
        column: &BinnedColumn,
        is_drawn: bool,
        groups: &mut Groups<T>,
        rng: &mut Rng,
    ) -> bool {
        if is_drawn && let Bins::Number { lower, upper } = &column.kind {
            let Some(range) = BinRange::of(column, self.node.rows) else { return false };
            self.try_threshold(index, column, range, range.draw(lower, upper, rng));
            return true;
        }
        if is_constant(column, self.node.rows) {
            return false;
        }
        groups.fill(column, self.node.rows, self.node.gathered);
        groups.order(column, rng);
        let drawn = is_drawn.then(|| rng.random_range(0..=groups.bins().len().saturating_sub(2)));
        self.try_groups(index, column, groups, drawn);
        true
    }

    /// Considers all splits of a column, or only the one after the drawn position.
    fn try_groups(&mut self, index: usize, column: &BinnedColumn, groups: &Groups<T>, drawn: Option<usize>) {
        let (missing, n_groups) = (groups.missing(column), groups.bins().len());
        let mut left = self.node.total.clone();
        left.as_mut().fill(0.0);
        let mut best = None;
        for at in 0..n_groups {
            left.add(groups.at(at).as_ref(), 1.0);
            let is_whole = at + 1 == n_groups && missing.is_none();
            if !is_whole
                && drawn.is_none_or(|drawn| drawn == at)
                && let Some(missing_left) = self.better(&left, missing)
            {
                best = Some((at, missing_left));
            }
        }
        if let Some((at, missing_left)) = best {
            self.split = Some(split(index, column, groups.bins(), at, missing_left));
        }
    }

    /// Considers the split of numbers after a bin.
    fn try_threshold(&mut self, index: usize, column: &BinnedColumn, range: BinRange, last_left: usize) {
        let NodeData { rows, gathered, total, .. } = self.node;
        let (mut left, mut missing) = (total.clone(), total.clone());
        left.as_mut().fill(0.0);
        missing.as_mut().fill(0.0);
        for (row, values) in rows.iter().zip(gathered.chunks_exact(total.width())) {
            // Half of the rows go left, so that a branch would often be mispredicted.
            let is_left = usize::from(column.bins[*row as usize]) <= last_left;
            left.add(values, f64::from(u8::from(is_left)));
        }
        if range.has_missing {
            let is_missing = |row: u32| usize::from(column.bins[row as usize]) == column.n_bins;
            let rows = rows.iter().zip(gathered.chunks_exact(total.width()));
            rows.filter(|(row, _)| is_missing(**row)).for_each(|(_, values)| missing.add(values, 1.0));
        }
        if let Some(missing_left) = self.better(&left, range.has_missing.then_some(&missing)) {
            self.split = Some(Split { column: index, left_bins: LeftBins::UpTo(last_left), next_bin: last_left, missing_left });
        }
    }

    /// Considers a split with missing values on either side; if there are none, they would follow the larger side. Returns on which side they
    /// are if it is better than all before.
    #[inline(always)]
    fn better(&mut self, left: &T, missing: Option<&T>) -> Option<bool> {
        let mut better = None;
        if self.is_better(left) {
            better = Some(missing.is_none() && left.n_rows() * 2.0 >= self.node.total.n_rows());
        }
        if let Some(missing) = missing {
            let mut left = left.clone();
            left.add(missing.as_ref(), 1.0);
            if self.is_better(&left) {
                better = Some(true);
            }
        }
        better
    }

    /// Whether a split is better than all before, given the sums of its left side; if so, it becomes the best.
    #[inline(always)]
    fn is_better(&mut self, left: &T) -> bool {
        let NodeData { total, min_rows, .. } = self.node;
        if left.n_rows() < min_rows || total.n_rows() - left.n_rows() < min_rows {
            return false;
        }
        let (mut of_left, mut of_right) = (0.0, 0.0);
        for (left, total) in left.targets().iter().zip(total.targets()) {
            of_left += left * left;
            of_right += (total - left) * (total - left);
        }
        let (left_weight, right_weight) = (left.weight().max(1e-12), (total.weight() - left.weight()).max(1e-12));
        let numerator = of_left * right_weight + of_right * left_weight;
        let denominator = left_weight * right_weight;
        let is_better = numerator * self.denominator > self.numerator * denominator;
        if is_better {
            (self.numerator, self.denominator) = (numerator, denominator);
        }
        is_better
    }
}

/// Moves a drawn threshold between the bins of the node's rows that are next to it.
fn between_filled(split: Split, last_left: usize, binned: &Binned, rows: &[u32]) -> Split {
    let column = &binned.columns[split.column];
    let bins = || rows.iter().map(|row| usize::from(column.bins[*row as usize])).filter(|bin| *bin < column.n_bins);
    let last_left = bins().filter(|bin| *bin <= last_left).max().unwrap_or(last_left);
    let next_bin = bins().filter(|bin| *bin > last_left).min().unwrap_or(last_left);
    Split { left_bins: LeftBins::UpTo(last_left), next_bin, ..split }
}

fn is_constant(column: &BinnedColumn, rows: &[u32]) -> bool {
    let first = column.bins[rows[0] as usize];
    rows.iter().all(|row| column.bins[*row as usize] == first)
}

fn split(index: usize, column: &BinnedColumn, bins: &[u8], at: usize, missing_left: bool) -> Split {
    let bins_to = |at: usize| usize::from(bins[at]);
    let left_bins = match column.kind {
        Bins::Number { .. } => LeftBins::UpTo(bins_to(at)),
        Bins::Category(_) => LeftBins::of_categories((0..bins.len()).map(bins_to), at + 1, missing_left),
    };
    Split { column: index, left_bins, next_bin: bins_to((at + 1).min(bins.len() - 1)), missing_left }
}

/// The smallest and the largest bin of some rows, without missing values.
#[derive(Clone, Copy)]
struct BinRange {
    first: usize,
    last: usize,
    has_missing: bool,
}

impl BinRange {
    /// Returns the range of a column; `None` if it is constant.
    fn of(column: &BinnedColumn, rows: &[u32]) -> Option<Self> {
        let (mut first, mut last, mut has_missing) = (usize::MAX, 0, false);
        for bin in rows.iter().map(|row| usize::from(column.bins[*row as usize])) {
            let is_missing = bin == column.n_bins;
            has_missing |= is_missing;
            first = first.min(bin);
            last = last.max(if is_missing { 0 } else { bin });
        }
        let is_constant = first >= last && (!has_missing || first == column.n_bins);
        (!is_constant).then_some(Self { first, last, has_missing })
    }

    /// Draws the last bin that goes left: that of a value which is uniform between the smallest and the largest one.
    fn draw(self, lower: &[f32], upper: &[f32], rng: &mut Rng) -> usize {
        let Self { first, last, .. } = self;
        if first == last {
            return first;
        }
        let (min, max) = (f64::from(upper[first]), f64::from(lower[last]));
        let value = min + rng.random::<f64>() * (max - min);
        let n_left = upper[first..last].partition_point(|upper| f64::from(*upper) <= value);
        first + n_left.saturating_sub(1)
    }
}
