//! Histograms of gradients: per column and bin, the sums over the rows of a node.

use rayon::prelude::*;

use super::bins::{Binned, BinnedColumn};

/// The sums over the rows in one bin.
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
    pub fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            n_rows: self.n_rows + other.n_rows,
        }
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            n_rows: self.n_rows - other.n_rows,
        }
    }

    /// Returns the reduction of the loss by the best value of a leaf with these sums, times two.
    pub fn score(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

/// The gradient and the second derivative of the loss of a row.
pub(super) type Derivatives = [f32; 2];

/// The histograms of some columns for the rows of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    /// For each column in use, one entry per bin and one for missing values.
    pub columns: Vec<Vec<Sums>>,
}

/// Number of values above which columns are divided among threads.
const MIN_PARALLEL: usize = 1 << 15;

impl Histogram {
    /// Sums the derivatives of the given rows, for each of the given columns.
    pub fn new(binned: &Binned, columns: &[usize], rows: &[u32], derivatives: &[Derivatives]) -> Self {
        let gathered: Vec<Derivatives> = rows.iter().map(|row| derivatives[*row as usize]).collect();
        let sum = |column: &usize| sums(&binned.columns[*column], rows, &gathered);
        let columns = if rows.len() * columns.len() < MIN_PARALLEL {
            columns.iter().map(sum).collect()
        } else {
            columns.par_iter().map(sum).collect()
        };
        Self { columns }
    }

    /// Subtracts the histogram of one child, which leaves that of the other.
    pub fn subtract(mut self, child: &Self) -> Self {
        for (own, child) in self.columns.iter_mut().zip(&child.columns) {
            own.iter_mut().zip(child).for_each(|(own, child)| *own = own.minus(*child));
        }
        self
    }
}

fn sums(column: &BinnedColumn, rows: &[u32], derivatives: &[Derivatives]) -> Vec<Sums> {
    let mut sums = vec![Sums::default(); column.n_bins + 1];
    for (row, [gradient, hessian]) in rows.iter().zip(derivatives) {
        let bin = &mut sums[usize::from(column.bins[*row as usize])];
        bin.gradient += f64::from(*gradient);
        bin.hessian += f64::from(*hessian);
        bin.n_rows += 1;
    }
    sums
}
