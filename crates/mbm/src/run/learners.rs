//! Fits the learners other than the network within a run, and writes the leaderboard.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use mbm_data::random::seed;
use mbm_data::{Dataset, Field, LoadOptions, Payload, Shape, folds, load};
use mbm_model::Model;
use serde::{Deserialize, Serialize};

use crate::config::plan::Plan;
use crate::config::source::ConfigSource;
use crate::error::Error;
use crate::learn::columns::{Block, Columns, texts_of};
use crate::learn::ensemble::{Ensemble, Member};
use crate::learn::fit::{Fitting, Folds, Rows, ensemble, gathered};
use crate::learn::fitted::{Data, Fitted, Plain, RowsView};
use crate::learn::images::{ImageFeatures, ImageInput, N_FITTED, image_inputs};
use crate::learn::scaled::Scaling;
use crate::learn::selection::{Candidate, Selection};
use crate::learn::settings::{Learner, Learners};
use crate::learn::task::{Task, Truth};
use crate::learn::texts::MaxTerms;
use crate::predict::pass::{Pass, Sink, evaluate};
use crate::predict::predictor::Predictor;
use crate::predict::score::MetricSamples;
use crate::run::clock::Clock;
use crate::run::event::RunEvent;
use crate::run::experiment::RowsBySplit;
use crate::run::folder::{CONFIG, LEADERBOARD};

/// A line of the leaderboard: one learner for one output, or the ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ranked {
    /// The output.
    pub output: String,
    /// The learner.
    pub learner: String,
    /// The name of the main metric; empty in leaderboards of earlier versions.
    #[serde(default)]
    pub metric: String,
    /// Whether its smaller values are better.
    #[serde(default)]
    pub is_smaller_better: bool,
    /// Its weight in the ensemble.
    pub weight: f64,
    /// The metrics on rows that it was not fitted on.
    pub held_out: BTreeMap<String, f64>,
    /// The same for the rows of each fold alone; empty for a learner that was not fitted once per fold.
    #[serde(default)]
    pub folds: Vec<BTreeMap<String, f64>>,
    /// The metrics on the test rows; empty if there are none.
    pub test: BTreeMap<String, f64>,
    /// Wall-clock seconds that fitting took.
    pub seconds: f64,
}

impl Ranked {
    /// Returns the name of the main metric: that by which learners are weighted, or a usual one.
    pub fn main_metric(&self) -> &str {
        let usual =
            || ["accuracy", "f1_micro", "r2"].into_iter().find(|name| self.held_out.contains_key(*name)).unwrap_or("loss");
        if self.held_out.contains_key(&self.metric) { &self.metric } else { usual() }
    }

    /// Whether the line is that of the model: the ensemble, or the only learner with a weight.
    pub fn is_model(&self) -> bool {
        self.weight >= 1.0
    }

    /// Returns the mean and the standard deviation (of a sample) of the main metric over the folds; `None` without several folds.
    pub fn over_folds(&self) -> Option<(f64, f64)> {
        let values: Vec<f64> = self.folds.iter().filter_map(|fold| fold.get(self.main_metric()).copied()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (values.len() > 1).then(|| (mean, variance.sqrt()))
    }

    /// Returns the mean and the standard deviation over the folds as text, such as `0.9130 ± 0.0120`; a dash without several folds.
    pub fn over_folds_text(&self) -> String {
        self.over_folds().map_or("-".to_owned(), |(mean, deviation)| format!("{mean:.4} ± {deviation:.4}"))
    }

    /// Returns the main metric on held-out rows; NaN if there are none.
    pub fn main_value(&self) -> f64 {
        self.held_out.get(self.main_metric()).copied().unwrap_or(f64::NAN)
    }

    /// Returns the main metric on held-out rows as a value of which larger ones are better.
    pub fn score(&self) -> f64 {
        if self.is_smaller_better { -self.main_value() } else { self.main_value() }
    }
}

/// Why a folder has no leaderboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaderboardError {
    /// The network alone was trained.
    #[error(
        "there is none, as the run has one learner, the network; several are fitted without a config, or with `learners: auto` in it"
    )]
    OneLearner,
    /// The run was stopped before its learners were combined.
    #[error("there is none yet, as the run has not finished; continue it with --resume")]
    Unfinished,
    /// No run has written to the folder.
    #[error("there is no such file; specify a run folder of 'mbm train'")]
    NoRun,
}

