//! Random forests (Breiman 2001) and extremely randomized trees (Geurts et al. 2006), for numbers and classes alike: a leaf holds the mean
//! of the targets, and splits minimize their squared error, which for indicators of classes is Gini's impurity.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::boosting::Examples;
use super::forest_tree::grow;
use super::trees::{Grown, InvalidTrees, Trees};

/// How many columns are tried per split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFeatures {
    /// The square root of their number.
    Sqrt,
    /// A share of them.
    Share(f64),
}

/// The settings of a forest.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestSettings {
    /// Number of trees.
    pub n_trees: usize,
    /// Minimum number of rows of a leaf.
    pub min_rows: usize,
    /// How many columns are tried per split.
    pub max_features: MaxFeatures,
    /// Whether each tree samples rows with replacement.
    pub bootstrap: bool,
    /// Whether thresholds are drawn at random instead of searched.
    pub random_thresholds: bool,
}

/// A fitted forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// Its trees.
    pub trees: Trees,
}

impl Forest {
    /// Fits a forest. `proceed` is called before each tree, from several threads, and returns whether to continue; at least one tree is
    /// grown.
    pub fn fit(examples: &Examples, settings: &ForestSettings, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Self {
        let empty = Trees::new(examples.binned.n_cols(), examples.n_outputs);
        let grown = |tree: usize| {
            let mut trees = empty.clone();
            if tree == 0 || proceed() {
                trees.push_tree(&grow_tree(examples, settings, tree_seed(seed, tree)));
            }
            trees
        };
        let grown: Vec<Trees> = (0..settings.n_trees).into_par_iter().map(grown).collect();
        let mut trees = empty;
        grown.iter().for_each(|tree| trees.append(tree));
        Self { trees }
    }

    /// Predicts a row `[n_cols]`: the mean of its leaves, `[n_outputs]`.
    pub fn predict(&self, row: &[f32]) -> Vec<f32> {
        self.predict_rows(&[row])
    }

    /// Predicts rows `[n_cols]` as [`Forest::predict`] does, `[rows, n_outputs]`, in less time than one by one.
    pub fn predict_rows(&self, rows: &[&[f32]]) -> Vec<f32> {
        let n_values = self.trees.n_values;
        let mut sums = vec![0f32; rows.len() * n_values];
        self.trees.each_leaf(rows, |row, _, leaf| {
            let own = &mut sums[row * n_values..(row + 1) * n_values];
            own.iter_mut().zip(leaf).for_each(|(sum, value)| *sum += value);
        });
        sums.iter_mut().for_each(|sum| *sum /= self.trees.len().max(1) as f32);
        sums
    }

    /// Checks a forest that was read from a file.
    ///
    /// # Errors
    /// Says which part cannot have been fitted.
    pub fn check(&self, n_cols: usize, n_outputs: usize) -> Result<(), InvalidTrees> {
        self.trees.check(n_cols, n_outputs)
    }
}

fn tree_seed(seed: u64, tree: usize) -> u64 {
    seed.wrapping_add((tree as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Grows a tree; for few targets by code in which their number is known.
fn grow_tree(examples: &Examples, settings: &ForestSettings, seed: u64) -> Grown {
    match examples.n_outputs {
        1 => grow(examples, settings, &[0.0; 3], seed),
        2 => grow(examples, settings, &[0.0; 4], seed),
        3 => grow(examples, settings, &[0.0; 5], seed),
        n_outputs => grow(examples, settings, &vec![0.0; 2 + n_outputs], seed),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::Matrix;
    use crate::tree::{Binned, ColumnKind, Rng};

    fn uniform(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn fit(x: &[f32], kinds: &[ColumnKind], targets: &[f32], n_outputs: usize, settings: &ForestSettings) -> Forest {
        let x = Matrix { data: x, n_cols: kinds.len() };
        let binned = Binned::new(x, kinds);
        let (rows, weights) = ((0..x.n_rows() as u32).collect::<Vec<_>>(), vec![1.0; x.n_rows()]);
        Forest::fit(
            &Examples { binned: &binned, targets, n_outputs, weights: &weights, rows: &rows, validation: &[] },
            settings,
            1,
            &|| true,
        )
    }

    fn both() -> [ForestSettings; 2] {
        let random_forest = ForestSettings {
            n_trees: 60,
            min_rows: 1,
            max_features: MaxFeatures::Share(1.0),
            bootstrap: true,
            random_thresholds: false,
        };
        [random_forest.clone(), ForestSettings { bootstrap: false, random_thresholds: true, ..random_forest }]
    }

    #[test]
    fn forests_learn_a_product() {
        let (x, fresh) = (uniform(2000, 1), uniform(400, 2));
        let product = |row: &[f32]| row[0] * row[1];
        let targets: Vec<f32> = x.chunks(2).map(product).collect();
        for settings in both() {
            let forest = fit(&x, &[ColumnKind::Number; 2], &targets, 1, &settings);
            let error: f32 = fresh.chunks(2).map(|row| (forest.predict(row)[0] - product(row)).powi(2)).sum::<f32>() / 200.0;
            // The variance of the product is 1/9.
            assert!(error < 0.01, "{error}");
            assert_eq!(forest.check(2, 1), Ok(()));
        }
    }

    #[test]
    fn a_fully_grown_tree_without_bootstrap_repeats_its_training_rows() {
        let x = uniform(300, 3);
        let kinds = [ColumnKind::Number; 3];
        let targets: Vec<f32> =
            (0..100).flat_map(|row| [f32::from(u8::from(row % 3 == 0)), f32::from(u8::from(row % 3 != 0))]).collect();
        let settings = ForestSettings { n_trees: 3, max_features: MaxFeatures::Sqrt, ..both()[1].clone() };
        let forest = fit(&x, &kinds, &targets, 2, &settings);
        for (row, target) in x.chunks(3).zip(targets.chunks(2)) {
            assert_eq!(forest.predict(row), target);
        }
        let rows: Vec<&[f32]> = x.chunks(3).collect();
        assert_eq!(forest.predict_rows(&rows), targets);
    }

    #[test]
    fn missing_values_and_categories_are_split() {
        let x: Vec<f32> = (0..300).flat_map(|row| [(row % 6) as f32, if row % 5 == 0 { f32::NAN } else { 1.0 }]).collect();
        let target = |row: &[f32]| f32::from(u8::from(row[0] % 2.0 == 1.0)) + if row[1].is_nan() { 3.0 } else { 0.0 };
        let targets: Vec<f32> = x.chunks(2).map(target).collect();
        for settings in both() {
            let forest = fit(&x, &[ColumnKind::Category, ColumnKind::Number], &targets, 1, &settings);
            for row in x.chunks(2) {
                let predicted = forest.predict(row)[0];
                assert!((predicted - target(row)).abs() < 0.1, "{row:?}: {predicted}");
            }
        }
    }

    #[test]
    fn min_rows_limits_leaves() {
        let x = uniform(400, 5);
        let targets = uniform(400, 6);
        for settings in both() {
            let settings = ForestSettings { min_rows: 40, n_trees: 4, ..settings };
            let forest = fit(&x, &[ColumnKind::Number], &targets, 1, &settings);
            assert!(forest.trees.values.len() <= 4 * 10, "{}", forest.trees.values.len());
        }
    }
}
