//! The support vector classifier: one binary machine per class (one-vs-rest), with calibrated probabilities.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::kernel::Gram;
use super::smo::DualProblem;
use super::{Gamma, Kernel, Sigmoid, linear};
use crate::linear_algebra::dot;
use crate::metric::SampleWeights;
use crate::sample_weights::weights_or_ones;
use crate::{AlgoError, Matrix};

/// Training options of a classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SvcOptions<'a> {
    /// The penalty on slack, `C`.
    pub c: f64,
    /// Gamma of the RBF kernel; `None` for a linear kernel.
    pub rbf: Option<Gamma>,
    /// Stopping tolerance: the largest violation of the optimality conditions.
    pub tolerance: f64,
    /// A weight per row, by which its `C` is multiplied; 1 if there are none.
    pub sample_weights: Option<&'a [f32]>,
}

impl Default for SvcOptions<'_> {
    fn default() -> Self {
        Self { c: 1.0, rbf: None, tolerance: 1e-3, sample_weights: None }
    }
}

/// A trained classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Svc {
    /// The kernel, with gamma resolved.
    pub kernel: Kernel,
    /// Number of classes.
    pub n_classes: usize,
    /// Number of columns of a row.
    pub n_cols: usize,
    /// Support vectors of all machines, `[support rows, n_cols]`; empty for a linear kernel.
    pub support: Vec<f32>,
    /// One machine per class; for two classes a single machine, for the second class.
    pub machines: Vec<Machine>,
}

/// A binary machine for one class against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Weights of the columns (linear kernel) or of the support vectors.
    pub weights: Vec<f32>,
    /// Added to the weighted sum.
    pub intercept: f32,
    /// Maps decision values to probabilities.
    pub sigmoid: Sigmoid,
}

/// Number of folds that give the held-out decision values for fitting Platt's sigmoid.
const N_FOLDS: usize = 5;

impl Svc {
    /// Trains on rows `[rows, n_cols]` with classes below `n_classes`.
    ///
    /// # Errors
    /// If the numbers of rows and classes differ, there are no rows, a feature is not finite, all rows with a weight above 0 belong to one
    /// class, or the weights are not usable.
    pub fn fit(x: Matrix, classes: &[usize], n_classes: usize, options: SvcOptions) -> Result<Self, AlgoError> {
        x.check(classes.len())?;
        let bounds: Vec<f64> = weights_or_ones(options.sample_weights, classes.len())?.iter().map(|it| options.c * it).collect();
        let rows: Vec<usize> = (0..classes.len()).filter(|row_idx| bounds[*row_idx] > 0.0).collect();
        if rows.iter().all(|row_idx| classes[*row_idx] == classes[rows[0]]) {
            return Err(AlgoError::OneClass { rows: rows.len() });
        }
        let weights = options.sample_weights.map(<[f32]>::to_vec).into();
        let kernel = options.rbf.map_or(Kernel::Linear, |gamma| Kernel::Rbf { gamma: gamma.resolve(x) });
        let gram = options.rbf.map(|_| Gram::new(x, kernel));
        let positives: Vec<usize> = if n_classes == 2 { vec![1] } else { (0..n_classes).collect() };
        let trainer = Trainer { x, gram: gram.as_ref(), tolerance: options.tolerance, rows, bounds, weights };
        let mut machines: Vec<Machine> = positives
            .into_par_iter()
            .map(|positive| trainer.machine(&classes.iter().map(|class| *class == positive).collect::<Vec<_>>()))
            .collect();
        let support = if options.rbf.is_some() { keep_support(x, &mut machines) } else { Vec::new() };
        Ok(Self { kernel, n_classes, n_cols: x.n_cols, support, machines })
    }

    /// Whether the model is consistent with rows of `n_cols` columns and `n_classes` classes, as one fitted on such rows is;
    /// checks deserialized models.
    pub fn suits(&self, n_cols: usize, n_classes: usize) -> bool {
        let n_weights = match self.kernel {
            Kernel::Linear => n_cols,
            Kernel::Rbf { .. } => self.support.len() / n_cols.max(1),
        };
        let n_machines = if n_classes == 2 { 1 } else { n_classes };
        (self.n_cols, self.n_classes, self.machines.len()) == (n_cols, n_classes, n_machines)
            && self.support.len().is_multiple_of(n_cols.max(1))
            && self.machines.iter().all(|machine| machine.weights.len() == n_weights)
    }

    /// Returns the decision values of one row, one per machine.
    pub fn decisions(&self, row: &[f32]) -> Vec<f32> {
        let inputs: Vec<f32> = match self.kernel {
            Kernel::Linear => row.to_vec(),
            Kernel::Rbf { .. } => self.support.chunks(self.n_cols).map(|support| self.kernel.value(support, row)).collect(),
        };
        self.machines.iter().map(|machine| dot(&machine.weights, &inputs) + machine.intercept).collect()
    }

