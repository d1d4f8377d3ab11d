//! Decoders turn [`Fused`] into logits and a loss. To add a decoder, add one file here and one line to the lists below.

mod classifier;
mod contrastive;
mod ctc;
mod embedding;
mod generator;
mod loss;
mod regressor;
mod svm;

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use mbm_config::tagged;

pub use classifier::{Classifier, ClassifierSettings};
pub use contrastive::{EmbeddingLoss, InfoNceSettings, Negatives, SiglipSettings, TripletSettings};
#[cfg(test)]
pub(crate) use ctc::path_costs;
pub use ctc::{Ctc, CtcSettings};
pub use embedding::{Embedding, EmbeddingSpec};
pub use generator::{
    AttentionKind, Decoding, DecodingSettings, Generator, GeneratorNetwork, GeneratorSettings, GeneratorSpec, Hypothesis,
    PositionKind, RnnGeneratorSettings, TransformerGeneratorSettings,
};
pub use loss::{
    BinaryLoss, CategoryLoss, CrossEntropySettings, FocalSettings, HuberSettings, Loss, MeanAbsoluteErrorSettings,
    MeanSquaredErrorSettings, NumberLoss, SetLoss, SigmoidCrossEntropySettings, TextLoss, TokenCrossEntropySettings,
    WeightedCrossEntropySettings,
};
pub use regressor::{Regressor, RegressorSettings};
pub use svm::{Svm, SvmKernel, SvmSettings, SvmTraining};

use crate::combiner::Inputs;
use crate::pretrained::Origin;
use crate::{Fused, Target, TargetTokens};

/// Predicts an output from the fused inputs.
pub trait Decode {
    /// Returns `[batch, width]`: class scores, label scores or normalized numbers; for text decoders, the costs of the reference
    /// texts in the target.
    fn decode(&self, fused: &Fused, target: Option<&Target>) -> Tensor<2>;

    /// Returns a penalty on the decoder's own parameters to add to the loss, if any: `[1]`.
    fn penalty(&self) -> Option<Tensor<1>> {
        None
    }

    /// Returns what a contrastive loss needs to know about an embedding decoder.
    fn alignment(&self) -> Option<Alignment> {
        None
    }

    /// Returns the text generator, if this is a text decoder.
    fn text_generator(&self) -> Option<&dyn TextGenerator> {
        None
    }
}

/// Callback that is called after each step of a search and decides whether the search continues. If the search follows one text
/// per row, it receives the index and the tokens so far of each row without a finished text; otherwise, it receives an empty
/// slice.
pub type Observe<'a> = dyn FnMut(&[(usize, &[u32])]) -> ControlFlow<()> + 'a;

