//! One learner fitted on the rows of one fold.

use mbm_algo::linear::{Linear, Logistic, Rows};
use mbm_algo::metric::SampleWeights;
use mbm_algo::svm::{Gamma, Svc, SvcOptions, Svr, SvrOptions};
use mbm_algo::tree::{Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Forest, ForestSettings, MaxFeatures};
use mbm_algo::{ArrayMut, Matrix};
use mbm_data::random::rng;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::learn::columns::Block;
use crate::learn::convolutions::{self, Convolutions};
use crate::learn::settings::{
    BoostedTreesLearner, ConvolutionsLearner, ExtraTreesLearner, Learner, RandomForestLearner, SvmLearner,
};
use crate::learn::task::{Task, Truth};

/// A fitted learner. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Fitted {
    /// Boosted trees.
    BoostedTrees(BoostedTrees),
    /// A forest.
    Forest(Forest),
    /// Ridge regression.
    Ridge(Linear),
    /// Logistic regression of classes.
    Logistic(Logistic),
    /// Logistic regression of each label; a label that all or none of the rows have is a share.
    Labels {
        /// One per label.
        labels: Vec<Label>,
    },
    /// A support vector classifier.
    Svc(Svc),
    /// A support vector regressor.
    Svr(Svr),
    /// Random convolutions of series.
    Convolutions(Convolutions),
    /// A support vector machine that reads some of the scaled columns.
    OfColumns {
        /// Their positions.
        columns: Vec<usize>,
        /// The machine.
        machine: Box<Fitted>,
    },
}

/// The model of a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Label {
    /// Its share among the rows.
    Share(f32),
    /// Logistic regression.
    Logistic(Logistic),
}

/// Number of products of a linear model or a kernel that take as long as the evaluation of a tree.
const PRODUCTS_PER_TREE: usize = 100;
/// Number of columns of a row with n-grams that are not zero, about.
const MAX_TERMS_READ: usize = 500;

/// What all learners are fitted on.
pub(crate) struct Data<'a> {
    /// The task of the output.
    pub task: Task,
    /// The columns of all rows.
    pub block: &'a Block,
    /// Number of columns that no text has a part in.
    pub n_without_texts: usize,
    /// The same, binned.
    pub binned: &'a Binned,
    /// The columns without those of media.
    pub plain: Plain<'a>,
    /// The same, scaled.
    pub scaled: &'a Block,
    /// The positions of the scaled columns that are a projection of n-grams. Linear models read the n-grams themselves; next to them, the
    /// projection would hardly be penalized.
    pub projected: &'a [usize],
    /// `[rows, task.n_values()]`
    pub targets: &'a [f32],
    /// `[rows, task.n_fitted()]`
    pub tree_targets: &'a [f32],
    /// The weights of all rows.
    pub weights: &'a SampleWeights,
    /// The same, one per row.
    pub tree_weights: &'a [f32],
}

/// The columns of numbers, categories, dates and vectors.
#[derive(Clone, Copy)]
pub(crate) struct Plain<'a> {
    /// Number of columns.
    pub n_cols: usize,
    /// All columns, binned, of which the others are constant.
    pub binned: &'a Binned,
    /// The positions of the others among the scaled columns.
    pub scaled_media: &'a [usize],
}

/// What rows of a model consist of.
pub(crate) struct Widths {
    /// Number of columns.
    pub n_cols: usize,
    /// Number of scaled columns.
    pub n_scaled: usize,
    /// Number of n-grams.
    pub n_terms: usize,
    /// Number of channels of each series.
    pub n_channels: Vec<usize>,
}

/// The rows of a fold, as positions in the data.
pub(crate) struct Fold {
    /// Its position among the folds.
    pub at: usize,
    /// Rows to fit on, which have weights above 0.
    pub rows: Vec<u32>,
    /// Rows that are held out; none for a fit on all rows.
    pub held_out: Vec<u32>,
}

/// Rows as learners read them.
#[derive(Clone, Copy)]
pub(crate) struct RowsView<'a> {
    /// The columns of all rows.
    pub block: &'a Block,
    /// The same, scaled; empty if no learner reads them.
    pub scaled: &'a Block,
    /// The positions of the rows.
    pub rows: &'a [usize],
}

/// Number of columns that trees try at most, where the settings do not say.
const MAX_COLUMNS: usize = 256;

/// Number of rows that are predicted together.
const CHUNK: usize = 256;

