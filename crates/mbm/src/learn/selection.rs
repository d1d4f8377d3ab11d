//! The learners of an output that were tried, what they predict for rows that they were not fitted on, and their weights.

use crate::learn::ensemble::{Member, OutputEnsemble};
use crate::learn::fitted::Fitted;
use crate::learn::settings::Learner;
use crate::learn::task::{Task, Truth};

/// A learner with what it predicts for rows that it was not fitted on.
pub(crate) struct Candidate {
    /// Its name on the leaderboard.
    pub name: String,
    /// Its position among the learners of the config; the network has one, too.
    pub learner: usize,
    /// One per fold, or one that was fitted on all rows; none for the network.
    pub folds: Vec<Fitted>,
    /// The learner with the settings that were chosen; `None` if it was fitted before the run was resumed.
    pub settings: Option<Learner>,
    /// Predictions for the held-out rows, `[rows, task.n_values()]`; NaN for rows that it was fitted on.
    pub held_out: Vec<f32>,
    /// Its weight.
    pub weight: f64,
    /// Wall-clock seconds that fitting took.
    pub seconds: f64,
}

/// The learners of an output, and the rows by which they were compared.
pub(crate) struct Selection {
    /// The task of the output.
    pub task: Task,
    /// All learners that were tried.
    pub candidates: Vec<Candidate>,
    /// The held-out rows of each fold, as indices of the table.
    pub rows: Vec<Vec<usize>>,
    /// What their predictions for the held-out rows are compared with.
    pub truth: Truth,
    /// The names of learners that the time limit has left out.
    pub left_out: Vec<String>,
}

impl Selection {
    /// Adds what was done for this output to the learners of a config.
    pub fn record(&self, learners: &mut [Learner]) {
        for (position, learner) in learners.iter_mut().enumerate() {
            let used = self.candidates.iter().find(|candidate| candidate.learner == position && candidate.weight > 0.0);
            let rounds = used.filter(|used| !used.folds.is_empty()).map(|used| used.folds.iter().map(Fitted::n_rounds).collect());
            learner.push_result(used.map_or(0.0, |used| used.weight), rounds.unwrap_or_else(|| vec![0; self.rows.len()]));
        }
    }

    /// Returns the ensemble of the output: the learners with a weight.
    pub fn ensemble(&self) -> OutputEnsemble {
        let network = self.candidates.iter().filter(|it| it.folds.is_empty()).map(|it| it.weight).sum();
        let members = self.candidates.iter().filter(|it| it.weight > 0.0 && !it.folds.is_empty());
        let members = members.map(|it| Member { name: it.name.clone(), weight: it.weight, folds: it.folds.clone() });
        OutputEnsemble { network, members: members.collect() }
    }

    /// Returns what the ensemble predicts for the held-out rows, `[rows, task.n_values()]`: the weighted mean of the learners that were not
    /// fitted on a row; NaN if all with a weight were.
    pub fn held_out(&self) -> Vec<f32> {
        let n_values = self.task.n_values();
        let mut means = vec![0f64; self.truth.targets.len()];
        for (row, mean) in means.chunks_mut(n_values).enumerate() {
            let mut total = 0.0;
            for candidate in self.candidates.iter().filter(|it| it.weight > 0.0) {
                let own = &candidate.held_out[row * n_values..(row + 1) * n_values];
                if !own[0].is_nan() {
                    mean.iter_mut().zip(own).for_each(|(sum, value)| *sum += candidate.weight * f64::from(*value));
                    total += candidate.weight;
                }
            }
            mean.iter_mut().for_each(|value| *value /= total);
        }
        means.into_iter().map(|value| value as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use mbm_algo::metric::SampleWeights;

    use super::*;

    #[test]
    fn held_out_rows_are_predicted_by_the_learners_that_were_not_fitted_on_them() {
        let candidate = |held_out: [f32; 3], weight| Candidate {
            name: String::new(),
            learner: 0,
            folds: Vec::new(),
            settings: None,
            held_out: held_out.to_vec(),
            weight,
            seconds: 0.0,
        };
        let truth = || Truth { targets: vec![0.0; 3], weights: SampleWeights::default() };
        let selection = |candidates| Selection {
            task: Task::Number,
            candidates,
            rows: vec![vec![5, 1], vec![3]],
            truth: truth(),
            left_out: Vec::new(),
        };
        let network = || candidate([4.0, f32::NAN, 8.0], 0.25);
        let candidates = vec![network(), candidate([0.0, 2.0, 4.0], 0.75), candidate([9.0; 3], 0.0)];
        assert_eq!(selection(candidates).held_out(), [1.0, 2.0, 5.0]);
        let alone = selection(vec![network(), candidate([9.0; 3], 0.0)]).held_out();
        assert!(alone[0] == 4.0 && alone[1].is_nan() && alone[2] == 8.0, "{alone:?}");
    }
}
