//! The rounds of boosting: derivatives of the loss at the scores so far, a sample of the rows and columns, and a tree for each output.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::Rng;
use super::boosting::{BoostingSettings, Examples, Growth};
use super::grow::{GrownTree, TreeSettings, grow};
use super::histogram::{Layout, MIN_PARALLEL};
use super::loss::Objective;
use super::split::Limits;
use super::sums::{Derivatives, Gradients};
use super::symmetric::grow_symmetric;
use super::trees::Trees;
use super::workspace::Workspace;

/// Boosting between two rounds.
pub(super) struct Rounds<'a> {
    examples: &'a Examples<'a>,
    objective: Objective,
    settings: &'a BoostingSettings,
    rng: Rng,
    base: Vec<f32>,
    trees: Trees,
    rows: RoundRows,
    outputs: Vec<Output>,
    /// The second derivative of the loss, if it is the same for all rows.
    hessian: Option<f32>,
}

/// The state of one output.
struct Output {
    /// The scores of all rows.
    scores: Vec<f32>,
    /// The derivatives of all rows; zero for those that are not fitted on.
    derivatives: Vec<Derivatives>,
    space: Workspace,
}

/// The rows of a round, in increasing order.
struct RoundRows {
    /// All rows to fit on.
    all: Vec<u32>,
    /// Those that the trees are grown on.
    sampled: Vec<u32>,
    /// The others and those of validation, whose scores change, too.
    followers: Vec<u32>,
    /// For each row of the table, what it is used for.
    uses: Vec<Use>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    None,
    Fitting,
    Sampled,
    Validation,
}

/// Number of rows whose scores are updated together.
const CHUNK: usize = 1 << 16;

/// The scores of some rows for an output, and the derivatives that are computed from them.
type Part<'a> = (&'a [f32], &'a mut [Derivatives]);

impl<'a> Rounds<'a> {
    pub fn new(examples: &'a Examples<'a>, objective: Objective, settings: &'a BoostingSettings, seed: u64) -> Self {
        let Examples { targets, n_outputs, rows, weights, binned, .. } = *examples;
        let base = objective.base(targets, n_outputs, rows, weights);
        let output = |score: &f32| Output {
            scores: vec![*score; binned.n_rows],
            derivatives: vec![[0.0; 2]; binned.n_rows],
            space: Workspace::default(),
        };
        let outputs = base.iter().map(output).collect();
        let trees = Trees::new(binned.n_cols(), 1);
        let rows = RoundRows::new(examples);
        let hessian = objective.constant_hessian(&rows.all, weights);
        Self { examples, objective, settings, rng: Rng::seed_from_u64(seed), base, trees, rows, outputs, hessian }
    }

    /// Adds a tree per output; returns false if none of them has a split.
    pub fn add(&mut self) -> bool {
        self.differentiate();
        self.rows.sample(self.settings.row_share, &mut self.rng);
        let jobs: Vec<(Vec<usize>, TreeSettings)> = (0..self.outputs.len()).map(|_| self.job()).collect();
        let (binned, rows, growth, hessian) = (self.examples.binned, &self.rows, self.settings.growth, self.hessian);
        let grown = |(output, (columns, tree)): (&mut Output, (Vec<usize>, TreeSettings))| {
            let layout = Layout::new(binned, columns);
            output.add_tree(&layout, rows, &tree, growth, hessian)
        };
        let work = rows.sampled.len() * binned.n_cols() * jobs.len();
        let grown: Vec<GrownTree> = if work < MIN_PARALLEL || jobs.len() == 1 {
            self.outputs.iter_mut().zip(jobs).map(grown).collect()
        } else {
            self.outputs.par_iter_mut().zip(jobs).map(grown).collect()
        };
        grown.iter().for_each(|grown| self.trees.push_tree(&grown.tree));
        grown.iter().any(|grown| grown.leaves.len() > 1)
    }

    /// Draws the columns of a tree and its seed.
    fn job(&mut self) -> (Vec<usize>, TreeSettings) {
        let settings = self.settings;
        let all: Vec<usize> = (0..self.examples.binned.n_cols()).collect();
        let columns = sampled(all, settings.column_share, &mut self.rng);
        let tree = TreeSettings {
            limits: Limits { l2: settings.l2, min_rows: settings.min_rows as u32, min_hessian: settings.min_hessian },
            max_leaves: settings.max_leaves,
            max_depth: settings.max_depth,
            random_thresholds: settings.random_thresholds,
            learning_rate: settings.learning_rate,
            seed: self.rng.random(),
        };
        (columns, tree)
    }

