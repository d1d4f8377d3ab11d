//! What an output asks of a learner, and predictions as plain values.

use mbm_algo::metric::{ClassificationSamples, MultiLabelSamples, RegressionSamples, SampleWeights};
use mbm_algo::tree::Objective;
use mbm_data::{BatchColumn, Preprocessor, Shape, Values};

use crate::predict::prediction::Prediction;
use crate::predict::score::MetricSamples;

/// The task of an output that learners other than the network can predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// One of several classes.
    Classes(usize),
    /// Any of several labels.
    Labels(usize),
    /// A number.
    Number,
    /// Several numbers.
    Vector(usize),
}

/// What predictions are compared with.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// `[rows, task.n_values()]`
    pub targets: Vec<f32>,
    /// The weights of the rows.
    pub weights: SampleWeights,
}

impl Task {
    /// Returns the task of an output; `None` for texts and embeddings, which only the network predicts.
    pub fn of(preprocessor: &Preprocessor) -> Option<Self> {
        match (preprocessor, preprocessor.get().shape()) {
            (Preprocessor::Category(_) | Preprocessor::Binary(_), Shape::Class { n_classes }) => Some(Self::Classes(n_classes)),
            (Preprocessor::Set(_), Shape::Vector { width }) => Some(Self::Labels(width)),
            (Preprocessor::Number(_), _) => Some(Self::Number),
            (Preprocessor::Vector(_), Shape::Vector { width }) => Some(Self::Vector(width)),
            _ => None,
        }
    }

    /// Returns the number of values of a prediction.
    pub fn n_values(self) -> usize {
        match self {
            Self::Classes(n) | Self::Labels(n) | Self::Vector(n) => n,
            Self::Number => 1,
        }
    }

    /// Returns the number of values that trees are fitted to: two classes are one label.
    pub fn n_fitted(self) -> usize {
        if self == Self::Classes(2) { 1 } else { self.n_values() }
    }

    /// Returns the objective of boosting.
    pub fn objective(self) -> Objective {
        match self {
            Self::Classes(2) | Self::Labels(_) => Objective::Logistic,
            Self::Classes(_) => Objective::Softmax,
            Self::Number | Self::Vector(_) => Objective::Squared,
        }
    }

    /// Whether predictions are probabilities.
    pub fn is_classification(self) -> bool {
        matches!(self, Self::Classes(_) | Self::Labels(_))
    }

    /// Returns predictions `[rows, n_values]` from those that trees were fitted to, `[rows, n_fitted]`.
    pub fn completed(self, fitted: Vec<f32>) -> Vec<f32> {
        if self == Self::Classes(2) { fitted.into_iter().flat_map(|second| [1.0 - second, second]).collect() } else { fitted }
    }

    /// Returns the class of a row among targets `[rows, n_values]`; `None` without the target.
    pub fn class_of(self, targets: &[f32], row: usize) -> Option<usize> {
        targets[row * self.n_values()..(row + 1) * self.n_values()].iter().position(|value| *value > 0.5)
    }

    /// Returns the weights of rows times those of their classes, given targets `[rows, n_values]`.
    pub fn weighted(self, weights: &SampleWeights, targets: &[f32], class_weights: Option<&[f32]>) -> SampleWeights {
        let Some(class_weights) = class_weights else { return weights.clone() };
        let weight = |row| {
            let of_class = self.class_of(targets, row).map_or(1.0, |class| class_weights[class]);
            weights.of(row) as f32 * of_class
        };
        Some((0..targets.len() / self.n_values()).map(weight).collect()).into()
    }

    /// Returns the loss of mean predictions `[rows, n_values]` by which ensembles are chosen: the weighted sum over the rows of the
    /// cross-entropy, or of the squared error.
    pub fn loss(self, predicted: &[f32], truth: &Truth) -> f64 {
        let rows = predicted.chunks(self.n_values()).zip(truth.targets.chunks(self.n_values()));
        rows.enumerate().map(|(row, (p, t))| truth.weights.of(row) * self.loss_of_row(p, t)).sum()
    }

