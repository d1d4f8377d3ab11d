//! The ensemble of a model: for each output, the weights of the network and of other learners. Saved in the bundle.

use mbm_data::{Batch, Field};
use serde::{Deserialize, Serialize};

use crate::learn::columns::{Block, Columns};
use crate::learn::fitted::Fitted;
use crate::learn::task::Task;
use crate::predict::prediction::Prediction;

/// The ensemble of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ensemble {
    /// How inputs become the columns that learners read.
    pub columns: Columns,
    /// One per output; outputs that only the network predicts have no other learners.
    pub outputs: Vec<OutputEnsemble>,
}

/// The ensemble of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputEnsemble {
    /// The weight of the network.
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

impl Ensemble {
    /// Returns the columns of a batch. Inputs in `absent` are absent from every row.
    pub fn block(&self, batch: &Batch, absent: &[bool]) -> Block {
        self.columns.block(batch, absent)
    }

    /// Checks an ensemble that was read from a file.
    ///
    /// # Errors
    /// Says what cannot have been fitted.
    pub fn check(&self, inputs: &[Field], outputs: &[Field]) -> Result<(), &'static str> {
        if !self.columns.suits(inputs) || self.outputs.len() != outputs.len() {
            return Err("its columns or outputs do not match its config");
        }
        let n_cols = self.columns.n_cols();
        for (ensemble, field) in self.outputs.iter().zip(outputs) {
            let Some(task) = Task::of(&field.preprocessor) else {
                if ensemble.members.is_empty() {
                    continue;
                } else {
                    return Err("an output that only the network predicts has others");
                }
            };
            for fitted in ensemble.members.iter().flat_map(|member| &member.folds) {
                fitted.check(task, n_cols).map_err(|invalid| invalid.0)?;
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

    /// Returns the weighted mean of the predictions of the network, one per row, and of the other learners.
    pub fn mix(&self, output: &Field, network: Vec<Prediction>, block: &Block) -> Vec<Prediction> {
        let Some(task) = Task::of(&output.preprocessor).filter(|_| !self.members.is_empty()) else { return network };
        let mixed = network.into_iter().enumerate().map(|(row, of_network)| {
            let mut values = vec![0f64; task.n_values()];
            if self.network > 0.0 {
                let Some(own) = task.values(&of_network, &output.preprocessor) else { return of_network };
                add(&mut values, &own, self.network);
            }
            for member in &self.members {
                add(&mut values, &member.predict(task, block.row(row)), member.weight);
            }
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            task.prediction(&values, &output.preprocessor)
        });
        mixed.collect()
    }
}

impl Member {
    /// Predicts a row `[columns]`: the mean over the folds.
    pub fn predict(&self, task: Task, row: &[f32]) -> Vec<f32> {
        let mut values = vec![0f64; task.n_values()];
        let share = 1.0 / self.folds.len() as f64;
        self.folds.iter().for_each(|fitted| add(&mut values, &fitted.predict(task, row), share));
        values.into_iter().map(|value| value as f32).collect()
    }
}

fn add(sums: &mut [f64], values: &[f32], weight: f64) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
}
