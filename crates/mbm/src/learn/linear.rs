//! Fits linear models: ridge regression, logistic regression of classes or of each label.

use mbm_algo::linear::{ClassifiedRows, Linear, Logistic, NumberedRows, RidgePath, Rows, Stopping};
use mbm_algo::metric::SampleWeights;
use mbm_algo::{Matrix, SparseRows};

use crate::learn::fitted::{Data, Fitted, Fold, Label, RowsView, kept, narrowed};
use crate::learn::settings::LinearLearner;
use crate::learn::task::{Task, Truth};

/// Maximum number of labels that linear models are fitted to.
const MAX_LABELS: usize = 100;

/// The rows of a fold as a linear model reads them: without the projection of n-grams, as it reads those themselves.
struct Inputs {
    /// `[rows, kept.len()]`, multiplied by `scale`.
    dense: Vec<f32>,
    /// A factor of the dense columns.
    scale: f32,
    /// The scaled columns that are read.
    kept: Vec<usize>,
    /// Number of scaled columns.
    n_scaled: usize,
    /// The n-grams that are read.
    terms: SparseRows,
    /// Number of n-grams, whether they are read or not.
    n_terms: usize,
    weights: SampleWeights,
}

impl Inputs {
    fn rows(&self) -> Rows<'_> {
        let dense = (!self.kept.is_empty()).then_some(Matrix { data: &self.dense, n_cols: self.kept.len() });
        Rows { dense, sparse: (self.terms.n_cols() > 0).then_some(&self.terms) }
    }

    /// Returns a model of these columns as one of all, with weights of 0 for those that are not read.
    fn widened(&self, linear: Linear) -> Linear {
        let n_outputs = linear.n_outputs;
        let (of_dense, of_terms) = linear.weights.split_at(self.kept.len() * n_outputs);
        let mut weights = vec![0.0; self.n_scaled * n_outputs];
        for (at, own) in self.kept.iter().zip(of_dense.chunks(n_outputs)) {
            let of_column = &mut weights[at * n_outputs..(at + 1) * n_outputs];
            of_column.iter_mut().zip(own).for_each(|(weight, own)| *weight = self.scale * own);
        }
        weights.extend(of_terms);
        let n_cols = self.n_scaled + self.n_terms;
        weights.resize(n_cols * n_outputs, 0.0);
        Linear { n_cols, weights, ..linear }
    }
}

