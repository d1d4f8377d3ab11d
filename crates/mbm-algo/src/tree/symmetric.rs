//! Growth of a symmetric boosted tree: all nodes of a level share one test (Prokhorenkova et al. 2018), which regularizes strongly.

use rayon::prelude::*;

use super::bins::{BinnedColumn, Bins};
use super::grow::{GrownTree, TreeSettings, leaf_value};
use super::histogram::{Histogram, Layout, MIN_PARALLEL};
use super::level::{Gains, LevelSplit, better};
use super::rows::{NodeRows, Sides, sides};
use super::split::sorted_categories;
use super::sums::{ColumnSums, Derivatives, Gradients, Sums, present};
use super::trees::{Grown, Node};
use super::workspace::{Child, NodeRanges, Workspace};

/// A node of the current level.
struct Leaf {
    node: usize,
    ranges: NodeRanges,
    sums: Sums,
    histogram: Option<Histogram>,
}

/// Grows a tree of at most `max_depth` levels on the rows of a workspace.
pub(super) fn grow_symmetric(
    layout: &Layout,
    gradients: Gradients,
    settings: &TreeSettings,
    root: NodeRanges,
    space: &mut Workspace,
) -> GrownTree {
    let n_leaves = 1usize.checked_shl(settings.max_depth as u32).unwrap_or(usize::MAX).min(root.rows.len());
    let has_histograms = layout.fits(n_leaves);
    let (nodes, level, finished) = (vec![Node::Leaf(0)], Vec::new(), Vec::new());
    let mut growth = Growth { layout, gradients, settings, space, has_histograms, nodes, level, finished };
    let orders = growth.add_root(root);
    for depth in 0..settings.max_depth {
        let Some(split) = growth.best_split(&orders) else { break };
        growth.divide_level(&split, depth + 1 == settings.max_depth);
    }
    growth.finish()
}

struct Growth<'a> {
    layout: &'a Layout<'a>,
    gradients: Gradients<'a>,
    settings: &'a TreeSettings,
    space: &'a mut Workspace,
    /// Whether memory suffices for the histograms of a level.
    has_histograms: bool,
    nodes: Vec<Node>,
    level: Vec<Leaf>,
    finished: Vec<Leaf>,
}

impl Growth<'_> {
    /// Starts with a level of one node, and returns for each column in use the order in which the bins of categories go left.
    fn add_root(&mut self, ranges: NodeRanges) -> Vec<Vec<usize>> {
        let sums = self.space.total(&ranges.rows, self.gradients.rows);
        let has_histogram = self.has_histogram(&ranges);
        let histogram = has_histogram.then(|| self.space.histogram(self.layout, &ranges.rows, self.gradients));
        let Workspace { rows, gathered, sums: of_column, .. } = &mut *self.space;
        let columns = (0..self.layout.columns.len()).map(|at| self.layout.column(at));
        let orders = columns.map(|column| order(column, rows.of(&ranges.rows), gathered, of_column)).collect();
        self.level.push(Leaf { node: 0, ranges, sums, histogram });
        orders
    }

    fn has_histogram(&self, ranges: &NodeRanges) -> bool {
        self.has_histograms && self.layout.is_dense(ranges.rows.len())
    }

    fn best_split(&mut self, orders: &[Vec<usize>]) -> Option<LevelSplit> {
        if self.level.iter().any(|leaf| leaf.histogram.is_none()) {
            self.space.gather_all(self.gradients.rows);
        }
        let Workspace { rows, gathered, sums, .. } = &mut *self.space;
        let level = Level { layout: self.layout, leaves: &self.level, rows, gathered, orders, l2: self.settings.limits.l2 };
        if level.n_sums() < MIN_PARALLEL {
            return (0..orders.len()).fold(None, |best, at| better(best, level.best_of_column(sums, at)));
        }
        let splits = (0..orders.len()).into_par_iter().map_init(ColumnSums::default, |sums, at| level.best_of_column(sums, at));
        splits.reduce(|| None, better)
    }

    fn divide_level(&mut self, split: &LevelSplit, is_last: bool) {
        let column = self.layout.column(split.at);
        let sides = sides(column.n_bins, &split.left_bins, split.missing_left);
        for leaf in std::mem::take(&mut self.level) {
            let middle = self.space.rows.divide(&leaf.ranges.rows, column, |bin| sides[bin]);
            if middle == leaf.ranges.rows.start || middle == leaf.ranges.rows.end {
                self.finished.push(leaf);
            } else {
                self.divide(leaf, split, &sides, middle, is_last);
            }
        }
    }

    /// Splits a leaf whose rows have been divided.
    fn divide(&mut self, leaf: Leaf, split: &LevelSplit, sides: &Sides, middle: usize, is_last: bool) {
        let Leaf { node, ranges, sums, histogram } = leaf;
        let column = self.layout.column(split.at);
        let between = self.space.followers.divide(&ranges.followers, column, |bin| sides[bin]);
        let left = NodeRanges { rows: ranges.rows.start..middle, followers: ranges.followers.start..between };
        let right = NodeRanges { rows: middle..ranges.rows.end, followers: between..ranges.followers.end };
        let left_sums = match &histogram {
            Some(histogram) => left_sums(histogram.column(self.layout, split.at), sides),
            None => self.space.total(&left.rows, self.gradients.rows),
        };
        let is_wanted = [&left, &right].map(|child| !is_last && self.has_histogram(child));
        let children =
            [Child { rows: &left.rows, is_wanted: is_wanted[0] }, Child { rows: &right.rows, is_wanted: is_wanted[1] }];
        let histograms = self.space.histograms(self.layout, self.gradients, histogram, children);
        let nodes = self.push_split(node, split);
        let children = [(left, left_sums), (right, sums.minus(left_sums))].into_iter().zip(nodes).zip(histograms);
        self.level.extend(children.map(|(((ranges, sums), node), histogram)| Leaf { node, ranges, sums, histogram }));
    }

    /// Turns a leaf into a split, and returns its children.
    fn push_split(&mut self, node: usize, split: &LevelSplit) -> [usize; 2] {
        let test = split.left_bins.test(self.layout.column(split.at), 0.5, split.next_bin);
        let [left, right] = [self.nodes.len(), self.nodes.len() + 1];
        let column = self.layout.columns[split.at];
        self.nodes[node] = Node::Split { column, test, missing_left: split.missing_left, left, right };
        self.nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
        [left, right]
    }

    fn finish(self) -> GrownTree {
        let Self { mut nodes, settings, space, level, finished, .. } = self;
        let (mut values, mut leaves) = (Vec::new(), Vec::new());
        for leaf in finished.into_iter().chain(level) {
            nodes[leaf.node] = Node::Leaf(values.len());
            values.push(leaf_value(leaf.sums, settings.limits.l2, settings.learning_rate));
            leaves.push(leaf.ranges);
            space.free(leaf.histogram);
        }
        GrownTree { tree: Grown { nodes, values }, leaves }
    }
}

