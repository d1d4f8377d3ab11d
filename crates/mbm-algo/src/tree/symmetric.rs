//! Growth of a symmetric boosted tree: all nodes of a level share one test (Prokhorenkova et al. 2018), which regularizes strongly.

use rayon::prelude::*;

use super::bins::{Binned, BinnedColumn, Bins};
use super::grow::{GrownTree, TreeSettings, leaf_value, side_table, total};
use super::histogram::{Derivatives, Histogram, Sums};
use super::split::{LeftBins, sorted_categories};
use super::trees::{Grown, Node};

/// A node of the current level.
struct Leaf {
    node: usize,
    rows: Vec<u32>,
    sums: Sums,
    histogram: Histogram,
}

/// The test of a level.
struct LevelSplit {
    at: usize,
    gain: f64,
    left_bins: LeftBins,
    next_bin: usize,
    missing_left: bool,
}

/// Grows a tree of at most `max_depth` levels.
pub(super) fn grow_symmetric(
    binned: &Binned,
    rows: &[u32],
    derivatives: &[Derivatives],
    settings: &TreeSettings,
    learning_rate: f64,
) -> GrownTree {
    let histogram = Histogram::new(binned, &settings.columns, rows, derivatives);
    let columns = settings.columns.iter().map(|column| &binned.columns[*column]);
    let orders: Vec<Vec<usize>> = columns.zip(&histogram.columns).map(|(column, sums)| order(column, sums)).collect();
    let mut nodes = vec![Node::Leaf(0)];
    let mut level = vec![Leaf { node: 0, rows: rows.to_vec(), sums: total(rows, derivatives), histogram }];
    let mut finished = Vec::new();
    for depth in 0..settings.max_depth {
        let Some(split) = best_split(binned, settings, &level, &orders) else { break };
        let is_last = depth + 1 == settings.max_depth;
        let mut next = Vec::new();
        for leaf in level {
            match divide(binned, derivatives, settings, &mut nodes, leaf, &split, is_last) {
                Ok(children) => next.extend(children),
                Err(leaf) => finished.push((leaf.node, leaf.rows, leaf.sums)),
            }
        }
        level = next;
    }
    finished.extend(level.into_iter().map(|leaf| (leaf.node, leaf.rows, leaf.sums)));
    let (mut values, mut leaves) = (Vec::new(), Vec::new());
    for (node, rows, sums) in finished {
        nodes[node] = Node::Leaf(values.len());
        values.push(leaf_value(sums, settings.limits.l2, learning_rate));
        leaves.push(rows);
    }
    GrownTree { tree: Grown { nodes, values }, leaves }
}

/// Returns the order in which bins go left: that of the numbers, or categories by their mean gradients over all rows.
fn order(column: &BinnedColumn, sums: &[Sums]) -> Vec<usize> {
    match column.kind {
        Bins::Number { .. } => (0..column.n_bins).collect(),
        Bins::Category(_) => sorted_categories(&sums[..column.n_bins]),
    }
}