/// Generates texts.
pub trait TextGenerator {
    /// Returns the texts of each row, best first, as tokens without the end token. If `observe` stops the search, returns what
    /// was found so far, including unfinished texts.
    fn write(&self, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<Hypothesis>>;

    /// Returns how much each token of the reference texts attends to each step: `[batch, tokens, steps]`; `None` for decoders
    /// without attention.
    fn attention(&self, fused: &Fused, target: &TargetTokens) -> Option<Tensor<3>>;
}

/// Description of an embedding space, for contrastive losses.
pub struct Alignment {
    /// Indices of the inputs that share the space.
    pub inputs: Vec<usize>,
    /// Scale and shift of the similarities, if any: `[2]`, the log of the scale and the bias.
    pub calibration: Option<Tensor<1>>,
}

components! {
    /// Any decoder.
    Decoder: Decode { Classifier, Regressor, Svm, Embedding, Generator, Ctc }
}

tagged! {
    /// Category decoders.
    pub enum CategoryDecoder: Classifier {
        Classifier(ClassifierSettings) = "classifier",
        Svm(SvmSettings) = "svm",
    }
}

tagged! {
    /// Binary decoders.
    pub enum BinaryDecoder: Regressor {
        Regressor(ClassifierSettings) = "regressor",
        Classifier(ClassifierSettings) = "classifier",
        Svm(SvmSettings) = "svm",
    }
}

tagged! {
    /// Set decoders.
    pub enum SetDecoder: Classifier { Classifier(ClassifierSettings) = "classifier" }
}

tagged! {
    /// Number decoders.
    pub enum NumberDecoder: Regressor {
        Regressor(RegressorSettings) = "regressor",
        Svr(ExactSvrSettings) = "svr",
        Ridge(ExactRidgeSettings) = "ridge",
    }
}

tagged! {
    /// Vector decoders.
    pub enum VectorDecoder: Projector {
        Projector(RegressorSettings) = "projector",
        Regressor(RegressorSettings) = "regressor",
    }
}

tagged! {
    /// Embedding decoders.
    pub enum EmbeddingDecoder: Projector { Projector(RegressorSettings) = "projector" }
}

tagged! {
    /// Text decoders.
    pub enum TextDecoder: Generator {
        Generator(GeneratorSettings) = "generator",
        Ctc(CtcSettings) = "ctc",
    }
}

mbm_config::settings! {
    /// Settings of support vector regression on the fused vector, fitted after the network is trained.
    pub struct ExactSvrSettings {
        /// Regularization parameter C: the cost of errors beyond epsilon.
        c: f64 = 1.0 => 1e-6..=1e6;
        /// Largest error that costs nothing, in standard deviations of the target.
        epsilon: f64 = 0.1 => 0.0..=10.0;
        /// Kernel.
        kernel: SvmKernel = SvmKernel::Rbf;
    }

    /// Settings of ridge regression on the fused vector, fitted after the network is trained.
    pub struct ExactRidgeSettings {
        /// L2 penalty on the weights.
        alpha: f64 = 1.0 => 0.0..=1e9;
    }
}

/// The decoder settings of one output.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum DecoderSettings {
    Category(CategoryDecoder),
    Binary(BinaryDecoder),
    Set(SetDecoder),
    Number(NumberDecoder),
    Vector(VectorDecoder),
    Embedding(EmbeddingSpec),
    Generator(GeneratorSpec),
    Ctc(CtcSettings),
}

impl DecoderSettings {
    /// Returns whether the decoder reads the inputs in addition to the fused vector.
    pub(crate) fn reads_inputs(&self) -> bool {
        match self {
            Self::Embedding(_) | Self::Generator(_) | Self::Ctc(_) => true,
            Self::Category(_) | Self::Binary(_) | Self::Set(_) | Self::Number(_) | Self::Vector(_) => false,
        }
    }

    /// Initializes the decoder for a fused vector of width `input` and fused steps of width `steps`, or for the inputs
    /// themselves, with `output` scores or numbers.
    pub fn init(&self, [input, steps]: [usize; 2], output: usize, inputs: &Inputs) -> Decoder {
        let device = inputs.device;
        match self {
            Self::Embedding(it) => Decoder::Embedding(it.init(inputs, output)),
            Self::Generator(it) => Decoder::Generator(it.init([input, steps], output, inputs)),
            Self::Ctc(it) => Decoder::Ctc(it.init(output, inputs)),
            Self::Category(CategoryDecoder::Classifier(it)) | Self::Set(SetDecoder::Classifier(it)) => {
                Decoder::Classifier(it.init(input, output, device))
            }
            Self::Binary(BinaryDecoder::Regressor(it) | BinaryDecoder::Classifier(it)) => {
                Decoder::Classifier(it.init(input, output, device))
            }
            Self::Category(CategoryDecoder::Svm(it)) | Self::Binary(BinaryDecoder::Svm(it)) => {
                Decoder::Svm(it.init(input, output, device))
            }
            Self::Number(NumberDecoder::Regressor(it)) => Decoder::Regressor(it.init(input, output, device)),
            Self::Vector(VectorDecoder::Projector(it) | VectorDecoder::Regressor(it)) => {
                Decoder::Regressor(it.init(input, output, device))
            }
            // The network is trained with a linear regressor, which the exact one replaces afterwards.
            Self::Number(NumberDecoder::Svr(_) | NumberDecoder::Ridge(_)) => {
                Decoder::Regressor(mbm_config::defaults::<RegressorSettings>().init(input, output, device))
            }
        }
    }
}

