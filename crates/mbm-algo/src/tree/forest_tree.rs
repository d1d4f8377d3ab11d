//! Growth of a tree of a forest: of some columns, drawn for each node, the split that leaves the smallest squared error of the targets.

use rand::{RngExt, SeedableRng};

use super::Rng;
use super::boosting::Examples;
use super::forest::{ForestSettings, MaxFeatures};
use super::forest_split::{Best, NodeData, Split};
use super::groups::{Groups, Totals};
use super::rows::NodeRows;
use super::trees::{Grown, Node};

/// Grows a tree; `zero` are the sums over no rows.
pub(super) fn grow(examples: &Examples, settings: &ForestSettings, zero: &impl Totals, seed: u64) -> Grown {
    let mut growth = Growth::new(examples, settings, zero, seed);
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

struct Growth<'a, T> {
    examples: &'a Examples<'a>,
    settings: &'a ForestSettings,
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
    total: T,
    groups: Groups<T>,
}

impl<'a, T: Totals> Growth<'a, T> {
    fn new(examples: &'a Examples<'a>, settings: &'a ForestSettings, zero: &T, seed: u64) -> Self {
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
            n_tried: n_tried.clamp(1, n_cols.max(1)),
            rng,
            columns: (0..n_cols).collect(),
            rows,
            counts,
            tree: Grown { nodes: vec![Node::Leaf(0)], values: Vec::new() },
            gathered: Vec::new(),
            total: zero.clone(),
            groups: Groups::new(zero),
        }
    }

    /// Gathers the sums of the rows of a node, and their total.
    fn gather(&mut self, range: &std::ops::Range<usize>) {
        let Examples { targets, n_outputs, weights, .. } = *self.examples;
        self.gathered.clear();
        self.total.as_mut().fill(0.0);
        for row in self.rows.of(range).iter().map(|row| *row as usize) {
            let count = f64::from(self.counts[row]);
            let weight = count * f64::from(weights[row]);
            self.gathered.extend([weight, count]);
            self.gathered
                .extend(targets[row * n_outputs..(row + 1) * n_outputs].iter().map(|target| weight * f64::from(*target)));
        }
        for row in self.gathered.chunks_exact(self.total.width()) {
            self.total.add(row, 1.0);
        }
    }

    /// Returns the best split among columns that are tried in random order: at least `n_tried` that are not constant.
    fn split(&mut self, range: &std::ops::Range<usize>) -> Option<Split> {
        let rows = self.rows.of(range);
        let min_rows = self.settings.min_rows.max(1) as f64;
        if self.total.n_rows() < 2.0 * min_rows || is_pure(self.examples, rows) {
            return None;
        }
        let mut best = Best::new(NodeData { rows, gathered: &self.gathered, total: &self.total, min_rows });
        let is_drawn = self.settings.random_thresholds;
        let mut n_tried = 0;
        for at in 0..self.columns.len() {
            if n_tried >= self.n_tried {
                break;
            }
            let other = self.rng.random_range(at..self.columns.len());
            self.columns.swap(at, other);
            let index = self.columns[at];
            let column = &self.examples.binned.columns[index];
            n_tried += usize::from(best.try_column(index, column, is_drawn, &mut self.groups, &mut self.rng));
        }
        best.split(self.examples.binned, is_drawn)
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
        let weight = self.total.weight().max(1e-12);
        self.tree.values.extend(self.total.targets().iter().map(|sum| (sum / weight) as f32));
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
