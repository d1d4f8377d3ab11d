//! Losses: the mean over the rows that have the target.

use burn::tensor::{Device, Tensor, TensorData, activation};
use mbm_config::{settings, tagged};

use super::Alignment;
use super::contrastive::{Negatives, Rows};
use crate::Target;

settings! {
    /// Cross-entropy of the softmax.
    pub struct CrossEntropySettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// `[w_0, w_1, ..]`, one a class in sorted order.
        class_weights: Option<Vec<f64>> = None;
        /// Weighs classes by the inverse of their number of training rows.
        balance_classes: bool = false;
        /// The share of the target spread over all classes (Szegedy et al. 2016).
        label_smoothing: f64 = 0.0 => 0.0..=0.9;
    }

    /// Focal loss (Lin et al. 2017).
    pub struct FocalSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// How far sure rows are played down.
        gamma: f64 = 2.0 => 0.0..=10.0;
        /// Weighs classes by the inverse of their number of training rows.
        balance_classes: bool = false;
    }

    /// Cross-entropy of two classes.
    pub struct WeightedCrossEntropySettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// The weight of true rows.
        positive_class_weight: f64 = 1.0 => 1e-6..=1e6;
        /// Weighs both classes by the inverse of their number of training rows.
        balance_classes: bool = false;
    }

    /// Cross-entropy of each label by itself.
    pub struct SigmoidCrossEntropySettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Mean squared error of the normalised numbers.
    pub struct MeanSquaredErrorSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Mean absolute error of the normalised numbers.
    pub struct MeanAbsoluteErrorSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Squared up to delta, absolute beyond (Huber 1964).
    pub struct HuberSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// In standard deviations of the target.
        delta: f64 = 1.0 => 1e-6..=1e6;
    }
}

tagged! {
    /// Losses of categories.
    pub enum CategoryLoss: CrossEntropy {
        CrossEntropy(CrossEntropySettings) = "softmax_cross_entropy",
        Focal(FocalSettings) = "focal",
    }
}

tagged! {
    /// Losses of yes or no.
    pub enum BinaryLoss: WeightedCrossEntropy {
        WeightedCrossEntropy(WeightedCrossEntropySettings) = "binary_weighted_cross_entropy",
        Focal(FocalSettings) = "focal",
    }
}

tagged! {
    /// Losses of sets.
    pub enum SetLoss: SigmoidCrossEntropy { SigmoidCrossEntropy(SigmoidCrossEntropySettings) = "sigmoid_cross_entropy" }
}

tagged! {
    /// Losses of numbers and vectors.
    pub enum NumberLoss: MeanSquaredError {
        MeanSquaredError(MeanSquaredErrorSettings) = "mean_squared_error",
        MeanAbsoluteError(MeanAbsoluteErrorSettings) = "mean_absolute_error",
        Huber(HuberSettings) = "huber",
    }
}

settings! {
    /// Cross-entropy of the tokens of right texts.
    pub struct TokenCrossEntropySettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// The share of the target spread over the whole vocabulary (Szegedy et al. 2016).
        label_smoothing: f64 = 0.0 => 0.0..=0.9;
    }
}

tagged! {
    /// Losses of texts.
    pub enum TextLoss: TokenCrossEntropy { TokenCrossEntropy(TokenCrossEntropySettings) = "sequence_softmax_cross_entropy" }
}

/// A loss with everything that it needs of the training rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// Cross-entropy of the softmax.
    CrossEntropy {
        /// One a class.
        class_weights: Vec<f32>,
        /// The share spread over all classes.
        smoothing: f64,
        /// Above 0, focal loss.
        gamma: f64,
    },
    /// One class against the rest: `sum_k max(0, 1 - y_k f_k)`.
    Hinge,
    /// Cross-entropy of each label.
    Sigmoid,
    /// Squared up to a distance, absolute beyond; squared everywhere for an infinite one, absolute for zero.
    Huber {
        /// The distance.
        delta: f64,
    },
    /// What tokens cost, the mean over all tokens of the batch.
    Tokens,
    /// Cross-entropy of a pair among the rows of the batch.
    InfoNce,
    /// Each pair of rows by itself.
    Siglip,
    /// Pairs nearer than negatives by a margin.
    Triplet {
        /// The margin.
        margin: f64,
        /// The negatives that count.
        negatives: Negatives,
    },
}