impl Data<'_> {
    /// Bins the columns of a block.
    pub fn bin(block: &Block, kinds: &[ColumnKind]) -> Binned {
        Binned::new(Matrix { data: &block.data, n_cols: block.n_cols.max(1) }, kinds)
    }

    /// Fits a learner on a fold; `None` if it is trained elsewhere (the network), does not suit the task, or there are no rows. Once `proceed` returns false,
    /// fitting ends as soon as it can.
    pub fn fit(&self, learner: &Learner, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Option<Fitted> {
        match learner {
            _ if fold.rows.is_empty() => None,
            Learner::Network(_) => None,
            Learner::BoostedTrees(it) => Some(self.boosted_trees(it, fold, seed, proceed)),
            Learner::RandomForest(it) => {
                let examples = self.examples(fold, it.without_media);
                Some(forest(examples, &self.random_forest(it), it.max_rows, seed, proceed))
            }
            Learner::ExtraTrees(it) => {
                let examples = self.examples(fold, it.without_media);
                Some(forest(examples, &self.extra_trees(it), it.max_rows, seed, proceed))
            }
            Learner::Linear(it) => self.linear(it, fold),
            Learner::Svm(it) => self.svm(it, fold, seed),
            Learner::Convolutions(it) => self.convolutions(it, fold, seed),
        }
    }

    fn examples<'b>(&'b self, fold: &'b Fold, is_plain: bool) -> Examples<'b> {
        Examples {
            binned: if is_plain { self.plain.binned } else { self.binned },
            targets: self.tree_targets,
            n_outputs: self.task.n_fitted(),
            weights: self.tree_weights,
            rows: &fold.rows,
            validation: &fold.held_out,
        }
    }

    fn boosted_trees(&self, it: &BoostedTreesLearner, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Fitted {
        let given = it.rounds.get(fold.at).copied();
        let settings = BoostingSettings {
            max_rounds: given.unwrap_or(it.max_rounds),
            patience: it.patience,
            learning_rate: it.learning_rate,
            growth: it.growth.into(),
            max_leaves: it.max_leaves,
            max_depth: it.max_depth,
            min_rows: it.min_rows.unwrap_or((fold.rows.len() / 50).clamp(3, 20)),
            min_hessian: 1e-7,
            l2: it.l2,
            row_share: it.row_share,
            column_share: it.column_share.unwrap_or_else(|| self.at_most(MAX_COLUMNS).min(0.8)),
            random_thresholds: it.random_thresholds,
        };
        let rows = sampled(&fold.rows, it.max_rows, seed);
        let mut examples = Examples { rows: &rows, ..self.examples(fold, it.without_media) };
        if given.is_some() {
            examples.validation = &[];
        }
        Fitted::BoostedTrees(BoostedTrees::fit(&examples, self.task.objective(), &settings, seed, &mut |_| proceed()))
    }

    fn random_forest(&self, it: &RandomForestLearner) -> ForestSettings {
        ForestSettings {
            n_trees: it.n_trees,
            min_rows: it.min_rows,
            max_features: self.max_features(it.column_share, it.without_media),
            bootstrap: true,
            random_thresholds: false,
        }
    }

    fn extra_trees(&self, it: &ExtraTreesLearner) -> ForestSettings {
        ForestSettings {
            n_trees: it.n_trees,
            min_rows: it.min_rows,
            max_features: self.max_features(it.column_share, it.without_media),
            bootstrap: false,
            random_thresholds: true,
        }
    }

    /// The defaults of scikit-learn's forests, with a bound for wide tables; the many columns of texts do not make the others less likely.
    fn max_features(&self, column_share: Option<f64>, is_plain: bool) -> MaxFeatures {
        let of_numbers = MaxFeatures::Share(self.at_most(MAX_COLUMNS));
        let of_classes = match if is_plain { self.plain.n_cols } else { self.n_without_texts } {
            n if n > 0 && n < self.block.n_cols => MaxFeatures::Share(1.0 / (n as f64).sqrt()),
            _ => MaxFeatures::Sqrt,
        };
        let default = if self.task.is_classification() { of_classes } else { of_numbers };
        column_share.map_or(default, MaxFeatures::Share)
    }

    /// Returns the share of the columns that is at most a number of them.
    fn at_most(&self, n_cols: usize) -> f64 {
        (n_cols as f64 / self.block.n_cols.max(1) as f64).min(1.0)
    }

    /// Returns the scaled columns of some rows.
    pub(super) fn scaled(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().flat_map(|row| self.scaled.row(*row as usize).iter().copied()).collect()
    }

    /// Returns the targets of some rows, `[rows, task.n_values()]`.
    pub(super) fn targets(&self, rows: &[u32]) -> Vec<f32> {
        let n = self.task.n_values();
        rows.iter().flat_map(|row| self.targets[*row as usize * n..(*row as usize + 1) * n].iter().copied()).collect()
    }

    pub(super) fn classes(&self, rows: &[u32]) -> Vec<usize> {
        let n = self.task.n_values();
        let targets = self.targets(rows);
        targets.chunks(n).map(|row| row.iter().position(|value| *value > 0.5).unwrap_or(0)).collect()
    }

    pub(super) fn weights_of(&self, rows: &[u32]) -> SampleWeights {
        self.weights.select(rows.iter().map(|row| *row as usize))
    }

    /// Returns what predictions for some rows are compared with.
    pub(super) fn truth(&self, rows: &[u32]) -> Truth {
        Truth { targets: self.targets(rows), weights: self.weights_of(rows) }
    }

    fn convolutions(&self, it: &ConvolutionsLearner, fold: &Fold, seed: u64) -> Option<Fitted> {
        if self.block.series.is_empty() {
            return None;
        }
        let rows = sampled(&fold.rows, it.max_rows, seed);
        let examples = convolutions::Examples {
            task: self.task,
            series: &self.block.series,
            rows: &rows,
            targets: &self.targets(&rows),
            weights: &self.weights_of(&rows),
            penalties: &it.penalties,
        };
        Convolutions::fit(&examples, seed).ok().map(Fitted::Convolutions)
    }

    fn svm(&self, it: &SvmLearner, fold: &Fold, seed: u64) -> Option<Fitted> {
        let rows = sampled(&fold.rows, it.max_rows, seed);
        let data = self.scaled(&rows);
        let x = Matrix { data: &data, n_cols: self.scaled.n_cols.max(1) };
        if !it.without_media {
            return self.svm_of(it, &rows, x);
        }
        let columns = kept(x.n_cols, self.plain.scaled_media);
        if columns.is_empty() {
            return None;
        }
        let data = narrowed(&data, x.n_cols, &columns);
        let machine = Box::new(self.svm_of(it, &rows, Matrix { data: &data, n_cols: columns.len() })?);
        Some(Fitted::OfColumns { columns, machine })
    }

    /// Fits a support vector machine to the scaled columns of some rows.
    fn svm_of(&self, it: &SvmLearner, rows: &[u32], x: Matrix) -> Option<Fitted> {
        let weights = self.weights_of(rows);
        let sample_weights = weights.as_slice();
        match self.task {
            Task::Classes(n_classes) => {
                let options = SvcOptions { c: it.c, rbf: Some(Gamma::Scale), tolerance: 1e-3, sample_weights };
                Svc::fit(x, &self.classes(rows), n_classes, options).ok().map(Fitted::Svc)
            }
            Task::Number => {
                let options = SvrOptions { c: it.c, epsilon: 0.1, rbf: Some(Gamma::Scale), tolerance: 1e-3, sample_weights };
                Svr::fit(x, &self.targets(rows), options).ok().map(Fitted::Svr)
            }
            Task::Labels(_) | Task::Vector(_) => None,
        }
    }
}

fn forest(
    examples: Examples,
    settings: &ForestSettings,
    max_rows: usize,
    seed: u64,
    proceed: &(dyn Fn() -> bool + Sync),
) -> Fitted {
    let rows = sampled(examples.rows, max_rows, seed);
    Fitted::Forest(Forest::fit(&Examples { rows: &rows, ..examples }, settings, seed, proceed))
}

/// Returns the positions of columns but those that are left out, which ascend.
pub(super) fn kept(n_cols: usize, left_out: &[usize]) -> Vec<usize> {
    (0..n_cols).filter(|at| left_out.binary_search(at).is_err()).collect()
}

/// Returns some columns of rows, `[rows, columns]`, from all of them, `[rows, n_cols]`.
pub(super) fn narrowed(rows: &[f32], n_cols: usize, columns: &[usize]) -> Vec<f32> {
    rows.chunks(n_cols).flat_map(|row| columns.iter().map(|at| row[*at])).collect()
}

/// Returns at most `max_rows` of the rows, in their order.
fn sampled(rows: &[u32], max_rows: usize, seed: u64) -> Vec<u32> {
    let mut rows = rows.to_vec();
    if rows.len() > max_rows {
        rows.shuffle(&mut rng(seed));
        rows.truncate(max_rows);
        rows.sort_unstable();
    }
    rows
}

impl RowsView<'_> {
    /// Passes the scaled columns and the n-grams of the rows to a linear model.
    fn read<T>(self, predict: impl FnOnce(Rows) -> T) -> T {
        let dense: Vec<f32> = self.rows.iter().flat_map(|row| self.scaled.row(*row)).copied().collect();
        let dense = Matrix { data: &dense, n_cols: self.scaled.n_cols.max(1) };
        if self.block.terms.n_cols() == 0 {
            return predict(Rows::from(dense));
        }
        let terms = self.block.terms.select(self.rows);
        predict(Rows { dense: Some(dense), sparse: Some(&terms) })
    }
}