/// Reads the leaderboard of a run, in the order of its folder's `leaderboard.json`.
///
/// # Errors
/// Fails if the folder holds no leaderboard, or a damaged one.
pub fn leaderboard(folder: impl AsRef<Path>) -> Result<Vec<Ranked>, Error> {
    let path = folder.as_ref().join(LEADERBOARD);
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::damaged(&path, why_missing(folder.as_ref())),
        _ => Error::io(&path)(error),
    })?;
    serde_json::from_slice(&text).map_err(|error| Error::damaged(path, error))
}

/// Returns why a folder has no leaderboard.
fn why_missing(folder: &Path) -> LeaderboardError {
    let config = ConfigSource::read(&folder.join(CONFIG), &[]).and_then(|config| config.check());
    match config.map(|plan| plan.config.learners) {
        Ok(Learners::Network) => LeaderboardError::OneLearner,
        Ok(Learners::Auto | Learners::List(_)) => LeaderboardError::Unfinished,
        Err(_) => LeaderboardError::NoRun,
    }
}

/// The learners of all outputs, before the weak ones are dropped.
pub(crate) struct FittedLearners {
    pub ensemble: Ensemble,
    /// One per output; `None` for those that only the network predicts.
    pub selections: Vec<Option<Selection>>,
}

/// Predictions of the network as plain values, by output and row.
struct NetworkValues<'a> {
    tasks: &'a [Option<Task>],
    by_row: Vec<HashMap<usize, Vec<f32>>>,
}

impl Sink for NetworkValues<'_> {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        for (output, task) in self.tasks.iter().enumerate() {
            let Some(task) = task else { continue };
            let preprocessor = &pass.predictor.outputs[output].preprocessor;
            for (row, prediction) in pass.batch.rows.iter().zip(pass.predictions(output)?) {
                self.by_row[output].extend(task.values(prediction, preprocessor).map(|values| (*row, values)));
            }
        }
        Ok(())
    }
}

/// Returns the predictions of the network for rows in their order, `[rows, n_values]` for each output with a task.
fn of_network(
    predictor: &Predictor,
    dataset: &Dataset,
    tasks: &[Option<Task>],
    rows: &[usize],
) -> Result<Vec<Option<Vec<f32>>>, Error> {
    let mut values = NetworkValues { tasks, by_row: vec![HashMap::new(); tasks.len()] };
    evaluate(predictor, dataset, rows, &mut [&mut values])?;
    let in_order = |(task, by_row): (&Option<Task>, &HashMap<usize, Vec<f32>>)| {
        let n_values = task.as_ref()?.n_values();
        Some(rows.iter().flat_map(|row| by_row.get(row).cloned().unwrap_or_else(|| vec![f32::NAN; n_values])).collect())
    };
    Ok(tasks.iter().zip(&values.by_row).map(in_order).collect())
}

/// The rows of a run by which learners are compared: those for training and validation, in folds.
pub(crate) struct FoldedRows {
    /// Their indices in the table.
    pub rows: Vec<usize>,
    /// Their folds.
    pub folds: Folds,
}

impl FoldedRows {
    /// Assigns rows to folds; with less than two folds, the validation rows are held out.
    ///
    /// # Errors
    /// Fails if data cannot be read.
    pub fn new(plan: &Plan, dataset: &Dataset, rows: &RowsBySplit, n_folds: usize) -> Result<Self, Error> {
        let all: Vec<usize> = rows.train.iter().chain(&rows.validation).copied().collect();
        if n_folds < 2 && !rows.validation.is_empty() {
            let of_rows = (0..all.len()).map(|at| (at >= rows.train.len()).then_some(0)).collect();
            return Ok(Self { rows: all, folds: Folds { of_rows, n_folds: 1 } });
        }
        let n_folds = n_folds.clamp(2, all.len().max(2));
        let classes = classes(dataset, &all)?;
        let config = &plan.config;
        let folds = folds(&dataset.table, &config.split(), &all, classes.as_deref(), n_folds, config.random_seed)?;
        Ok(Self { rows: all, folds: Folds { of_rows: folds.into_iter().map(Some).collect(), n_folds } })
    }

