//! The rows of a node of a forest's tree, grouped by the bins of a column.

use rand::RngExt;

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::split::CATEGORY_SMOOTHING;
use super::sums::Bits;

/// The sums that describe a group of rows: their weight, their number, and the sum of each target. An array if there are few.
pub(super) trait Totals: AsRef<[f64]> + AsMut<[f64]> + Clone + Sync {
    #[inline(always)]
    fn width(&self) -> usize {
        self.as_ref().len()
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        self.as_ref()[0]
    }

    #[inline(always)]
    fn n_rows(&self) -> f64 {
        self.as_ref()[1]
    }

    #[inline(always)]
    fn targets(&self) -> &[f64] {
        &self.as_ref()[2..]
    }

    /// Adds other sums, times a factor.
    #[inline(always)]
    fn add(&mut self, other: &[f64], factor: f64) {
        self.as_mut().iter_mut().zip(other).for_each(|(own, other)| *own += factor * other);
    }
}

impl<const N: usize> Totals for [f64; N] {}
impl Totals for Vec<f64> {}

/// The sums of the rows in each bin of a column.
pub(super) struct Groups<T> {
    zero: T,
    /// One per bin.
    sums: Vec<T>,
    /// A bit for each bin that has rows.
    filled: [u64; 4],
    /// The bins with rows in the order in which they go left, without that of missing values.
    bins: Vec<u8>,
}

impl<T: Totals> Groups<T> {
    pub fn new(zero: &T) -> Self {
        Self { zero: zero.clone(), sums: vec![zero.clone(); 256], filled: [0; 4], bins: Vec::new() }
    }

    /// Groups rows, given the sums of each, by the bins of a column; bins are in increasing order.
    pub fn fill(&mut self, column: &BinnedColumn, rows: &[u32], gathered: &[f64]) {
        for bin in Bits(self.filled) {
            self.sums[bin].as_mut().fill(0.0);
        }
        self.filled = [0; 4];
        for (row, values) in rows.iter().zip(gathered.chunks_exact(self.zero.width())) {
            let bin = column.bins[*row as usize];
            self.sums[usize::from(bin)].add(values, 1.0);
            self.filled[usize::from(bin / 64)] |= 1 << (bin % 64);
        }
        self.bins.clear();
        self.bins.extend(Bits(self.filled).take_while(|bin| *bin < column.n_bins).map(|bin| bin as u8));
    }

    /// Sorts categories by the mean of a random target: for numbers the only one, for classes one that is drawn. Means of few rows are drawn
    /// to that of all.
    pub fn order(&mut self, column: &BinnedColumn, rng: &mut Rng) {
        let Bins::Category(_) = column.kind else { return };
        let target = rng.random_range(0..self.zero.targets().len());
        let sum = |of: &dyn Fn(&T) -> f64| self.bins.iter().map(|bin| of(&self.sums[usize::from(*bin)])).sum::<f64>();
        let mean_of_all = sum(&|sums| sums.targets()[target]) / sum(&T::weight).max(1e-12);
        let mean = |bin: u8| {
            let sums = &self.sums[usize::from(bin)];
            (sums.targets()[target] + CATEGORY_SMOOTHING * mean_of_all) / (sums.weight() + CATEGORY_SMOOTHING)
        };
        self.bins.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
    }

    /// Returns the bins with rows in the order in which they go left.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// Returns the sums of the group at a position.
    #[inline(always)]
    pub fn at(&self, position: usize) -> &T {
        &self.sums[usize::from(self.bins[position])]
    }

    /// Returns the sums of the rows in which the column is missing, if there are any.
    pub fn missing(&self, column: &BinnedColumn) -> Option<&T> {
        let is_filled = self.filled[column.n_bins / 64] >> (column.n_bins % 64) & 1 == 1;
        is_filled.then(|| &self.sums[column.n_bins])
    }
}
