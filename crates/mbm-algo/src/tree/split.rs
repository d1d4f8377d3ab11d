//! The best split of a node by one column, found on the sums of its bins.

use rand::RngExt;

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::sums::Sums;
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

/// Splits with less gain only fit rounding errors.
pub(super) const MIN_GAIN: f64 = 1e-12;

impl LeftBins {
    /// Whether a bin, other than that of missing values, goes left.
    pub fn contains(&self, bin: usize) -> bool {
        match self {
            Self::UpTo(last) => bin <= *last,
            Self::Set(words) => words[bin / 64] >> (bin % 64) & 1 == 1,
        }
    }

    #[cfg(test)]
    pub fn of(bins: impl IntoIterator<Item = usize>) -> Self {
        let mut words = [0; 4];
        bins.into_iter().for_each(|bin| words[bin / 64] |= 1 << (bin % 64));
        Self::Set(words)
    }

    /// Returns the bins that go left, given those that have rows in the node, in the order in which they go left, and how many do. Other
    /// categories, of which nothing is known, follow missing values.
    pub fn of_categories(bins: impl ExactSizeIterator<Item = usize>, n_left: usize, missing_left: bool) -> Self {
        let (mut left, mut right) = ([0; 4], [0; 4]);
        for (at, bin) in bins.enumerate() {
            let side = if at < n_left { &mut left } else { &mut right };
            side[bin / 64] |= 1 << (bin % 64);
        }
        Self::Set(if missing_left { right.map(|word: u64| !word) } else { left })
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

/// A node whose best split is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Searched<'a> {
    /// The sums over all rows.
    pub total: Sums,
    /// The sums over the rows in which the column is missing.
    pub missing: Sums,
    pub limits: &'a Limits,
}

/// Finds the best split by a column; `bins` are those that have rows, in increasing order, without that of missing values. With a
/// generator, a single threshold is drawn and tested (Geurts et al. 2006).
pub(super) fn best_split(
    column: &BinnedColumn,
    bins: impl Iterator<Item = (usize, Sums)> + Clone,
    node: Searched,
    random: Option<&mut Rng>,
) -> Option<Split> {
    match (&column.kind, random) {
        (Bins::Number { .. }, None) => best_threshold(bins, node),
        (Bins::Number { .. }, Some(rng)) => drawn_threshold(bins, node, rng),
        (Bins::Category(_), _) => best_categories(bins, node),
    }
}

fn best_threshold(bins: impl Iterator<Item = (usize, Sums)> + Clone, node: Searched) -> Option<Split> {
    let (mut best, mut left) = (Best::new(node), Sums::default());
    let min_rows = node.limits.min_rows.max(1);
    for (bin, sums) in bins.clone() {
        left = left.plus(sums);
        if node.total.n_rows - left.n_rows < min_rows {
            break;
        }
        best.consider(bin, left);
    }
    best.threshold(bins)
}

fn drawn_threshold(bins: impl Iterator<Item = (usize, Sums)> + Clone, node: Searched, rng: &mut Rng) -> Option<Split> {
    let (mut best, mut left) = (Best::new(node), Sums::default());
    let (first, _) = bins.clone().next()?;
    let (last, _) = bins.clone().last()?;
    let drawn = if first < last { rng.random_range(first..last) } else { last };
    for (bin, sums) in bins.clone().take_while(|(bin, _)| *bin < last) {
        left = left.plus(sums);
        if bin >= drawn {
            best.consider(bin, left);
            break;
        }
    }
    if node.missing.n_rows > 0 {
        // All present values on one side, the missing ones on the other.
        best.consider_side(last, false, node.total.minus(node.missing));
    }
    best.threshold(bins)
}

/// Splits categories in the order of their mean gradients (Fisher 1958), from both ends.
fn best_categories(bins: impl Iterator<Item = (usize, Sums)> + Clone, node: Searched) -> Option<Split> {
    let limits = Limits { l2: node.limits.l2 + CATEGORY_L2, ..*node.limits };
    let sorted = sorted_categories(bins);
    let mut best = Best::new(Searched { limits: &limits, ..node });
    let n_tried = sorted.len().saturating_sub(1).min(MAX_CATEGORIES);
    let mut left = Sums::default();
    for (at, (_, sums)) in sorted.iter().enumerate().take(n_tried) {
        left = left.plus(*sums);
        best.consider(at, left);
    }
    let mut left = Sums::default();
    for (at, (_, sums)) in sorted.iter().enumerate().rev().take(n_tried) {
        left = left.plus(*sums);
        best.consider(sorted.len() + at, left);
    }
    let categories = |chosen: usize, missing_left| {
        let bins = sorted.iter().map(|(bin, _)| *bin);
        match chosen.checked_sub(sorted.len()) {
            None => LeftBins::of_categories(bins, chosen + 1, missing_left),
            Some(first) => LeftBins::of_categories(bins.rev(), sorted.len() - first, missing_left),
        }
    };
    best.split(categories, |_| 0)
}

/// Sorts bins by their smoothed mean gradients.
pub(super) fn sorted_categories(bins: impl Iterator<Item = (usize, Sums)>) -> Vec<(usize, Sums)> {
    let mean = |sums: &Sums| sums.gradient / (sums.hessian + CATEGORY_SMOOTHING);
    let mut sorted: Vec<(usize, Sums)> = bins.collect();
    sorted.sort_by(|a, b| mean(&a.1).total_cmp(&mean(&b.1)).then(a.0.cmp(&b.0)));
    sorted
}

/// The best split so far. Scores are kept as fractions, which are compared without dividing.
struct Best<'a> {
    node: Searched<'a>,
    numerator: f64,
    denominator: f64,
    /// Which one it is, whether missing values go left, and the sums of the left side.
    chosen: Option<(usize, bool, Sums)>,
}

