//! Growth of a boosted tree, leaf by leaf: the leaf whose split gains most is split next.

use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::Rng;
use super::histogram::{Histogram, Layout, MIN_PARALLEL};
use super::rows::sides;
use super::split::{Limits, Searched, Split, best_split};
use super::sums::{ColumnSums, Gradients, Sums, present};
use super::trees::{Grown, Node};
use super::workspace::{Child, NodeRanges, Workspace};

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
    /// Factor of the values of leaves.
    pub learning_rate: f64,
    /// Seeds the thresholds that are drawn.
    pub seed: u64,
}

/// A grown tree, and where the rows of each leaf are in the workspace.
pub(super) struct GrownTree {
    pub tree: Grown,
    /// One per leaf value.
    pub leaves: Vec<NodeRanges>,
}

/// A leaf that may be split.
struct Leaf {
    node: usize,
    depth: usize,
    ranges: NodeRanges,
    sums: Sums,
    split: Option<Split>,
    histogram: Option<Histogram>,
}

/// Grows a tree on the rows of a workspace; a leaf has the value of the best Newton step, times the learning rate.
pub(super) fn grow(
    layout: &Layout,
    gradients: Gradients,
    settings: &TreeSettings,
    root: NodeRanges,
    space: &mut Workspace,
) -> GrownTree {
    let n_leaves = settings.max_leaves.min(root.rows.len() / settings.limits.min_rows.max(1) as usize);
    let context = Context { layout, gradients, settings, has_histograms: layout.fits(n_leaves) };
    let mut growth = Growth { context, space, nodes: vec![Node::Leaf(0)] };
    let mut leaves = vec![growth.root(root)];
    while leaves.len() < settings.max_leaves {
        let gain = |leaf: &Leaf| leaf.split.as_ref().map_or(0.0, |split| split.gain);
        let best = (0..leaves.len()).fold(0, |best, at| if gain(&leaves[at]) > gain(&leaves[best]) { at } else { best });
        let Some(split) = leaves[best].split.take() else { break };
        let leaf = leaves.swap_remove(best);
        let is_last = leaves.len() + 2 == settings.max_leaves;
        leaves.extend(growth.divide(leaf, split, is_last));
    }
    growth.finish(leaves)
}

/// What a tree is grown on.
#[derive(Clone, Copy)]
struct Context<'a> {
    layout: &'a Layout<'a>,
    gradients: Gradients<'a>,
    settings: &'a TreeSettings,
    /// Whether memory suffices for the histograms of all leaves.
    has_histograms: bool,
}

struct Growth<'a> {
    context: Context<'a>,
    space: &'a mut Workspace,
    nodes: Vec<Node>,
}

impl Context<'_> {
    fn may_split(&self, leaf: &Leaf) -> bool {
        let min_rows = self.settings.limits.min_rows.max(1) as usize;
        leaf.depth < self.settings.max_depth && leaf.ranges.rows.len() >= 2 * min_rows
    }

    fn has_histogram(&self, leaf: &Leaf) -> bool {
        self.has_histograms && self.may_split(leaf) && self.layout.is_dense(leaf.ranges.rows.len())
    }

    /// Searches the best split of a leaf.
    fn search(&self, leaf: &mut Leaf, space: &mut Workspace) {
        if self.may_split(leaf) {
            leaf.split = match &leaf.histogram {
                Some(histogram) => self.search_histogram(leaf, histogram),
                None => self.search_rows(leaf, space),
            };
        }
        if leaf.split.is_none() {
            space.free(leaf.histogram.take());
        }
    }

    fn search_histogram(&self, leaf: &Leaf, histogram: &Histogram) -> Option<Split> {
        let of_column = |(): &mut (), at: usize| {
            let sums = histogram.column(self.layout, at);
            self.best_split(leaf, at, present(sums), sums[sums.len() - 1])
        };
        best(self.layout.columns.len(), self.layout.n_bins() >= MIN_PARALLEL, &mut (), of_column)
    }

    fn search_rows(&self, leaf: &Leaf, space: &mut Workspace) -> Option<Split> {
        space.gather(&leaf.ranges.rows, self.gradients.rows);
        let (rows, gathered) = (space.rows.of(&leaf.ranges.rows), &space.gathered);
        let of_column = |sums: &mut ColumnSums, at: usize| {
            let column = self.layout.column(at);
            sums.fill(column, rows, gathered);
            self.best_split(leaf, at, sums.present(column.n_bins), sums.of(column.n_bins))
        };
        let n_columns = self.layout.columns.len();
        best(n_columns, rows.len() * n_columns >= MIN_PARALLEL, &mut space.sums, of_column)
    }

    fn best_split(
        &self,
        leaf: &Leaf,
        at: usize,
        bins: impl Iterator<Item = (usize, Sums)> + Clone,
        missing: Sums,
    ) -> Option<Split> {
        let mut rng = self.settings.random_thresholds.then(|| column_rng(self.settings.seed, leaf.node, at));
        let node = Searched { total: leaf.sums, missing, limits: &self.settings.limits };
        best_split(self.layout.column(at), bins, node, rng.as_mut()).map(|split| Split { at, ..split })
    }
}