    /// Returns the loss of a row, without its weight.
    pub fn loss_of_row(self, predicted: &[f32], targets: &[f32]) -> f64 {
        let pairs = predicted.iter().zip(targets).map(|(p, t)| (f64::from(*p), f64::from(*t)));
        // Keeps a single confident mistake from deciding.
        const MIN: f64 = 1e-4;
        match self {
            Self::Classes(_) => pairs.filter(|(_, t)| *t > 0.5).map(|(p, _)| -p.max(MIN).ln()).sum(),
            Self::Labels(_) => pairs.map(|(p, t)| -(if t > 0.5 { p } else { 1.0 - p }).max(MIN).ln()).sum(),
            Self::Number | Self::Vector(_) => pairs.map(|(p, t)| (p - t) * (p - t)).sum(),
        }
    }

    /// Returns predictions `[rows, n_values]` and what they are compared with as the metrics read them; numbers are restored to the units
    /// of the data.
    pub fn samples(self, predicted: &[f32], truth: &Truth, preprocessor: &Preprocessor) -> MetricSamples {
        let Truth { targets, weights } = truth;
        let restored = |value: &f32| match preprocessor {
            Preprocessor::Number(fitted) => fitted.restore(*value),
            _ => f64::from(*value),
        };
        match self {
            Self::Classes(n_classes) => MetricSamples::Classes(ClassificationSamples {
                truth: (0..targets.len() / n_classes).map(|row| self.class_of(targets, row).unwrap_or(0)).collect(),
                probabilities: predicted.to_vec(),
                n_classes,
                weights: weights.clone(),
            }),
            Self::Labels(n_labels) => MetricSamples::Labels(MultiLabelSamples {
                truth: targets.iter().map(|value| *value > 0.5).collect(),
                probabilities: predicted.to_vec(),
                n_labels,
                weights: weights.clone(),
            }),
            Self::Number | Self::Vector(_) => MetricSamples::Numbers(RegressionSamples {
                truth: targets.iter().map(restored).collect(),
                predicted: predicted.iter().map(restored).collect(),
                weights: weights.of_values(self.n_values()),
            }),
        }
    }

    /// Returns the prediction of a row from its values.
    pub fn prediction(self, values: &[f32], preprocessor: &Preprocessor) -> Prediction {
        match (self, preprocessor) {
            (Self::Classes(_), _) => Prediction::Classes(values.to_vec()),
            (Self::Labels(_), _) => Prediction::Labels(values.to_vec()),
            (Self::Number, Preprocessor::Number(fitted)) => Prediction::Number(fitted.restore(values[0])),
            (Self::Number | Self::Vector(_), _) => Prediction::Vector(values.to_vec()),
        }
    }

    /// Returns the values of a row from its prediction by the network; `None` if it is of another kind.
    pub fn values(self, prediction: &Prediction, preprocessor: &Preprocessor) -> Option<Vec<f32>> {
        match (prediction, preprocessor) {
            (Prediction::Classes(values) | Prediction::Labels(values) | Prediction::Vector(values), _) => Some(values.clone()),
            (Prediction::Number(value), Preprocessor::Number(fitted)) => Some(vec![fitted.normalize(*value)]),
            _ => None,
        }
    }

    /// Appends the targets of a batch, `n_values` per row; NaN for rows without the target.
    pub fn append_targets(self, column: &BatchColumn, targets: &mut Vec<f32>) {
        let n_values = self.n_values();
        let mut present = 0..column.n_present();
        for is_present in &column.present {
            let at = if *is_present { present.next() } else { None };
            match (at, &column.values) {
                (Some(at), Values::Classes(classes)) => {
                    targets.extend((0..n_values).map(|class| f32::from(u8::from(class == classes[at] as usize))));
                }
                (Some(at), Values::Vectors { data, width }) => targets.extend(&data[at * width..(at + 1) * width]),
                _ => targets.extend(std::iter::repeat_n(f32::NAN, n_values)),
            }
        }
    }
}