impl Fitted {
    /// Predicts rows: `[rows, task.n_values()]`.
    pub fn predict(&self, task: Task, view: RowsView) -> Vec<f32> {
        let chunks = view.rows.par_chunks(CHUNK);
        let predicted: Vec<Vec<f32>> = chunks.map(|rows| self.predict_chunk(task, RowsView { rows, ..view })).collect();
        predicted.concat()
    }

    fn predict_chunk(&self, task: Task, view: RowsView) -> Vec<f32> {
        let columns = || view.rows.iter().map(|row| view.block.row(*row)).collect::<Vec<_>>();
        let each = |predict: &dyn Fn(usize) -> Vec<f32>| view.rows.iter().flat_map(|row| predict(*row)).collect();
        match self {
            Self::BoostedTrees(trees) => task.completed(trees.predict_rows(&columns())),
            Self::Forest(forest) => task.completed(forest.predict_rows(&columns())),
            Self::Ridge(linear) => view.read(|rows| linear.predict(rows)),
            Self::Logistic(logistic) => view.read(|rows| logistic.probabilities(rows)),
            Self::Labels { labels } => {
                let of_labels: Vec<Vec<f32>> = view.read(|rows| labels.iter().map(|label| label.probabilities(rows)).collect());
                (0..view.rows.len()).flat_map(|row| of_labels.iter().map(move |label| label[row])).collect()
            }
            Self::Svc(svc) => each(&|row| svc.probabilities(view.scaled.row(row))),
            Self::Svr(svr) => each(&|row| vec![svr.predict(view.scaled.row(row))]),
            Self::Convolutions(convolutions) => each(&|row| convolutions.predict(task, &view.block.series, row)),
            Self::OfColumns { columns, machine } => {
                let narrow = view.scaled.select(view.rows, columns);
                let rows: Vec<usize> = (0..narrow.n_rows).collect();
                machine.predict_chunk(task, RowsView { block: &narrow, scaled: &narrow, rows: &rows })
            }
        }
    }

