//! One learner fitted on the rows of one fold.

use mbm_algo::linear::{ClassifiedRows, Linear, Logistic, NumberedRows, RidgePath, Rows, Stopping};
use mbm_algo::svm::{Gamma, Svc, SvcOptions, Svr, SvrOptions};
use mbm_algo::tree::{Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Forest, ForestSettings, MaxFeatures};
use mbm_algo::{ArrayMut, Matrix};
use mbm_data::random::rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::learn::columns::Block;
use crate::learn::convolutions::{self, Convolutions};
use crate::learn::settings::{
    BoostedTreesLearner, ConvolutionsLearner, ExtraTreesLearner, Learner, LinearLearner, RandomForestLearner, SvmLearner,
};
use crate::learn::task::Task;

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

/// What all learners are fitted on.
pub(crate) struct Data<'a> {
    /// The task of the output.
    pub task: Task,
    /// The columns of all rows.
    pub block: &'a Block,
    /// The same, binned.
    pub binned: &'a Binned,
    /// The same, scaled.
    pub scaled: &'a Block,
    /// `[rows, task.n_values()]`
    pub targets: &'a [f32],
    /// `[rows, task.n_fitted()]`
    pub tree_targets: &'a [f32],
    /// A weight per row.
    pub weights: &'a [f32],
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
    /// Rows to fit on.
    pub rows: Vec<u32>,
    /// Rows that are held out; none for a fit on all rows.
    pub held_out: Vec<u32>,
}

/// A row as learners read it.
#[derive(Clone, Copy)]
pub(crate) struct RowView<'a> {
    /// The columns of all rows.
    pub block: &'a Block,
    /// The row.
    pub row: usize,
    /// Its columns, scaled; empty if no learner reads them.
    pub scaled: &'a [f32],
}

/// Maximum number of labels that linear models are fitted to.
const MAX_LABELS: usize = 100;

