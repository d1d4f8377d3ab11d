//! The best split of a node, found on its histograms.

use rand::RngExt;

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::histogram::Sums;
use super::trees::Test;

/// What limits splits and the values of leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// L2 penalty on the values of leaves.
    pub l2: f64,
    /// Minimum number of rows of a leaf.
    pub min_rows: u32,
    /// Minimum sum of second derivatives of a leaf.
    pub min_hessian: f64,
}

/// A split of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Split {
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
    /// The sums of the left child.
    pub left: Sums,
}

/// The bins that go left.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LeftBins {
    /// All up to this one.
    UpTo(usize),
    /// A bit for each bin.
    Set([u64; 4]),
}

/// Added to the second derivatives by which categories are sorted, and to the penalty of splits by categories (`cat_smooth` and `cat_l2` of
/// LightGBM), since rare categories have noisy gradients.
pub(super) const CATEGORY_SMOOTHING: f64 = 10.0;
const CATEGORY_L2: f64 = 10.0;

/// Maximum number of categories on the smaller side of a split (`max_cat_threshold` of LightGBM).
const MAX_CATEGORIES: usize = 32;

impl LeftBins {
    /// Whether a bin, other than that of missing values, goes left.
    pub fn contains(&self, bin: usize) -> bool {
        match self {
            Self::UpTo(last) => bin <= *last,
            Self::Set(words) => words[bin / 64] >> (bin % 64) & 1 == 1,
        }
    }

    pub fn of(bins: &[usize]) -> Self {
        let mut words = [0; 4];
        bins.iter().for_each(|bin| words[bin / 64] |= 1 << (bin % 64));
        Self::Set(words)
    }

    /// Returns the test of the original values. The threshold of a number is at a share of the gap between the last bin that goes left
    /// and `next_bin`.
    pub fn test(&self, column: &BinnedColumn, share: f64, next_bin: usize) -> Test {
        match (&column.kind, self) {
            (Bins::Number { .. }, Self::UpTo(bin)) => Test::AtMost(column.threshold(*bin, next_bin, share)),
            (Bins::Category(codes), _) => {
                let left = codes.iter().enumerate().filter(|(bin, _)| self.contains(*bin)).map(|(_, code)| *code);
                Test::Categories { seen: codes.clone(), left: left.collect() }
            }
            (Bins::Number { .. }, Self::Set(_)) => Test::AtMost(f32::INFINITY),
        }
    }
}

/// Finds the best split of a column; `sums` has an entry per bin and one for missing values. With a generator, a single threshold is
/// drawn and tested (Geurts et al. 2006).
pub(super) fn best_split(
    column: &BinnedColumn,
    sums: &[Sums],
    total: Sums,
    limits: &Limits,
    random: Option<&mut Rng>,
) -> Option<Split> {
    let missing = sums[column.n_bins];
    let bins = &sums[..column.n_bins];
    match column.kind {
        Bins::Number { .. } => best_threshold(bins, missing, total, limits, random),
        Bins::Category(_) => best_categories(bins, missing, total, limits),
    }
}

fn best_threshold(bins: &[Sums], missing: Sums, total: Sums, limits: &Limits, random: Option<&mut Rng>) -> Option<Split> {
    let first = bins.iter().position(|sums| sums.n_rows > 0)?;
    let last = bins.iter().rposition(|sums| sums.n_rows > 0)?;
    let drawn = random.filter(|_| last > first).map(|rng| rng.random_range(first..last));
    let (mut best, mut left) = (None, Sums::default());
    for (bin, sums) in bins.iter().enumerate().take(last).skip(first) {
        left = left.plus(*sums);
        if sums.n_rows == 0 || drawn.is_some_and(|drawn| drawn > bin) {
            continue;
        }
        consider(&mut best, LeftBins::UpTo(bin), left, missing, total, limits);
        if drawn.is_some() {
            break;
        }
    }
    if missing.n_rows > 0 && missing.n_rows < total.n_rows {
        // All present values on one side, the missing ones on the other.
        consider_side(&mut best, LeftBins::UpTo(last), false, total.minus(missing), total, limits);
    }
    best.map(|split| {
        let LeftBins::UpTo(bin) = split.left_bins else { return split };
        let next_bin = (bin + 1..bins.len()).find(|bin| bins[*bin].n_rows > 0).unwrap_or(bin);
        Split { next_bin, ..split }
    })
}

/// Considers a split with missing values on either side; if there are none, they follow the larger side.
fn consider(best: &mut Option<Split>, bins: LeftBins, left: Sums, missing: Sums, total: Sums, limits: &Limits) {
    if missing.n_rows == 0 {
        return consider_side(best, bins, left.n_rows * 2 >= total.n_rows, left, total, limits);
    }
    consider_side(best, bins.clone(), false, left, total, limits);
    consider_side(best, bins, true, left.plus(missing), total, limits);
}

fn consider_side(best: &mut Option<Split>, left_bins: LeftBins, missing_left: bool, left: Sums, total: Sums, limits: &Limits) {
    let right = total.minus(left);
    let is_small = |side: Sums| side.n_rows < limits.min_rows || side.hessian < limits.min_hessian;
    if is_small(left) || is_small(right) {
        return;
    }
    let gain = left.score(limits.l2) + right.score(limits.l2) - total.score(limits.l2);
    if gain > best.as_ref().map_or(1e-12, |best| best.gain) {
        *best = Some(Split { at: 0, gain, left_bins, next_bin: 0, missing_left, left });
    }
}

/// Splits categories in the order of their mean gradients (Fisher 1958), from both ends.
fn best_categories(bins: &[Sums], missing: Sums, total: Sums, limits: &Limits) -> Option<Split> {
    let limits = Limits { l2: limits.l2 + CATEGORY_L2, ..*limits };
    let order = sorted_categories(bins);
    let mut best = None;
    for is_reversed in [false, true] {
        let (mut left, mut taken) = (Sums::default(), Vec::new());
        for at in 0..order.len().saturating_sub(1).min(MAX_CATEGORIES) {
            let bin = if is_reversed { order[order.len() - 1 - at] } else { order[at] };
            left = left.plus(bins[bin]);
            taken.push(bin);
            consider(&mut best, LeftBins::of(&taken), left, missing, total, &limits);
        }
    }
    best
}

/// Returns the bins with rows, sorted by their smoothed mean gradients.
pub(super) fn sorted_categories(bins: &[Sums]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..bins.len()).filter(|bin| bins[*bin].n_rows > 0).collect();
    let mean = |bin: usize| bins[bin].gradient / (bins[bin].hessian + CATEGORY_SMOOTHING);
    order.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
    order
}