impl<'a> Best<'a> {
    fn new(node: Searched<'a>) -> Self {
        Self { node, numerator: node.total.score(node.limits.l2) + MIN_GAIN, denominator: 1.0, chosen: None }
    }

    /// Considers a split with missing values on either side; if there are none, they follow the larger side.
    #[inline(always)]
    fn consider(&mut self, which: usize, left: Sums) {
        let Searched { missing, total, .. } = self.node;
        if missing.n_rows == 0 {
            return self.consider_side(which, left.n_rows >= total.n_rows - left.n_rows, left);
        }
        self.consider_side(which, false, left);
        self.consider_side(which, true, left.plus(missing));
    }

    #[inline(always)]
    fn consider_side(&mut self, which: usize, missing_left: bool, left: Sums) {
        let limits = self.node.limits;
        let right = self.node.total.minus(left);
        let is_small = |side: Sums| side.n_rows < limits.min_rows || side.hessian < limits.min_hessian;
        if is_small(left) || is_small(right) {
            return;
        }
        let (left_hessian, right_hessian) = (left.hessian + limits.l2, right.hessian + limits.l2);
        let numerator = left.gradient * left.gradient * right_hessian + right.gradient * right.gradient * left_hessian;
        let denominator = left_hessian * right_hessian;
        if numerator * self.denominator > self.numerator * denominator {
            (self.numerator, self.denominator) = (numerator, denominator);
            self.chosen = Some((which, missing_left, left));
        }
    }

    /// Returns the best split by a threshold, given the bins that have rows.
    fn threshold(self, mut bins: impl Iterator<Item = (usize, Sums)>) -> Option<Split> {
        let mut next_bin = |bin: usize| bins.find(|(next, _)| *next > bin).map_or(bin, |(next, _)| next);
        self.split(|bin, _| LeftBins::UpTo(bin), &mut next_bin)
    }