    /// Returns the class with the largest decision value.
    pub fn predict(&self, row: &[f32]) -> usize {
        let decisions = self.decisions(row);
        if self.n_classes == 2 {
            return usize::from(decisions[0] > 0.0);
        }
        (0..decisions.len()).fold(0, |best, class| if decisions[class] > decisions[best] { class } else { best })
    }

    /// Returns the class probabilities, which sum to 1: each machine's sigmoid, normalized.
    pub fn probabilities(&self, row: &[f32]) -> Vec<f32> {
        let each: Vec<f32> =
            self.decisions(row).iter().zip(&self.machines).map(|(f, machine)| machine.sigmoid.probability(*f)).collect();
        if self.n_classes == 2 {
            return vec![1.0 - each[0], each[0]];
        }
        let sum: f32 = each.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        each.iter().map(|p| p / sum).collect()
    }
}

struct Trainer<'a> {
    x: Matrix<'a>,
    gram: Option<&'a Gram<'a>>,
    tolerance: f64,
    /// The rows that count: those with a weight above 0.
    rows: Vec<usize>,
    /// The upper bounds of the multipliers of all rows: `C` times the weight.
    bounds: Vec<f64>,
    /// The weights of all rows.
    weights: SampleWeights,
}

impl Trainer<'_> {
    fn machine(&self, positive: &[bool]) -> Machine {
        let n = positive.len();
        if !self.rows.iter().any(|row_idx| positive[*row_idx]) {
            // A class without rows has no machine to train; its probability is that of Platt's smoothed targets.
            let n_weights = self.gram.map_or(self.x.n_cols, |_| n);
            let sigmoid = Sigmoid::fit(&vec![0.0; n], positive, &self.weights);
            return Machine { weights: vec![0.0; n_weights], intercept: -1.0, sigmoid };
        }
        match self.gram {
            None => self.linear(positive),
            Some(gram) => self.with_kernel(gram, positive),
        }
    }

    fn linear(&self, positive: &[bool]) -> Machine {
        let n = positive.len();
        let solve = |rows: &[usize], start: &[f64]| {
            let data = self.x.select(rows);
            let y = rows.iter().map(|row_idx| sign(positive[*row_idx])).collect();
            let c = rows.iter().map(|row_idx| self.bounds[*row_idx]).collect();
            let problem = linear::LinearProblem { x: Matrix { data: &data, n_cols: self.x.n_cols }, y, c };
            problem.solve(rows.iter().map(|row_idx| start[*row_idx]).collect(), self.tolerance)
        };
        let trained = solve(&self.rows, &vec![0.0; n]);
        let mut start = vec![0.0; n];
        self.rows.iter().zip(&trained.alpha).for_each(|(row_idx, alpha)| start[*row_idx] = *alpha);
        let decisions = self.held_out(positive, |kept, held| {
            let own = kept.map(|kept| solve(kept, &start));
            let machine = own.as_ref().unwrap_or(&trained);
            held.iter().map(|row_idx| dot(&machine.weights, self.x.row(*row_idx)) + machine.intercept as f32).collect()
        });
        let sigmoid = Sigmoid::fit(&decisions, positive, &self.weights);
        Machine { weights: trained.weights, intercept: trained.intercept as f32, sigmoid }
    }

    fn with_kernel(&self, gram: &Gram, positive: &[bool]) -> Machine {
        let n = positive.len();
        let y: Vec<f64> = positive.iter().map(|it| sign(*it)).collect();
        let of = |rows: &[usize]| {
            let mut c = vec![0.0; n];
            rows.iter().for_each(|row_idx| c[*row_idx] = self.bounds[*row_idx]);
            DualProblem { p: vec![-1.0; n], y: y.clone(), c, gram }
        };
        let problem = of(&self.rows);
        let trained = problem.solve(self.tolerance);
        let decisions = self.held_out(positive, |kept, held| {
            let own = kept.map(|kept| of(kept).solve_from(&trained, self.tolerance));
            let machine = own.as_ref().unwrap_or(&trained);
            held.iter().map(|row_idx| problem.decision(machine, *row_idx) as f32).collect()
        });
        let sigmoid = Sigmoid::fit(&decisions, positive, &self.weights);
        let weights = trained.alpha.iter().zip(&y).map(|(alpha, y)| (alpha * y) as f32).collect();
        Machine { weights, intercept: -trained.rho as f32, sigmoid }
    }

    /// Returns the decision value of every row that counts, and 0 for others. `decide` is given the rows of a fold and those that it holds
    /// out, whose decision values it returns; no rows if they would be of one side. Then the machine of all rows scores them.
    fn held_out(&self, positive: &[bool], decide: impl Fn(Option<&[usize]>, &[usize]) -> Vec<f32>) -> Vec<f32> {
        let mut decisions = vec![0f32; positive.len()];
        for fold in 0..N_FOLDS {
            let (held, kept) = self.folds(fold, positive);
            let is_two_sided = kept.iter().any(|i| positive[*i]) && kept.iter().any(|i| !positive[*i]);
            let found = decide(is_two_sided.then_some(&kept), &held);
            held.iter().zip(found).for_each(|(row_idx, decision)| decisions[*row_idx] = decision);
        }
        decisions
    }

    /// Splits the rows that count into held-out rows (every fifth of each side) and training rows.
    fn folds(&self, fold: usize, positive: &[bool]) -> (Vec<usize>, Vec<usize>) {
        let mut seen = [0usize; 2];
        self.rows.iter().copied().partition(|&row_idx| {
            let count = &mut seen[usize::from(positive[row_idx])];
            *count += 1;
            (*count - 1) % N_FOLDS == fold
        })
    }
}

