//! Boosted trees on fused vectors, as the decoder `boosted_trees` fits them.

use mbm_algo::Matrix;
use mbm_algo::metric::SampleWeights;
use mbm_algo::tree::{Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Growth};
use mbm_model::decoder::BoostedTreesSettings;

use crate::learn::task::Task;

/// Fused vectors and targets.
pub(crate) struct FusedRows<'a> {
    pub task: Task,
    /// `[rows, width]`
    pub fused: Matrix<'a>,
    /// `[rows, task.n_fitted()]`
    pub targets: Vec<f32>,
    pub weights: &'a SampleWeights,
}

/// Every tenth row decides on the number of rounds.
const STRIDE: usize = 10;

impl FusedRows<'_> {
    /// Fits trees to all rows, with the number of rounds that is best for those that are held out first.
    pub fn fit(&self, settings: &BoostedTreesSettings, seed: u64) -> BoostedTrees {
        let n_rows = self.fused.n_rows();
        let binned = Binned::new(self.fused, &vec![ColumnKind::Number; self.fused.n_cols]);
        let weights = self.weights.per_row(n_rows);
        let all: Vec<u32> = (0..n_rows as u32).collect();
        let (held_out, rows): (Vec<u32>, Vec<u32>) = all.iter().partition(|row| **row as usize % STRIDE == STRIDE - 1);
        let of_rows = |rows, validation| Examples {
            binned: &binned,
            targets: &self.targets,
            n_outputs: self.task.n_fitted(),
            weights: &weights,
            rows,
            validation,
        };
        let fit = |examples: &Examples, max_rounds| {
            BoostedTrees::fit(examples, self.task.objective(), &boosting(settings, max_rounds), seed, &mut |_| true)
        };
        if held_out.is_empty() {
            return fit(&of_rows(&all, &[]), settings.max_rounds);
        }
        let n_rounds = fit(&of_rows(&rows, &held_out), settings.max_rounds).n_rounds();
        fit(&of_rows(&all, &[]), n_rounds)
    }
}

fn boosting(settings: &BoostedTreesSettings, max_rounds: usize) -> BoostingSettings {
    BoostingSettings {
        max_rounds,
        patience: settings.patience,
        learning_rate: settings.learning_rate,
        growth: Growth::LeafWise,
        max_leaves: settings.max_leaves,
        max_depth: 12,
        min_rows: settings.min_rows,
        min_hessian: 1e-7,
        l2: settings.l2,
        row_share: 0.8,
        column_share: 0.8,
        random_thresholds: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_numbers_are_learned() {
        let fused: Vec<f32> = (0..600).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let x = Matrix { data: &fused, n_cols: 3 };
        let settings = mbm_config::defaults();
        let weights = SampleWeights::default();
        let of_rows = |task, target: fn(&[f32]) -> f32| {
            let targets: Vec<f32> = fused.chunks(3).map(target).collect();
            (FusedRows { task, fused: x, targets: targets.clone(), weights: &weights }.fit(&settings, 1), targets)
        };
        let (trees, targets) = of_rows(Task::Number, |row| row[0] * row[1]);
        let error: f32 = fused.chunks(3).zip(&targets).map(|(row, target)| (trees.predict(row)[0] - target).powi(2)).sum();
        assert!(error / 200.0 < 0.02, "the variance is about 1/9, the error {}", error / 200.0);
        let (trees, targets) = of_rows(Task::Classes(2), |row| f32::from(u8::from(row[2] > 0.3)));
        let n_right =
            fused.chunks(3).zip(&targets).filter(|(row, target)| (trees.predict(row)[0] > 0.5) == (**target > 0.5)).count();
        assert!(n_right >= 196, "{n_right} of 200");
    }
}