impl Growth<'_> {
    fn root(&mut self, ranges: NodeRanges) -> Leaf {
        let Context { layout, gradients, .. } = self.context;
        let mut root = Leaf { node: 0, depth: 0, ranges, sums: Sums::default(), split: None, histogram: None };
        if self.context.has_histogram(&root) {
            root.histogram = Some(self.space.histogram(layout, &root.ranges.rows, gradients));
        }
        let total = root.histogram.as_ref().and_then(|histogram| histogram.total(layout));
        root.sums = total.unwrap_or_else(|| self.space.total(&root.ranges.rows, gradients.rows));
        self.context.search(&mut root, self.space);
        root
    }

    /// Splits a leaf into two, whose best splits are searched unless they are the last ones.
    fn divide(&mut self, leaf: Leaf, split: Split, is_last: bool) -> [Leaf; 2] {
        let context = self.context;
        let column = context.layout.column(split.at);
        let sides = sides(column.n_bins, &split.left_bins, split.missing_left);
        let [left_ranges, right_ranges] = self.space.divide(&leaf.ranges, column, &sides);
        let [left, right] = self.push_split(leaf.node, &split);
        let child = |node, ranges, sums| Leaf { node, depth: leaf.depth + 1, ranges, sums, split: None, histogram: None };
        let mut left = child(left, left_ranges, split.left);
        let mut right = child(right, right_ranges, leaf.sums.minus(split.left));
        if is_last {
            self.space.free(leaf.histogram);
            return [left, right];
        }
        let children = [&left, &right].map(|it| Child { rows: &it.ranges.rows, is_wanted: context.has_histogram(it) });
        [left.histogram, right.histogram] = self.space.histograms(context.layout, context.gradients, leaf.histogram, children);
        context.search(&mut left, self.space);
        context.search(&mut right, self.space);
        [left, right]
    }

    /// Turns a leaf into a split, and returns its children.
    fn push_split(&mut self, node: usize, split: &Split) -> [usize; 2] {
        let Context { layout, settings, .. } = self.context;
        let share = match settings.random_thresholds {
            true => column_rng(settings.seed, node, layout.binned.n_cols()).random(),
            false => 0.5,
        };
        let test = split.left_bins.test(layout.column(split.at), share, split.next_bin);
        let [left, right] = [self.nodes.len(), self.nodes.len() + 1];
        self.nodes[node] = Node::Split { column: layout.columns[split.at], test, missing_left: split.missing_left, left, right };
        self.nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
        [left, right]
    }

    fn finish(self, leaves: Vec<Leaf>) -> GrownTree {
        let Self { mut nodes, context: Context { settings, .. }, space } = self;
        let (mut values, mut ranges) = (Vec::new(), Vec::new());
        for leaf in leaves {
            nodes[leaf.node] = Node::Leaf(values.len());
            values.push(leaf_value(leaf.sums, settings.limits.l2, settings.learning_rate));
            ranges.push(leaf.ranges);
            space.free(leaf.histogram);
        }
        GrownTree { tree: Grown { nodes, values }, leaves: ranges }
    }
}

/// Returns the best split by any column; on ties the first one.
fn best<S: Clone + Send + Sync + Default>(
    n_columns: usize,
    is_parallel: bool,
    scratch: &mut S,
    of_column: impl Fn(&mut S, usize) -> Option<Split> + Sync + Send,
) -> Option<Split> {
    if is_parallel {
        let splits = (0..n_columns).into_par_iter().map_init(S::default, of_column);
        return splits.reduce(|| None, better);
    }
    (0..n_columns).fold(None, |best, at| better(best, of_column(scratch, at)))
}

fn better(a: Option<Split>, b: Option<Split>) -> Option<Split> {
    match (&a, &b) {
        (Some(first), Some(second)) if (second.gain, first.at) > (first.gain, second.at) => b,
        (None, _) => b,
        (Some(_), _) => a,
    }
}

/// Returns the Newton step of a leaf, times the learning rate.
pub(super) fn leaf_value(sums: Sums, l2: f64, learning_rate: f64) -> f32 {
    (-sums.gradient / (sums.hessian + l2).max(1e-12) * learning_rate) as f32
}

/// Returns the generator for a column in a node, so that columns may be searched in any order.
fn column_rng(seed: u64, node: usize, at: usize) -> Rng {
    Rng::seed_from_u64(seed ^ (node as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (at as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
}
