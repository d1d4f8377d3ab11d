//! Columns binned to one byte per value.

use rayon::prelude::*;

use crate::Matrix;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Numbers; NaN is a missing value.
    Number,
    /// Codes of categories, whole numbers from 0; NaN is a missing value.
    Category,
}

/// Maximum number of bins of a column, without the one for missing values.
pub const MAX_BINS: usize = 255;

/// Number of values from which the limits of bins are estimated.
const MAX_SAMPLE: usize = 200_000;

/// A matrix binned by columns.
#[derive(Debug, Clone)]
pub struct Binned {
    /// Number of rows.
    pub n_rows: usize,
    pub(super) columns: Vec<BinnedColumn>,
}

/// The bins of one column. Missing values have the bin `n_bins`.
#[derive(Debug, Clone)]
pub(super) struct BinnedColumn {
    /// The bin of each row.
    pub bins: Vec<u8>,
    /// Number of bins, without the one for missing values.
    pub n_bins: usize,
    /// What the bins stand for.
    pub kind: Bins,
}

/// What the bins of a column stand for.
#[derive(Debug, Clone)]
pub(super) enum Bins {
    /// The smallest and largest value of each bin, in increasing order.
    Number {
        /// Smallest values.
        lower: Vec<f32>,
        /// Largest values.
        upper: Vec<f32>,
    },
    /// The code of each bin. Rare codes beyond [`MAX_BINS`] count as missing.
    Category(Vec<u32>),
}

impl Binned {
    /// Bins a matrix `[rows, columns]`. A column with more than [`MAX_BINS`] distinct numbers is binned by quantiles.
    pub fn new(x: Matrix, kinds: &[ColumnKind]) -> Self {
        let column = |(at, kind): (usize, &ColumnKind)| {
            let values: Vec<f32> = (0..x.n_rows()).map(|row| x.data[row * x.n_cols + at]).collect();
            match kind {
                ColumnKind::Number => binned_numbers(&values),
                ColumnKind::Category => binned_categories(&values),
            }
        };
        Self { n_rows: x.n_rows(), columns: kinds.par_iter().enumerate().map(column).collect() }
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.columns.len()
    }
}

impl BinnedColumn {
    /// Returns a threshold between a bin and a later one, at a share of the gap between their values. If there is no later bin, all
    /// numbers are below the threshold.
    pub fn threshold(&self, bin: usize, next_bin: usize, share: f64) -> f32 {
        let Bins::Number { lower, upper } = &self.kind else { return 0.0 };
        if next_bin <= bin || next_bin >= self.n_bins {
            return f32::MAX;
        }
        let (below, above) = (f64::from(upper[bin]), f64::from(lower[next_bin]));
        let threshold = (below + (above - below) * share) as f32;
        if threshold >= lower[next_bin] { upper[bin] } else { threshold }
    }
}

fn binned_numbers(values: &[f32]) -> BinnedColumn {
    let limits = limits(values);
    let n_bins = limits.len() + 1;
    let (mut lower, mut upper) = (vec![f32::INFINITY; n_bins], vec![f32::NEG_INFINITY; n_bins]);
    let bins = values.iter().map(|value| {
        if value.is_nan() {
            return n_bins as u8;
        }
        let bin = limits.partition_point(|limit| limit < value);
        lower[bin] = lower[bin].min(*value);
        upper[bin] = upper[bin].max(*value);
        bin as u8
    });
    let bins = bins.collect();
    fill_empty(&mut lower, &mut upper, &limits);
    BinnedColumn { bins, n_bins, kind: Bins::Number { lower, upper } }
}

/// Gives bins without a value, which a sample may leave, the limits of the bin.
fn fill_empty(lower: &mut [f32], upper: &mut [f32], limits: &[f32]) {
    for bin in 0..lower.len() {
        if lower[bin] > upper[bin] {
            let limit = limits.get(bin).or(limits.last()).copied().unwrap_or(0.0);
            (lower[bin], upper[bin]) = (limit, limit);
        }
    }
}

/// Returns the largest value of each bin but the last.
fn limits(values: &[f32]) -> Vec<f32> {
    let stride = values.len().div_ceil(MAX_SAMPLE).max(1);
    let mut sorted: Vec<f32> = values.iter().step_by(stride).copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for value in &sorted {
        match distinct.last_mut() {
            Some((last, count)) if last == value => *count += 1,
            _ => distinct.push((*value, 1)),
        }
    }
    if distinct.len() <= MAX_BINS {
        return distinct.iter().take(distinct.len().saturating_sub(1)).map(|(value, _)| *value).collect();
    }
    quantile_limits(&distinct, sorted.len())
}

