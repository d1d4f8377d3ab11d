//! The ensemble of a model: for each output, the weights of the network and of other learners. Saved in the bundle.

use mbm_algo::ArrayMut;
use mbm_data::{Batch, BatchColumn, Field, Preprocessor, Shape};
use mbm_model::{Model, on_worker_pool};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::learn::columns::{Block, Columns};
use crate::learn::fitted::{Fitted, RowsView, Widths};
use crate::learn::scaled::Scaling;
use crate::learn::store::Arrays;
use crate::learn::task::Task;
use crate::predict::prediction::Prediction;
use crate::predict::predictor::Predictor;

/// Maximum number of further networks.
pub(crate) const MAX_NETWORKS: usize = 100;

/// The ensemble of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ensemble {
    /// How inputs become the columns that learners read.
    pub columns: Columns,
    /// How columns are scaled.
    pub scaling: Scaling,
    /// Number of rows that its learners were fitted on, each on most or all of them; 0 if it is not known.
    #[serde(default)]
    pub n_rows: usize,
    /// Number of further networks, which were trained on other folds than the model.
    pub n_networks: usize,
    /// These networks.
    #[serde(skip)]
    pub networks: Vec<Model>,
    /// One per output; outputs that only the network predicts have no other learners.
    pub outputs: Vec<OutputEnsemble>,
}

/// The ensemble of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputEnsemble {
    /// The weight of the networks, which predict their mean.
    pub network: f64,
    /// The other learners.
    pub members: Vec<Member>,
}

/// A learner of an ensemble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its name on the leaderboard.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// One per fold; they predict their mean.
    pub folds: Vec<Fitted>,
}

/// What the members of an ensemble other than the model compute from a batch.
pub(crate) struct Others {
    /// The columns that learners read.
    block: Block,
    /// The same, scaled; empty if no learner reads them.
    scaled: Block,
    /// The predictions of each further network, `[networks][outputs][rows]`.
    networks: Vec<Vec<Vec<Prediction>>>,
}

impl Predictor {
    /// Computes what the members of the ensemble other than the model need, if there is an ensemble. Masked inputs are absent from every
    /// row.
    pub(crate) fn others(&self, batch: &Batch, masked: &[bool]) -> Option<Others> {
        let ensemble = self.ensemble.as_ref()?;
        let masked_batch = (!ensemble.networks.is_empty() && masked.contains(&true)).then(|| with_masked(batch, masked));
        let batch_of_networks = masked_batch.as_ref().unwrap_or(batch);
        let networks = ensemble.networks.iter().map(|model| self.of_network(model, batch_of_networks)).collect();
        let block = ensemble.columns.block(batch, masked);
        let scaled = if ensemble.reads_scaled() { ensemble.scaling.transform(&block) } else { Block::default() };
        Some(Others { block, scaled, networks })
    }

    /// Returns the predictions of a network, `[outputs][rows]`.
    fn of_network(&self, model: &Model, batch: &Batch) -> Vec<Vec<Prediction>> {
        on_worker_pool(|| {
            let fused = model.fused(batch, &self.device);
            let scores = model.decode(&fused, None).into_iter().enumerate();
            scores.map(|(output, scores)| self.postprocess(output, scores, &fused)).collect()
        })
    }

    /// Returns the predictions of the ensemble for an output from those of the model.
    pub(crate) fn mixed(&self, output: usize, model: Vec<Prediction>, others: Option<&Others>) -> Vec<Prediction> {
        match (&self.ensemble, others) {
            (Some(ensemble), Some(others)) => ensemble.outputs[output].mix(output, &self.outputs[output], model, others),
            _ => model,
        }
    }
}

/// Returns a batch in which some inputs are absent from every row.
fn with_masked(batch: &Batch, masked: &[bool]) -> Batch {
    let column = |(column, masked): (&BatchColumn, &bool)| if *masked { column.absent() } else { column.clone() };
    Batch { inputs: batch.inputs.iter().zip(masked).map(column).collect(), ..batch.clone() }
}

