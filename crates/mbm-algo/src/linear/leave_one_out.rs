//! The leave-one-out predictions of ridge regression, from the residuals and leverages of one fit. `ridge_path` tests them.

use mbm_kernels::{Matrix as Strided, add_product};
use rayon::prelude::*;

use super::RidgePath;
use super::ridge_path::Form;
use super::tridiagonal::{Shifted, Tridiagonal};

/// Number of rows per part.
const PART: usize = 256;

impl RidgePath<'_> {
    /// Returns the predictions for each penalty, `[n_rows, n_targets]`; `None` without a decomposition.
    pub(super) fn leave_one_out(&self, alphas: &[f64]) -> Option<Vec<Vec<f32>>> {
        assert!(alphas.iter().all(|alpha| *alpha > 0.0), "an alpha is not positive: {alphas:?}");
        let mut predictions = match &self.form {
            Form::Covariance { reduced } => self.leave_one_out_by_covariance(reduced, alphas),
            Form::Gram { reduced } => alphas.iter().map(|alpha| self.leave_one_out_by_gram(reduced, *alpha)).collect(),
            Form::Iterative => return None,
        };
        if self.a.roots.contains(&0.0) {
            predictions.iter_mut().zip(alphas).for_each(|(it, alpha)| self.predict_rows_without_weight(*alpha, it));
        }
        Some(predictions)
    }

    /// Corrects the fitted values, which rows of `A Q` give, by the leverage of each row.
    fn leave_one_out_by_covariance(&self, reduced: &Tridiagonal, alphas: &[f64]) -> Vec<Vec<f32>> {
        let (n, n_cols) = (self.a.n_rows(), self.a.n_cols());
        let moments = self.a.transposed_times(&self.targets, self.n_targets);
        let shifted: Vec<Shifted> = alphas.iter().map(|alpha| reduced.shifted(*alpha)).collect();
        let solutions: Vec<Vec<f64>> = alphas.iter().map(|alpha| self.solve(reduced, *alpha, &moments)).collect();
        let mut predictions = vec![Vec::with_capacity(n * self.n_targets); alphas.len()];
        let starts: Vec<usize> = (0..n).step_by(PART).collect();
        let part = |start: &usize| {
            let projected = self.a.part_times(*start..(start + PART).min(n), &reduced.basis, n_cols);
            let each = shifted.iter().zip(&solutions);
            each.map(|(shifted, solution)| self.correct_part(*start, &projected, shifted, solution)).collect::<Vec<_>>()
        };
        for parts in starts.par_iter().map(part).collect::<Vec<_>>() {
            predictions.iter_mut().zip(parts).for_each(|(all, part)| all.extend(part));
        }
        predictions
    }

    /// Returns the leave-one-out predictions of some rows, given their products with the basis.
    fn correct_part(&self, start: usize, projected: &[f64], shifted: &Shifted, solution: &[f64]) -> Vec<f32> {
        let (n_cols, n_targets) = (self.a.n_cols(), self.n_targets);
        let n_rows = projected.len() / n_cols;
        let mut fitted = vec![0.0; n_rows * n_targets];
        let projected_rows = Strided::rows(projected, [n_rows, n_cols]);
        add_product(&mut fitted, n_targets, projected_rows, Strided::rows(solution, [n_cols, n_targets]));
        let forms = shifted.inverse_forms(projected);
        let rows = (start..).zip(fitted.chunks_exact(n_targets).zip(forms));
        rows.flat_map(|(row, (fitted, form))| {
            let own_share = self.a.roots[row].powi(2) / self.a.total;
            let residuals = self.targets_of(row).iter().zip(fitted).map(|(target, fitted)| target - fitted).collect();
            self.without_own_row(row, residuals, 1.0 - own_share - form)
        })
        .collect()
    }

    /// Corrects the residuals, which are `alpha` times the solution of the Gram matrix.
    fn leave_one_out_by_gram(&self, reduced: &Tridiagonal, alpha: f64) -> Vec<f32> {
        let solution = reduced.basis_times(&self.solve(reduced, alpha, &self.targets), self.n_targets);
        let forms = reduced.shifted(alpha).inverse_forms(&reduced.basis);
        let rows = solution.chunks_exact(self.n_targets).zip(forms).enumerate();
        rows.flat_map(|(row, (solution, form))| {
            let own_share = self.a.roots[row].powi(2) / self.a.total;
            let residuals = solution.iter().map(|value| alpha * value).collect();
            self.without_own_row(row, residuals, alpha * form - own_share)
        })
        .collect()
    }

    /// Returns the predictions for a row by the model that was fitted without it, from the residuals of the model that was
    /// fitted with it (both times the square root of the weight) and 1 minus the leverage.
    fn without_own_row(&self, row: usize, residuals: Vec<f64>, rest: f64) -> Vec<f32> {
        // With a leverage of 1, no other row says anything about the target.
        let rest = rest.max(1e-12);
        let root = self.a.roots[row].max(f64::MIN_POSITIVE);
        let targets = self.targets_of(row).iter().zip(&self.target_means);
        targets.zip(residuals).map(|((target, mean), residual)| (mean + (target - residual / rest) / root) as f32).collect()
    }

    fn targets_of(&self, row: usize) -> &[f64] {
        &self.targets[row * self.n_targets..(row + 1) * self.n_targets]
    }

    /// Replaces the predictions of rows that have no part in the model.
    fn predict_rows_without_weight(&self, alpha: f64, predictions: &mut [f32]) {
        let fitted = self.model(alpha).predict(self.a.rows);
        let rows = predictions.chunks_exact_mut(self.n_targets).zip(fitted.chunks_exact(self.n_targets));
        let without_weight = rows.zip(&self.a.roots).filter(|(_, root)| **root == 0.0);
        without_weight.for_each(|((prediction, fitted), _)| prediction.copy_from_slice(fitted));
    }
}