    /// Computes the derivatives of the loss for the rows to fit on.
    fn differentiate(&mut self) {
        let mut chunks: Vec<Vec<Part>> = Vec::new();
        chunks.resize_with(self.examples.binned.n_rows.div_ceil(CHUNK), Vec::new);
        for output in &mut self.outputs {
            let parts = output.scores.chunks(CHUNK).zip(output.derivatives.chunks_mut(CHUNK));
            chunks.iter_mut().zip(parts).for_each(|(chunk, part)| chunk.push(part));
        }
        let (examples, objective, rows) = (self.examples, self.objective, &self.rows.all);
        let differentiate = |(at, outputs): (usize, Vec<Part>)| {
            differentiate(examples, objective, chunk_of(rows, at), at * CHUNK, outputs);
        };
        match chunks.len() {
            0..=1 => chunks.into_iter().enumerate().for_each(differentiate),
            _ => chunks.into_par_iter().enumerate().for_each(differentiate),
        }
    }

    /// Returns the mean loss on the validation rows, if there are any.
    pub fn validation_loss(&self) -> Option<f64> {
        let validation = self.examples.validation;
        let sums: Vec<[f64; 2]> = match validation.len() {
            0..=CHUNK => validation.chunks(CHUNK).map(|rows| self.loss(rows)).collect(),
            _ => validation.par_chunks(CHUNK).map(|rows| self.loss(rows)).collect(),
        };
        let [sum, total] = sums.into_iter().reduce(|a, b| [a[0] + b[0], a[1] + b[1]])?;
        Some(sum / total.max(f64::MIN_POSITIVE))
    }

    /// Returns the weighted sum of the losses of some rows, and the sum of their weights.
    fn loss(&self, rows: &[u32]) -> [f64; 2] {
        let Examples { targets, n_outputs, weights, .. } = *self.examples;
        let (mut sum, mut total, mut predictions) = (0.0, 0.0, vec![0f32; n_outputs]);
        for row in rows.iter().map(|row| *row as usize) {
            predictions.iter_mut().zip(&self.outputs).for_each(|(score, output)| *score = output.scores[row]);
            self.objective.predictions(&mut predictions);
            let weight = f64::from(weights[row]);
            sum += weight * self.objective.loss(&predictions, &targets[row * n_outputs..(row + 1) * n_outputs]);
            total += weight;
        }
        [sum, total]
    }

    /// Returns the initial scores and all trees.
    pub fn finish(self) -> (Vec<f32>, Trees) {
        (self.base, self.trees)
    }
}

/// Computes the derivatives for some rows, given the scores and derivatives of the outputs from row `first` on.
fn differentiate(
    examples: &Examples,
    objective: Objective,
    rows: &[u32],
    first: usize,
    mut outputs: Vec<(&[f32], &mut [Derivatives])>,
) {
    let n_outputs = outputs.len();
    let mut predictions = vec![0f32; n_outputs];
    for row in rows.iter().map(|row| *row as usize) {
        predictions.iter_mut().zip(&outputs).for_each(|(score, (scores, _))| *score = scores[row - first]);
        objective.predictions(&mut predictions);
        let (targets, weight) = (&examples.targets[row * n_outputs..(row + 1) * n_outputs], examples.weights[row]);
        for (((_, derivatives), prediction), target) in outputs.iter_mut().zip(&predictions).zip(targets) {
            derivatives[row - first] = objective.derivatives(*prediction, *target, weight, n_outputs);
        }
    }
}

impl Output {
    fn add_tree(
        &mut self,
        layout: &Layout,
        rows: &RoundRows,
        settings: &TreeSettings,
        growth: Growth,
        hessian: Option<f32>,
    ) -> GrownTree {
        let root = self.space.reset(&rows.sampled, &rows.followers);
        let gradients = Gradients { rows: &self.derivatives, hessian };
        let grown = match growth {
            Growth::LeafWise => grow(layout, gradients, settings, root, &mut self.space),
            Growth::Symmetric => grow_symmetric(layout, gradients, settings, root, &mut self.space),
        };
        self.update(&grown);
        grown
    }