/// Fills bins up to an equal share of the rows that are left; a frequent value may fill a bin on its own.
fn quantile_limits(distinct: &[(f32, usize)], n_values: usize) -> Vec<f32> {
    let (mut limits, mut left, mut count) = (Vec::with_capacity(MAX_BINS - 1), n_values, 0);
    for (at, (value, n)) in distinct.iter().enumerate() {
        count += n;
        let share = left as f64 / (MAX_BINS - limits.len()) as f64;
        let next = distinct.get(at + 1).map_or(0, |(_, n)| *n);
        let is_full = count as f64 >= share || (count as f64 + next as f64 / 2.0 > share && next as f64 > share);
        if is_full && limits.len() + 1 < MAX_BINS && at + 1 < distinct.len() {
            limits.push(*value);
            left -= count;
            count = 0;
        }
    }
    limits
}

fn binned_categories(values: &[f32]) -> BinnedColumn {
    let mut counts = std::collections::BTreeMap::<u32, usize>::new();
    values.iter().filter(|value| !value.is_nan()).for_each(|value| *counts.entry(*value as u32).or_default() += 1);
    let mut codes: Vec<(u32, usize)> = counts.into_iter().collect();
    codes.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    codes.truncate(MAX_BINS);
    let mut codes: Vec<u32> = codes.into_iter().map(|(code, _)| code).collect();
    codes.sort_unstable();
    let missing = codes.len();
    let bin = |value: &f32| match value.is_nan() {
        true => missing as u8,
        false => codes.binary_search(&(*value as u32)).unwrap_or(missing) as u8,
    };
    let bins = values.iter().map(bin).collect();
    BinnedColumn { bins, n_bins: missing, kind: Bins::Category(codes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_column(values: &[f32], kind: ColumnKind) -> BinnedColumn {
        Binned::new(Matrix { data: values, n_cols: 1 }, &[kind]).columns.remove(0)
    }

    #[test]
    fn distinct_numbers_have_bins_of_their_own() {
        let column = one_column(&[3.0, 1.0, f32::NAN, 3.0, 2.0], ColumnKind::Number);
        assert_eq!((column.bins.as_slice(), column.n_bins), ([2, 0, 3, 2, 1].as_slice(), 3));
        assert_eq!([column.threshold(0, 1, 0.5), column.threshold(1, 2, 0.5)], [1.5, 2.5]);
    }

    #[test]
    fn many_numbers_are_binned_by_quantiles() {
        let values: Vec<f32> = (0..10_000).map(|i| if i % 2 == 0 { 7.0 } else { i as f32 }).collect();
        let column = one_column(&values, ColumnKind::Number);
        let mut counts = vec![0; column.n_bins + 1];
        column.bins.iter().for_each(|bin| counts[usize::from(*bin)] += 1);
        assert_eq!(column.n_bins, MAX_BINS);
        assert_eq!(counts.iter().max(), Some(&5001), "the frequent value has a bin of its own");
        let others = counts.iter().filter(|n| **n != 5001 && **n > 0).max().copied();
        assert!(others.is_some_and(|n| n < 40), "{others:?}");
    }

    #[test]
    fn rare_categories_beyond_the_limit_are_missing() {
        let values: Vec<f32> = (0..300).flat_map(|code| vec![code as f32; if code < 200 { 2 } else { 1 }]).collect();
        let column = one_column(&values, ColumnKind::Category);
        assert_eq!(column.n_bins, MAX_BINS);
        assert_eq!((column.bins[0], column.bins[499]), (0, 255));
    }

    proptest::proptest! {
        #[test]
        fn bins_preserve_order(values in proptest::collection::vec(-1e6f32..1e6, 1..600)) {
            let column = one_column(&values, ColumnKind::Number);
            for (a, bin_a) in values.iter().zip(&column.bins) {
                for (b, bin_b) in values.iter().zip(&column.bins) {
                    proptest::prop_assert!(a > b || bin_a <= bin_b);
                }
            }
            for bin in 0..column.n_bins - 1 {
                let threshold = column.threshold(bin, bin + 1, 0.5);
                for (value, of) in values.iter().zip(&column.bins) {
                    proptest::prop_assert_eq!(*value <= threshold, usize::from(*of) <= bin);
                }
            }
        }
    }
}