    /// Whether it reads scaled columns.
    pub fn reads_scaled(&self) -> bool {
        !matches!(self, Self::BoostedTrees(_) | Self::Forest(_) | Self::Convolutions(_))
    }

    /// Returns its arrays by name.
    pub fn arrays(&mut self) -> Vec<(String, ArrayMut<'_>)> {
        match self {
            Self::BoostedTrees(BoostedTrees { trees, .. }) | Self::Forest(Forest { trees }) => {
                trees.arrays().into_iter().map(|(name, array)| (name.to_owned(), array)).collect()
            }
            Self::Ridge(linear) | Self::Logistic(Logistic { linear, .. }) => {
                vec![("weights".to_owned(), ArrayMut::F32(&mut linear.weights))]
            }
            Self::Labels { labels } => labels.iter_mut().enumerate().filter_map(|(at, label)| label.array(at)).collect(),
            Self::Svc(svc) => {
                let machines = svc.machines.iter_mut().enumerate();
                let weights = machines.map(|(at, machine)| (format!("weights.{at}"), ArrayMut::F32(&mut machine.weights)));
                weights.chain([("support".to_owned(), ArrayMut::F32(&mut svc.support))]).collect()
            }
            Self::Svr(svr) => vec![
                ("support".to_owned(), ArrayMut::F32(&mut svr.support)),
                ("weights".to_owned(), ArrayMut::F32(&mut svr.weights)),
            ],
            Self::Convolutions(convolutions) => convolutions.arrays(),
            Self::OfColumns { machine, .. } => machine.arrays(),
        }
    }

