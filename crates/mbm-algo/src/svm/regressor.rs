//! Support vector regression with the epsilon-insensitive loss (Drucker et al. 1997; LIBSVM's dual with 2n variables).

use serde::{Deserialize, Serialize};

use super::kernel::Gram;
use super::smo::DualProblem;
use super::{Gamma, Kernel};
use crate::sample_weights::weights_or_ones;
use crate::{AlgoError, Matrix};

/// Training options of a regressor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvrOptions<'a> {
    /// The penalty on errors beyond epsilon, `C`.
    pub c: f64,
    /// Errors up to epsilon are not penalized; in the target's units.
    pub epsilon: f64,
    /// Gamma of the RBF kernel; `None` for a linear kernel.
    pub rbf: Option<Gamma>,
    /// Stopping tolerance: the largest violation of the optimality conditions.
    pub tolerance: f64,
    /// A weight per row, by which its `C` is multiplied; 1 if there are none.
    pub sample_weights: Option<&'a [f32]>,
}

/// A trained regressor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Svr {
    /// The kernel, with gamma resolved.
    pub kernel: Kernel,
    /// Number of columns of a row.
    pub n_cols: usize,
    /// Support vectors, `[support rows, n_cols]`.
    pub support: Vec<f32>,
    /// One weight per support vector.
    pub weights: Vec<f32>,
    /// Added to the weighted sum.
    pub intercept: f32,
}

impl Svr {
    /// Trains on rows `[rows, n_cols]` and their targets.
    ///
    /// # Errors
    /// If the numbers of rows and targets differ, there are no rows, a feature is not finite, or the weights are not usable.
    pub fn fit(x: Matrix, y: &[f32], options: SvrOptions) -> Result<Self, AlgoError> {
        x.check(y.len())?;
        let n = y.len();
        let bounds: Vec<f64> = weights_or_ones(options.sample_weights, n)?.iter().map(|it| options.c * it).collect();
        let kernel = options.rbf.map_or(Kernel::Linear, |gamma| Kernel::Rbf { gamma: gamma.resolve(x) });
        let gram = Gram::new(x, kernel);
        let above = y.iter().map(|value| options.epsilon - f64::from(*value));
        let below = y.iter().map(|value| options.epsilon + f64::from(*value));
        let signs = [vec![1.0; n], vec![-1.0; n]].concat();
        let problem = DualProblem { p: above.chain(below).collect(), y: signs, c: bounds.repeat(2), gram: &gram };
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

    /// Whether the model is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks deserialized models.
    pub fn suits(&self, n_cols: usize) -> bool {
        self.n_cols == n_cols && n_cols > 0 && self.support.len() == self.weights.len() * n_cols
    }

    /// Predicts the target of one row, `[n_cols]`.
    pub fn predict(&self, row: &[f32]) -> f32 {
        let rows = self.support.chunks(self.n_cols);
        rows.zip(&self.weights).map(|(support, weight)| weight * self.kernel.value(support, row)).sum::<f32>() + self.intercept
    }
}
