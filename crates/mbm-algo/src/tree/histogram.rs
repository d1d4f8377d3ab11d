//! Histograms of gradients: per column and bin, the sums over the rows of a node. One is built by passing over the rows; that of a sibling
//! is the difference to the parent's (Ke et al. 2017).

use std::borrow::Cow;

use rayon::prelude::*;

use super::bins::{Binned, BinnedColumn};
use super::sums::{Accumulator, Derivatives, GradientSum, Gradients, Sums};

/// The columns that a tree uses, and where each has its sums in a histogram.
pub(super) struct Layout<'a> {
    pub binned: &'a Binned,
    /// The columns.
    pub columns: Vec<usize>,
    /// For each of them, the position of its first bin; then the number of all bins.
    starts: Vec<usize>,
}

impl<'a> Layout<'a> {
    pub fn new(binned: &'a Binned, columns: Vec<usize>) -> Self {
        let mut starts = vec![0];
        starts.extend(columns.iter().scan(0, |end, column| {
            *end += binned.columns[*column].n_bins + 1;
            Some(*end)
        }));
        Self { binned, columns, starts }
    }

    /// Returns the column at a position among those in use.
    pub fn column(&self, at: usize) -> &'a BinnedColumn {
        &self.binned.columns[self.columns[at]]
    }

    /// Returns the number of bins of all columns, with those for missing values.
    pub fn n_bins(&self) -> usize {
        self.starts[self.columns.len()]
    }

    /// Whether a histogram of some rows has about as many entries as it has bins; otherwise columns are summed one by one.
    pub fn is_dense(&self, n_rows: usize) -> bool {
        2 * n_rows * self.columns.len() >= self.n_bins()
    }

    /// Whether the histograms of some leaves may be in memory at once.
    pub fn fits(&self, n_leaves: usize) -> bool {
        let n_bytes = self.n_bins().saturating_mul(size_of::<Sums>()).saturating_mul(n_leaves);
        n_bytes <= MAX_BYTES.max(self.binned.n_rows * self.binned.n_cols())
    }
}

/// The sums of all bins of the columns in use, for the rows of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    sums: Vec<Sums>,
}

/// Number of columns that are summed in one pass over the rows: the sums of four fit into the first cache of a processor.
const GROUP: usize = 4;

/// Number of sums above which columns or blocks of rows are divided among threads.
pub(super) const MIN_PARALLEL: usize = 1 << 17;

/// Bytes of all histograms of a tree that grows, unless the table has more.
const MAX_BYTES: usize = 128 << 20;

/// Number of rows that are summed on their own. It does not depend on the number of threads, so that sums do not, either.
const BLOCK: usize = 1 << 16;

/// Number of groups of columns from which these are divided among threads rather than blocks of rows.
const MANY_GROUPS: usize = 16;

impl Histogram {
    /// Returns the sums of the column at a position among those in use; the last one is that of missing values.
    pub fn column(&self, layout: &Layout, at: usize) -> &[Sums] {
        &self.sums[layout.starts[at]..layout.starts[at + 1]]
    }

    /// Replaces the sums by those of some rows in increasing order.
    pub fn build(&mut self, layout: &Layout, rows: &[u32], gradients: Gradients) {
        self.sums.clear();
        self.sums.resize(layout.n_bins(), Sums::default());
        let n_groups = layout.columns.len().div_ceil(GROUP);
        if rows.len() * layout.columns.len() < MIN_PARALLEL {
            return sum_block(layout, rows, gradients, &mut self.sums);
        }
        if n_groups >= MANY_GROUPS || rows.len() < 2 * BLOCK {
            let gathered = gathered(rows, gradients.rows);
            let groups = groups(layout, &mut self.sums).into_par_iter();
            return groups.for_each(|group| group.sum(layout, rows, &gathered, gradients.hessian));
        }
        let blocks: Vec<Vec<Sums>> = rows.par_chunks(BLOCK).map(|rows| block(layout, rows, gradients)).collect();
        for block in blocks {
            self.sums.iter_mut().zip(block).for_each(|(sum, block)| *sum = sum.plus(block));
        }
    }

    /// Returns the sums over all rows; `None` if there are no columns.
    pub fn total(&self, layout: &Layout) -> Option<Sums> {
        let first = layout.starts.get(1).map(|end| &self.sums[..*end])?;
        Some(first.iter().fold(Sums::default(), |total, sums| total.plus(*sums)))
    }

    /// Subtracts the histogram of one child, which leaves that of the other.
    pub fn subtract(&mut self, child: &Self) {
        self.sums.iter_mut().zip(&child.sums).for_each(|(sum, child)| *sum = sum.minus(*child));
    }

    /// Subtracts the rows of one child, given with their derivatives, which leaves the histogram of the other.
    pub fn subtract_rows(&mut self, layout: &Layout, rows: &[u32], derivatives: &[Derivatives]) {
        for (at, range) in layout.starts.windows(2).enumerate() {
            let (column, sums) = (layout.column(at), &mut self.sums[range[0]..range[1]]);
            for (row, [gradient, hessian]) in rows.iter().zip(derivatives) {
                let sums = &mut sums[usize::from(column.bins[*row as usize])];
                let row = Sums { gradient: f64::from(*gradient), hessian: f64::from(*hessian), n_rows: 1 };
                *sums = sums.minus(row);
            }
        }
    }
}

fn block(layout: &Layout, rows: &[u32], gradients: Gradients) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); layout.n_bins()];
    sum_block(layout, rows, gradients, &mut sums);
    sums
}

fn sum_block(layout: &Layout, rows: &[u32], gradients: Gradients, sums: &mut [Sums]) {
    let gathered = gathered(rows, gradients.rows);
    groups(layout, sums).into_iter().for_each(|group| group.sum(layout, rows, &gathered, gradients.hessian));
}

