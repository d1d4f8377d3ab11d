//! Gradient boosting (Friedman 2001) with second derivatives (Chen and Guestrin 2016) on binned columns (Ke et al. 2017).

use serde::{Deserialize, Serialize};

use super::bins::Binned;
use super::loss::Objective;
use super::rounds::Rounds;
use super::trees::{InvalidTrees, Trees};

/// How trees grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The leaf with the largest gain is split next.
    LeafWise,
    /// All nodes of a level share a test.
    Symmetric,
}

/// The settings of boosting.
#[derive(Debug, Clone, PartialEq)]
pub struct BoostingSettings {
    /// Maximum number of rounds; a round adds a tree per output.
    pub max_rounds: usize,
    /// Number of rounds without a lower validation loss after which boosting stops.
    pub patience: usize,
    /// Factor of the values of leaves.
    pub learning_rate: f64,
    /// How trees grow.
    pub growth: Growth,
    /// Maximum number of leaves of a tree that grows leaf by leaf.
    pub max_leaves: usize,
    /// Maximum depth of a tree.
    pub max_depth: usize,
    /// Minimum number of rows of a leaf.
    pub min_rows: usize,
    /// Minimum sum of second derivatives of a leaf.
    pub min_hessian: f64,
    /// L2 penalty on the values of leaves.
    pub l2: f64,
    /// Share of the rows that each round samples.
    pub row_share: f64,
    /// Share of the columns that each tree samples.
    pub column_share: f64,
    /// Whether thresholds are drawn at random instead of searched.
    pub random_thresholds: bool,
}

impl Default for BoostingSettings {
    /// The defaults of LightGBM, with fewer rounds at a time.
    fn default() -> Self {
        Self {
            max_rounds: 100,
            patience: 50,
            learning_rate: 0.1,
            growth: Growth::LeafWise,
            max_leaves: 31,
            max_depth: 64,
            min_rows: 20,
            min_hessian: 1e-3,
            l2: 0.0,
            row_share: 1.0,
            column_share: 1.0,
            random_thresholds: false,
        }
    }
}

/// Rows to fit on.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// The binned columns of all rows.
    pub binned: &'a Binned,
    /// `[rows, n_outputs]`: numbers, labels of 0 and 1, or indicators of classes.
    pub targets: &'a [f32],
    /// Number of outputs.
    pub n_outputs: usize,
    /// A weight per row.
    pub weights: &'a [f32],
    /// The rows to fit on.
    pub rows: &'a [u32],
    /// The rows whose loss decides when to stop; if empty, all rounds are made.
    pub validation: &'a [u32],
}

/// The state after a round, for a callback that returns whether to continue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Number of rounds so far.
    pub n_rounds: usize,
    /// Mean loss on the validation rows, if there are any.
    pub validation_loss: Option<f64>,
}

/// Fitted boosted trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoostedTrees {
    /// The objective.
    pub objective: Objective,
    /// The scores without any tree, `[n_outputs]`.
    pub base: Vec<f32>,
    /// The trees: those of a round follow each other, one per output.
    pub trees: Trees,
}

impl BoostedTrees {
    /// Fits trees to examples. With validation rows, only the rounds up to the lowest validation loss are kept. `proceed` is called
    /// after each round, and returns whether to continue.
    pub fn fit(
        examples: &Examples,
        objective: Objective,
        settings: &BoostingSettings,
        seed: u64,
        proceed: &mut dyn FnMut(Progress) -> bool,
    ) -> Self {
        let mut rounds = Rounds::new(examples, objective, settings, seed);
        let (mut best, mut best_loss) = (0, f64::INFINITY);
        for round in 1..=settings.max_rounds {
            if !rounds.add() {
                break;
            }
            let loss = rounds.validation_loss();
            if loss.is_none_or(|loss| loss < best_loss) {
                (best, best_loss) = (round, loss.unwrap_or(f64::INFINITY));
            }
            if !proceed(Progress { n_rounds: round, validation_loss: loss }) || round - best >= settings.patience {
                break;
            }
        }
        let (base, mut trees) = rounds.finish();
        trees.truncate(best * examples.n_outputs);
        Self { objective, base, trees }
    }

