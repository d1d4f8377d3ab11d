//! Fits all learners on all folds, and chooses their weights.

use std::path::Path;
use std::time::Instant;

use mbm_algo::greedy_weights;
use mbm_algo::metric::SampleWeights;
use mbm_algo::tree::Binned;
use mbm_data::random::seed;
use mbm_data::{Dataset, Field, LoadOptions, load};
use mbm_model::Model;
use mbm_model::decoder::Loss;
use rayon::prelude::*;

use crate::config::plan::Plan;
use crate::error::Error;
use crate::learn::columns::{Block, Columns};
use crate::learn::ensemble::{Ensemble, OutputEnsemble};
use crate::learn::fitted::{Data, Fitted, Fold, Plain, Widths};
use crate::learn::scaled::Scaling;
use crate::learn::selection::{Candidate, Selection};
use crate::learn::settings::{BoostedTreesLearner, Learner};
use crate::learn::store;
use crate::learn::task::{Task, Truth};

/// The columns and targets of some rows.
pub(crate) struct Rows {
    /// Their indices in the table.
    pub rows: Vec<usize>,
    /// Their columns.
    pub block: Block,
    /// For each output with a task, `[rows, task.n_values()]`; NaN for rows without the target.
    pub targets: Vec<Vec<f32>>,
    /// Their weights.
    pub weights: SampleWeights,
}

/// Number of rows that are read together.
const CHUNK: usize = 512;

impl Rows {
    /// Reads rows of a dataset.
    ///
    /// # Errors
    /// Fails if the temporary file cannot be read.
    pub fn read(dataset: &Dataset, columns: &Columns, tasks: &[Option<Task>], rows: &[usize]) -> Result<Self, Error> {
        let (mut block, mut targets) = (Block::default(), vec![Vec::new(); tasks.len()]);
        load::<Error>(&LoadOptions::plain(dataset, rows, CHUNK), |_, batch| {
            block.append(columns.block(&batch, &[]));
            for ((task, column), targets) in tasks.iter().zip(&batch.targets).zip(&mut targets) {
                task.iter().for_each(|task| task.append_targets(column, targets));
            }
            Ok(())
        })?;
        Ok(Self { rows: rows.to_vec(), block, targets, weights: dataset.weights_of(rows).into() })
    }
}

/// What learners are fitted on, for one output.
pub(crate) struct Fitting<'a> {
    pub plan: &'a Plan,
    /// The fields of all outputs.
    pub outputs: &'a [Field],
    pub columns: &'a Columns,
    /// The columns of the rows, binned for trees.
    pub binned: &'a Binned,
    /// The columns without those of media.
    pub plain: Plain<'a>,
    /// The columns of the rows, scaled.
    pub scaled: &'a Block,
    /// The positions of the scaled columns that are a projection of n-grams.
    pub projected: &'a [usize],
    /// The rows to fit on.
    pub rows: &'a Rows,
    /// Which of them each fold holds out.
    pub folds: &'a Folds,
    pub learners: &'a [Learner],
    /// Where fitted learners are kept until the run ends, and found when it is resumed.
    pub kept: &'a Path,
    /// Once it returns false, learners end as soon as they can; one that was cut short is left out.
    pub proceed: &'a (dyn Fn() -> bool + Sync),
    /// Whether the run was stopped. Nothing else ends the fits on all rows: the config, which repeats the run, does not say which were cut
    /// short.
    pub is_stopped: &'a (dyn Fn() -> bool + Sync),
}

/// Which rows are held out when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folds {
    /// The fold that holds out each row; `None` for a row that is always fitted on.
    pub of_rows: Vec<Option<usize>>,
    /// Number of folds.
    pub n_folds: usize,
}