    /// Adds a tree to the scores of the rows that have reached its leaves.
    fn update(&mut self, grown: &GrownTree) {
        let space = &self.space;
        let update = |(at, scores): (usize, &mut [f32])| {
            for (leaf, value) in grown.leaves.iter().zip(&grown.tree.values) {
                for rows in [space.rows.of(&leaf.rows), space.followers.of(&leaf.followers)] {
                    chunk_of(rows, at).iter().for_each(|row| scores[*row as usize - at * CHUNK] += value);
                }
            }
        };
        match self.scores.len() {
            0..=CHUNK => self.scores.chunks_mut(CHUNK).enumerate().for_each(update),
            _ => self.scores.par_chunks_mut(CHUNK).enumerate().for_each(update),
        }
    }
}

/// Returns those of some rows in increasing order that are in a chunk of all rows.
fn chunk_of(rows: &[u32], at: usize) -> &[u32] {
    let position = |row: usize| rows.partition_point(|other| (*other as usize) < row);
    &rows[position(at * CHUNK)..position((at + 1) * CHUNK)]
}

impl RoundRows {
    fn new(examples: &Examples) -> Self {
        let mut uses = vec![Use::None; examples.binned.n_rows];
        examples.validation.iter().for_each(|row| uses[*row as usize] = Use::Validation);
        examples.rows.iter().for_each(|row| uses[*row as usize] = Use::Fitting);
        let with = |kind: Use| (0..uses.len() as u32).filter(|row| uses[*row as usize] == kind).collect::<Vec<_>>();
        let (all, followers) = (with(Use::Fitting), with(Use::Validation));
        Self { sampled: all.clone(), all, followers, uses }
    }

    /// Samples a share of the rows, at least one.
    fn sample(&mut self, share: f64, rng: &mut Rng) {
        if share >= 1.0 {
            return;
        }
        self.sampled.clone_from(&self.all);
        let (chosen, _) = self.sampled.partial_shuffle(rng, n_sampled(self.all.len(), share));
        chosen.iter().for_each(|row| self.uses[*row as usize] = Use::Sampled);
        self.sampled.clear();
        self.followers.clear();
        for (row, of) in self.uses.iter_mut().enumerate() {
            match of {
                Use::None => {}
                Use::Sampled => {
                    self.sampled.push(row as u32);
                    *of = Use::Fitting;
                }
                Use::Fitting | Use::Validation => self.followers.push(row as u32),
            }
        }
    }
}

/// Returns a sample of a share of the items, at least one, in their order.
fn sampled<T: Copy + Ord>(mut items: Vec<T>, share: f64, rng: &mut Rng) -> Vec<T> {
    if share >= 1.0 {
        return items;
    }
    let n_chosen = n_sampled(items.len(), share);
    let mut chosen = items.partial_shuffle(rng, n_chosen).0.to_vec();
    chosen.sort_unstable();
    chosen
}

fn n_sampled(n: usize, share: f64) -> usize {
    ((n as f64 * share).round() as usize).clamp(1, n.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::tree::{Binned, ColumnKind};

    #[test]
    fn rows_are_sampled_in_order_and_the_others_follow() {
        let binned = Binned::new(Matrix { data: &[0.0; 10], n_cols: 1 }, &[ColumnKind::Number]);
        let (rows, validation) = ([8, 1, 2, 5, 6], [3, 0]);
        let examples = Examples {
            binned: &binned,
            targets: &[0.0; 10],
            n_outputs: 1,
            weights: &[1.0; 10],
            rows: &rows,
            validation: &validation,
        };
        let mut of_round = RoundRows::new(&examples);
        assert_eq!((&of_round.sampled[..], &of_round.followers[..]), (&[1, 2, 5, 6, 8][..], &[0, 3][..]));
        let mut rng = Rng::seed_from_u64(2);
        for _ in 0..20 {
            of_round.sample(0.6, &mut rng);
            assert_eq!((of_round.sampled.len(), of_round.followers.len()), (3, 4));
            assert!(of_round.sampled.is_sorted() && of_round.followers.is_sorted());
            let mut both = [&of_round.sampled[..], &of_round.followers[..]].concat();
            both.sort_unstable();
            assert_eq!(both, [0, 1, 2, 3, 5, 6, 8]);
        }
    }
}