    /// Returns the number of rounds of boosting; 0 for other learners.
    pub fn n_rounds(&self) -> usize {
        if let Self::BoostedTrees(trees) = self { trees.n_rounds() } else { 0 }
    }

    /// Returns the settings by which it is fitted again on other rows, without rows to choose settings by.
    pub fn settled(&self, learner: &Learner) -> Learner {
        match (self, learner) {
            (Self::BoostedTrees(trees), Learner::BoostedTrees(it)) => {
                Learner::BoostedTrees(BoostedTreesLearner { rounds: vec![trees.n_rounds()], ..it.clone() })
            }
            _ => learner.clone(),
        }
    }

    /// Returns about how long a prediction takes, in evaluations of one tree.
    pub fn cost(&self) -> usize {
        let of_linear = |linear: &Linear| linear.n_outputs * linear.n_cols.min(MAX_TERMS_READ) / PRODUCTS_PER_TREE;
        match self {
            Self::BoostedTrees(BoostedTrees { trees, .. }) | Self::Forest(Forest { trees }) => trees.len(),
            Self::Ridge(linear) | Self::Logistic(Logistic { linear, .. }) => of_linear(linear),
            Self::Labels { labels } => labels.iter().map(|label| label.logistic().map_or(0, |it| of_linear(&it.linear))).sum(),
            Self::Svc(svc) => svc.support.len() / PRODUCTS_PER_TREE,
            Self::Svr(svr) => svr.support.len() / PRODUCTS_PER_TREE,
            Self::Convolutions(convolutions) => convolutions.cost(),
            Self::OfColumns { machine, .. } => machine.cost(),
        }
    }

    /// Checks a learner that was read from a file.
    ///
    /// # Errors
    /// Says which part cannot have been fitted.
    pub fn check(&self, task: Task, widths: &Widths) -> Result<(), &'static str> {
        let Widths { n_cols, n_scaled, n_terms, n_channels } = widths;
        let suits = match (self, task) {
            (Self::BoostedTrees(trees), _) => {
                trees.check(*n_cols, task.n_fitted()).map_err(|invalid| invalid.0)?;
                trees.objective == task.objective()
            }
            (Self::Forest(forest), _) => {
                forest.check(*n_cols, task.n_fitted()).map_err(|invalid| invalid.0)?;
                true
            }
            (Self::Ridge(linear), Task::Number | Task::Vector(_)) => linear.suits(n_scaled + n_terms, task.n_values()),
            (Self::Logistic(logistic), Task::Classes(n_classes)) => logistic.suits(n_scaled + n_terms, n_classes),
            (Self::Labels { labels }, Task::Labels(n_labels)) => {
                labels.len() == n_labels && labels.iter().all(|label| label.suits(n_scaled + n_terms))
            }
            (Self::Svc(svc), Task::Classes(n_classes)) => svc.suits(*n_scaled, n_classes),
            (Self::Svr(svr), Task::Number) => svr.suits(*n_scaled),
            (Self::Convolutions(convolutions), _) => convolutions.suits(task, n_channels),
            (Self::OfColumns { columns, machine }, _) => {
                let are_columns = columns.is_sorted_by(|a, b| a < b) && columns.last().is_some_and(|last| last < n_scaled);
                let widths = Widths { n_scaled: columns.len(), n_channels: Vec::new(), ..*widths };
                are_columns && matches!(**machine, Self::Svc(_) | Self::Svr(_)) && machine.check(task, &widths).is_ok()
            }
            _ => false,
        };
        if suits { Ok(()) } else { Err("a learner does not suit its output") }
    }
}

impl Label {
    fn probabilities(&self, rows: Rows) -> Vec<f32> {
        match self {
            Self::Share(share) => vec![*share; rows.n_rows()],
            Self::Logistic(logistic) => logistic.probabilities(rows).into_iter().skip(1).step_by(2).collect(),
        }
    }

    fn logistic(&self) -> Option<&Logistic> {
        if let Self::Logistic(logistic) = self { Some(logistic) } else { None }
    }

    fn array(&mut self, at: usize) -> Option<(String, ArrayMut<'_>)> {
        match self {
            Self::Share(_) => None,
            Self::Logistic(logistic) => Some((format!("weights.{at}"), ArrayMut::F32(&mut logistic.linear.weights))),
        }
    }

    fn suits(&self, n_cols: usize) -> bool {
        match self {
            Self::Share(share) => (0.0..=1.0).contains(share),
            Self::Logistic(logistic) => logistic.suits(n_cols, 2),
        }
    }
}