    /// Returns the rows to fit on and those that are held out, for each fold.
    pub fn of_fold(&self, fold: usize) -> (Vec<usize>, Vec<usize>) {
        let rows = self.rows.iter().zip(&self.folds.of_rows);
        let (held_out, rows): (Vec<_>, Vec<_>) = rows.partition(|(_, own)| **own == Some(fold));
        let indices = |pairs: Vec<(&usize, &Option<usize>)>| pairs.into_iter().map(|(row, _)| *row).collect();
        (indices(rows), indices(held_out))
    }
}

/// Returns the class of each row for the first output that has classes.
fn classes(dataset: &Dataset, rows: &[usize]) -> Result<Option<Vec<u32>>, Error> {
    let mut outputs = dataset.n_inputs..dataset.fields.len();
    let is_class = |field: &usize| matches!(dataset.fields[*field].preprocessor.get().shape(), Shape::Class { .. });
    let Some(field) = outputs.find(is_class) else { return Ok(None) };
    let class = |row: &usize| {
        Ok(match dataset.payload_at(*row, field)? {
            Payload::Class(class) => class,
            _ => u32::MAX,
        })
    };
    rows.iter().map(class).collect::<Result<Vec<u32>, Error>>().map(Some)
}

/// What learners are fitted on within a run.
pub(crate) struct LearnerRun<'a> {
    /// The trained network.
    pub predictor: &'a Predictor,
    /// The data.
    pub dataset: &'a Dataset,
    /// The rows, in folds.
    pub folded: &'a FoldedRows,
    /// The rows that a network which is not bagged was not trained on.
    pub validation: &'a [usize],
    /// The learners, the network among them.
    pub learners: &'a [Learner],
    /// Where fitted learners are kept until the run ends.
    pub kept: &'a Path,
    /// The time of the run.
    pub clock: &'a Clock<'a>,
    /// The share of its limit at which the last learner ends.
    pub share: f64,
}

impl LearnerRun<'_> {
    /// Fits learners for every output that they can predict, and chooses their weights. `networks` are those of the folds after the
    /// first, if the network is trained on folds.
    ///
    /// # Errors
    /// Fails if data cannot be read, or a fitted learner cannot be kept.
    pub fn fit(&self, networks: Vec<Model>, observe: &mut dyn FnMut(RunEvent)) -> Result<FittedLearners, Error> {
        let (predictor, folded) = (self.predictor, self.folded);
        let tasks: Vec<Option<Task>> = predictor.outputs.iter().map(|field| Task::of(&field.preprocessor)).collect();
        let first = LoadOptions::plain(self.dataset, &folded.rows[..folded.rows.len().min(1)], 1).batch(0)?;
        let mut columns = Columns::new(&predictor.inputs, &first);
        let images = image_inputs(&predictor.inputs, &first);
        let features = image_features(self.dataset, &images, &folded.rows)?;
        let run_seed = predictor.plan.config.random_seed;
        columns.fit_images(images, &features, seed(run_seed, "image projection", 0, 0)).map_err(Error::Learner)?;
        let max_terms = MaxTerms::new(tasks.iter().flatten().map(|task| task.n_values()).sum());
        columns.fit_terms(&texts(self.dataset, &columns.texts(), &folded.rows)?, max_terms);
        let mut read = Rows::read(self.dataset, &columns, &tasks, &folded.rows)?;
        columns.fit_projection(&mut read.block, seed(run_seed, "projection", 0, 0)).map_err(Error::Learner)?;
        let scaling = Scaling::fit(&read.block, &columns.kinds()).map_err(Error::Learner)?;
        let reads_scaled = self.learners.iter().any(Learner::reads_scaled);
        let scaled = if reads_scaled { scaling.transform(&read.block) } else { Block::default() };
        let network = self.network(&networks, &tasks)?;
        let (are_of_media, kinds) = (columns.are_of_media(), columns.tree_kinds(&read.block));
        let binned = Data::bin(&read.block, &kinds);
        let without_media =
            self.learners.iter().any(Learner::is_without_media).then(|| Data::bin(&read.block.without(&are_of_media), &kinds));
        let plain = Plain {
            n_cols: are_of_media.iter().filter(|is_of_media| !**is_of_media).count(),
            binned: without_media.as_ref().unwrap_or(&binned),
            scaled_media: &scaling.positions(|at| are_of_media[at]),
        };
        let fitting = Fitting {
            plan: &predictor.plan,
            outputs: &predictor.outputs,
            columns: &columns,
            binned: &binned,
            plain,
            scaled: &scaled,
            projected: &scaling.positions(|at| columns.projected().contains(&at)),
            rows: &read,
            folds: &folded.folds,
            learners: self.learners,
            kept: self.kept,
            proceed: &|| self.clock.proceeds(self.share),
            is_stopped: &|| self.clock.is_stopped(),
        };
        let mut selections = Vec::new();
        for ((output, task), network) in tasks.iter().enumerate().zip(network) {
            let field = &predictor.outputs[output];
            let metric = predictor.plan.metric_of(output, &field.name);
            let mut fitted = |candidate: &Candidate, truth: &Truth| observe(fitted(field, candidate, *task, truth, metric));
            let selection = task.map(|task| fitting.select(output, task, network, &mut fitted)).transpose()?;
            if let Some(selection) = selection.as_ref().filter(|it| !it.left_out.is_empty() && !self.clock.is_stopped()) {
                let left_out = selection.left_out.join(", ");
                observe(RunEvent::Note(format!("left out at the time limit: {left_out}")));
            }
            selections.push(selection);
        }
        let n_held_out = folded.folds.of_rows.iter().flatten().count();
        let is_refitted = folded.folds.n_folds > 1 || predictor.plan.config.ensemble.refit;
        let n_rows = if is_refitted { folded.rows.len() } else { folded.rows.len() - n_held_out };
        Ok(FittedLearners { ensemble: ensemble(columns, scaling, n_rows, &selections, networks), selections })
    }

    /// Returns the predictions of the networks for rows that they were not trained on, as [`held_out`] does; nothing without a network
    /// among the learners.
    fn network(&self, networks: &[Model], tasks: &[Option<Task>]) -> Result<Vec<Option<Vec<f32>>>, Error> {
        if !self.learners.iter().any(|learner| matches!(learner, Learner::Network(_))) {
            return Ok(vec![None; tasks.len()]);
        }
        let held_out_by = if self.learners.iter().any(Learner::is_bagged_network) {
            (0..=networks.len()).map(|fold| self.folded.of_fold(fold).1).collect()
        } else {
            vec![self.validation.to_vec()]
        };
        held_out(self.predictor, networks, self.dataset, self.folded, &held_out_by, tasks)
    }
}

