//! Training losses, averaged over the rows in which the target is present. Where rows have weights, these multiply the loss of each row but
//! not the number that the sum is divided by, since their mean is 1 over all training rows, not within each batch.

use burn::tensor::{Device, Tensor, TensorData, activation};
use mbm_config::{settings, tagged};

use super::Alignment;
use super::contrastive::{Negatives, Rows};
use crate::Target;

settings! {
    /// Settings of softmax cross-entropy.
    pub struct CrossEntropySettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Weights `[w_0, w_1, ..]`, one per class in sorted order.
        class_weights: Option<Vec<f64>> = None;
        /// Whether to weight classes by the inverse of their number of training rows; by default, if several learners are chosen by
        /// `balanced_accuracy`.
        balance_classes: Option<bool> = None;
        /// Share of the target distribution that is spread over all classes (Szegedy et al. 2016).
        label_smoothing: f64 = 0.0 => 0.0..=0.9;
    }

    /// Settings of focal loss (Lin et al. 2017).
    pub struct FocalSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Focusing parameter: how strongly confident rows are down-weighted.
        gamma: f64 = 2.0 => 0.0..=10.0;
        /// Whether to weight classes by the inverse of their number of training rows; by default, if several learners are chosen by
        /// `balanced_accuracy`.
        balance_classes: Option<bool> = None;
    }

    /// Settings of weighted binary cross-entropy.
    pub struct WeightedCrossEntropySettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Weight of positive rows.
        positive_class_weight: f64 = 1.0 => 1e-6..=1e6;
        /// Whether to weight both classes by the inverse of their number of training rows; by default, if several learners are chosen by
        /// `balanced_accuracy`.
        balance_classes: Option<bool> = None;
    }

    /// Settings of sigmoid cross-entropy, applied to each label independently.
    pub struct SigmoidCrossEntropySettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Settings of the mean squared error of normalized numbers.
    pub struct MeanSquaredErrorSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Settings of the mean absolute error of normalized numbers.
    pub struct MeanAbsoluteErrorSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
    }

    /// Settings of Huber loss: squared error up to delta, absolute error beyond (Huber 1964).
    pub struct HuberSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Threshold between the squared and the absolute error, in standard deviations of the target.
        delta: f64 = 1.0 => 1e-6..=1e6;
    }
}

tagged! {
    /// Category losses.
    pub enum CategoryLoss: CrossEntropy {
        CrossEntropy(CrossEntropySettings) = "softmax_cross_entropy",
        Focal(FocalSettings) = "focal",
    }
}

tagged! {
    /// Binary losses.
    pub enum BinaryLoss: WeightedCrossEntropy {
        WeightedCrossEntropy(WeightedCrossEntropySettings) = "binary_weighted_cross_entropy",
        Focal(FocalSettings) = "focal",
    }
}

tagged! {
    /// Set losses.
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
    /// Settings of cross-entropy over the tokens of the reference texts.
    pub struct TokenCrossEntropySettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Share of the target distribution that is spread over the whole vocabulary (Szegedy et al. 2016).
        label_smoothing: f64 = 0.0 => 0.0..=0.9;
    }
}

tagged! {
    /// Text losses.
    pub enum TextLoss: TokenCrossEntropy { TokenCrossEntropy(TokenCrossEntropySettings) = "sequence_softmax_cross_entropy" }
}

/// A loss with the values that it derives from the training rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Loss {
    /// Softmax cross-entropy.
    CrossEntropy {
        /// One weight per class.
        class_weights: Vec<f32>,
        /// Share of the target distribution that is spread over all classes.
        smoothing: f64,
        /// Focusing parameter; focal loss if above 0.
        gamma: f64,
    },
    /// One-vs-rest hinge loss: `sum_k max(0, 1 - y_k f_k)`.
    Hinge,
    /// Sigmoid cross-entropy, applied to each label independently.
    Sigmoid,
    /// Huber loss: squared error up to `delta`, absolute error beyond; mean squared error if `delta` is infinite, mean absolute
    /// error if it is zero.
    Huber {
        /// Threshold between the squared and the absolute error.
        delta: f64,
    },
    /// Mean cost over all tokens of the batch.
    Tokens,
    /// InfoNCE: cross-entropy of each pair among the rows of the batch.
    InfoNce,
    /// SigLIP: classifies each pair of rows independently.
    Siglip,
    /// Triplet loss: pairs must be more similar than negatives by a margin.
    Triplet {
        /// Margin between cosine similarities.
        margin: f64,
        /// Which negatives count.
        negatives: Negatives,
    },
}

impl Loss {
    /// Returns the mean loss over the rows in which the target is present, each multiplied by the row's weight: `[1]`; 0 if there are none.
    pub fn forward(&self, logits: Tensor<2>, target: &Target, alignment: Option<Alignment>) -> Tensor<1> {
        let device = logits.device();
        let embedded = |embeddings| {
            let alignment = alignment.expect("the plan uses contrastive losses only for embeddings");
            Rows { embeddings, target, alignment }
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
        target.weighted(rows * weights.clone()).sum() / weights.sum().clamp_min(1e-6)
    }
}

/// Averages the token costs of a text decoder over the batch: the first column divided by the last, the number of tokens.
fn mean_over_tokens(scores: &Tensor<2>, target: &Target) -> Tensor<1> {
    let [batch, width] = scores.dims();
    let column = |at: usize| scores.clone().narrow(1, at, 1).reshape([batch]) * target.weights.clone();
    target.weighted(column(0)).sum() / column(width - 1).sum().clamp_min(1.0)
}

fn numbers(target: &Target) -> Tensor<2> {
    target.vectors.clone().expect("the plan pairs number losses with number targets")
}

/// Returns the one-hot classes: `[batch, classes]`.
fn one_hot(target: &Target, n_classes: usize) -> Tensor<2> {
    target.classes.clone().expect("the plan pairs class losses with class targets").one_hot::<2>(n_classes).float()
}

/// Returns the loss and the class weight of each row: `[batch]` each.
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
    let smoothed = is_class.clone() * (1.0 - smoothing) + smoothing / n_classes as f64;
    let mut rows: Tensor<1> = (smoothed * log_p.clone()).sum_dim(1).neg().squeeze_dim(1);
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

/// Returns the mean of `softplus(x) - x y` over the labels, a form that does not overflow.
fn sigmoid_cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    let softplus = activation::relu(logits.clone()) + (logits.clone().abs().neg().exp() + 1.0).log();
    (softplus - logits * labels).mean_dim(1).squeeze_dim(1)
}

/// Returns the mean over the columns: `[batch]`.
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