fn sign(is_positive: bool) -> f64 {
    if is_positive { 1.0 } else { -1.0 }
}

/// Returns the support vectors and drops the weights of all other rows.
fn keep_support(x: Matrix, machines: &mut [Machine]) -> Vec<f32> {
    let used: Vec<usize> = (0..x.n_rows()).filter(|&i| machines.iter().any(|machine| machine.weights[i] != 0.0)).collect();
    for machine in machines {
        machine.weights = used.iter().map(|&i| machine.weights[i]).collect();
    }
    x.select(&used)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two concentric rings, which are not linearly separable.
    fn rings(n: usize) -> (Vec<f32>, Vec<usize>) {
        let point = |i: usize| {
            let (angle, radius) = (i as f32 * 0.7, if i.is_multiple_of(2) { 1.0 } else { 3.0 });
            [radius * angle.cos(), radius * angle.sin()]
        };
        ((0..n).flat_map(point).collect(), (0..n).map(|i| i % 2).collect())
    }

    #[test]
    fn rbf_kernel_separates_rings_and_linear_kernel_does_not() {
        let (data, classes) = rings(80);
        let x = Matrix { data: &data, n_cols: 2 };
        let n_correct = |svc: &Svc| (0..80).filter(|&i| svc.predict(x.row(i)) == classes[i]).count();
        let rbf = Svc::fit(x, &classes, 2, SvcOptions { rbf: Some(Gamma::Scale), ..SvcOptions::default() }).unwrap();
        assert_eq!(n_correct(&rbf), 80);
        let linear = Svc::fit(x, &classes, 2, SvcOptions::default()).unwrap();
        assert!(n_correct(&linear) < 70, "{}", n_correct(&linear));
    }

    #[test]
    fn a_class_without_rows_is_improbable() {
        let (data, classes) = rings(40);
        let x = Matrix { data: &data, n_cols: 2 };
        for rbf in [None, Some(Gamma::Scale)] {
            let svc = Svc::fit(x, &classes, 3, SvcOptions { rbf, ..SvcOptions::default() }).unwrap();
            let p = svc.probabilities(x.row(0));
            assert!(p[2] < 0.1 && (p.iter().sum::<f32>() - 1.0).abs() < 1e-6 && svc.predict(x.row(0)) != 2, "{p:?}");
            assert!(svc.machines.iter().all(|machine| machine.intercept.is_finite()));
        }
    }

    #[test]
    fn hyperplane_lies_halfway_between_two_points() {
        let x = Matrix { data: &[-2.0, 0.0, 2.0, 0.0], n_cols: 2 };
        let options = SvcOptions { c: 100.0, tolerance: 1e-6, ..SvcOptions::default() };
        let svc = Svc::fit(x, &[0, 1], 2, options).unwrap();
        assert!((svc.machines[0].weights[0] - 0.5).abs() < 1e-3, "{:?}", svc.machines[0]);
        assert!(svc.decisions(&[0.0, 5.0])[0].abs() < 1e-3);
    }

    #[test]
    fn weights_count_as_repeated_rows() {
        let (data, classes) = rings(40);
        let weights: Vec<f32> = (0..40).map(|row| (row % 3) as f32).collect();
        let repeated: Vec<usize> = (0..40).flat_map(|row| vec![row; row % 3]).collect();
        let x = Matrix { data: &data, n_cols: 2 };
        let (rows, repeated_classes) = (x.select(&repeated), repeated.iter().map(|row| classes[*row]).collect::<Vec<_>>());
        for rbf in [None, Some(Gamma::Value(0.5))] {
            let options = SvcOptions { rbf, tolerance: 1e-6, ..SvcOptions::default() };
            let weighted = Svc::fit(x, &classes, 2, SvcOptions { sample_weights: Some(&weights), ..options }).unwrap();
            let other = Svc::fit(Matrix { data: &rows, n_cols: 2 }, &repeated_classes, 2, options).unwrap();
            for row in 0..40 {
                let (a, b) = (weighted.decisions(x.row(row))[0], other.decisions(x.row(row))[0]);
                assert!((a - b).abs() < 1e-3, "row {row}: {a} is not {b}");
            }
        }
    }

    #[test]
    fn one_class_is_an_error() {
        let x = Matrix { data: &[1.0, 2.0], n_cols: 1 };
        assert_eq!(Svc::fit(x, &[1, 1], 2, SvcOptions::default()).unwrap_err(), AlgoError::OneClass { rows: 2 });
    }
}