/// Returns the event of a fitted learner.
fn fitted(field: &Field, candidate: &Candidate, task: Option<Task>, truth: &Truth, metric: Option<&str>) -> RunEvent {
    let samples = task.map(|task| task.samples(&candidate.held_out, truth, &field.preprocessor));
    let metric = metric.unwrap_or_else(|| samples.as_ref().map_or("loss", MetricSamples::main_metric));
    let value = samples.as_ref().and_then(|samples| samples.metrics().get(metric).copied());
    RunEvent::Learner {
        output: field.name.clone(),
        learner: candidate.name.clone(),
        metric: metric.to_owned(),
        value: value.unwrap_or(f64::NAN),
        seconds: candidate.seconds,
    }
}

/// Returns the features of the images of a sample of rows.
fn image_features(dataset: &Dataset, inputs: &[ImageInput], rows: &[usize]) -> Result<ImageFeatures, Error> {
    let mut features = ImageFeatures::default();
    if !inputs.is_empty() {
        let stride = rows.len().div_ceil(N_FITTED).max(1);
        let rows: Vec<usize> = rows.iter().copied().step_by(stride).collect();
        load::<Error>(&LoadOptions::plain(dataset, &rows, 512), |_, batch| {
            features.append(ImageFeatures::new(inputs, &batch, &[]));
            Ok(())
        })?;
    }
    Ok(features)
}

/// Returns the texts of some inputs, `[inputs][rows]`.
fn texts(dataset: &Dataset, inputs: &[usize], rows: &[usize]) -> Result<Vec<Vec<String>>, Error> {
    let mut texts = vec![Vec::new(); inputs.len()];
    if !inputs.is_empty() {
        load::<Error>(&LoadOptions::plain(dataset, rows, 512), |_, batch| {
            inputs.iter().zip(&mut texts).for_each(|(input, texts)| texts.extend(texts_of(&batch.inputs[*input])));
            Ok(())
        })?;
    }
    Ok(texts)
}