/// Returns the derivatives of some rows in increasing order.
fn gathered<'a>(rows: &[u32], derivatives: &'a [Derivatives]) -> Cow<'a, [Derivatives]> {
    match rows {
        [first, .., last] if (last - first) as usize + 1 == rows.len() => derivatives[*first as usize..=*last as usize].into(),
        _ => rows.iter().map(|row| derivatives[*row as usize]).collect(),
    }
}

/// Some columns next to each other, with their sums.
struct Group<'a> {
    /// Position of the first column among those in use.
    first: usize,
    sums: &'a mut [Sums],
}

/// Divides the sums of all columns into groups.
fn groups<'a>(layout: &Layout, mut sums: &'a mut [Sums]) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    for first in (0..layout.columns.len()).step_by(GROUP) {
        let end = (first + GROUP).min(layout.columns.len());
        let (own, others) = sums.split_at_mut(layout.starts[end] - layout.starts[first]);
        groups.push(Group { first, sums: own });
        sums = others;
    }
    groups
}

impl Group<'_> {
    fn sum(self, layout: &Layout, rows: &[u32], derivatives: &[Derivatives], hessian: Option<f32>) {
        match hessian {
            Some(hessian) => self.sum_with::<GradientSum>(layout, rows, derivatives, hessian),
            None => self.sum_with::<Sums>(layout, rows, derivatives, 0.0),
        }
    }

    fn sum_with<A: Accumulator>(self, layout: &Layout, rows: &[u32], derivatives: &[Derivatives], hessian: f32) {
        match layout.columns.len() - self.first {
            1 => self.sum_columns::<A, 1>(layout, rows, derivatives, hessian),
            2 => self.sum_columns::<A, 2>(layout, rows, derivatives, hessian),
            3 => self.sum_columns::<A, 3>(layout, rows, derivatives, hessian),
            _ => self.sum_columns::<A, GROUP>(layout, rows, derivatives, hessian),
        }
    }

    /// Sums `N` columns in one pass. Every bin is below 256, so that no position is checked in arrays of this length.
    fn sum_columns<A: Accumulator, const N: usize>(
        self,
        layout: &Layout,
        rows: &[u32],
        derivatives: &[Derivatives],
        hessian: f32,
    ) {
        let n_rows = layout.binned.n_rows;
        let bins: [&[u8]; N] = std::array::from_fn(|at| &layout.column(self.first + at).bins[..n_rows]);
        let mut sums = [[A::default(); 256]; N];
        for (row, derivatives) in rows.iter().zip(derivatives) {
            for at in 0..N {
                sums[at][usize::from(bins[at][*row as usize])].add(*derivatives);
            }
        }
        let mut own = self.sums;
        for (at, sums) in sums.iter().enumerate() {
            let (column, others) = own.split_at_mut(layout.column(self.first + at).n_bins + 1);
            column.iter_mut().zip(sums).for_each(|(own, sum)| *own = sum.sums(hessian));
            own = others;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::Matrix;
    use crate::tree::{ColumnKind, Rng};

    const N_COLS: usize = 7;

    /// Columns with 2, 4, ... 128 values, and whole-numbered derivatives, whose sums are exact.
    fn table(n_rows: usize) -> (Binned, Vec<Derivatives>) {
        let mut rng = Rng::seed_from_u64(1);
        let values: Vec<f32> = (0..n_rows * N_COLS).map(|at| rng.random_range(0..2 << (at % N_COLS)) as f32).collect();
        let binned = Binned::new(Matrix { data: &values, n_cols: N_COLS }, &[ColumnKind::Number; N_COLS]);
        let derivatives = (0..n_rows).map(|_| [rng.random_range(-9..9) as f32, rng.random_range(1..5) as f32]).collect();
        (binned, derivatives)
    }

    fn built(layout: &Layout, rows: &[u32], derivatives: &[Derivatives]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.build(layout, rows, Gradients { rows: derivatives, hessian: None });
        histogram
    }

    #[test]
    fn a_histogram_has_the_sums_of_each_bin() {
        for n_rows in [100, 3 * BLOCK] {
            let (binned, derivatives) = table(n_rows);
            let layout = Layout::new(&binned, vec![0, 2, 3, 4, 6]);
            let rows: Vec<u32> = (0..n_rows as u32).filter(|row| row % 3 > 0).collect();
            let histogram = built(&layout, &rows, &derivatives);
            for at in 0..layout.columns.len() {
                let mut want = vec![Sums::default(); layout.column(at).n_bins + 1];
                for row in rows.iter().map(|row| *row as usize) {
                    want[usize::from(layout.column(at).bins[row])].add_row(derivatives[row]);
                }
                assert_eq!(histogram.column(&layout, at), want);
            }
        }
    }

    #[test]
    fn the_difference_to_the_parent_is_the_histogram_of_the_sibling() {
        let (binned, derivatives) = table(500);
        let layout = Layout::new(&binned, (0..N_COLS).collect());
        let (left, right): (Vec<u32>, Vec<u32>) = (0..500).partition(|row| row % 5 == 0);
        let parent = built(&layout, &(0..500).collect::<Vec<u32>>(), &derivatives);
        let want = built(&layout, &right, &derivatives);
        let mut by_histogram = parent.clone();
        by_histogram.subtract(&built(&layout, &left, &derivatives));
        assert_eq!(by_histogram.sums, want.sums);
        let mut by_rows = parent;
        let of_left: Vec<Derivatives> = left.iter().map(|row| derivatives[*row as usize]).collect();
        by_rows.subtract_rows(&layout, &left, &of_left);
        assert_eq!(by_rows.sums, want.sums);
    }
}