impl Loss {
    /// The mean loss of the rows that have the target, `[1]`; 0 where none has.
    pub fn forward(&self, logits: Tensor<2>, target: &Target, alignment: Option<Alignment>) -> Tensor<1> {
        let device = logits.device();
        let embedded = |embeddings| {
            let alignment = alignment.expect("the plan gives such a loss to embeddings alone");
            Rows { embeddings, items: &target.items, alignment }
        };
        let (rows, weights) = match self {
            Self::CrossEntropy { class_weights, smoothing, gamma } => {
                let (rows, class_weight) = cross_entropy(logits, target, class_weights, *smoothing, *gamma, &device);
                (rows, target.weights.clone() * class_weight)
            }
            Self::Hinge => (hinge(logits, target), target.weights.clone()),
            Self::Sigmoid => (sigmoid_cross_entropy(logits, numbers(target)), target.weights.clone()),
            Self::Huber { delta } => (huber(logits - numbers(target), *delta), target.weights.clone()),
            Self::Tokens => return mean_over_tokens(&logits, target),
            Self::InfoNce => return embedded(logits).mean(|pair| pair.info_nce()),
            Self::Siglip => return embedded(logits).mean(|pair| pair.siglip()),
            Self::Triplet { margin, negatives } => return embedded(logits).mean(|pair| pair.triplet(*margin, *negatives)),
        };
        (rows * weights.clone()).sum() / weights.sum().clamp_min(1e-6)
    }
}

/// Of the scores of a generator.
fn mean_over_tokens(scores: &Tensor<2>, target: &Target) -> Tensor<1> {
    let [batch, width] = scores.dims();
    let column = |at: usize| scores.clone().narrow(1, at, 1).reshape([batch]) * target.weights.clone();
    column(0).sum() / column(width - 1).sum().clamp_min(1.0)
}

fn numbers(target: &Target) -> Tensor<2> {
    target.vectors.clone().expect("the plan gives a loss of numbers a target of numbers")
}

/// `[batch, classes]`: 1 in the column of the row's class.
fn one_hot(target: &Target, n_classes: usize) -> Tensor<2> {
    target.classes.clone().expect("the plan gives a loss of classes a target of classes").one_hot::<2>(n_classes).float()
}

/// Losses of the rows and the weights of their classes, `[batch]` each.
fn cross_entropy(
    logits: Tensor<2>,
    target: &Target,
    class_weights: &[f32],
    smoothing: f64,
    gamma: f64,
    device: &Device,
) -> (Tensor<1>, Tensor<1>) {
    let [_, n_classes] = logits.dims();
    let is_class = one_hot(target, n_classes);
    let log_p = activation::log_softmax(logits, 1); // [batch, classes]
    let wanted = is_class.clone() * (1.0 - smoothing) + smoothing / n_classes as f64;
    let mut rows: Tensor<1> = (wanted * log_p.clone()).sum_dim(1).neg().squeeze_dim(1);
    if gamma > 0.0 {
        let p: Tensor<1> = (log_p.exp() * is_class.clone()).sum_dim(1).squeeze_dim(1);
        rows = rows * (p.neg() + 1.0).clamp_min(1e-6).powf_scalar(gamma);
    }
    let class_weights = Tensor::<1>::from_data(TensorData::new(class_weights.to_vec(), [n_classes]), device);
    let weights = (is_class * class_weights.unsqueeze()).sum_dim(1).squeeze_dim(1);
    (rows, weights)
}

fn hinge(decisions: Tensor<2>, target: &Target) -> Tensor<1> {
    let [_, n_classes] = decisions.dims();
    let signs = one_hot(target, n_classes) * 2.0 - 1.0;
    activation::relu(1.0 - signs * decisions).sum_dim(1).squeeze_dim(1)
}

/// The mean over labels; `softplus(x) - x y`, which does not overflow.
fn sigmoid_cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    let softplus = activation::relu(logits.clone()) + (logits.clone().abs().neg().exp() + 1.0).log();
    (softplus - logits * labels).mean_dim(1).squeeze_dim(1)
}

/// The mean over columns.
fn huber(errors: Tensor<2>, delta: f64) -> Tensor<1> {
    let costs = if delta == f64::INFINITY {
        errors.clone() * errors
    } else if delta == 0.0 {
        errors.abs()
    } else {
        let size = errors.abs();
        let inner = size.clone().clamp_max(delta);
        inner.clone() * inner.clone() * 0.5 + (size - inner) * delta
    };
    costs.mean_dim(1).squeeze_dim(1)
}