    fn split(self, left_bins: impl Fn(usize, bool) -> LeftBins, mut next_bin: impl FnMut(usize) -> usize) -> Option<Split> {
        let (which, missing_left, left) = self.chosen?;
        let gain = self.numerator / self.denominator - self.node.total.score(self.node.limits.l2);
        Some(Split { at: 0, gain, left_bins: left_bins(which, missing_left), next_bin: next_bin(which), missing_left, left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { l2: 0.0, min_rows: 1, min_hessian: 0.0 };

    fn sums(gradient: f64, n_rows: u32) -> Sums {
        Sums { gradient, hessian: f64::from(n_rows), n_rows }
    }

    fn total(bins: &[(usize, Sums)], missing: Sums) -> Sums {
        bins.iter().fold(missing, |total, (_, sums)| total.plus(*sums))
    }

    #[test]
    fn the_best_threshold_separates_gradients() {
        let bins = [(1, sums(-3.0, 3)), (4, sums(-2.0, 2)), (7, sums(5.0, 5))];
        let node = Searched { total: total(&bins, Sums::default()), missing: Sums::default(), limits: &LIMITS };
        let split = best_threshold(bins.into_iter(), node);
        let want =
            Split { at: 0, gain: 10.0, left_bins: LeftBins::UpTo(4), next_bin: 7, missing_left: true, left: sums(-5.0, 5) };
        assert_eq!(split, Some(want));
        let limits = Limits { min_rows: 6, ..LIMITS };
        assert_eq!(best_threshold(bins.into_iter(), Searched { limits: &limits, ..node }), None);
    }

    #[test]
    fn missing_values_go_to_the_side_with_their_gradients_or_to_one_of_their_own() {
        let missing = sums(4.0, 2);
        let bins = [(0, sums(-2.0, 2)), (1, sums(4.0, 2))];
        let node = Searched { total: total(&bins, missing), missing, limits: &LIMITS };
        let split = best_threshold(bins.into_iter(), node).unwrap();
        assert_eq!((split.left_bins, split.missing_left, split.left), (LeftBins::UpTo(0), false, sums(-2.0, 2)));
        let bins = [(0, sums(-2.0, 2)), (1, sums(-2.0, 2))];
        let node = Searched { total: total(&bins, missing), missing, limits: &LIMITS };
        let split = best_threshold(bins.into_iter(), node).unwrap();
        assert_eq!((split.left_bins, split.next_bin, split.missing_left), (LeftBins::UpTo(1), 1, false));
    }

    #[test]
    fn equal_splits_leave_the_first() {
        let bins = [(0, sums(1.0, 1)), (1, sums(-1.0, 1)), (2, sums(-1.0, 1)), (3, sums(1.0, 1))];
        let node = Searched { total: total(&bins, Sums::default()), missing: Sums::default(), limits: &LIMITS };
        assert_eq!(best_threshold(bins.into_iter(), node).unwrap().left_bins, LeftBins::UpTo(0));
    }

    #[test]
    fn categories_are_split_from_both_ends() {
        let bins = [(0, sums(50.0, 50)), (1, sums(-50.0, 50)), (2, sums(50.0, 50))];
        let node = Searched { total: total(&bins, Sums::default()), missing: Sums::default(), limits: &LIMITS };
        let split = best_categories(bins.into_iter(), node).unwrap();
        assert_eq!((split.left_bins, split.left), (LeftBins::of([1]), sums(-50.0, 50)));
    }

    #[test]
    fn categories_without_rows_follow_the_larger_side() {
        let bins = [(0, sums(50.0, 50)), (1, sums(-150.0, 150))];
        let node = Searched { total: total(&bins, Sums::default()), missing: Sums::default(), limits: &LIMITS };
        let split = best_categories(bins.into_iter(), node).unwrap();
        assert!(split.missing_left && [1, 2, 255].iter().all(|bin| split.left_bins.contains(*bin)), "{split:?}");
        assert!(!split.left_bins.contains(0));
    }
}