impl Fitting<'_> {
    /// Fits all learners but the network for an output, and chooses the weights of all. `network` holds the predictions of the network,
    /// `[rows, task.n_values()]`, if it takes part; NaN for rows that it was trained on. `observe` is told of each fitted learner.
    ///
    /// # Errors
    /// Fails if a fitted learner cannot be kept.
    pub fn select(
        &self,
        output: usize,
        task: Task,
        network: Option<Vec<f32>>,
        observe: &mut dyn FnMut(&Candidate, &Truth),
    ) -> Result<Selection, Error> {
        let (targets, n_values) = (&self.rows.targets[output], task.n_values());
        let is_present = |row: usize| !targets[row * n_values].is_nan();
        let known: Vec<usize> = (0..self.rows.rows.len()).filter(|row| is_present(*row)).collect();
        let folds: Vec<Fold> = (0..self.folds.n_folds).map(|at| self.fold(at, &known)).collect();
        let tree_targets: Vec<f32> = match task {
            Task::Classes(2) => targets.iter().skip(1).step_by(2).copied().collect(),
            _ => targets.clone(),
        };
        let class_weights = self.class_weights(output, task, &known);
        let weights = &task.weighted(&self.rows.weights, targets, class_weights.as_deref());
        let tree_weights = weights.per_row(self.rows.rows.len());
        let data = Data {
            task,
            block: &self.rows.block,
            n_without_texts: self.columns.n_without_texts(),
            binned: self.binned,
            plain: self.plain,
            scaled: self.scaled,
            projected: self.projected,
            targets,
            tree_targets: &tree_targets,
            weights,
            tree_weights: &tree_weights,
        };
        let held_out: Vec<usize> = folds.iter().flat_map(|fold| &fold.held_out).map(|row| *row as usize).collect();
        let truth = |weights: &SampleWeights| Truth {
            targets: gathered(targets, &held_out, n_values),
            weights: weights.select(held_out.iter().copied()),
        };
        let (truth, in_losses) = (truth(&self.rows.weights), truth(weights));
        let (mut candidates, mut left_out) = (Vec::new(), Vec::new());
        for position in self.fastest_first() {
            let candidate = self.candidate(output, position, &self.learners[position], &data, &folds)?;
            candidate.iter().for_each(|candidate| observe(candidate, &truth));
            if candidate.is_none() && self.is_tried(output, position) && !(self.proceed)() {
                left_out.push(self.name(position));
            }
            candidates.extend(candidate);
        }
        candidates.sort_by_key(|candidate| candidate.learner);
        let network = network.map(|network| gathered(&network, &held_out, n_values));
        self.combine(output, task, &mut candidates, [&truth, &in_losses], network);
        self.refit(output, &data, &folds, &known, &mut candidates)?;
        let in_fold = |fold: &Fold| fold.held_out.iter().map(|at| self.rows.rows[*at as usize]).collect();
        Ok(Selection { task, candidates, truth, rows: folds.iter().map(in_fold).collect(), left_out })
    }

    /// Returns the positions of the learners in the order in which they are fitted, so that a time limit leaves out those that take long and
    /// those that resemble an earlier one.
    fn fastest_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.learners.len()).collect();
        order.sort_by_key(|position| {
            let learner = &self.learners[*position];
            let resembles = self.learners[..*position].iter().any(|other| other.type_name() == learner.type_name());
            match learner {
                _ if resembles => 4,
                Learner::Network(_) | Learner::Linear(_) => 0,
                Learner::BoostedTrees(_) => 1,
                Learner::RandomForest(_) | Learner::ExtraTrees(_) => 2,
                Learner::Svm(_) | Learner::Convolutions(_) => 3,
            }
        });
        order
    }

    /// Whether a learner is fitted for an output: it is not the network, and the config does not say that it has no weight.
    fn is_tried(&self, output: usize, position: usize) -> bool {
        let learner = &self.learners[position];
        !matches!(learner, Learner::Network(_)) && learner.weights().get(output) != Some(&0.0)
    }

    /// Returns the weights of the classes in the loss of an output, as the network has them; `None` if all are the same.
    fn class_weights(&self, output: usize, task: Task, known: &[usize]) -> Option<Vec<f32>> {
        let Task::Classes(n_classes) = task else { return None };
        let mut counts = vec![0; n_classes];
        known.iter().filter_map(|row| task.class_of(&self.rows.targets[output], *row)).for_each(|class| counts[class] += 1);
        match self.plan.config.output_features[output].loss(&counts) {
            Ok((Loss::CrossEntropy { class_weights, .. }, _)) if class_weights.iter().any(|it| *it != class_weights[0]) => {
                Some(class_weights)
            }
            _ => None,
        }
    }

    /// Chooses the weights of the candidates, and of the network if it takes part, given its predictions for the held-out rows, which are
    /// compared with the truth by a metric, or by the loss, in which classes may have weights.
    fn combine(
        &self,
        output: usize,
        task: Task,
        candidates: &mut Vec<Candidate>,
        [truth, in_losses]: [&Truth; 2],
        network: Option<Vec<f32>>,
    ) {
        match network {
            Some(network) if network.iter().all(|value| !value.is_nan()) => {
                candidates.insert(0, self.network(network));
                self.weigh(output, task, candidates, [truth, in_losses]);
            }
            Some(network) => {
                self.weigh(output, task, candidates, [truth, in_losses]);
                self.add_network(output, task, candidates, in_losses, network);
            }
            None => self.weigh(output, task, candidates, [truth, in_losses]),
        }
    }

    /// Returns a fold of the rows that have the target.
    fn fold(&self, at: usize, known: &[usize]) -> Fold {
        let (held_out, others): (Vec<usize>, Vec<usize>) =
            known.iter().copied().partition(|row| self.folds.of_rows[*row] == Some(at));
        Fold { at, rows: self.counted(&others), held_out: held_out.into_iter().map(|row| row as u32).collect() }
    }

    /// Returns the rows that have weights above 0.
    fn counted(&self, rows: &[usize]) -> Vec<u32> {
        rows.iter().filter(|row| self.rows.weights.of(**row) > 0.0).map(|row| *row as u32).collect()
    }

    /// Returns the network as a candidate.
    fn network(&self, held_out: Vec<f32>) -> Candidate {
        let learner = self.learners.iter().position(|learner| matches!(learner, Learner::Network(_))).unwrap_or(0);
        let name = self.learners[learner].type_name().to_owned();
        Candidate { name, learner, folds: Vec::new(), settings: None, held_out, weight: 0.0, seconds: 0.0 }
    }

    /// Fits a learner on every fold, in parallel. `None` for the network, for a learner that has no weight in the config, that does not
    /// suit the output, or that was cut short.
    fn candidate(
        &self,
        output: usize,
        position: usize,
        learner: &Learner,
        data: &Data,
        folds: &[Fold],
    ) -> Result<Option<Candidate>, Error> {
        // Too few images have no columns, and neither do inputs that are left to the network.
        if !self.is_tried(output, position) || data.block.n_cols == 0 || !(self.proceed)() {
            return Ok(None);
        }
        let started = Instant::now();
        let kept = self.kept.join(format!("{output}-{position}"));
        let found = store::kept(&kept, folds.len(), |fitted| fitted.check(data.task, &self.widths()).is_ok())?;
        let settings = found.is_none().then(|| self.resolved(output, learner, data, folds));
        let fit = |settings: &Learner| self.fit_folds((output, position), settings, data, folds, self.proceed);
        let Some(fitted) = found.or_else(|| settings.as_ref().and_then(fit)) else { return Ok(None) };
        if settings.is_some() {
            store::keep(&fitted, &kept)?;
        }
        let predict = |(fitted, fold): (&Fitted, &Fold)| {
            let rows: Vec<usize> = fold.held_out.iter().map(|row| *row as usize).collect();
            fitted.predict(data.task, data.view(&rows))
        };
        let held_out = fitted.iter().zip(folds).flat_map(predict).collect();
        let seconds = started.elapsed().as_secs_f64();
        Ok(Some(Candidate {
            name: self.name(position),
            learner: position,
            folds: fitted,
            settings,
            held_out,
            weight: 0.0,
            seconds,
        }))
    }

    fn fit_folds(
        &self,
        (output, position): (usize, usize),
        learner: &Learner,
        data: &Data,
        folds: &[Fold],
        proceed: &(dyn Fn() -> bool + Sync),
    ) -> Option<Vec<Fitted>> {
        let purpose = format!("learner {position} of output {output}");
        let run_seed = self.plan.config.random_seed;
        let fit = |fold: &Fold| data.fit(learner, fold, seed(run_seed, &purpose, fold.at as u64, 0), proceed);
        let fitted: Option<Vec<Fitted>> = folds.par_iter().map(fit).collect();
        fitted.filter(|_| proceed())
    }

    /// Fits learners with a weight once more, on all rows: those that were fitted on the training rows only, and linear models, of which a
    /// mean over folds is no better.
    fn refit(
        &self,
        output: usize,
        data: &Data,
        folds: &[Fold],
        known: &[usize],
        candidates: &mut [Candidate],
    ) -> Result<(), Error> {
        let is_all = self.folds.n_folds == 1 && self.plan.config.ensemble.refit;
        let all = Fold { at: 0, rows: self.counted(known), held_out: Vec::new() };
        for candidate in candidates.iter_mut().filter(|candidate| candidate.weight > 0.0 && !candidate.folds.is_empty()) {
            let (position, learner) = (candidate.learner, &self.learners[candidate.learner]);
            if !(is_all || self.folds.n_folds > 1 && matches!(learner, Learner::Linear(_))) {
                continue;
            }
            let kept = self.kept.join(format!("{output}-{position}-all"));
            let found = store::kept(&kept, 1, |fitted| fitted.check(data.task, &self.widths()).is_ok())?;
            let settings = || candidate.settings.clone().unwrap_or_else(|| self.resolved(output, learner, data, folds));
            let fit = || {
                let settings = candidate.folds[0].settled(&settings());
                self.fit_folds((output, position), &settings, data, std::slice::from_ref(&all), &|| !(self.is_stopped)())
            };
            if let Some(fitted) = found.or_else(fit) {
                store::keep(&fitted, &kept)?;
                candidate.folds = fitted;
            }
        }
        Ok(())
    }

    fn widths(&self) -> Widths {
        Widths {
            n_cols: self.rows.block.n_cols,
            n_scaled: self.scaled.n_cols,
            n_terms: self.columns.n_terms(),
            n_channels: self.rows.block.series.iter().map(|series| series.n_channels).collect(),
        }
    }

    /// Returns a learner with the settings that are chosen on the first fold.
    fn resolved(&self, output: usize, learner: &Learner, data: &Data, folds: &[Fold]) -> Learner {
        match (learner, folds.first()) {
            (Learner::Linear(linear), Some(fold)) => Learner::Linear(data.with_penalty(linear, fold)),
            // Rounds are given for each output in turn.
            (Learner::BoostedTrees(trees), _) => {
                let rounds = trees.rounds.iter().skip(output * self.folds.n_folds).take(self.folds.n_folds).copied().collect();
                Learner::BoostedTrees(BoostedTreesLearner { rounds, ..trees.clone() })
            }
            _ => learner.clone(),
        }
    }

    /// Returns the name of a learner: its type and whether it reads media, numbered if there are several of it.
    fn name(&self, at: usize) -> String {
        let name = |learner: &Learner| {
            let suffix = if learner.is_without_media() { "_without_media" } else { "" };
            format!("{}{suffix}", learner.type_name())
        };
        let own = name(&self.learners[at]);
        let same = |other: &&Learner| name(other) == own;
        let number = self.learners[..=at].iter().filter(same).count();
        let is_only = self.learners.iter().filter(same).count() == 1;
        if is_only { own } else { format!("{own}_{number}") }
    }

    /// Sets the weights of the candidates: those of the config, or those chosen greedily.
    fn weigh(&self, output: usize, task: Task, candidates: &mut [Candidate], truths: [&Truth; 2]) {
        let given = |candidate: &Candidate| self.learners[candidate.learner].weights().get(output).copied();
        if candidates.iter().any(|candidate| given(candidate).is_some()) {
            candidates.iter_mut().for_each(|candidate| candidate.weight = given(candidate).unwrap_or(0.0));
            return;
        }
        let predictions: Vec<&[f32]> = candidates.iter().map(|candidate| candidate.held_out.as_slice()).collect();
        let n_picks = self.plan.config.ensemble.n_picks;
        let weights = greedy_weights(&predictions, n_picks, &|mean| self.loss(output, task, mean, truths));
        candidates.iter_mut().zip(weights).for_each(|(candidate, weight)| candidate.weight = weight);
    }

    /// Returns what weights minimize: the loss, or the metric that `trainer.validation_metric` names for the output.
    fn loss(&self, output: usize, task: Task, predicted: &[f32], [truth, in_losses]: [&Truth; 2]) -> f64 {
        let loss = task.loss(predicted, in_losses);
        let Some(metric) = self.plan.metric_of(output, &self.outputs[output].name) else { return loss };
        let samples = task.samples(predicted, truth, &self.outputs[output].preprocessor);
        let Some(value) = samples.metrics().get(metric).copied() else { return loss };
        // Decides between equal values.
        let small = 1e-9 * loss / truth.targets.len().max(1) as f64;
        small + if samples.is_higher_better(metric) { -value } else { value }
    }

    /// Adds a network that has predictions for some of the held-out rows only, with the weight that minimizes the loss on them.
    fn add_network(&self, output: usize, task: Task, candidates: &mut Vec<Candidate>, truth: &Truth, network: Vec<f32>) {
        let n_values = task.n_values();
        let positions: Vec<usize> = (0..network.len() / n_values).filter(|at| !network[at * n_values].is_nan()).collect();
        let of_network = gathered(&network, &positions, n_values);
        let mut others = vec![0f32; of_network.len()];
        for candidate in candidates.iter() {
            let own = gathered(&candidate.held_out, &positions, n_values);
            others.iter_mut().zip(own).for_each(|(sum, value)| *sum += candidate.weight as f32 * value);
        }
        let (targets, weights) = (gathered(&truth.targets, &positions, n_values), truth.weights.select(positions));
        let mut candidate = self.network(network);
        let given = self.learners[candidate.learner].weights().get(output).copied();
        candidate.weight = given.unwrap_or_else(|| match candidates.is_empty() {
            true => 1.0,
            false => cautious_weight(&of_network, &others, n_values, &|mean, row| {
                weights.of(row) * task.loss_of_row(mean, &targets[row * n_values..(row + 1) * n_values])
            }),
        });
        if given.is_none() {
            candidates.iter_mut().for_each(|other| other.weight *= 1.0 - candidate.weight);
        }
        candidates.insert(0, candidate);
    }
}

