//! Fits linear models: ridge regression, logistic regression of classes or of each label.

use mbm_algo::linear::{ClassifiedRows, Linear, Logistic, NumberedRows, RidgePath, Rows, Stopping};
use mbm_algo::metric::SampleWeights;
use mbm_algo::{Matrix, SparseRows};

use crate::learn::fitted::{Data, Fitted, Fold, Label, RowsView};
use crate::learn::settings::LinearLearner;
use crate::learn::task::{Task, Truth};

/// Maximum number of labels that linear models are fitted to.
const MAX_LABELS: usize = 100;

/// The rows of a fold as a linear model reads them: without the projection of n-grams, as it reads those themselves.
struct Inputs {
    /// `[rows, kept.len()]`
    dense: Vec<f32>,
    /// The scaled columns that are read.
    kept: Vec<usize>,
    /// Number of scaled columns.
    n_scaled: usize,
    terms: SparseRows,
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
            weights[at * n_outputs..(at + 1) * n_outputs].copy_from_slice(own);
        }
        weights.extend(of_terms);
        Linear { n_cols: self.n_scaled + self.terms.n_cols(), weights, ..linear }
    }
}

impl Data<'_> {
    /// Returns the settings with the penalty that has the lowest error by leave-one-out or, where that takes long, on the held-out rows of
    /// a fold, so that further folds need not try all.
    pub fn with_penalty(&self, it: &LinearLearner, fold: &Fold) -> LinearLearner {
        if it.penalties.len() < 2 {
            return it.clone();
        }
        let inputs = self.inputs(fold);
        match self.task {
            Task::Number | Task::Vector(_) => self.with_penalty_of_ridge(it, &inputs, fold),
            Task::Classes(_) | Task::Labels(_) => self.with_penalty_of_logistic(it, &inputs, fold),
        }
    }

    /// Fits ridge regression for numbers and logistic regression for classes; `None` if the task has too many labels or one class only.
    /// Uses the first penalty; [`Data::with_penalty`] chooses it.
    pub fn linear(&self, it: &LinearLearner, fold: &Fold) -> Option<Fitted> {
        let inputs = self.inputs(fold);
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

    fn inputs(&self, fold: &Fold) -> Inputs {
        let rows: Vec<usize> = fold.rows.iter().map(|row| *row as usize).collect();
        let n_scaled = self.scaled.n_cols.max(1);
        let kept: Vec<usize> = (0..n_scaled).filter(|at| !self.projected.contains(at)).collect();
        let mut dense = self.scaled(&fold.rows);
        if kept.len() < n_scaled {
            dense = dense.chunks(n_scaled).flat_map(|row| kept.iter().map(|at| row[*at])).collect();
        }
        Inputs { dense, kept, n_scaled, terms: self.block.terms.select(&rows), weights: self.weights_of(&fold.rows) }
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

    fn with_penalty_of_ridge(&self, it: &LinearLearner, inputs: &Inputs, fold: &Fold) -> LinearLearner {
        let truth = self.truth(&fold.rows);
        let Some(path) = self.path(it, inputs, &truth.targets) else { return it.clone() };
        if let Some(left_out) = &path.leave_one_out {
            let errors: Vec<f64> = left_out.iter().map(|predicted| self.task.loss(predicted, &truth)).collect();
            return LinearLearner { penalties: vec![it.penalties[smallest(&errors)]], ..it.clone() };
        }
        self.first_minimum(it, |penalty| Some(self.loss(&Fitted::Ridge(inputs.widened(path.model(penalty))), fold)))
    }

    /// For labels, the penalty is that of the most balanced one.
    fn with_penalty_of_logistic(&self, it: &LinearLearner, inputs: &Inputs, fold: &Fold) -> LinearLearner {
        let Task::Labels(n_labels) = self.task else {
            let classes = self.classes(&fold.rows);
            let fit = |penalty| logistic(penalty, inputs, &classes, self.task.n_values());
            return self.first_minimum(it, |penalty| Some(self.loss(&Fitted::Logistic(fit(penalty)?), fold)));
        };
        let imbalance = |at: &usize| (2 * self.label(*at, &fold.rows).iter().sum::<usize>()).abs_diff(fold.rows.len());
        let Some(label) = (0..n_labels.min(MAX_LABELS)).min_by_key(imbalance) else { return it.clone() };
        let (classes, held_out) = (self.label(label, &fold.rows), self.label(label, &fold.held_out));
        let targets = held_out.into_iter().map(|class| class as f32).collect();
        let truth = Truth { targets, weights: self.weights_of(&fold.held_out) };
        self.first_minimum(it, |penalty| {
            let labels = vec![Label::Logistic(logistic(penalty, inputs, &classes, 2)?)];
            let predicted = Fitted::Labels { labels }.predict(Task::Labels(1), self.view(&usizes(&fold.held_out)));
            Some(Task::Labels(1).loss(&predicted, &truth))
        })
    }

    /// Returns the settings with the penalty before the first one whose loss is higher, from strong to weak penalties: fits with weak
    /// ones take long.
    fn first_minimum(&self, it: &LinearLearner, loss: impl Fn(f64) -> Option<f64>) -> LinearLearner {
        let mut penalties = it.penalties.clone();
        penalties.sort_by(|a, b| b.total_cmp(a));
        let mut best: Option<(f64, f64)> = None;
        for penalty in penalties {
            let Some(own) = loss(penalty) else { break };
            if best.is_some_and(|(lowest, _)| own > lowest) {
                break;
            }
            best = Some((own, penalty));
        }
        let penalties = best.map_or_else(|| it.penalties.clone(), |(_, penalty)| vec![penalty]);
        LinearLearner { penalties, ..it.clone() }
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
    let stopping = if inputs.terms.n_cols() > 0 { Stopping { tolerance: 1e-3, max_iterations: 60 } } else { Stopping::default() };
    let fitted = Logistic::fit(data, 1.0 / penalty, stopping).ok()?;
    Some(Logistic { linear: inputs.widened(fitted.linear), ..fitted })
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
