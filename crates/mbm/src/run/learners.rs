//! Fits the learners other than the network within a run, and writes the leaderboard.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

use mbm_data::random::seed;
use mbm_data::{Dataset, LoadOptions, Payload, Shape, folds, load};
use mbm_model::Model;
use serde::{Deserialize, Serialize};

use crate::config::plan::Plan;
use crate::error::Error;
use crate::learn::columns::{Block, Columns, texts_of};
use crate::learn::ensemble::{Ensemble, Member};
use crate::learn::fit::{Candidate, Fitting, Folds, Rows, Selection, ensemble};
use crate::learn::fitted::RowsView;
use crate::learn::scaled::Scaling;
use crate::learn::settings::Learner;
use crate::learn::task::Task;
use crate::predict::pass::{Pass, Sink, evaluate};
use crate::predict::predictor::Predictor;
use crate::run::experiment::RowsBySplit;

/// A line of the leaderboard: one learner for one output, or the ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ranked {
    /// The output.
    pub output: String,
    /// The learner.
    pub learner: String,
    /// Its weight in the ensemble.
    pub weight: f64,
    /// The metrics on rows that it was not fitted on; empty for the network, whose rows are those for validation.
    pub held_out: BTreeMap<String, f64>,
    /// The metrics on the test rows; empty if there are none.
    pub test: BTreeMap<String, f64>,
    /// Seconds that fitting took, over all threads.
    pub seconds: f64,
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
        let split = &config.preprocessing.split;
        let folds = folds(&dataset.table, split, &all, classes.as_deref(), n_folds, config.random_seed)?;
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

/// Fits learners for every output that they can predict, and chooses their weights. `predictor` is the trained network, `networks` are
/// those of the folds after the first, if it is trained on folds; otherwise it was not trained on the `validation` rows.
///
/// # Errors
/// Fails if data cannot be read.
pub(crate) fn fit_learners(
    predictor: &Predictor,
    networks: Vec<Model>,
    dataset: &Dataset,
    folded: &FoldedRows,
    validation: &[usize],
    learners: &[Learner],
    stop: &AtomicBool,
) -> Result<FittedLearners, Error> {
    let tasks: Vec<Option<Task>> = predictor.outputs.iter().map(|field| Task::of(&field.preprocessor)).collect();
    let first = LoadOptions::plain(dataset, &folded.rows[..folded.rows.len().min(1)], 1).batch(0)?;
    let mut columns = Columns::new(&predictor.inputs, &first);
    columns.fit_terms(&texts(dataset, &columns.texts(), &folded.rows)?);
    let mut read = Rows::read(dataset, &columns, &tasks, &folded.rows)?;
    let svd_seed = seed(predictor.plan.config.random_seed, "projection", 0, 0);
    columns.fit_projection(&mut read.block, svd_seed).map_err(Error::Learner)?;
    let scaling = Scaling::fit(&read.block, &columns.kinds()).map_err(Error::Learner)?;
    let scaled = scaling.transform(&read.block);
    let has_network = learners.iter().any(|learner| matches!(learner, Learner::Network(_)));
    let held_out_by = if learners.iter().any(Learner::is_bagged_network) {
        (0..=networks.len()).map(|fold| folded.of_fold(fold).1).collect()
    } else {
        vec![validation.to_vec()]
    };
    let network = if has_network {
        held_out(predictor, &networks, dataset, folded, &held_out_by, &tasks)?
    } else {
        vec![None; tasks.len()]
    };
    let fitting =
        Fitting { plan: &predictor.plan, columns: &columns, scaled: &scaled, rows: &read, folds: &folded.folds, learners, stop };
    let select = |((output, task), network): ((usize, &Option<Task>), Option<Vec<f32>>)| {
        task.map(|task| fitting.select(output, task, network))
    };
    let selections: Vec<Option<Selection>> = tasks.iter().enumerate().zip(network).map(select).collect();
    Ok(FittedLearners { ensemble: ensemble(columns, scaling, &selections, networks), selections })
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
    /// Returns the leaderboard: each learner and the ensemble, on held-out rows and on test rows. `predictor` is the trained network.
    ///
    /// # Errors
    /// Fails if data cannot be read.
    pub fn leaderboard(&self, predictor: &Predictor, dataset: &Dataset, test: &[usize]) -> Result<Vec<Ranked>, Error> {
        let tasks: Vec<Option<Task>> = self.selections.iter().map(|it| it.as_ref().map(|it| it.task)).collect();
        let read = Rows::read(dataset, &self.ensemble.columns, &tasks, test)?;
        let scaled = self.ensemble.scaling.transform(&read.block);
        let mut network = of_network(predictor, dataset, &tasks, test)?;
        let mut further = predictor.clone();
        for model in &self.ensemble.networks {
            further.model = model.clone();
            add(&mut network, &of_network(&further, dataset, &tasks, test)?);
        }
        let share = 1.0 / (1 + self.ensemble.networks.len()) as f32;
        network.iter_mut().flatten().flatten().for_each(|value| *value *= share);
        let mut ranked = Vec::new();
        for (output, selection) in self.selections.iter().enumerate() {
            let Some(selection) = selection else { continue };
            let field = &predictor.outputs[output];
            let scored = Scored { selection, field, targets: &read.targets[output], block: &read.block, scaled: &scaled };
            for candidate in &selection.candidates {
                ranked.push(scored.ranked(candidate, network[output].as_deref()));
            }
        }
        Ok(ranked)
    }
}

fn add(sums: &mut [Option<Vec<f32>>], values: &[Option<Vec<f32>>]) {
    for (sums, values) in sums.iter_mut().zip(values) {
        let pairs = sums.iter_mut().flatten().zip(values.iter().flatten());
        pairs.for_each(|(sum, value)| *sum += value);
    }
}

/// What the learners of an output are scored on.
struct Scored<'a> {
    selection: &'a Selection,
    field: &'a mbm_data::Field,
    targets: &'a [f32],
    block: &'a Block,
    scaled: &'a Block,
}

impl Scored<'_> {
    fn ranked(&self, candidate: &Candidate, network: Option<&[f32]>) -> Ranked {
        let task = self.selection.task;
        let values = if candidate.folds.is_empty() {
            network.map(<[f32]>::to_vec).unwrap_or_default()
        } else {
            let member = Member { name: candidate.name.clone(), weight: 1.0, folds: candidate.folds.clone() };
            let rows: Vec<usize> = (0..self.block.n_rows).collect();
            member.predict(task, RowsView { block: self.block, scaled: self.scaled, rows: &rows })
        };
        Ranked {
            output: self.field.name.clone(),
            learner: candidate.name.clone(),
            weight: candidate.weight,
            held_out: self.metrics(&candidate.held_out, &self.selection.targets),
            test: self.metrics(&values, self.targets),
            seconds: candidate.seconds,
        }
    }

    /// Returns the metrics over the rows that have the target.
    fn metrics(&self, values: &[f32], targets: &[f32]) -> BTreeMap<String, f64> {
        if values.is_empty() || values.len() != targets.len() {
            return BTreeMap::new();
        }
        let n_values = self.selection.task.n_values();
        let rows = values.chunks(n_values).zip(targets.chunks(n_values));
        let rows = rows.filter(|(value, target)| !target[0].is_nan() && !value[0].is_nan());
        let (values, targets): (Vec<&[f32]>, Vec<&[f32]>) = rows.unzip();
        self.selection.task.samples(&values.concat(), &targets.concat(), &self.field.preprocessor).metrics()
    }
}