/// Returns the weight of one prediction, `[rows, n_values]`, in its mean with another one: the smallest weight whose loss is within one
/// standard error of the lowest (Breiman et al. 1984), since few rows say little, and one of the predictions was chosen by them. `loss`
/// returns the loss of a row.
fn cautious_weight(own: &[f32], other: &[f32], n_values: usize, loss: &dyn Fn(&[f32], usize) -> f64) -> f64 {
    let losses = |weight: f32| -> Vec<f64> {
        let mean: Vec<f32> = own.iter().zip(other).map(|(own, other)| weight * own + (1.0 - weight) * other).collect();
        mean.chunks(n_values).enumerate().map(|(row, mean)| loss(mean, row)).collect()
    };
    let candidates: Vec<(f64, Vec<f64>)> =
        (0..=N_WEIGHTS).map(|at| at as f64 / N_WEIGHTS as f64).map(|weight| (weight, losses(weight as f32))).collect();
    let sum = |losses: &[f64]| losses.iter().sum::<f64>();
    let Some((_, lowest)) = candidates.iter().min_by(|a, b| sum(&a.1).total_cmp(&sum(&b.1))) else { return 0.0 };
    let is_close = |losses: &[f64]| {
        let differences: Vec<f64> = losses.iter().zip(lowest).map(|(own, lowest)| own - lowest).collect();
        let (n, total) = (differences.len() as f64, sum(&differences));
        let variance = differences.iter().map(|it| (it - total / n).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        total <= (n * variance).sqrt()
    };
    candidates.iter().find(|(_, losses)| is_close(losses)).map_or(0.0, |(weight, _)| *weight)
}

/// Number of steps between the weights 0 and 1 that are tried.
const N_WEIGHTS: usize = 20;

/// Returns the values of some rows, `[rows, n_values]`.
pub(crate) fn gathered(values: &[f32], rows: &[usize], n_values: usize) -> Vec<f32> {
    rows.iter().flat_map(|row| values[row * n_values..(row + 1) * n_values].iter().copied()).collect()
}

/// Returns the ensemble of all outputs; an output without a selection is left to the network. `networks` are those of further folds.
pub(crate) fn ensemble(
    columns: Columns,
    scaling: Scaling,
    n_rows: usize,
    selections: &[Option<Selection>],
    networks: Vec<Model>,
) -> Ensemble {
    let outputs = selections.iter().map(|it| it.as_ref().map_or_else(OutputEnsemble::network, Selection::ensemble));
    Ensemble { columns, scaling, n_rows, n_networks: networks.len(), networks, outputs: outputs.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_needs_evidence_for_a_weight() {
        let targets = |row: usize| if row.is_multiple_of(2) { 1.0f32 } else { -1.0 };
        let squared = |mean: &[f32], row: usize| f64::from(mean[0] - targets(row)).powi(2);
        let weight = |own: &dyn Fn(usize) -> f32, n_rows: usize| {
            let (own, other): (Vec<f32>, Vec<f32>) = (0..n_rows).map(|row| (own(row), targets(row) / 2.0)).unzip();
            cautious_weight(&own, &other, 1, &squared)
        };
        assert_eq!(weight(&targets, 40), 1.0, "better in every row");
        let mixed = |row: usize| {
            targets(row)
                * if row == 0 {
                    1.0
                } else if row == 1 {
                    0.3
                } else {
                    0.5
                }
        };
        assert_eq!(weight(&mixed, 40), 0.0, "better in one row, worse in another");
        assert_eq!(weight(&|_| 0.0, 40), 0.0, "worse");
    }
}
