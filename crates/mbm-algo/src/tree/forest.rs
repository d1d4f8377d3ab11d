//! Random forests (Breiman 2001) and extremely randomized trees (Geurts et al. 2006), for numbers and classes alike: a leaf holds the mean
//! of the targets, and splits minimize their squared error, which for indicators of classes is Gini's impurity.

use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::boosting::Examples;
use super::split::LeftBins;
use super::trees::{Grown, InvalidTrees, Node, Trees};

/// How many columns are tried per split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFeatures {
    /// The square root of their number.
    Sqrt,
    /// A share of them.
    Share(f64),
}

/// The settings of a forest.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestSettings {
    /// Number of trees.
    pub n_trees: usize,
    /// Minimum number of rows of a leaf.
    pub min_rows: usize,
    /// How many columns are tried per split.
    pub max_features: MaxFeatures,
    /// Whether each tree samples rows with replacement.
    pub bootstrap: bool,
    /// Whether thresholds are drawn at random instead of searched.
    pub random_thresholds: bool,
}

/// A fitted forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Its trees.
    pub trees: Trees,
}

impl Forest {
    /// Fits a forest. `proceed` is called before each tree, from several threads, and returns whether to continue; at least one tree is
    /// grown.
    pub fn fit(examples: &Examples, settings: &ForestSettings, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Self {
        let grown: Vec<Option<Grown>> = (0..settings.n_trees)
            .into_par_iter()
            .map(|tree| (tree == 0 || proceed()).then(|| grow(examples, settings, tree_seed(seed, tree))))
            .collect();
        let mut trees = Trees::new(examples.binned.n_cols(), examples.n_outputs);
        grown.iter().flatten().for_each(|tree| trees.push_tree(tree));
        Self { trees }
    }

    /// Predicts a row `[n_cols]`: the mean of its leaves, `[n_outputs]`.
    pub fn predict(&self, row: &[f32]) -> Vec<f32> {
        let mut sums = vec![0f32; self.trees.n_values];
        for tree in 0..self.trees.len() {
            sums.iter_mut().zip(self.trees.leaf(tree, row)).for_each(|(sum, value)| *sum += value);
        }
        sums.iter_mut().for_each(|sum| *sum /= self.trees.len().max(1) as f32);
        sums
    }

    /// Checks a forest that was read from a file.
    ///
    /// # Errors
    /// Says which part cannot have been fitted.
    pub fn check(&self, n_cols: usize, n_outputs: usize) -> Result<(), InvalidTrees> {
        self.trees.check(n_cols, n_outputs)
    }
}

fn tree_seed(seed: u64, tree: usize) -> u64 {
    seed.wrapping_add((tree as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn grow(examples: &Examples, settings: &ForestSettings, seed: u64) -> Grown {
    let n_cols = examples.binned.n_cols();
    let n_tried = match settings.max_features {
        MaxFeatures::Sqrt => (n_cols as f64).sqrt() as usize,
        MaxFeatures::Share(share) => (n_cols as f64 * share).round() as usize,
    };
    let mut rng = Rng::seed_from_u64(seed);
    let n = examples.rows.len();
    let mut rows: Vec<u32> = match settings.bootstrap {
        true => (0..n).map(|_| examples.rows[rng.random_range(0..n)]).collect(),
        false => examples.rows.to_vec(),
    };
    // Rows in order are read faster.
    rows.sort_unstable();
    let mut growth = Growth {
        examples,
        settings,
        n_tried: n_tried.clamp(1, n_cols.max(1)),
        rng,
        columns: (0..n_cols).collect(),
        tree: Grown { nodes: vec![Node::Leaf(0)], values: Vec::new() },
        sums: Vec::new(),
        pairs: Vec::new(),
    };
    let mut stack = vec![(0, 0, rows.len())];
    while let Some((node, start, end)) = stack.pop() {
        match growth.split(&rows[start..end]) {
            Some(split) => {
                let middle = start + growth.partition(&mut rows[start..end], &split);
                let children = growth.push_split(node, split);
                stack.extend([(children[1], middle, end), (children[0], start, middle)]);
            }
            None => growth.push_leaf(node, &rows[start..end]),
        }
    }
    growth.tree
}

struct Split {
    column: usize,
    gain: f64,
    left_bins: LeftBins,
    /// The bin after the last one that goes left, among those of the node's rows; for thresholds of numbers.
    next_bin: usize,
    missing_left: bool,
}

struct Growth<'a> {
    examples: &'a Examples<'a>,
    settings: &'a ForestSettings,
    n_tried: usize,
    rng: Rng,
    columns: Vec<usize>,
    tree: Grown,
    /// Scratch: per bin, the weight, the number of rows, and the sum of each target.
    sums: Vec<f64>,
    /// Scratch: bins and rows, sorted.
    pairs: Vec<(u8, u32)>,
}

/// The total of a group of rows: weight, number of rows, and the sum of each target.
type Totals = Vec<f64>;

impl Growth<'_> {
    /// Returns the best split among columns that are tried in random order: at least `n_tried` that are not constant.
    fn split(&mut self, rows: &[u32]) -> Option<Split> {
        let total = self.total(rows);
        if rows.len() < 2 * self.settings.min_rows.max(1) || is_pure(self.examples, rows) {
            return None;
        }
        let mut columns = std::mem::take(&mut self.columns);
        let (mut best, mut n_tried) = (None::<Split>, 0);
        for at in 0..columns.len() {
            if n_tried >= self.n_tried {
                break;
            }
            let other = self.rng.random_range(at..columns.len());
            columns.swap(at, other);
            let column = columns[at];
            let Some(found) = self.try_column(column, rows, &total) else { continue };
            n_tried += 1;
            if found.as_ref().is_some_and(|found| best.as_ref().is_none_or(|best| found.gain > best.gain)) {
                best = found;
            }
        }
        self.columns = columns;
        best
    }

    /// Returns the best split of a column, if any leaves enough rows on both sides; `None` if the column is constant.
    fn try_column(&mut self, column: usize, rows: &[u32], total: &Totals) -> Option<Option<Split>> {
        let binned = &self.examples.binned.columns[column];
        let first = binned.bins[rows[0] as usize];
        if rows.iter().all(|row| binned.bins[*row as usize] == first) {
            return None;
        }
        let groups = self.groups(binned, rows);
        Some(self.best_of_groups(column, groups, total))
    }

    /// Returns the bins of the node's rows in increasing order, with their totals.
    fn groups(&mut self, binned: &BinnedColumn, rows: &[u32]) -> Vec<(usize, Totals)> {
        let width = 2 + self.examples.n_outputs;
        if rows.len() < binned.n_bins {
            return self.groups_by_sorting(binned, rows);
        }
        self.sums.clear();
        self.sums.resize(width * (binned.n_bins + 1), 0.0);
        for row in rows {
            let at = usize::from(binned.bins[*row as usize]) * width;
            add(&mut self.sums[at..at + width], self.examples, *row);
        }
        let filled = self.sums.chunks(width).enumerate().filter(|(_, sums)| sums[1] > 0.0);
        filled.map(|(bin, sums)| (bin, sums.to_vec())).collect()
    }

    fn groups_by_sorting(&mut self, binned: &BinnedColumn, rows: &[u32]) -> Vec<(usize, Totals)> {
        self.pairs.clear();
        self.pairs.extend(rows.iter().map(|row| (binned.bins[*row as usize], *row)));
        self.pairs.sort_unstable();
        let mut groups: Vec<(usize, Totals)> = Vec::new();
        for (bin, row) in &self.pairs {
            if groups.last().is_none_or(|(last, _)| *last != usize::from(*bin)) {
                groups.push((usize::from(*bin), vec![0.0; 2 + self.examples.n_outputs]));
            }
            if let Some((_, sums)) = groups.last_mut() {
                add(sums, self.examples, *row);
            }
        }
        groups
    }

    fn best_of_groups(&mut self, column: usize, groups: Vec<(usize, Totals)>, total: &Totals) -> Option<Split> {
        let binned = &self.examples.binned.columns[column];
        let (mut present, missing): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(bin, _)| *bin < binned.n_bins);
        let missing = missing.into_iter().next().map(|(_, sums)| sums);
        let is_number = matches!(binned.kind, Bins::Number { .. });
        if !is_number {
            self.sort_categories(&mut present);
        }
        let drawn = self.settings.random_thresholds.then(|| self.draw(binned, &present));
        let mut best: Option<Split> = None;
        let mut left = vec![0.0; total.len()];
        for at in 0..present.len() {
            left.iter_mut().zip(&present[at].1).for_each(|(left, own)| *left += own);
            if drawn.is_some_and(|drawn| drawn != at) || at + 1 == present.len() && missing.is_none() {
                continue;
            }
            for missing_left in [false, true] {
                let Some((gain, missing_left)) = self.gain(&left, missing.as_ref(), missing_left, total) else { continue };
                if best.as_ref().is_none_or(|best| gain > best.gain) {
                    let next_bin = present.get(at + 1).map_or(present[at].0, |(bin, _)| *bin);
                    let left_bins = match is_number {
                        true => LeftBins::UpTo(present[at].0),
                        false => LeftBins::of(&present[..=at].iter().map(|(bin, _)| *bin).collect::<Vec<_>>()),
                    };
                    best = Some(Split { column, gain, left_bins, next_bin, missing_left });
                }
            }
        }
        best
    }

    /// Returns the gain of a split; `None` if a side is too small. Without missing values, they follow the larger side.
    fn gain(&self, left: &Totals, missing: Option<&Totals>, missing_left: bool, total: &Totals) -> Option<(f64, bool)> {
        let with_missing: Totals;
        let left = match missing {
            Some(missing) if missing_left => {
                with_missing = left.iter().zip(missing).map(|(a, b)| a + b).collect();
                &with_missing
            }
            None if missing_left => return None,
            _ => left,
        };
        let missing_left = if missing.is_none() { left[1] * 2.0 >= total[1] } else { missing_left };
        let min_rows = self.settings.min_rows.max(1) as f64;
        if left[1] < min_rows || total[1] - left[1] < min_rows {
            return None;
        }
        let (weight_left, weight_right) = (left[0].max(1e-12), (total[0] - left[0]).max(1e-12));
        let scores = left[2..].iter().zip(&total[2..]).map(|(l, t)| l * l / weight_left + (t - l) * (t - l) / weight_right);
        Some((scores.sum(), missing_left))
    }

    /// Sorts categories by the mean of a random target: for numbers the only one, for classes one that the node's rows draw.
    fn sort_categories(&mut self, groups: &mut [(usize, Totals)]) {
        let target = 2 + self.rng.random_range(0..self.examples.n_outputs);
        let mean = |sums: &Totals| sums[target] / sums[0].max(1e-12);
        groups.sort_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)).then(a.0.cmp(&b.0)));
    }

    /// Draws the position of the last group that goes left; for numbers uniformly between the smallest and the largest value.
    fn draw(&mut self, binned: &BinnedColumn, groups: &[(usize, Totals)]) -> usize {
        let last = groups.len().saturating_sub(2);
        let Bins::Number { lower, upper } = &binned.kind else { return self.rng.random_range(0..=last) };
        if groups.len() < 2 {
            return 0;
        }
        let (min, max) = (f64::from(upper[groups[0].0]), f64::from(lower[groups[groups.len() - 1].0]));
        let value = min + self.rng.random::<f64>() * (max - min);
        groups.partition_point(|(bin, _)| f64::from(upper[*bin]) <= value).saturating_sub(1).min(last)
    }

    fn total(&self, rows: &[u32]) -> Totals {
        let mut total = vec![0.0; 2 + self.examples.n_outputs];
        rows.iter().for_each(|row| add(&mut total, self.examples, *row));
        total
    }

    /// Moves the rows that go left to the front, and returns their number.
    fn partition(&self, rows: &mut [u32], split: &Split) -> usize {
        let binned = &self.examples.binned.columns[split.column];
        let goes_left = |row: u32| {
            let bin = usize::from(binned.bins[row as usize]);
            if bin == binned.n_bins { split.missing_left } else { split.left_bins.contains(bin) }
        };
        let (left, right): (Vec<u32>, Vec<u32>) = rows.iter().copied().partition(|row| goes_left(*row));
        rows[..left.len()].copy_from_slice(&left);
        rows[left.len()..].copy_from_slice(&right);
        left.len()
    }

    fn push_split(&mut self, node: usize, split: Split) -> [usize; 2] {
        let Split { column, left_bins, next_bin, missing_left, .. } = split;
        let children = [self.tree.nodes.len(), self.tree.nodes.len() + 1];
        let share = if self.settings.random_thresholds { self.rng.random() } else { 0.5 };
        let test = left_bins.test(&self.examples.binned.columns[column], share, next_bin);
        self.tree.nodes[node] = Node::Split { column, test, left_bins, missing_left, left: children[0], right: children[1] };
        self.tree.nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
        children
    }

    fn push_leaf(&mut self, node: usize, rows: &[u32]) {
        let total = self.total(rows);
        self.tree.nodes[node] = Node::Leaf(self.tree.values.len() / self.examples.n_outputs);
        self.tree.values.extend(total[2..].iter().map(|sum| (sum / total[0].max(1e-12)) as f32));
    }
}

