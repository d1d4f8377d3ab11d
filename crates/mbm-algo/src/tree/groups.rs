//! The rows of a node of a forest's tree, grouped by the bins of a column.

use rand::RngExt;

use super::Rng;
use super::bins::{BinnedColumn, Bins};
use super::sums::Bits;

/// Number of sums that describe a group of rows: their weight, their number, and the sum of each target.
pub(super) trait Width: Copy + Sync {
    fn get(self) -> usize;
}

/// A width that is known to the compiler.
#[derive(Clone, Copy)]
pub(super) struct Fixed<const N: usize>;

impl<const N: usize> Width for Fixed<N> {
    fn get(self) -> usize {
        N
    }
}

impl Width for usize {
    fn get(self) -> usize {
        self
    }
}

/// The sums of the rows in each bin of a column.
pub(super) struct Groups<W> {
    width: W,
    /// `[256, width]`
    sums: Vec<f64>,
    /// A bit for each bin that has rows.
    filled: [u64; 4],
    /// The bins with rows in the order in which they go left, without that of missing values.
    bins: Vec<u8>,
    /// The sums of the left side.
    left: Vec<f64>,
    /// The sums of the left side and missing values.
    with_missing: Vec<f64>,
}

impl<W: Width> Groups<W> {
    pub fn new(width: W) -> Self {
        let none = vec![0.0; width.get()];
        Self { width, sums: none.repeat(256), filled: [0; 4], bins: Vec::new(), left: none.clone(), with_missing: none }
    }

    pub fn width(&self) -> W {
        self.width
    }

    /// Groups rows, given the sums of each, by the bins of a column; bins are in increasing order.
    pub fn fill(&mut self, column: &BinnedColumn, rows: &[u32], gathered: &[f64]) {
        let width = self.width.get();
        for bin in Bits(self.filled) {
            self.sums[bin * width..(bin + 1) * width].fill(0.0);
        }
        self.filled = [0; 4];
        for (row, values) in rows.iter().zip(gathered.chunks_exact(width)) {
            let bin = column.bins[*row as usize];
            let sums = &mut self.sums[usize::from(bin) * width..(usize::from(bin) + 1) * width];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            self.filled[usize::from(bin / 64)] |= 1 << (bin % 64);
        }
        self.bins.clear();
        self.bins.extend(Bits(self.filled).take_while(|bin| *bin < column.n_bins).map(|bin| bin as u8));
        self.left.fill(0.0);
    }

    /// Sorts categories by the mean of a random target: for numbers the only one, for classes one that is drawn.
    pub fn order(&mut self, column: &BinnedColumn, rng: &mut Rng) {
        let Bins::Category(_) = column.kind else { return };
        let width = self.width.get();
        let target = rng.random_range(2..width);
        let mean = |bin: u8| {
            let sums = &self.sums[usize::from(bin) * width..(usize::from(bin) + 1) * width];
            sums[target] / sums[0].max(1e-12)
        };
        self.bins.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
    }

    /// Returns the bins with rows in the order in which they go left.
    pub fn bins(&self) -> &[u8] {
        &self.bins
    }

    /// Whether the column is missing in a row.
    pub fn missing(&self, column: &BinnedColumn) -> bool {
        self.filled[column.n_bins / 64] >> (column.n_bins % 64) & 1 == 1
    }

    /// Moves a group, the next one in order, to the left side.
    #[inline]
    pub fn add_left(&mut self, at: usize) {
        let (width, bin) = (self.width.get(), usize::from(self.bins[at]));
        let (left, sums) = (&mut self.left[..width], &self.sums[bin * width..(bin + 1) * width]);
        left.iter_mut().zip(sums).for_each(|(left, sum)| *left += sum);
    }

    /// Returns the sums of the left side.
    #[inline]
    pub fn left(&self) -> &[f64] {
        &self.left
    }

    /// Returns the sums of the left side if missing values go there, too.
    pub fn left_with_missing(&mut self, column: &BinnedColumn) -> &[f64] {
        let width = self.width.get();
        let missing = &self.sums[column.n_bins * width..(column.n_bins + 1) * width];
        let sums = self.left.iter().zip(missing).map(|(left, missing)| left + missing);
        self.with_missing.iter_mut().zip(sums).for_each(|(own, sum)| *own = sum);
        &self.with_missing
    }
}