impl Data<'_> {
    /// Returns the settings with the penalty, and the scale of columns, that have the lowest error by leave-one-out or, where that takes
    /// long, on the held-out rows of a fold, so that further folds need not try all.
    pub fn with_penalty(&self, it: &LinearLearner, fold: &Fold) -> LinearLearner {
        match self.task {
            Task::Number | Task::Vector(_) if it.penalties.len() > 1 => self.with_penalty_of_ridge(it, fold),
            Task::Classes(_) | Task::Labels(_) => self.with_penalty_of_logistic(it, fold),
            Task::Number | Task::Vector(_) => it.clone(),
        }
    }

    /// Fits ridge regression for numbers and logistic regression for classes; `None` if the task has too many labels or one class only.
    /// Uses the first penalty and scale; [`Data::with_penalty`] chooses them.
    pub fn linear(&self, it: &LinearLearner, fold: &Fold) -> Option<Fitted> {
        let inputs = self.inputs(fold, it.column_scales[0], it.without_media);
        match self.task {
            Task::Number | Task::Vector(_) => self.ridge(it, &inputs, fold),
            Task::Classes(n_classes) => {
                let classes = self.classes(&fold.rows);
                logistic(it.penalties[0], &inputs, &classes, n_classes).map(Fitted::Logistic)
            }
            Task::Labels(n_labels) if n_labels <= MAX_LABELS => {
                let label = |at: usize| {
                    let classes = self.label(at, &fold.rows);
                    let fitted = logistic(it.penalties[0], &inputs, &classes, 2);
                    fitted.map_or_else(|| Label::Share(share(&classes, &inputs.weights)), Label::Logistic)
                };
                Some(Fitted::Labels { labels: (0..n_labels).map(label).collect() })
            }
            Task::Labels(_) => None,
        }
    }

    /// Returns what a linear model reads; the scale has an effect beside n-grams alone.
    fn inputs(&self, fold: &Fold, scale: f64, is_plain: bool) -> Inputs {
        let rows: Vec<usize> = fold.rows.iter().map(|row| *row as usize).collect();
        let n_scaled = self.scaled.n_cols.max(1);
        let left_out = if is_plain { self.plain.scaled_media } else { self.projected };
        let kept = kept(n_scaled, left_out);
        let mut dense = self.scaled(&fold.rows);
        if kept.len() < n_scaled {
            dense = narrowed(&dense, n_scaled, &kept);
        }
        let scale = if self.has_terms() && !is_plain { scale as f32 } else { 1.0 };
        dense.iter_mut().for_each(|value| *value *= scale);
        let terms = if is_plain { SparseRows::new(0) } else { self.block.terms.select(&rows) };
        Inputs { dense, scale, kept, n_scaled, terms, n_terms: self.block.terms.n_cols(), weights: self.weights_of(&fold.rows) }
    }

    fn has_terms(&self) -> bool {
        self.block.terms.n_cols() > 0
    }

    /// Returns for each row whether it has a label.
    fn label(&self, at: usize, rows: &[u32]) -> Vec<usize> {
        let n = self.task.n_values();
        rows.iter().map(|row| usize::from(self.targets[*row as usize * n + at] > 0.5)).collect()
    }

    fn path<'b>(&self, it: &LinearLearner, inputs: &'b Inputs, targets: &'b [f32]) -> Option<RidgePath<'b>> {
        let targets = Matrix { data: targets, n_cols: self.task.n_values() };
        let data = NumberedRows { rows: inputs.rows(), targets, sample_weights: inputs.weights.as_slice() };
        RidgePath::new(data, &it.penalties).ok()
    }

    fn ridge(&self, it: &LinearLearner, inputs: &Inputs, fold: &Fold) -> Option<Fitted> {
        let targets = self.targets(&fold.rows);
        Some(Fitted::Ridge(inputs.widened(self.path(it, inputs, &targets)?.model(it.penalties[0]))))
    }

    fn with_penalty_of_ridge(&self, it: &LinearLearner, fold: &Fold) -> LinearLearner {
        let (inputs, truth) = (self.inputs(fold, it.column_scales[0], it.without_media), self.truth(&fold.rows));
        let Some(path) = self.path(it, &inputs, &truth.targets) else { return it.clone() };
        let best = match &path.leave_one_out {
            Some(left_out) => {
                let errors: Vec<f64> = left_out.iter().map(|predicted| self.task.loss(predicted, &truth)).collect();
                Some(it.penalties[smallest(&errors)])
            }
            None => {
                let loss = |penalty| Some(self.loss(&Fitted::Ridge(inputs.widened(path.model(penalty))), fold));
                first_minimum(&it.penalties, loss).map(|(_, penalty)| penalty)
            }
        };
        best.map_or_else(|| it.clone(), |penalty| LinearLearner { penalties: vec![penalty], ..it.clone() })
    }

    /// For labels, penalty and scale are those of the most balanced one.
    fn with_penalty_of_logistic(&self, it: &LinearLearner, fold: &Fold) -> LinearLearner {
        let scales = if self.has_terms() && !it.without_media { it.column_scales.as_slice() } else { &it.column_scales[..1] };
        if scales.len() == 1 && it.penalties.len() == 1 {
            return it.clone();
        }
        let best = scales.iter().filter_map(|scale| {
            let inputs = self.inputs(fold, *scale, it.without_media);
            let (loss, penalty) = first_minimum(&it.penalties, |penalty| self.loss_of_logistic(penalty, &inputs, fold))?;
            Some((loss, penalty, *scale))
        });
        let Some((_, penalty, scale)) = best.min_by(|a, b| a.0.total_cmp(&b.0)) else { return it.clone() };
        LinearLearner { penalties: vec![penalty], column_scales: vec![scale], ..it.clone() }
    }

    fn loss_of_logistic(&self, penalty: f64, inputs: &Inputs, fold: &Fold) -> Option<f64> {
        let Task::Labels(n_labels) = self.task else {
            let fitted = logistic(penalty, inputs, &self.classes(&fold.rows), self.task.n_values())?;
            return Some(self.loss(&Fitted::Logistic(fitted), fold));
        };
        let imbalance = |at: &usize| (2 * self.label(*at, &fold.rows).iter().sum::<usize>()).abs_diff(fold.rows.len());
        let label = (0..n_labels.min(MAX_LABELS)).min_by_key(imbalance)?;
        let (classes, held_out) = (self.label(label, &fold.rows), self.label(label, &fold.held_out));
        let targets = held_out.into_iter().map(|class| class as f32).collect();
        let truth = Truth { targets, weights: self.weights_of(&fold.held_out) };
        let labels = vec![Label::Logistic(logistic(penalty, inputs, &classes, 2)?)];
        let predicted = Fitted::Labels { labels }.predict(Task::Labels(1), self.view(&usizes(&fold.held_out)));
        Some(Task::Labels(1).loss(&predicted, &truth))
    }

    /// Returns the loss of predictions for the held-out rows.
    fn loss(&self, fitted: &Fitted, fold: &Fold) -> f64 {
        self.task.loss(&fitted.predict(self.task, self.view(&usizes(&fold.held_out))), &self.truth(&fold.held_out))
    }

    /// Returns rows as learners read them.
    pub fn view<'b>(&'b self, rows: &'b [usize]) -> RowsView<'b> {
        RowsView { block: self.block, scaled: self.scaled, rows }
    }
}