/// Adds a row to totals.
fn add(totals: &mut [f64], examples: &Examples, row: u32) {
    let (row, n) = (row as usize, examples.n_outputs);
    let weight = f64::from(examples.weights[row]);
    totals[0] += weight;
    totals[1] += 1.0;
    let targets = &examples.targets[row * n..(row + 1) * n];
    totals[2..].iter_mut().zip(targets).for_each(|(sum, target)| *sum += weight * f64::from(*target));
}

/// Whether all rows have the same targets.
fn is_pure(examples: &Examples, rows: &[u32]) -> bool {
    let targets = |row: u32| &examples.targets[row as usize * examples.n_outputs..(row as usize + 1) * examples.n_outputs];
    rows.iter().all(|row| targets(*row) == targets(rows[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::tree::{Binned, ColumnKind};

    fn uniform(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn fit(x: &[f32], kinds: &[ColumnKind], targets: &[f32], n_outputs: usize, settings: &ForestSettings) -> Forest {
        let x = Matrix { data: x, n_cols: kinds.len() };
        let binned = Binned::new(x, kinds);
        let (rows, weights) = ((0..x.n_rows() as u32).collect::<Vec<_>>(), vec![1.0; x.n_rows()]);
        Forest::fit(
            &Examples { binned: &binned, targets, n_outputs, weights: &weights, rows: &rows, validation: &[] },
            settings,
            1,
            &|| true,
        )
    }

    fn both() -> [ForestSettings; 2] {
        let random_forest = ForestSettings {
            n_trees: 60,
            min_rows: 1,
            max_features: MaxFeatures::Share(1.0),
            bootstrap: true,
            random_thresholds: false,
        };
        [random_forest.clone(), ForestSettings { bootstrap: false, random_thresholds: true, ..random_forest }]
    }

    #[test]
    fn forests_learn_a_product() {
        let (x, fresh) = (uniform(2000, 1), uniform(400, 2));
        let product = |row: &[f32]| row[0] * row[1];
        let targets: Vec<f32> = x.chunks(2).map(product).collect();
        for settings in both() {
            let forest = fit(&x, &[ColumnKind::Number; 2], &targets, 1, &settings);
            let error: f32 = fresh.chunks(2).map(|row| (forest.predict(row)[0] - product(row)).powi(2)).sum::<f32>() / 200.0;
            // The variance of the product is 1/9.
            assert!(error < 0.01, "{error}");
            assert_eq!(forest.check(2, 1), Ok(()));
        }
    }

    #[test]
    fn a_fully_grown_tree_without_bootstrap_repeats_its_training_rows() {
        let x = uniform(300, 3);
        let kinds = [ColumnKind::Number; 3];
        let targets: Vec<f32> =
            (0..100).flat_map(|row| [f32::from(u8::from(row % 3 == 0)), f32::from(u8::from(row % 3 != 0))]).collect();
        let settings = ForestSettings { n_trees: 3, max_features: MaxFeatures::Sqrt, ..both()[1].clone() };
        let forest = fit(&x, &kinds, &targets, 2, &settings);
        for (row, target) in x.chunks(3).zip(targets.chunks(2)) {
            assert_eq!(forest.predict(row), target);
        }
    }

    #[test]
    fn missing_values_and_categories_are_split() {
        let x: Vec<f32> = (0..300).flat_map(|row| [(row % 6) as f32, if row % 5 == 0 { f32::NAN } else { 1.0 }]).collect();
        let target = |row: &[f32]| f32::from(u8::from(row[0] % 2.0 == 1.0)) + if row[1].is_nan() { 3.0 } else { 0.0 };
        let targets: Vec<f32> = x.chunks(2).map(target).collect();
        for settings in both() {
            let forest = fit(&x, &[ColumnKind::Category, ColumnKind::Number], &targets, 1, &settings);
            for row in x.chunks(2) {
                let predicted = forest.predict(row)[0];
                assert!((predicted - target(row)).abs() < 0.1, "{row:?}: {predicted}");
            }
        }
    }

    #[test]
    fn min_rows_limits_leaves() {
        let x = uniform(400, 5);
        let targets = uniform(400, 6);
        for settings in both() {
            let settings = ForestSettings { min_rows: 40, n_trees: 4, ..settings };
            let forest = fit(&x, &[ColumnKind::Number], &targets, 1, &settings);
            assert!(forest.trees.values.len() <= 4 * 10, "{}", forest.trees.values.len());
        }
    }
}