fn best_split(binned: &Binned, settings: &TreeSettings, level: &[Leaf], orders: &[Vec<usize>]) -> Option<LevelSplit> {
    let of_column = |at: usize| best_of_column(&binned.columns[settings.columns[at]], at, settings.limits.l2, level, &orders[at]);
    let better = |a: Option<LevelSplit>, b: Option<LevelSplit>| match (&a, &b) {
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
    let n_bins: usize = level.iter().map(|leaf| leaf.histogram.columns.iter().map(Vec::len).sum::<usize>()).sum();
    const MIN_PARALLEL: usize = 1 << 14;
    if n_bins < MIN_PARALLEL {
        return (0..orders.len()).map(of_column).fold(None, better);
    }
    (0..orders.len()).into_par_iter().map(of_column).reduce(|| None, better)
}

fn best_of_column(column: &BinnedColumn, at: usize, l2: f64, level: &[Leaf], order: &[usize]) -> Option<LevelSplit> {
    let has_missing = level.iter().any(|leaf| leaf.histogram.columns[at][column.n_bins].n_rows > 0);
    let n_splits = if has_missing { order.len() } else { order.len().saturating_sub(1) };
    let (mut right_gains, mut left_gains) = (vec![0.0; n_splits], vec![0.0; n_splits]);
    for leaf in level {
        let sums = &leaf.histogram.columns[at];
        let missing = sums[column.n_bins];
        let mut left = Sums::default();
        for (bin, (right_gain, left_gain)) in order.iter().zip(right_gains.iter_mut().zip(&mut left_gains)) {
            left = left.plus(sums[*bin]);
            *right_gain += gain(left, leaf.sums, l2);
            if has_missing {
                *left_gain += gain(left.plus(missing), leaf.sums, l2);
            }
        }
    }
    let sides = [(false, right_gains), (true, left_gains)];
    let mut best: Option<LevelSplit> = None;
    for (missing_left, gains) in sides.iter().filter(|(missing_left, _)| has_missing || !missing_left) {
        let Some(position) = (0..gains.len()).reduce(|best, it| if gains[it] > gains[best] { it } else { best }) else {
            continue;
        };
        if gains[position] > best.as_ref().map_or(1e-12, |best| best.gain) {
            let left_bins = left_bins(column, &order[..=position]);
            let next_bin = next_bin(column, at, level, order[position]);
            best = Some(LevelSplit { at, gain: gains[position], left_bins, next_bin, missing_left: *missing_left });
        }
    }
    best.map(|split| if has_missing { split } else { with_majority(split, column, at, level) })
}

/// Sends missing values, of which training saw none, to the side with more rows.
fn with_majority(split: LevelSplit, column: &BinnedColumn, at: usize, level: &[Leaf]) -> LevelSplit {
    let (mut n_left, mut n_rows) = (0, 0);
    for sums in level.iter().map(|leaf| &leaf.histogram.columns[at]) {
        for (bin, sums) in sums.iter().enumerate().take(column.n_bins) {
            n_rows += u64::from(sums.n_rows);
            n_left += if split.left_bins.contains(bin) { u64::from(sums.n_rows) } else { 0 };
        }
    }
    LevelSplit { missing_left: n_left * 2 >= n_rows, ..split }
}

/// Returns the next bin after one that has rows on this level; the bin itself if there is none.
fn next_bin(column: &BinnedColumn, at: usize, level: &[Leaf], bin: usize) -> usize {
    let is_filled = |bin: &usize| level.iter().any(|leaf| leaf.histogram.columns[at][*bin].n_rows > 0);
    (bin + 1..column.n_bins).find(is_filled).unwrap_or(bin)
}

fn gain(left: Sums, total: Sums, l2: f64) -> f64 {
    let right = total.minus(left);
    if left.n_rows == 0 || right.n_rows == 0 {
        return 0.0;
    }
    left.score(l2) + right.score(l2) - total.score(l2)
}

fn left_bins(column: &BinnedColumn, left: &[usize]) -> LeftBins {
    match column.kind {
        Bins::Number { .. } => LeftBins::UpTo(left[left.len() - 1]),
        Bins::Category(_) => LeftBins::of(left),
    }
}

/// Splits a leaf; returns it if all of its rows go to one side.
fn divide(
    binned: &Binned,
    derivatives: &[Derivatives],
    settings: &TreeSettings,
    nodes: &mut Vec<Node>,
    leaf: Leaf,
    split: &LevelSplit,
    is_last: bool,
) -> Result<[Leaf; 2], Leaf> {
    let index = settings.columns[split.at];
    let column = &binned.columns[index];
    let goes_left = side_table(column.n_bins, &split.left_bins, split.missing_left);
    let (left, right): (Vec<u32>, Vec<u32>) =
        leaf.rows.iter().partition(|row| goes_left[usize::from(column.bins[**row as usize])]);
    if left.is_empty() || right.is_empty() {
        return Err(leaf);
    }
    let children = [nodes.len(), nodes.len() + 1];
    let test = split.left_bins.test(column, 0.5, split.next_bin);
    let [at_left, at_right] = children;
    let (left_bins, missing_left) = (split.left_bins.clone(), split.missing_left);
    nodes[leaf.node] = Node::Split { column: index, test, left_bins, missing_left, left: at_left, right: at_right };
    nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
    let sums_left = total(&left, derivatives);
    let sums = [sums_left, leaf.sums.minus(sums_left)];
    let [of_left, of_right] = if is_last {
        [Histogram::default(), Histogram::default()]
    } else if left.len() <= right.len() {
        let small = Histogram::new(binned, &settings.columns, &left, derivatives);
        let large = leaf.histogram.subtract(&small);
        [small, large]
    } else {
        let small = Histogram::new(binned, &settings.columns, &right, derivatives);
        let large = leaf.histogram.subtract(&small);
        [large, small]
    };
    Ok([
        Leaf { node: at_left, rows: left, sums: sums[0], histogram: of_left },
        Leaf { node: at_right, rows: right, sums: sums[1], histogram: of_right },
    ])
}