/// The nodes of a level, whose common test is searched.
struct Level<'a> {
    layout: &'a Layout<'a>,
    leaves: &'a [Leaf],
    rows: &'a NodeRows,
    /// The derivatives of the rows.
    gathered: &'a [Derivatives],
    orders: &'a [Vec<usize>],
    l2: f64,
}

impl Level<'_> {
    /// Returns the number of sums that are added up to find the best test.
    fn n_sums(&self) -> usize {
        let of = |leaf: &Leaf| match &leaf.histogram {
            Some(_) => self.layout.n_bins(),
            None => leaf.ranges.rows.len() * self.layout.columns.len(),
        };
        self.leaves.iter().map(of).sum()
    }

    fn best_of_column(&self, sums: &mut ColumnSums, at: usize) -> Option<LevelSplit> {
        let (column, order) = (self.layout.column(at), &self.orders[at]);
        let mut gains = Gains::new(self.l2);
        for leaf in self.leaves {
            let Some(histogram) = &leaf.histogram else {
                let range = &leaf.ranges.rows;
                sums.fill(column, self.rows.of(range), &self.gathered[range.clone()]);
                let missing = sums.of(column.n_bins);
                match column.kind {
                    Bins::Number { .. } => gains.add_node(sums.present(column.n_bins), missing, leaf.sums),
                    Bins::Category(_) => gains.add_node(in_order(order, |bin| sums.of(bin)), missing, leaf.sums),
                }
                continue;
            };
            let sums = histogram.column(self.layout, at);
            let missing = sums[column.n_bins];
            match column.kind {
                Bins::Number { .. } => gains.add_node(present(sums), missing, leaf.sums),
                Bins::Category(_) => gains.add_node(in_order(order, |bin| sums[bin]), missing, leaf.sums),
            }
        }
        gains.best(column, at, order)
    }
}

/// Returns the order in which the bins of a category go left: by their mean gradients over all rows. For numbers, it is empty.
fn order(column: &BinnedColumn, rows: &[u32], derivatives: &[Derivatives], sums: &mut ColumnSums) -> Vec<usize> {
    let Bins::Category(_) = column.kind else { return Vec::new() };
    sums.fill(column, rows, derivatives);
    sorted_categories(sums.present(column.n_bins)).into_iter().map(|(bin, _)| bin).collect()
}

/// Returns the positions of categories that have rows.
fn in_order(order: &[usize], of: impl Fn(usize) -> Sums) -> impl Iterator<Item = (usize, Sums)> {
    order.iter().map(move |bin| of(*bin)).enumerate().filter(|(_, sums)| sums.n_rows > 0)
}

/// Returns the sums over the rows that go left.
fn left_sums(bins: &[Sums], sides: &Sides) -> Sums {
    let left = bins.iter().zip(sides).filter(|(_, is_left)| **is_left);
    left.fold(Sums::default(), |total, (sums, _)| total.plus(*sums))
}
