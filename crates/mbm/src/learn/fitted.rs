//! One learner fitted on the rows of one fold.

use mbm_algo::tree::{
    Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Forest, ForestSettings, InvalidTrees, MaxFeatures,
};
use mbm_algo::{ArrayMut, Matrix};
use serde::{Deserialize, Serialize};

use crate::learn::columns::Block;
use crate::learn::settings::{BoostedTreesLearner, ExtraTreesLearner, Learner, RandomForestLearner};
use crate::learn::task::Task;

/// A fitted learner. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Fitted {
    /// Boosted trees.
    BoostedTrees(BoostedTrees),
    /// A forest.
    Forest(Forest),
}

/// What all learners are fitted on.
pub(crate) struct Data<'a> {
    /// The task of the output.
    pub task: Task,
    /// The columns of all rows.
    pub block: &'a Block,
    /// The same, binned.
    pub binned: &'a Binned,
    /// `[rows, task.n_values()]`
    pub targets: &'a [f32],
    /// `[rows, task.n_fitted()]`
    pub tree_targets: &'a [f32],
    /// A weight per row.
    pub weights: &'a [f32],
}

/// The rows of a fold, as positions in the data.
pub(crate) struct Fold {
    /// Its position among the folds.
    pub at: usize,
    /// Rows to fit on.
    pub rows: Vec<u32>,
    /// Rows that are held out; none for a fit on all rows.
    pub held_out: Vec<u32>,
}

impl<'a> Data<'a> {
    /// Bins the columns of a block.
    pub fn bin(block: &Block, kinds: &[ColumnKind]) -> Binned {
        Binned::new(Matrix { data: &block.data, n_cols: block.n_cols.max(1) }, kinds)
    }

    fn examples<'b>(&'b self, fold: &'b Fold) -> Examples<'b> {
        Examples {
            binned: self.binned,
            targets: self.tree_targets,
            n_outputs: self.task.n_fitted(),
            weights: self.weights,
            rows: &fold.rows,
            validation: &fold.held_out,
        }
    }

    /// Fits a learner on a fold; `None` for the network, which is trained elsewhere. Once `proceed` returns false, fitting ends as soon
    /// as it can.
    pub fn fit(&self, learner: &Learner, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Option<Fitted> {
        match learner {
            Learner::Network(_) => None,
            Learner::BoostedTrees(it) => Some(self.boosted_trees(it, fold, seed, proceed)),
            Learner::RandomForest(it) => Some(self.forest(&self.random_forest(it), fold, seed, proceed)),
            Learner::ExtraTrees(it) => Some(self.forest(&self.extra_trees(it), fold, seed, proceed)),
        }
    }

    fn boosted_trees(&self, it: &BoostedTreesLearner, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Fitted {
        let given = it.rounds.get(fold.at).copied();
        let min_rows = it.min_rows.unwrap_or((fold.rows.len() / 50).clamp(3, 20));
        let settings = BoostingSettings {
            max_rounds: given.unwrap_or(it.max_rounds),
            patience: it.patience,
            learning_rate: it.learning_rate,
            growth: it.growth.into(),
            max_leaves: it.max_leaves,
            max_depth: it.max_depth,
            min_rows,
            min_hessian: 1e-7,
            l2: it.l2,
            row_share: it.row_share,
            column_share: it.column_share,
            random_thresholds: it.random_thresholds,
        };
        let mut examples = self.examples(fold);
        if given.is_some() {
            examples.validation = &[];
        }
        Fitted::BoostedTrees(BoostedTrees::fit(&examples, self.task.objective(), &settings, seed, &mut |_| proceed()))
    }

    fn forest(&self, settings: &ForestSettings, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Fitted {
        Fitted::Forest(Forest::fit(&self.examples(fold), settings, seed, proceed))
    }

    fn random_forest(&self, it: &RandomForestLearner) -> ForestSettings {
        ForestSettings {
            n_trees: it.n_trees,
            min_rows: it.min_rows,
            max_features: self.max_features(it.column_share),
            bootstrap: true,
            random_thresholds: false,
        }
    }

    fn extra_trees(&self, it: &ExtraTreesLearner) -> ForestSettings {
        ForestSettings {
            n_trees: it.n_trees,
            min_rows: it.min_rows,
            max_features: self.max_features(it.column_share),
            bootstrap: false,
            random_thresholds: true,
        }
    }

    /// The defaults of scikit-learn's forests.
    fn max_features(&self, column_share: Option<f64>) -> MaxFeatures {
        let default = if self.task.is_classification() { MaxFeatures::Sqrt } else { MaxFeatures::Share(1.0) };
        column_share.map_or(default, MaxFeatures::Share)
    }
}

impl Fitted {
    /// Predicts a row `[columns]`: `[task.n_values()]`.
    pub fn predict(&self, task: Task, row: &[f32]) -> Vec<f32> {
        match self {
            Self::BoostedTrees(trees) => task.completed(trees.predict(row)),
            Self::Forest(forest) => task.completed(forest.predict(row)),
        }
    }

    /// Returns its arrays by name.
    pub fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        match self {
            Self::BoostedTrees(BoostedTrees { trees, .. }) | Self::Forest(Forest { trees }) => trees.arrays().into(),
        }
    }

    /// Returns the number of rounds, if it is boosted.
    pub fn n_rounds(&self) -> Option<usize> {
        match self {
            Self::BoostedTrees(trees) => Some(trees.n_rounds()),
            Self::Forest(_) => None,
        }
    }

    /// Checks a learner that was read from a file.
    ///
    /// # Errors
    /// Says which part cannot have been fitted.
    pub fn check(&self, task: Task, n_cols: usize) -> Result<(), InvalidTrees> {
        match self {
            Self::BoostedTrees(trees) if trees.objective == task.objective() => trees.check(n_cols, task.n_fitted()),
            Self::BoostedTrees(_) => Err(InvalidTrees("the objective")),
            Self::Forest(forest) => forest.check(n_cols, task.n_fitted()),
        }
    }
}