/// Returns the predictions of the networks for the rows that they were not trained on, `[rows, n_values]` for each output with a task;
/// NaN for other rows. `held_out_by` has those of the model first, then those of the further networks.
fn held_out(
    predictor: &Predictor,
    networks: &[Model],
    dataset: &Dataset,
    folded: &FoldedRows,
    held_out_by: &[Vec<usize>],
    tasks: &[Option<Task>],
) -> Result<Vec<Option<Vec<f32>>>, Error> {
    let width = |task: &Option<Task>| task.map(|task| vec![f32::NAN; folded.rows.len() * task.n_values()]);
    let mut values: Vec<Option<Vec<f32>>> = tasks.iter().map(width).collect();
    let positions: HashMap<usize, usize> = folded.rows.iter().enumerate().map(|(at, row)| (*row, at)).collect();
    let mut predictor = predictor.clone();
    for (model, rows) in std::iter::once(predictor.model.clone()).chain(networks.iter().cloned()).zip(held_out_by) {
        predictor.model = model;
        for ((own, task), values) in of_network(&predictor, dataset, tasks, rows)?.iter().zip(tasks).zip(&mut values) {
            let (Some(own), Some(task), Some(values)) = (own, task, values) else { continue };
            for (row, own) in rows.iter().zip(own.chunks(task.n_values())) {
                let at = positions[row] * task.n_values();
                values[at..at + task.n_values()].copy_from_slice(own);
            }
        }
    }
    Ok(values)
}

impl FittedLearners {
    /// Returns the leaderboard: each learner and the ensemble, on held-out rows and on test rows, or a sample of them. `predictor` is the
    /// trained network.
    ///
    /// # Errors
    /// Fails if data cannot be read.
    pub fn leaderboard(
        &self,
        predictor: &Predictor,
        dataset: &Dataset,
        test: &[usize],
        network_seconds: f64,
    ) -> Result<Vec<Ranked>, Error> {
        let test: Vec<usize> = test.iter().copied().step_by(test.len().div_ceil(MAX_TEST_ROWS).max(1)).collect();
        let tasks: Vec<Option<Task>> = self.selections.iter().map(|it| it.as_ref().map(|it| it.task)).collect();
        let read = Rows::read(dataset, &self.ensemble.columns, &tasks, &test)?;
        let reads_scaled =
            self.selections.iter().flatten().flat_map(|it| &it.candidates).flat_map(|it| &it.folds).any(Fitted::reads_scaled);
        let scaled = if reads_scaled { self.ensemble.scaling.transform(&read.block) } else { Block::default() };
        let mut network = of_network(predictor, dataset, &tasks, &test)?;
        let mut further = predictor.clone();
        for model in &self.ensemble.networks {
            further.model = model.clone();
            add(&mut network, &of_network(&further, dataset, &tasks, &test)?);
        }
        let share = 1.0 / (1 + self.ensemble.networks.len()) as f32;
        network.iter_mut().flatten().flatten().for_each(|value| *value *= share);
        let mut ranked = Vec::new();
        for (output, selection) in self.selections.iter().enumerate() {
            let Some(selection) = selection else { continue };
            let field = &predictor.outputs[output];
            let truth = Truth { targets: read.targets[output].clone(), weights: read.weights.clone() };
            let metric = predictor.plan.metric_of(output, &field.name);
            let scored = Scored { selection, metric, field, truth, block: &read.block, scaled: &scaled };
            ranked.extend(scored.ranked(network[output].as_deref(), network_seconds));
        }
        Ok(ranked)
    }
}

/// Maximum number of test rows that the leaderboard is computed on: a sample spread over them.
const MAX_TEST_ROWS: usize = 20_000;

fn add(sums: &mut [Option<Vec<f32>>], values: &[Option<Vec<f32>>]) {
    for (sums, values) in sums.iter_mut().zip(values) {
        let pairs = sums.iter_mut().flatten().zip(values.iter().flatten());
        pairs.for_each(|(sum, value)| *sum += value);
    }
}

/// What the learners of an output are scored on.
struct Scored<'a> {
    selection: &'a Selection,
    /// The metric by which learners were weighted, if it is not the loss.
    metric: Option<&'a str>,
    field: &'a Field,
    /// What the predictions for the test rows are compared with.
    truth: Truth,
    block: &'a Block,
    scaled: &'a Block,
}