impl Data<'_> {
    /// Bins the columns of a block.
    pub fn bin(block: &Block, kinds: &[ColumnKind]) -> Binned {
        Binned::new(Matrix { data: &block.data, n_cols: block.n_cols.max(1) }, kinds)
    }

    /// Returns a row as learners read it.
    pub fn row(&self, row: usize) -> RowView<'_> {
        RowView { block: self.block, row, scaled: self.scaled.row(row) }
    }

    /// Fits a learner on a fold; `None` if it is trained elsewhere (the network) or does not suit the task. Once `proceed` returns false,
    /// fitting ends as soon as it can.
    pub fn fit(&self, learner: &Learner, fold: &Fold, seed: u64, proceed: &(dyn Fn() -> bool + Sync)) -> Option<Fitted> {
        match learner {
            Learner::Network(_) => None,
            Learner::BoostedTrees(it) => Some(self.boosted_trees(it, fold, seed, proceed)),
            Learner::RandomForest(it) => Some(self.forest(&self.random_forest(it), fold, seed, proceed)),
            Learner::ExtraTrees(it) => Some(self.forest(&self.extra_trees(it), fold, seed, proceed)),
            Learner::Linear(it) => self.linear(it, fold),
            Learner::Svm(it) => self.svm(it, fold, seed),
            Learner::Convolutions(it) => self.convolutions(it, fold, seed),
        }
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

    /// Returns the scaled columns of some rows.
    fn scaled(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().flat_map(|row| self.scaled.row(*row as usize).iter().copied()).collect()
    }

    /// Returns the targets of some rows, `[rows, task.n_values()]`.
    fn targets(&self, rows: &[u32]) -> Vec<f32> {
        let n = self.task.n_values();
        rows.iter().flat_map(|row| self.targets[*row as usize * n..(*row as usize + 1) * n].iter().copied()).collect()
    }

    fn classes(&self, rows: &[u32]) -> Vec<usize> {
        let n = self.task.n_values();
        let targets = self.targets(rows);
        targets.chunks(n).map(|row| row.iter().position(|value| *value > 0.5).unwrap_or(0)).collect()
    }

    fn linear(&self, it: &LinearLearner, fold: &Fold) -> Option<Fitted> {
        let (data, weights) = (self.scaled(&fold.rows), self.weights_of(&fold.rows));
        let idx: Vec<usize> = fold.rows.iter().map(|row| *row as usize).collect();
        let terms = self.block.terms.select(&idx);
        let dense = Matrix { data: &data, n_cols: self.scaled.n_cols.max(1) };
        let rows = if terms.n_cols() > 0 { Rows { dense: Some(dense), sparse: Some(&terms) } } else { Rows::from(dense) };
        match self.task {
            Task::Number | Task::Vector(_) => self.ridge(it, rows, &weights, fold),
            Task::Classes(n_classes) => {
                let classes = self.classes(&fold.rows);
                let data = ClassifiedRows { rows, classes: &classes, n_classes, sample_weights: Some(&weights) };
                self.logistic(it, data, fold, self.task).map(Fitted::Logistic)
            }
            Task::Labels(n_labels) if n_labels <= MAX_LABELS => {
                let targets = self.targets(&fold.rows);
                let label = |at: usize| {
                    let classes: Vec<usize> =
                        targets.iter().skip(at).step_by(n_labels).map(|value| usize::from(*value > 0.5)).collect();
                    let data = ClassifiedRows { rows, classes: &classes, n_classes: 2, sample_weights: Some(&weights) };
                    let share = classes.iter().sum::<usize>() as f32 / classes.len().max(1) as f32;
                    self.label(it, data, fold, at).map_or(Label::Share(share), Label::Logistic)
                };
                Some(Fitted::Labels { labels: (0..n_labels).map(label).collect() })
            }
            Task::Labels(_) => None,
        }
    }

    fn weights_of(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().map(|row| self.weights[*row as usize]).collect()
    }

    /// Fits ridge regression with the penalty that has the lowest error by leave-one-out, or on the held-out rows.
    fn ridge(&self, it: &LinearLearner, rows: Rows, weights: &[f32], fold: &Fold) -> Option<Fitted> {
        let targets = self.targets(&fold.rows);
        let n_cols = self.task.n_values();
        let data = NumberedRows { rows, targets: Matrix { data: &targets, n_cols }, sample_weights: Some(weights) };
        let path = RidgePath::new(data, &it.penalties).ok()?;
        if let Some(left_out) = &path.leave_one_out {
            let errors: Vec<f64> = left_out.iter().map(|predicted| self.task.loss(predicted, &targets)).collect();
            return Some(Fitted::Ridge(path.model(it.penalties[smallest(&errors)])));
        }
        let models: Vec<Fitted> = it.penalties.iter().map(|penalty| Fitted::Ridge(path.model(*penalty))).collect();
        self.best(models, fold)
    }

    fn logistic(&self, it: &LinearLearner, data: ClassifiedRows, fold: &Fold, task: Task) -> Option<Logistic> {
        let models = fit_path(it, data)?;
        let losses: Vec<f64> = models.iter().map(|model| self.loss_of(fold, task, |row| probabilities(model, row))).collect();
        models.into_iter().nth(smallest(&losses))
    }

    fn label(&self, it: &LinearLearner, data: ClassifiedRows, fold: &Fold, label: usize) -> Option<Logistic> {
        let models = fit_path(it, data)?;
        let n = self.task.n_values();
        let loss = |model: &Logistic| -> f64 {
            let rows = fold.held_out.iter().map(|row| *row as usize);
            let losses = rows.map(|row| {
                let (own, target) = (probabilities(model, self.row(row)), self.targets[row * n + label]);
                Task::Labels(1).loss(&own[1..], &[target])
            });
            losses.sum()
        };
        let losses: Vec<f64> = models.iter().map(loss).collect();
        models.into_iter().nth(smallest(&losses))
    }

    /// Returns the loss of predictions for the held-out rows.
    fn loss_of(&self, fold: &Fold, task: Task, predict: impl Fn(RowView) -> Vec<f32>) -> f64 {
        let predicted: Vec<f32> = fold.held_out.iter().flat_map(|row| predict(self.row(*row as usize))).collect();
        task.loss(&predicted, &self.targets(&fold.held_out))
    }

    /// Returns the model with the lowest loss on the held-out rows.
    fn best(&self, models: Vec<Fitted>, fold: &Fold) -> Option<Fitted> {
        let losses: Vec<f64> =
            models.iter().map(|model| self.loss_of(fold, self.task, |row| model.predict(self.task, row))).collect();
        models.into_iter().nth(smallest(&losses))
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
        match self.task {
            Task::Classes(n_classes) => {
                let options = SvcOptions { c: it.c, rbf: Some(Gamma::Scale), tolerance: 1e-3 };
                Svc::fit(x, &self.classes(&rows), n_classes, options).ok().map(Fitted::Svc)
            }
            Task::Number => {
                let options = SvrOptions { c: it.c, epsilon: 0.1, rbf: Some(Gamma::Scale), tolerance: 1e-3 };
                Svr::fit(x, &self.targets(&rows), options).ok().map(Fitted::Svr)
            }
            Task::Labels(_) | Task::Vector(_) => None,
        }
    }
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

fn fit_path(it: &LinearLearner, data: ClassifiedRows) -> Option<Vec<Logistic>> {
    let mut cs: Vec<f64> = it.penalties.iter().map(|penalty| 1.0 / penalty).collect();
    cs.sort_by(f64::total_cmp);
    Logistic::fit_path(data, &cs, Stopping::default()).ok()
}

fn probabilities(model: &Logistic, row: RowView) -> Vec<f32> {
    row.read(|rows| model.probabilities(rows))
}

impl RowView<'_> {
    /// Passes the scaled columns and the n-grams to a linear model.
    fn read<T>(self, predict: impl FnOnce(Rows) -> T) -> T {
        let dense = Matrix { data: self.scaled, n_cols: self.scaled.len().max(1) };
        if self.block.terms.n_cols() == 0 {
            return predict(Rows::from(dense));
        }
        let terms = self.block.terms.select(&[self.row]);
        predict(Rows { dense: Some(dense), sparse: Some(&terms) })
    }
}

