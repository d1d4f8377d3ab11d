//! Support vector regression: errors below epsilon cost nothing (Drucker et al. 1997; the dual with 2n variables of LIBSVM).

use serde::{Deserialize, Serialize};

use super::kernel::Gram;
use super::smo::Problem;
use super::{Gamma, Kernel};
use crate::{AlgoError, Matrix};

/// What a regressor is trained with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvrOptions {
    /// The price of an error beyond epsilon.
    pub c: f64,
    /// The width of the tube within which an error costs nothing, in the target's units.
    pub epsilon: f64,
    /// The width of an RBF kernel; `None` for a linear machine.
    pub rbf: Option<Gamma>,
    /// The violation of the optimality conditions at which training ends.
    pub tolerance: f64,
}

/// A trained regressor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Svr {
    /// The kernel, its width resolved.
    pub kernel: Kernel,
    /// Columns of a row.
    pub n_cols: usize,
    /// `[support rows, n_cols]`.
    pub support: Vec<f32>,
    /// One weight a support row.
    pub weights: Vec<f32>,
    /// Added to the weighted sum.
    pub intercept: f32,
}

impl Svr {
    /// Trains on rows `[rows, n_cols]` and their numbers.
    ///
    /// # Errors
    /// Rows and targets that differ in number, values that are not finite.
    pub fn fit(x: Matrix, y: &[f32], options: SvrOptions) -> Result<Self, AlgoError> {
        x.check(y.len())?;
        let n = y.len();
        let kernel = options.rbf.map_or(Kernel::Linear, |gamma| Kernel::Rbf { gamma: gamma.resolve(x) });
        let gram = Gram::new(x, kernel);
        let kernel_row = |i: usize, out: &mut Vec<f32>| {
            let mut scratch = Vec::new();
            let row = gram.row(i % n, &mut scratch);
            out.clear();
            out.extend_from_slice(row);
            out.extend_from_slice(row);
        };
        let diagonal = |i: usize| gram.diagonal(i % n);
        let above = y.iter().map(|value| options.epsilon - f64::from(*value));
        let below = y.iter().map(|value| options.epsilon + f64::from(*value));
        let signs = [vec![1.0; n], vec![-1.0; n]].concat();
        let problem = Problem {
            p: above.chain(below).collect(),
            y: signs,
            c: vec![options.c; 2 * n],
            kernel_row: &kernel_row,
            diagonal: &diagonal,
        };
        let solution = problem.solve(options.tolerance);
        let weights: Vec<f32> = (0..n).map(|i| (solution.alpha[i] - solution.alpha[n + i]) as f32).collect();
        let used: Vec<usize> = (0..n).filter(|&i| weights[i] != 0.0).collect();
        Ok(Self {
            kernel,
            n_cols: x.n_cols,
            support: x.select(&used),
            weights: used.iter().map(|&i| weights[i]).collect(),
            intercept: -solution.rho as f32,
        })
    }

    /// Whether it reads rows of `n_cols`, as one that was fitted on such rows would.
    pub fn suits(&self, n_cols: usize) -> bool {
        self.n_cols == n_cols && n_cols > 0 && self.support.len() == self.weights.len() * n_cols
    }

    /// The prediction for one row, `[n_cols]`.
    pub fn predict(&self, row: &[f32]) -> f32 {
        let rows = self.support.chunks(self.n_cols);
        rows.zip(&self.weights).map(|(support, weight)| weight * self.kernel.value(support, row)).sum::<f32>() + self.intercept
    }
}