impl Scored<'_> {
    /// Returns the lines of all learners, and that of the ensemble if several have a weight.
    fn ranked(&self, network: Option<&[f32]>, network_seconds: f64) -> Vec<Ranked> {
        let candidates = &self.selection.candidates;
        let mut ranked = Vec::new();
        let mut test = Mean::default();
        for candidate in candidates {
            let values = self.test(candidate, network);
            test.add(&values, candidate.weight);
            let seconds = if candidate.folds.is_empty() { network_seconds } else { candidate.seconds };
            ranked.push(self.line(&candidate.name, candidate.weight, &candidate.held_out, &values, seconds));
        }
        if candidates.iter().filter(|candidate| candidate.weight > 0.0).count() > 1 {
            let seconds = ranked.iter().map(|line| line.seconds).sum();
            ranked.push(self.line("ensemble", 1.0, &self.selection.held_out(), &test.values, seconds));
        }
        ranked
    }

    /// Returns the predictions of a learner for the test rows, `[rows, n_values]`.
    fn test(&self, candidate: &Candidate, network: Option<&[f32]>) -> Vec<f32> {
        if candidate.folds.is_empty() {
            return network.map(<[f32]>::to_vec).unwrap_or_default();
        }
        let member = Member { name: candidate.name.clone(), weight: 1.0, folds: candidate.folds.clone() };
        let rows: Vec<usize> = (0..self.block.n_rows).collect();
        member.predict(self.selection.task, RowsView { block: self.block, scaled: self.scaled, rows: &rows })
    }

    fn line(&self, learner: &str, weight: f64, held_out: &[f32], test: &[f32], seconds: f64) -> Ranked {
        let samples = self.selection.task.samples(held_out, &self.selection.truth, &self.field.preprocessor);
        Ranked {
            is_smaller_better: self.metric.is_some_and(|metric| !samples.is_higher_better(metric)),
            output: self.field.name.clone(),
            learner: learner.to_owned(),
            metric: self.metric.unwrap_or_else(|| samples.main_metric()).to_owned(),
            weight,
            held_out: self.metrics(held_out, &self.selection.truth),
            folds: self.of_folds(held_out),
            test: self.metrics(test, &self.truth),
            seconds,
        }
    }

    /// Returns the metrics on the rows of each fold; nothing without a prediction for each of them.
    fn of_folds(&self, held_out: &[f32]) -> Vec<BTreeMap<String, f64>> {
        let Selection { rows, truth, task, .. } = self.selection;
        let n_values = task.n_values();
        let mut start = 0;
        let metrics = rows.iter().map(|rows| {
            let range = start..start + rows.len();
            start = range.end;
            let values = range.start * n_values..range.end * n_values;
            let truth = Truth { targets: truth.targets[values.clone()].to_vec(), weights: truth.weights.select(range) };
            self.metrics(&held_out[values], &truth)
        });
        if rows.len() > 1 && !held_out.iter().any(|value| value.is_nan()) { metrics.collect() } else { Vec::new() }
    }

    /// Returns the metrics over the rows that have the target.
    fn metrics(&self, values: &[f32], truth: &Truth) -> BTreeMap<String, f64> {
        let Truth { targets, weights } = truth;
        if values.is_empty() || values.len() != targets.len() {
            return BTreeMap::new();
        }
        let n_values = self.selection.task.n_values();
        let is_scored = |row: &usize| !targets[row * n_values].is_nan() && !values[row * n_values].is_nan();
        let rows: Vec<usize> = (0..values.len() / n_values).filter(is_scored).collect();
        let (values, targets) = (gathered(values, &rows, n_values), gathered(targets, &rows, n_values));
        let truth = Truth { targets, weights: weights.select(rows) };
        self.selection.task.samples(&values, &truth, &self.field.preprocessor).metrics()
    }
}

/// A weighted mean of predictions.
#[derive(Default)]
struct Mean {
    values: Vec<f32>,
}

impl Mean {
    fn add(&mut self, values: &[f32], weight: f64) {
        self.values.resize(values.len().max(self.values.len()), 0.0);
        if weight > 0.0 {
            self.values.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight as f32 * value);
        }
    }
}
