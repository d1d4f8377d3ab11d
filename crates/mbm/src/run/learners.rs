//! Fits the learners other than the network within a run, and writes the leaderboard.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

use mbm_data::{Dataset, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::learn::columns::{Block, Columns};
use crate::learn::ensemble::{Ensemble, Member};
use crate::learn::fit::{Candidate, Fitting, Rows, Selection, ensemble};
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

/// Fits learners for every output that they can predict, and chooses their weights. `predictor` is the trained network.
///
/// # Errors
/// Fails if data cannot be read.
pub(crate) fn fit_learners(
    predictor: &Predictor,
    dataset: &Dataset,
    rows: &RowsBySplit,
    (learners, n_folds): (&[Learner], usize),
    stop: &AtomicBool,
) -> Result<FittedLearners, Error> {
    let tasks: Vec<Option<Task>> = predictor.outputs.iter().map(|field| Task::of(&field.preprocessor)).collect();
    let first = LoadOptions::plain(dataset, &rows.train[..rows.train.len().min(1)], 1).batch(0)?;
    let columns = Columns::new(&predictor.inputs, &first);
    let all: Vec<usize> = rows.train.iter().chain(&rows.validation).copied().collect();
    let read = Rows::read(dataset, &columns, &tasks, &all)?;
    let has_network = learners.iter().any(|learner| matches!(learner, Learner::Network(_)));
    let network = if has_network { of_network(predictor, dataset, &tasks, &rows.validation)? } else { vec![None; tasks.len()] };
    let n_train = rows.train.len();
    let n_folds = if rows.validation.is_empty() { n_folds.max(5) } else { n_folds };
    let fitting = Fitting { plan: &predictor.plan, dataset, columns: &columns, rows: &read, n_train, learners, n_folds, stop };
    let select = |((output, task), network): ((usize, &Option<Task>), Option<Vec<f32>>)| {
        task.map(|task| fitting.select(output, task, network)).transpose()
    };
    let selections = tasks.iter().enumerate().zip(network).map(select).collect::<Result<Vec<_>, _>>()?;
    Ok(FittedLearners { ensemble: ensemble(columns, &selections), selections })
}

impl FittedLearners {
    /// Returns the leaderboard: each learner and the ensemble, on held-out rows and on test rows. `predictor` is the trained network.
    ///
    /// # Errors
    /// Fails if data cannot be read.
    pub fn leaderboard(&self, predictor: &Predictor, dataset: &Dataset, test: &[usize]) -> Result<Vec<Ranked>, Error> {
        let tasks: Vec<Option<Task>> = self.selections.iter().map(|it| it.as_ref().map(|it| it.task)).collect();
        let read = Rows::read(dataset, &self.ensemble.columns, &tasks, test)?;
        let network = of_network(predictor, dataset, &tasks, test)?;
        let mut ranked = Vec::new();
        for (output, selection) in self.selections.iter().enumerate() {
            let Some(selection) = selection else { continue };
            let field = &predictor.outputs[output];
            let scored = Scored { selection, field, targets: &read.targets[output], block: &read.block };
            for candidate in &selection.candidates {
                ranked.push(scored.ranked(candidate, network[output].as_deref()));
            }
        }
        Ok(ranked)
    }
}

/// What the learners of an output are scored on.
struct Scored<'a> {
    selection: &'a Selection,
    field: &'a mbm_data::Field,
    targets: &'a [f32],
    block: &'a Block,
}

impl Scored<'_> {
    fn ranked(&self, candidate: &Candidate, network: Option<&[f32]>) -> Ranked {
        let task = self.selection.task;
        let values = if candidate.folds.is_empty() {
            network.map(<[f32]>::to_vec).unwrap_or_default()
        } else {
            let member = Member { name: candidate.name.clone(), weight: 1.0, folds: candidate.folds.clone() };
            (0..self.block.n_rows).flat_map(|row| member.predict(task, self.block.row(row))).collect()
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
        let rows = values.chunks(n_values).zip(targets.chunks(n_values)).filter(|(_, target)| !target[0].is_nan());
        let (values, targets): (Vec<&[f32]>, Vec<&[f32]>) = rows.unzip();
        self.selection.task.samples(&values.concat(), &targets.concat(), &self.field.preprocessor).metrics()
    }
}
