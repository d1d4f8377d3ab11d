//! Decoders turn [`Fused`] into logits and a loss.
//!
//! To add a decoder, add one file here and one line to the list below: CONTRIBUTING.md shows how.

mod contrastive;
mod loss;

use std::ops::ControlFlow;

use burn::tensor::Tensor;
use mbm_config::Mistakes;

pub use contrastive::{EmbeddingLoss, InfoNceSettings, Negatives, SiglipSettings, TripletSettings};
pub use loss::{
    BinaryLoss, CategoryLoss, CrossEntropySettings, FocalSettings, HuberSettings, Loss, MeanAbsoluteErrorSettings,
    MeanSquaredErrorSettings, NumberLoss, SetLoss, SigmoidCrossEntropySettings, TextLoss, TokenCrossEntropySettings,
    WeightedCrossEntropySettings,
};

use crate::combiner::Inputs;
use crate::pretrained::{Family, Origin};
use crate::{Fused, InputSummary, Target, TargetTokens};

parts! {
    /// Any decoder.
    pub enum Decoder: Decode;
    settings: DecoderConfig;
    types {
        /// Category decoders.
        category => CategoryDecoder: Classifier;
        /// Binary decoders.
        binary => BinaryDecoder: Regressor;
        /// Set decoders.
        set => SetDecoder: Classifier;
        /// Number decoders.
        number => NumberDecoder: Regressor;
        /// Vector decoders.
        vector => VectorDecoder: Projector;
        /// Embedding decoders.
        embedding => EmbeddingDecoder: Projector;
        /// Text decoders.
        text => TextDecoder: Generator;
    }
    files {
        classifier: Classifier {
            [binary] Regressor(ClassifierSettings) = "regressor";
            [category binary set] Classifier(ClassifierSettings) = "classifier";
        }
        svm: Svm { [category binary] Svm(SvmSettings) = "svm"; }
        regressor: Regressor {
            [vector embedding] Projector(RegressorSettings) = "projector";
            [number vector] Regressor(RegressorSettings) = "regressor";
        }
        boosted_trees { [category binary number] BoostedTrees(BoostedTreesSettings) = "boosted_trees"; }
        exact { [number] Svr(ExactSvrSettings) = "svr"; [number] Ridge(ExactRidgeSettings) = "ridge"; }
        embedding: Embedding {}
        generator: Generator { [text] Generator(GeneratorSettings) = "generator"; }
        ctc: Ctc { [text] Ctc(CtcSettings) = "ctc"; }
    }
}

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

    /// Returns the families of weights that its last layer can be loaded from.
    fn families(&self) -> &'static [&'static Family] {
        &[]
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

/// What a decoder is built for.
#[derive(Clone, Copy)]
pub struct DecoderContext<'a> {
    /// Width of the fused vector.
    pub fused: usize,
    /// Width of a fused step.
    pub steps: usize,
    /// Number of scores or values per row; for texts, the number of tokens in the vocabulary.
    pub output: usize,
    /// What the output's feature says about its texts, if it is a text.
    pub text: TextContext,
    /// The inputs, for decoders that read them.
    pub inputs: &'a Inputs<'a>,
}

/// What the feature of a text output says about its texts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TextContext {
    /// Maximum number of tokens of a text.
    pub max_steps: usize,
    /// Share of the target distribution that is spread over the vocabulary.
    pub label_smoothing: f64,
}

/// The settings of a decoder. Only [`DecoderConfig::init`] is required.
pub trait DecoderConfig {
    /// Initializes the decoder.
    fn init(&self, context: DecoderContext) -> Decoder;

    /// Checks what involves several keys, or the inputs.
    fn check(&self, _inputs: &[InputSummary], _mistakes: &mut Mistakes) {}

    /// Returns whether the decoder reads the inputs in addition to the fused vector.
    fn reads_inputs(&self) -> bool {
        false
    }

    /// Returns the decoding settings, if this is a text decoder.
    fn decoding(&self) -> Option<&DecodingSettings> {
        None
    }

    /// Returns where the parameters come from.
    fn origin(&self) -> Origin<'_> {
        Origin::FRESH
    }
}

/// The decoder of a text output, with what its feature says about the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSpec {
    /// The decoder.
    pub decoder: TextDecoder,
    /// What the feature says about the texts.
    pub text: TextContext,
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
    Text(TextSpec),
}

impl DecoderSettings {
    /// Returns the settings of the chosen decoder.
    pub fn get(&self) -> &dyn DecoderConfig {
        match self {
            Self::Category(it) => it.get(),
            Self::Binary(it) => it.get(),
            Self::Set(it) => it.get(),
            Self::Number(it) => it.get(),
            Self::Vector(it) => it.get(),
            Self::Embedding(it) => it,
            Self::Text(it) => it.decoder.get(),
        }
    }

    /// Initializes the decoder.
    pub(crate) fn init(&self, context: DecoderContext) -> Decoder {
        let text = if let Self::Text(it) = self { it.text } else { context.text };
        self.get().init(DecoderContext { text, ..context })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Int, TensorData};
    use mbm_data::{Batch, BatchColumn, Values};

    use super::*;
    use crate::Target;

    fn value(loss: &Loss, logits: &[f32], width: usize, target: Values, present: Vec<bool>) -> f32 {
        let device = crate::device();
        let target = Target::new(&BatchColumn { present: present.clone(), values: target }, &device);
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
    fn weights_multiply_the_loss_of_each_row() {
        let device = crate::device();
        let column = BatchColumn { present: vec![true, true, false], values: Values::Vectors { width: 1, data: vec![1.0, 2.0] } };
        let batch = Batch {
            rows: vec![0, 1, 2],
            inputs: Vec::new(),
            targets: vec![column],
            faults: Vec::new(),
            weights: Some(vec![3.0, 0.5, 9.0]),
        };
        let targets = Target::of_batch(&batch, &device);
        let mean = |target: &Target, predicted: [f32; 3]| {
            let logits = Tensor::<2>::from_data(TensorData::new(predicted.to_vec(), [3, 1]), &device);
            Loss::Huber { delta: f64::INFINITY }.forward(logits, target, None).into_scalar::<f32>()
        };
        // Errors of 1 and 4 in the two rows that have the target.
        close(mean(&targets[0], [2.0, 6.0, 0.0]), (3.0 + 0.5 * 16.0) / 2.0);
        let order = Tensor::<1, Int>::from_data(TensorData::new(vec![1i64, 0, 2], [3]), &device);
        close(mean(&targets[0].select(&order), [6.0, 2.0, 0.0]), (3.0 + 0.5 * 16.0) / 2.0);
        let twice = Target::cat(vec![targets[0].clone(), targets[0].clone()]);
        assert_eq!(twice.sample_weights.unwrap().into_data().try_to_vec::<f32>().unwrap(), [3.0, 0.5, 9.0, 3.0, 0.5, 9.0]);
    }

    #[test]
    fn loss_is_zero_for_a_batch_without_targets() {
        close(value(&cross_entropy(0.0, 0.0), &[1.0, 2.0], 2, Values::Classes(vec![]), vec![false]), 0.0);
    }
}
