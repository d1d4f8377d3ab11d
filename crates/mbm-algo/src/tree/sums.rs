//! Sums of gradients: over the rows of a node, and over those in each bin of a column.

use super::bins::BinnedColumn;

/// The gradient and the second derivative of the loss of a row.
pub(super) type Derivatives = [f32; 2];

/// The derivatives of all rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gradients<'a> {
    /// One per row of the table.
    pub rows: &'a [Derivatives],
    /// The second derivative, if it is the same for all rows in use; sums of it need only the number of rows.
    pub hessian: Option<f32>,
}

/// The sums over some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sums {
    /// Sum of the gradients.
    pub gradient: f64,
    /// Sum of the second derivatives.
    pub hessian: f64,
    /// Number of rows.
    pub n_rows: u32,
}

impl Sums {
    #[inline]
    pub fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            n_rows: self.n_rows + other.n_rows,
        }
    }

    #[inline]
    pub fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            n_rows: self.n_rows - other.n_rows,
        }
    }

    #[inline]
    pub fn add_row(&mut self, [gradient, hessian]: Derivatives) {
        // Both are read before one is written, so that one instruction adds both.
        let (gradient, hessian) = (self.gradient + f64::from(gradient), self.hessian + f64::from(hessian));
        (self.gradient, self.hessian) = (gradient, hessian);
        self.n_rows += 1;
    }

    /// Returns the reduction of the loss by the best value of a leaf with these sums, times two.
    #[inline]
    pub fn score(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

/// What is summed over the rows of a bin.
pub(super) trait Accumulator: Copy + Default {
    fn add(&mut self, row: Derivatives);
    /// Returns the sums, given the second derivative of all rows if it is the same.
    fn sums(self, hessian: f32) -> Sums;
}

impl Accumulator for Sums {
    #[inline]
    fn add(&mut self, row: Derivatives) {
        self.add_row(row);
    }

    fn sums(self, _hessian: f32) -> Sums {
        self
    }
}

/// The sums over rows that all have the same second derivative, so that it need not be added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GradientSum {
    gradient: f64,
    n_rows: u64,
}

impl Accumulator for GradientSum {
    #[inline]
    fn add(&mut self, [gradient, _]: Derivatives) {
        self.gradient += f64::from(gradient);
        self.n_rows += 1;
    }

    fn sums(self, hessian: f32) -> Sums {
        Sums { gradient: self.gradient, hessian: f64::from(hessian) * self.n_rows as f64, n_rows: self.n_rows as u32 }
    }
}

/// Sums the derivatives of some rows.
pub(super) fn total(derivatives: &[Derivatives]) -> Sums {
    let mut total = Sums::default();
    derivatives.iter().for_each(|row| total.add_row(*row));
    total
}

/// The sums over the rows in each bin of one column, for few rows: only the bins that have rows are visited.
#[derive(Debug, Clone)]
pub(super) struct ColumnSums {
    sums: [Sums; 256],
    /// A bit for each bin that has rows.
    filled: [u64; 4],
}

impl Default for ColumnSums {
    fn default() -> Self {
        Self { sums: [Sums::default(); 256], filled: [0; 4] }
    }
}

impl ColumnSums {
    /// Replaces the sums by those of some rows in a column.
    pub fn fill(&mut self, column: &BinnedColumn, rows: &[u32], derivatives: &[Derivatives]) {
        self.clear();
        for (row, derivatives) in rows.iter().zip(derivatives) {
            let bin = column.bins[*row as usize];
            self.sums[usize::from(bin)].add_row(*derivatives);
            self.filled[usize::from(bin / 64)] |= 1 << (bin % 64);
        }
    }

    fn clear(&mut self) {
        for bin in Bits(self.filled) {
            self.sums[bin] = Sums::default();
        }
        self.filled = [0; 4];
    }

    /// Returns the sums of a bin.
    pub fn of(&self, bin: usize) -> Sums {
        self.sums[bin]
    }

    /// Returns the bins with rows, without that of missing values, in increasing order.
    pub fn present(&self, n_bins: usize) -> impl Iterator<Item = (usize, Sums)> + Clone {
        Bits(self.filled).take_while(move |bin| *bin < n_bins).map(|bin| (bin, self.sums[bin]))
    }
}

/// The positions of bits that are set, in increasing order.
#[derive(Clone, Copy)]
pub(super) struct Bits(pub [u64; 4]);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != 0)?;
        let bit = self.0[word].trailing_zeros() as usize;
        self.0[word] &= self.0[word] - 1;
        Some(word * 64 + bit)
    }
}

/// Returns the bins with rows of a column of a histogram, without the last one, which is that of missing values.
pub(super) fn present(sums: &[Sums]) -> impl Iterator<Item = (usize, Sums)> + Clone {
    let n_bins = sums.len() - 1;
    sums[..n_bins].iter().copied().enumerate().filter(|(_, sums)| sums.n_rows > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::tree::{Binned, ColumnKind};

    #[test]
    fn bits_are_visited_in_order() {
        assert_eq!(Bits([0b101, 0, 1 << 63, 1]).collect::<Vec<_>>(), [0, 2, 191, 192]);
        assert_eq!(Bits([0; 4]).next(), None);
    }

    #[test]
    fn a_column_is_summed_anew_for_each_node() {
        let values: Vec<f32> = (0..300).map(|row| if row % 10 == 9 { f32::NAN } else { (row % 7) as f32 }).collect();
        let binned = Binned::new(Matrix { data: &values, n_cols: 1 }, &[ColumnKind::Number]);
        let column = &binned.columns[0];
        let mut sums = ColumnSums::default();
        for rows in [vec![0, 1, 8, 9], vec![7, 14, 3]] {
            let derivatives: Vec<Derivatives> = rows.iter().map(|row| [*row as f32, 1.0]).collect();
            sums.fill(column, &rows, &derivatives);
            let in_bin = |bin: usize| rows.iter().filter(move |row| usize::from(column.bins[**row as usize]) == bin);
            for bin in 0..=column.n_bins {
                let want = Sums {
                    gradient: in_bin(bin).map(|row| f64::from(*row)).sum(),
                    hessian: in_bin(bin).count() as f64,
                    n_rows: in_bin(bin).count() as u32,
                };
                assert_eq!(sums.of(bin), want);
            }
            let present: Vec<usize> = sums.present(column.n_bins).map(|(bin, _)| bin).collect();
            assert_eq!(present, (0..column.n_bins).filter(|bin| in_bin(*bin).count() > 0).collect::<Vec<_>>());
        }
    }
}