impl DecoderSettings {
    /// Returns the decoding settings, if this is a text decoder.
    pub fn decoding(&self) -> Option<&DecodingSettings> {
        match self {
            Self::Generator(it) => Some(&it.settings.decoding),
            Self::Ctc(it) => Some(&it.decoding),
            Self::Category(_) | Self::Binary(_) | Self::Set(_) | Self::Number(_) | Self::Vector(_) | Self::Embedding(_) => None,
        }
    }

    /// Returns where the parameters come from.
    pub fn origin(&self) -> Origin<'_> {
        match self {
            Self::Category(CategoryDecoder::Classifier(it))
            | Self::Binary(BinaryDecoder::Regressor(it) | BinaryDecoder::Classifier(it))
            | Self::Set(SetDecoder::Classifier(it)) => Origin::new(it.use_pretrained, &it.weights, it.trainable),
            Self::Category(CategoryDecoder::Svm(_)) | Self::Binary(BinaryDecoder::Svm(_)) => Origin::FRESH,
            Self::Number(_) | Self::Vector(_) | Self::Embedding(_) => Origin::FRESH,
            Self::Generator(_) | Self::Ctc(_) => Origin::FRESH,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use mbm_data::{Column, Values};

    use super::*;
    use crate::Target;

    fn value(loss: &Loss, logits: &[f32], width: usize, target: Values, present: Vec<bool>) -> f32 {
        let device = crate::device();
        let target = Target::new(&Column { present: present.clone(), values: target }, &device);
        let logits = Tensor::<2>::from_data(TensorData::new(logits.to_vec(), [present.len(), width]), &device);
        loss.forward(logits, &target, None).into_scalar::<f32>()
    }

    fn close(got: f32, want: f64) {
        assert!((f64::from(got) - want).abs() < 1e-5, "got {got}, expected {want}");
    }

    fn cross_entropy(smoothing: f64, gamma: f64) -> Loss {
        Loss::CrossEntropy { class_weights: vec![1.0, 3.0], smoothing, gamma }
    }

    #[test]
    fn losses_match_their_formulas_and_ignore_absent_rows() {
        // Logits (1, 0) with class 0, (0, 0) with class 1, and a third row whose target is absent.
        let p: f64 = 1.0 / (1.0 + (-1f64).exp());
        let half = 0.5f64;
        let classes = || Values::Classes(vec![0, 1]);
        let rows = [1.0, 0.0, 0.0, 0.0, 9.0, -9.0];
        let present = vec![true, true, false];
        close(value(&cross_entropy(0.0, 0.0), &rows, 2, classes(), present.clone()), (-p.ln() - 3.0 * half.ln()) / 4.0);
        close(
            value(&cross_entropy(0.0, 2.0), &rows, 2, classes(), present.clone()),
            (-(1.0 - p).powi(2) * p.ln() - 3.0 * 0.25 * half.ln()) / 4.0,
        );
        let smooth = -(0.9 * p.ln() + 0.1 * (1.0 - p).ln());
        close(value(&cross_entropy(0.2, 0.0), &rows, 2, classes(), present.clone()), (smooth - 3.0 * half.ln()) / 4.0);
        close(value(&Loss::Hinge, &rows, 2, classes(), present), (1.0 + 2.0) / 2.0);
        let numbers = || Values::Vectors { width: 2, data: vec![0.0, 4.0] };
        close(value(&Loss::Huber { delta: f64::INFINITY }, &[1.0, 1.0], 2, numbers(), vec![true]), 5.0);
        close(value(&Loss::Huber { delta: 0.0 }, &[1.0, 1.0], 2, numbers(), vec![true]), 2.0);
        close(value(&Loss::Huber { delta: 1.0 }, &[1.0, 1.0], 2, numbers(), vec![true]), (0.5 + 2.5) / 2.0);
        let labels = Values::Vectors { width: 2, data: vec![1.0, 0.0] };
        close(value(&Loss::Sigmoid, &[1.0, 100.0], 2, labels, vec![true]), (-p.ln() + 100.0) / 2.0);
    }

    #[test]
    fn loss_is_zero_for_a_batch_without_targets() {
        close(value(&cross_entropy(0.0, 0.0), &[1.0, 2.0], 2, Values::Classes(vec![]), vec![false]), 0.0);
    }
}