/// Returns the position of the smallest value; the first one on ties.
fn smallest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] < values[best] { at } else { best })
}

impl Fitted {
    /// Predicts a row: `[task.n_values()]`.
    pub fn predict(&self, task: Task, row: RowView) -> Vec<f32> {
        match self {
            Self::BoostedTrees(trees) => task.completed(trees.predict(row.block.row(row.row))),
            Self::Forest(forest) => task.completed(forest.predict(row.block.row(row.row))),
            Self::Ridge(linear) => row.read(|rows| linear.predict(rows)),
            Self::Logistic(logistic) => probabilities(logistic, row),
            Self::Labels { labels } => labels.iter().map(|label| label.probability(row)).collect(),
            Self::Svc(svc) => svc.probabilities(row.scaled),
            Self::Svr(svr) => vec![svr.predict(row.scaled)],
            Self::Convolutions(convolutions) => convolutions.predict(task, &row.block.series, row.row),
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
        }
    }

    /// Returns the number of its trees.
    pub fn n_trees(&self) -> usize {
        match self {
            Self::BoostedTrees(BoostedTrees { trees, .. }) | Self::Forest(Forest { trees }) => trees.len(),
            Self::Ridge(_) | Self::Logistic(_) | Self::Labels { .. } | Self::Svc(_) | Self::Svr(_) | Self::Convolutions(_) => 0,
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
            _ => false,
        };
        if suits { Ok(()) } else { Err("a learner does not suit its output") }
    }
}

impl Label {
    fn probability(&self, row: RowView) -> f32 {
        match self {
            Self::Share(share) => *share,
            Self::Logistic(logistic) => probabilities(logistic, row)[1],
        }
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