impl Arrays for Ensemble {
    fn each_array<E>(&mut self, visit: &mut dyn FnMut(String, ArrayMut) -> Result<(), E>) -> Result<(), E> {
        for (output, ensemble) in self.outputs.iter_mut().enumerate() {
            for (at, member) in ensemble.members.iter_mut().enumerate() {
                for (fold, fitted) in member.folds.iter_mut().enumerate() {
                    for (name, array) in fitted.arrays() {
                        visit(format!("{output}.{at}.{fold}.{name}"), array)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Ensemble {
    /// Returns about how long predictions for a row take, in evaluations of one tree.
    pub fn cost(&self) -> usize {
        let learners = self.outputs.iter().flat_map(|output| &output.members).flat_map(|member| &member.folds);
        learners.map(Fitted::cost).sum::<usize>() + self.columns.cost()
    }

    /// Whether any learner reads scaled columns.
    fn reads_scaled(&self) -> bool {
        self.outputs.iter().flat_map(|output| &output.members).flat_map(|member| &member.folds).any(Fitted::reads_scaled)
    }

    /// Checks an ensemble that was read from a file.
    ///
    /// # Errors
    /// Says what cannot have been fitted.
    pub fn check(&self, inputs: &[Field], outputs: &[Field]) -> Result<(), &'static str> {
        if !self.columns.suits(inputs) || self.outputs.len() != outputs.len() {
            return Err("its columns or outputs do not match its config");
        }
        if self.n_networks > MAX_NETWORKS {
            return Err("the number of its networks");
        }
        let kinds = self.columns.kinds();
        if !self.scaling.suits(&kinds) {
            return Err("the scaling of its columns");
        }
        let n_channels = inputs.iter().filter_map(|field| match (&field.preprocessor, field.preprocessor.get().shape()) {
            (Preprocessor::Timeseries(_) | Preprocessor::Audio(_), Shape::Frames { width, .. }) => Some(width),
            _ => None,
        });
        let widths = Widths {
            n_cols: kinds.len(),
            n_scaled: self.scaling.n_cols(),
            n_terms: self.columns.n_terms(),
            n_channels: n_channels.collect(),
        };
        for (ensemble, field) in self.outputs.iter().zip(outputs) {
            let Some(task) = Task::of(&field.preprocessor) else {
                if ensemble.members.is_empty() {
                    continue;
                } else {
                    return Err("an output that only the network predicts has others");
                }
            };
            for fitted in ensemble.members.iter().flat_map(|member| &member.folds) {
                fitted.check(task, &widths)?;
            }
            if ensemble.members.iter().any(|member| member.folds.is_empty()) || !ensemble.are_weights_valid() {
                return Err("the weights or folds of its learners");
            }
        }
        Ok(())
    }
}

impl OutputEnsemble {
    /// Returns the ensemble of an output that the network predicts.
    pub fn network() -> Self {
        Self { network: 1.0, members: Vec::new() }
    }

    fn are_weights_valid(&self) -> bool {
        let weights = || self.members.iter().map(|member| member.weight).chain([self.network]);
        weights().all(|weight| (0.0..=1.0).contains(&weight)) && (weights().sum::<f64>() - 1.0).abs() < 1e-6
    }

    /// Returns the weighted mean of the predictions of the model, one per row, of the further networks and of the other learners.
    fn mix(&self, output: usize, field: &Field, model: Vec<Prediction>, others: &Others) -> Vec<Prediction> {
        let Some(task) = Task::of(&field.preprocessor) else { return model };
        let n_values = task.n_values();
        let rows: Vec<usize> = (0..model.len()).collect();
        let view = RowsView { block: &others.block, scaled: &others.scaled, rows: &rows };
        let of_members: Vec<(f64, Vec<f32>)> =
            self.members.iter().map(|member| (member.weight, member.predict(task, view))).collect();
        let share = self.network / (1 + others.networks.len()) as f64;
        let mixed = model.into_iter().enumerate().map(|(row, of_model)| {
            let mut values = vec![0f64; n_values];
            if share > 0.0 {
                let further = others.networks.iter().map(|outputs| &outputs[output][row]);
                let networks = std::iter::once(&of_model).chain(further);
                networks.filter_map(|it| task.values(it, &field.preprocessor)).for_each(|own| add(&mut values, &own, share));
            }
            for (weight, predicted) in &of_members {
                add(&mut values, &predicted[row * n_values..(row + 1) * n_values], *weight);
            }
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            task.prediction(&values, &field.preprocessor)
        });
        mixed.collect()
    }
}

impl Member {
    /// Predicts rows, `[rows, task.n_values()]`: the mean over the folds.
    pub fn predict(&self, task: Task, view: RowsView) -> Vec<f32> {
        let mut values = vec![0f64; view.rows.len() * task.n_values()];
        let share = 1.0 / self.folds.len() as f64;
        let of_folds: Vec<Vec<f32>> = self.folds.par_iter().map(|fitted| fitted.predict(task, view)).collect();
        of_folds.iter().for_each(|own| add(&mut values, own, share));
        values.into_iter().map(|value| value as f32).collect()
    }
}

fn add(sums: &mut [f64], values: &[f32], weight: f64) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
}