fn logistic(penalty: f64, inputs: &Inputs, classes: &[usize], n_classes: usize) -> Option<Logistic> {
    let data = ClassifiedRows { rows: inputs.rows(), classes, n_classes, sample_weights: inputs.weights.as_slice() };
    // With n-grams, a search to scikit-learn's tolerance takes long, and predicts the same.
    let stopping = if inputs.terms.n_cols() > 0 { Stopping { tolerance: 1e-3, max_iterations: 30 } } else { Stopping::default() };
    let fitted = Logistic::fit(data, 1.0 / penalty, stopping).ok()?;
    Some(Logistic { linear: inputs.widened(fitted.linear), ..fitted })
}

/// Returns the lowest loss before it rises, from strong to weak penalties, as fits with weak ones take long; and its penalty.
fn first_minimum(penalties: &[f64], loss: impl Fn(f64) -> Option<f64>) -> Option<(f64, f64)> {
    let mut penalties = penalties.to_vec();
    penalties.sort_by(|a, b| b.total_cmp(a));
    let mut best: Option<(f64, f64)> = None;
    for penalty in penalties {
        let Some(own) = loss(penalty) else { break };
        if best.is_some_and(|(lowest, _)| own > lowest) {
            break;
        }
        best = Some((own, penalty));
    }
    best
}

/// Returns the weighted share of the rows with a label.
fn share(classes: &[usize], weights: &SampleWeights) -> f32 {
    let (with, total) = classes
        .iter()
        .enumerate()
        .fold((0.0, 0.0), |(with, total), (row, class)| (with + weights.of(row) * *class as f64, total + weights.of(row)));
    (with / total) as f32
}

fn usizes(rows: &[u32]) -> Vec<usize> {
    rows.iter().map(|row| *row as usize).collect()
}

/// Returns the position of the smallest value; the first one on ties.
fn smallest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] < values[best] { at } else { best })
}