    /// Returns the number of rounds.
    pub fn n_rounds(&self) -> usize {
        self.trees.len() / self.base.len().max(1)
    }

    /// Predicts a row `[n_cols]`: `[n_outputs]` numbers or probabilities.
    pub fn predict(&self, row: &[f32]) -> Vec<f32> {
        self.predict_rows(&[row])
    }

    /// Predicts rows `[n_cols]` as [`BoostedTrees::predict`] does, `[rows, n_outputs]`, in less time than one by one.
    pub fn predict_rows(&self, rows: &[&[f32]]) -> Vec<f32> {
        let n_outputs = self.base.len();
        let mut scores = self.base.repeat(rows.len());
        self.trees.each_leaf(rows, |row, tree, leaf| scores[row * n_outputs + tree % n_outputs] += leaf[0]);
        scores.chunks_mut(n_outputs).for_each(|scores| self.objective.predictions(scores));
        scores
    }

    /// Checks trees that were read from a file.
    ///
    /// # Errors
    /// Says which part cannot have been fitted.
    pub fn check(&self, n_cols: usize, n_outputs: usize) -> Result<(), InvalidTrees> {
        if self.base.len() != n_outputs || n_outputs == 0 || self.base.iter().any(|score| !score.is_finite()) {
            return Err(InvalidTrees("the initial scores"));
        }
        self.trees.check(n_cols, 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::Matrix;
    use crate::tree::{ColumnKind, Rng};

    fn uniform(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn fit(x: &[f32], kinds: &[ColumnKind], targets: &[f32], objective: Objective, settings: &BoostingSettings) -> BoostedTrees {
        let x = Matrix { data: x, n_cols: kinds.len() };
        let binned = Binned::new(x, kinds);
        let n_outputs = targets.len() / x.n_rows();
        let (rows, weights) = ((0..x.n_rows() as u32).collect::<Vec<_>>(), vec![1.0; x.n_rows()]);
        let examples = Examples { binned: &binned, targets, n_outputs, weights: &weights, rows: &rows, validation: &[] };
        BoostedTrees::fit(&examples, objective, settings, 1, &mut |_| true)
    }

    fn both_growths() -> [BoostingSettings; 2] {
        let settings = BoostingSettings { min_rows: 1, l2: 1.0, ..BoostingSettings::default() };
        [settings.clone(), BoostingSettings { growth: Growth::Symmetric, max_depth: 4, ..settings }]
    }

    #[test]
    fn a_step_function_is_learned_exactly() {
        let x = [1.0, 2.0, 3.0, 4.0, f32::NAN, f32::NAN];
        let targets = [0.0, 0.0, 1.0, 1.0, 5.0, 5.0];
        for settings in both_growths() {
            let trees = fit(&x, &[ColumnKind::Number], &targets, Objective::Squared, &settings);
            for (value, target) in x.iter().zip(targets) {
                let predicted = trees.predict(&[*value])[0];
                assert!((predicted - target).abs() < 0.02, "{value}: {predicted}, {:?}", settings.growth);
            }
            assert_eq!(trees.check(1, 1), Ok(()));
            assert!(trees.check(2, 1).is_err());
        }
    }

    #[test]
    fn categories_are_split_as_sets() {
        // Odd codes have one value, even codes the other: no threshold separates them.
        let x: Vec<f32> = (0..400).map(|row| (row % 8) as f32).collect();
        let targets: Vec<f32> = x.iter().map(|code| code % 2.0).collect();
        for settings in both_growths() {
            let settings = BoostingSettings { max_leaves: 2, max_depth: 1, max_rounds: 60, ..settings };
            let trees = fit(&x, &[ColumnKind::Category], &targets, Objective::Logistic, &settings);
            for code in 0..8 {
                let predicted = trees.predict(&[code as f32])[0];
                assert!((predicted - (code % 2) as f32).abs() < 0.1, "{code}: {predicted}, {:?}", settings.growth);
            }
        }
    }

    #[test]
    fn softmax_learns_three_classes() {
        let x = uniform(900, 3);
        let class = |row: &[f32]| {
            if row[0] * row[1] > 0.0 {
                0
            } else if row[2] > 0.0 {
                1
            } else {
                2
            }
        };
        let classes: Vec<usize> = x.chunks(3).map(class).collect();
        let targets: Vec<f32> = classes.iter().flat_map(|class| (0..3).map(move |k| f32::from(u8::from(k == *class)))).collect();
        for settings in both_growths() {
            let trees = fit(&x, &[ColumnKind::Number; 3], &targets, Objective::Softmax, &settings);
            let fresh = uniform(300, 4);
            let hits = fresh.chunks(3).filter(|row| crate::tree::argmax(&trees.predict(row)) == class(row)).count();
            assert!(hits > 90, "{hits} of 100, {:?}", settings.growth);
            let rows: Vec<&[f32]> = fresh.chunks(3).collect();
            assert_eq!(trees.predict_rows(&rows), rows.iter().flat_map(|row| trees.predict(row)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn weights_count_as_repeated_rows() {
        let x: Vec<f32> = uniform(60, 5);
        let settings = BoostingSettings { min_rows: 1, ..BoostingSettings::default() };
        let fit = |x: &[f32], weights: &[f32]| {
            let binned = Binned::new(Matrix { data: x, n_cols: 1 }, &[ColumnKind::Number]);
            let targets: Vec<f32> = x.iter().map(|x| x * x).collect();
            let rows: Vec<u32> = (0..x.len() as u32).collect();
            let examples = Examples { binned: &binned, targets: &targets, n_outputs: 1, weights, rows: &rows, validation: &[] };
            BoostedTrees::fit(&examples, Objective::Squared, &settings, 1, &mut |_| true)
        };
        let weighted = fit(&x, &(0..60).map(|row| if row < 30 { 2.0 } else { 1.0 }).collect::<Vec<_>>());
        let repeated = fit(&[&x[..30], &x].concat(), &[1.0; 90]);
        for x in &x {
            let (a, b) = (weighted.predict(&[*x])[0], repeated.predict(&[*x])[0]);
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn validation_rows_stop_boosting_before_noise_is_learned() {
        let (x, noise) = (uniform(400, 7), uniform(400, 8));
        let binned = Binned::new(Matrix { data: &x, n_cols: 1 }, &[ColumnKind::Number]);
        let (rows, validation): (Vec<u32>, Vec<u32>) = (0..400).partition(|row| row % 2 == 0);
        let examples = Examples {
            binned: &binned,
            targets: &noise,
            n_outputs: 1,
            weights: &[1.0; 400],
            rows: &rows,
            validation: &validation,
        };
        let settings = BoostingSettings { patience: 10, max_rounds: 500, ..BoostingSettings::default() };
        let mut n_rounds = 0;
        let trees = BoostedTrees::fit(&examples, Objective::Squared, &settings, 1, &mut |progress| {
            n_rounds = progress.n_rounds;
            true
        });
        assert!(n_rounds < 60 && trees.n_rounds() + 10 == n_rounds, "{n_rounds}, {}", trees.n_rounds());
    }

    #[test]
    fn any_number_of_threads_grows_the_same_trees() {
        let x = uniform(40_000, 9);
        let targets: Vec<f32> = x.chunks(4).map(|row| row[0] * row[1] + row[2]).collect();
        let settings = BoostingSettings { max_rounds: 5, row_share: 0.7, column_share: 0.7, ..BoostingSettings::default() };
        let on = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| fit(&x, &[ColumnKind::Number; 4], &targets, Objective::Squared, &settings))
        };
        assert_eq!(on(1), on(4));
    }
}
