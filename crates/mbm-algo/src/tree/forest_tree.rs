//! Growth of a tree of a forest: of some columns, drawn for each node, the split that leaves the smallest squared error of the targets.

use rand::{RngExt, SeedableRng};

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::boosting::Examples;
use super::forest::{ForestSettings, MaxFeatures};
use super::groups::{Groups, Width};
use super::rows::NodeRows;
use super::split::LeftBins;
use super::trees::{Grown, Node};

/// Grows a tree. A group of rows is described by `width` sums: their weight, their number, and the sum of each target.
pub(super) fn grow(examples: &Examples, settings: &ForestSettings, width: impl Width, seed: u64) -> Grown {
    let mut growth = Growth::new(examples, settings, width, seed);
    let mut stack = vec![(0, 0..growth.rows.len())];
    while let Some((node, range)) = stack.pop() {
        growth.gather(&range);
        match growth.split(&range) {
            Some(split) => {
                let column = &examples.binned.columns[split.column];
                let middle = growth.rows.divide(&range, column, |bin| split.goes_left(column, bin));
                let [left, right] = growth.push_split(node, &split);
                stack.extend([(right, middle..range.end), (left, range.start..middle)]);
            }
            None => growth.push_leaf(node),
        }
    }
    growth.tree
}

struct Split {
    column: usize,
    left_bins: LeftBins,
    /// The bin after the last one that goes left, among those of the node's rows; for thresholds of numbers.
    next_bin: usize,
    missing_left: bool,
}

impl Split {
    fn goes_left(&self, column: &BinnedColumn, bin: usize) -> bool {
        if bin == column.n_bins { self.missing_left } else { self.left_bins.contains(bin) }
    }
}

struct Growth<'a, W> {
    examples: &'a Examples<'a>,
    settings: &'a ForestSettings,
    width: W,
    n_tried: usize,
    rng: Rng,
    /// The columns in the order in which they were last drawn.
    columns: Vec<usize>,
    rows: NodeRows,
    /// How often each row was drawn.
    counts: Vec<u32>,
    tree: Grown,
    /// The sums of each row of the node.
    gathered: Vec<f64>,
    /// The sums of the node.
    total: Vec<f64>,
    groups: Groups<W>,
}

impl<'a, W: Width> Growth<'a, W> {
    fn new(examples: &'a Examples<'a>, settings: &'a ForestSettings, width: W, seed: u64) -> Self {
        let n_cols = examples.binned.n_cols();
        let n_tried = match settings.max_features {
            MaxFeatures::Sqrt => (n_cols as f64).sqrt() as usize,
            MaxFeatures::Share(share) => (n_cols as f64 * share).round() as usize,
        };
        let mut rng = Rng::seed_from_u64(seed);
        let counts = counts(examples, settings.bootstrap, &mut rng);
        let mut rows = NodeRows::default();
        rows.reset(&(0..counts.len() as u32).filter(|row| counts[*row as usize] > 0).collect::<Vec<u32>>());
        Self {
            examples,
            settings,
            width,
            n_tried: n_tried.clamp(1, n_cols.max(1)),
            rng,
            columns: (0..n_cols).collect(),
            rows,
            counts,
            tree: Grown { nodes: vec![Node::Leaf(0)], values: Vec::new() },
            gathered: Vec::new(),
            total: vec![0.0; width.get()],
            groups: Groups::new(width),
        }
    }

    /// Gathers the sums of the rows of a node, and their total.
    fn gather(&mut self, range: &std::ops::Range<usize>) {
        let Examples { targets, n_outputs, weights, .. } = *self.examples;
        self.gathered.clear();
        self.total.fill(0.0);
        for row in self.rows.of(range).iter().map(|row| *row as usize) {
            let count = f64::from(self.counts[row]);
            let weight = count * f64::from(weights[row]);
            self.gathered.extend([weight, count]);
            self.gathered
                .extend(targets[row * n_outputs..(row + 1) * n_outputs].iter().map(|target| weight * f64::from(*target)));
        }
        for row in self.gathered.chunks_exact(self.width.get()) {
            self.total.iter_mut().zip(row).for_each(|(total, value)| *total += value);
        }
    }

    /// Returns the best split among columns that are tried in random order: at least `n_tried` that are not constant.
    fn split(&mut self, range: &std::ops::Range<usize>) -> Option<Split> {
        let rows = self.rows.of(range);
        let min_rows = self.settings.min_rows.max(1) as f64;
        if self.total[1] < 2.0 * min_rows || is_pure(self.examples, rows) {
            return None;
        }
        let mut best = Best { total: &self.total, min_rows, numerator: f64::NEG_INFINITY, denominator: 1.0, split: None };
        let mut n_tried = 0;
        for at in 0..self.columns.len() {
            if n_tried >= self.n_tried {
                break;
            }
            let other = self.rng.random_range(at..self.columns.len());
            self.columns.swap(at, other);
            let index = self.columns[at];
            let column = &self.examples.binned.columns[index];
            if !is_constant(column, rows) {
                n_tried += 1;
                self.groups.fill(column, rows, &self.gathered);
                self.groups.order(column, &mut self.rng);
                let drawn = self.settings.random_thresholds.then(|| draw(column, self.groups.bins(), &mut self.rng));
                best.try_column(index, column, &mut self.groups, drawn);
            }
        }
        best.split
    }

    fn push_split(&mut self, node: usize, split: &Split) -> [usize; 2] {
        let children = [self.tree.nodes.len(), self.tree.nodes.len() + 1];
        let share = if self.settings.random_thresholds { self.rng.random() } else { 0.5 };
        let Split { column, next_bin, missing_left, .. } = *split;
        let test = split.left_bins.test(&self.examples.binned.columns[column], share, next_bin);
        self.tree.nodes[node] = Node::Split { column, test, missing_left, left: children[0], right: children[1] };
        self.tree.nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
        children
    }

    /// Turns the node whose rows were gathered last into a leaf.
    fn push_leaf(&mut self, node: usize) {
        self.tree.nodes[node] = Node::Leaf(self.tree.values.len() / self.examples.n_outputs);
        let weight = self.total[0].max(1e-12);
        self.tree.values.extend(self.total[2..].iter().map(|sum| (sum / weight) as f32));
    }
}

/// Returns how often each row is used: once, or as often as it is drawn with replacement.
fn counts(examples: &Examples, bootstrap: bool, rng: &mut Rng) -> Vec<u32> {
    let mut counts = vec![0; examples.binned.n_rows];
    let n = examples.rows.len();
    for row in examples.rows {
        let row = if bootstrap { examples.rows[rng.random_range(0..n)] } else { *row };
        counts[row as usize] += 1;
    }
    counts
}

/// Whether all rows have the same targets.
fn is_pure(examples: &Examples, rows: &[u32]) -> bool {
    let targets = |row: u32| &examples.targets[row as usize * examples.n_outputs..(row as usize + 1) * examples.n_outputs];
    rows.iter().all(|row| targets(*row) == targets(rows[0]))
}

fn is_constant(column: &BinnedColumn, rows: &[u32]) -> bool {
    let first = column.bins[rows[0] as usize];
    rows.iter().all(|row| column.bins[*row as usize] == first)
}

/// Draws the position of the last group that goes left; for numbers uniformly between the smallest and the largest value.
fn draw(column: &BinnedColumn, bins: &[u8], rng: &mut Rng) -> usize {
    let last = bins.len().saturating_sub(2);
    let Bins::Number { lower, upper } = &column.kind else { return rng.random_range(0..=last) };
    let [first, .., end] = bins else { return 0 };
    let (min, max) = (f64::from(upper[usize::from(*first)]), f64::from(lower[usize::from(*end)]));
    let value = min + rng.random::<f64>() * (max - min);
    bins.partition_point(|bin| f64::from(upper[usize::from(*bin)]) <= value).saturating_sub(1).min(last)
}

/// The best split of a node so far. The sum of the squared sums of both sides over their weights, which grows as the squared error falls,
/// is kept as a fraction.
struct Best<'a> {
    total: &'a [f64],
    min_rows: f64,
    numerator: f64,
    denominator: f64,
    split: Option<Split>,
}

impl Best<'_> {
    /// Considers the splits of a column, or only the drawn one.
    fn try_column<W: Width>(&mut self, index: usize, column: &BinnedColumn, groups: &mut Groups<W>, drawn: Option<usize>) {
        let missing = groups.missing(column);
        let n_groups = groups.bins().len();
        let mut best = None;
        for at in 0..n_groups {
            groups.add_left(at);
            if drawn.is_some_and(|drawn| drawn != at) || at + 1 == n_groups && !missing {
                continue;
            }
            let majority_left = groups.left()[1] * 2.0 >= self.total[1];
            if self.is_better(groups.width(), groups.left()) {
                best = Some((at, !missing && majority_left));
            }
            if missing && self.is_better(groups.width(), groups.left_with_missing(column)) {
                best = Some((at, true));
            }
        }
        if let Some((at, missing_left)) = best {
            self.split = Some(split(index, column, groups.bins(), at, missing_left));
        }
    }

    /// Whether a split is better than all before, given the sums of its left side; if so, it becomes the best.
    #[inline]
    fn is_better(&mut self, width: impl Width, left: &[f64]) -> bool {
        let (left, total) = (&left[..width.get()], &self.total[..width.get()]);
        if left[1] < self.min_rows || total[1] - left[1] < self.min_rows {
            return false;
        }
        let (mut of_left, mut of_right) = (0.0, 0.0);
        for (left, total) in left[2..].iter().zip(&total[2..]) {
            of_left += left * left;
            of_right += (total - left) * (total - left);
        }
        let (left_weight, right_weight) = (left[0].max(1e-12), (total[0] - left[0]).max(1e-12));
        let numerator = of_left * right_weight + of_right * left_weight;
        let denominator = left_weight * right_weight;
        let is_better = numerator * self.denominator > self.numerator * denominator;
        if is_better {
            (self.numerator, self.denominator) = (numerator, denominator);
        }
        is_better
    }
}

fn split(index: usize, column: &BinnedColumn, bins: &[u8], at: usize, missing_left: bool) -> Split {
    let bins_to = |at: usize| usize::from(bins[at]);
    let left_bins = match column.kind {
        Bins::Number { .. } => LeftBins::UpTo(bins_to(at)),
        Bins::Category(_) => LeftBins::of((0..=at).map(bins_to)),
    };
    Split { column: index, left_bins, next_bin: bins_to((at + 1).min(bins.len() - 1)), missing_left }
}
