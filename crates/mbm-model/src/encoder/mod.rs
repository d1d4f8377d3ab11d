//! Encoders turn the tensors of one input into [`Steps`].
//!
//! To add an encoder, add one file here and one line to the list below: CONTRIBUTING.md shows how.

mod reduce;

use std::path::Path;

use burn::tensor::{Device, Tensor};
use mbm_config::{Diagnostics, Mistakes, Node, Setting};
use mbm_data::Shape;
use serde::Serialize;

pub use reduce::Reduce;

use crate::pretrained::{Family, Implied, Origin, PretrainedError};
use crate::{Steps, Tensors};

parts! {
    /// Any encoder.
    pub enum Encoder: Encode;
    settings: EncoderConfig;
    types {
        /// Image encoders.
        image => ImageEncoder: StackedCnn;
        /// Text encoders.
        text => TextEncoder: ParallelCnn;
        /// Audio encoders.
        audio => AudioEncoder: ParallelCnn;
        /// Time-series encoders.
        timeseries => TimeseriesEncoder: ParallelCnn;
        /// Number encoders.
        number => NumberEncoder: Passthrough;
        /// Category encoders.
        category => CategoryEncoder: Dense;
        /// Binary encoders.
        binary => BinaryEncoder: OneHot;
        /// Encoders of vectors and sets.
        vector => VectorEncoder: Dense;
        /// Date encoders.
        date => DateEncoder: Cyclic;
    }
    files {
        stacked_cnn: StackedCnn { [image] StackedCnn(StackedCnnSettings) = "stacked_cnn"; }
        resnet: ResNet { [image] ResNet(ResNetSettings) = "resnet"; }
        mobilenet: MobileNet { [image] MobileNet(MobileNetSettings) = "mobilenet_v2"; }
        vit: Vit { [image] Vit(VitSettings) = "vit"; [image] Clip(ClipImageSettings) = "clip"; }
        sequence: SequenceEncoder {
            [text audio timeseries] ParallelCnn(ParallelCnnSettings) = "parallel_cnn";
            [text] Embed(EmbedSettings) = "embed";
            [text audio timeseries] Rnn(RnnSettings) = "rnn";
            [text audio timeseries] CnnRnn(CnnRnnSettings) = "cnnrnn";
            [text audio timeseries] StackedCnn(StackedCnn1dSettings) = "stacked_cnn";
            [text audio timeseries] Transformer(TransformerSettings) = "transformer";
        }
        text_transformer: TextTransformer { [text] Bert(BertSettings) = "bert"; [text] Clip(ClipTextSettings) = "clip"; }
        wav2vec2: Wav2Vec2 { [audio] Wav2Vec2(Wav2Vec2Settings) = "wav2vec2"; }
        vector: Passthrough, VectorDense, FlatDense, PiecewiseLinear {
            [number vector date] Passthrough(PassthroughSettings) = "passthrough";
            [number vector timeseries] Dense(DenseSettings) = "dense";
            [number] PiecewiseLinear(PiecewiseLinearSettings) = "ple";
            [date] Cyclic(CyclicSettings) = "cyclic";
        }
        category: CategoryDense, OneHot {
            [category binary] Dense(CategoryDenseSettings) = "dense";
            [category binary] OneHot(OneHotSettings) = "onehot";
        }
    }
}

/// Encodes the present rows of one input as steps of a fixed width.
pub trait Encode {
    /// Returns the width of a step.
    fn width(&self) -> usize;

    /// Encodes the present rows, of which there is at least one.
    fn encode(&self, input: Tensors) -> Steps;

    /// Returns the families of weights that it can be loaded from.
    fn families(&self) -> &'static [&'static Family] {
        &[]
    }

    /// Returns whether it has batch norms, the paths of whose parameters contain `norm.`.
    fn has_batch_norm(&self) -> bool {
        false
    }

    /// Returns the rows and columns of patches that images are split into, to which position embeddings are resized.
    fn patch_grid(&self) -> Option<[usize; 2]> {
        None
    }
}

/// Inputs whose shape an encoder cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsuitedShape {
    /// Token ids beyond the encoder's vocabulary.
    #[error("the tokenizer has {n_ids} ids, but the encoder's vocab_size is {vocab_size}")]
    VocabularySize {
        /// Number of ids of the tokenizer.
        n_ids: usize,
        /// Number of embeddings of the encoder.
        vocab_size: usize,
    },
}

/// The settings of an encoder. Only [`EncoderConfig::init`] is required.
pub trait EncoderConfig {
    /// Initializes the encoder for inputs of the given shape.
    ///
    /// # Panics
    /// Panics if the settings and the shape belong to different input types, which the plan rules out.
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder;

    /// Checks what involves several keys.
    fn check(&self, _mistakes: &mut Mistakes) {}

    /// Checks that inputs of the given shape can be encoded. The shape depends on the data, so validating the config does not
    /// include this check.
    ///
    /// # Errors
    /// Returns why they cannot.
    fn suits(&self, _shape: &Shape) -> Result<(), UnsuitedShape> {
        Ok(())
    }

    /// Returns the number of steps of the longest text that can be encoded, if it is limited.
    fn max_steps(&self) -> Option<usize> {
        None
    }

    /// Returns whether the encoder has no learned parameters, that is, only lays out the values of a row.
    fn has_no_parameters(&self) -> bool {
        false
    }

    /// Returns the edges of the bins of a number, if it is encoded by its progress through bins and the encoder has no parameters.
    fn bin_edges(&self, _shape: &Shape) -> Option<Vec<f32>> {
        None
    }

    /// Returns the order of magnitude of the number of values that a row of the given shape has on its way through the encoder.
    fn n_values(&self, shape: &Shape) -> usize {
        shape.n_values()
    }

    /// Returns where the parameters come from.
    fn origin(&self) -> Origin<'_> {
        Origin::FRESH
    }

    /// Returns whether the features can be precomputed once: the encoder is pretrained and frozen.
    fn is_computed_once(&self) -> bool {
        let origin = self.origin();
        origin.use_pretrained && !origin.trainable
    }

    /// Returns the config keys that pretrained weights imply.
    ///
    /// # Errors
    /// If a file cannot be read, or describes another kind of network.
    fn implied(&self, _weights: &Path) -> Result<Implied, PretrainedError> {
        Ok(Implied::default())
    }

    /// Returns settings to try for a file of unknown weights, if their sizes cannot be read from a file next to them.
    fn candidates(&self) -> &'static [&'static str] {
        &[]
    }
}

/// What a combiner reads from an input. Determines an encoder's output unless its settings specify a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderOutput {
    /// One vector per row.
    Summary,
    /// All steps, which the combiner attends to.
    Steps,
}

/// Declares the encoder settings of one input, whichever its type.
macro_rules! encoder_settings {
    ($( $($type:literal)|+ => $variant:ident($settings:ident) ),+ $(,)?) => {
        /// The encoder settings of one input.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        #[allow(missing_docs)]
        pub enum EncoderSettings { $($variant($settings)),+ }

        impl EncoderSettings {
            /// Returns the settings of the chosen encoder.
            pub fn get(&self) -> &dyn EncoderConfig {
                match self { $( Self::$variant(it) => it.get() ),+ }
            }

            /// Reads the settings of an encoder for an input type; `None` if there are mistakes, or no such type.
            pub fn read(input: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Self> {
                match input {
                    $( $($type)|+ => $settings::read(node, "encoder", diagnostics).map(Self::$variant), )+
                    _ => None,
                }
            }
        }

        $(
            impl From<$settings> for EncoderSettings {
                fn from(settings: $settings) -> Self {
                    Self::$variant(settings)
                }
            }
        )+
    };
}

encoder_settings! {
    "image" => Image(ImageEncoder),
    "text" => Text(TextEncoder),
    "audio" => Audio(AudioEncoder),
    "timeseries" => Timeseries(TimeseriesEncoder),
    "number" => Number(NumberEncoder),
    "category" => Category(CategoryEncoder),
    "binary" => Binary(BinaryEncoder),
    "vector" | "set" => Vector(VectorEncoder),
    "date" => Date(DateEncoder),
}

/// Unwraps the expected kind of tensors, or panics and names the kind that was passed instead.
macro_rules! expect_input {
    ($input:expr, $kind:ident $pattern:tt => $value:expr) => {
        match $input {
            Tensors::$kind $pattern => $value,
            other => panic!("an encoder of {} got {other:?}", stringify!($kind)),
        }
    };
}
pub(crate) use expect_input;
pub(crate) use vector::write_progress;

/// Flattens feature maps `[batch, channels, height, width]` to steps `[batch, height * width, channels]`.
fn grid(maps: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read;

    #[test]
    fn convnets_have_published_number_of_parameters() {
        use burn::module::Module;
        // torchvision's models without their last linear layer; the CIFAR network as counted in the paper (0.27 M with it).
        let cases = [("18", 11_176_512), ("50", 23_508_032), ("20", 269_722 - 650)];
        for (variant, n_params) in cases {
            let settings: ImageEncoder = read(&format!("{{type: resnet, model_variant: {variant}}}"));
            let shape = Shape::Image { channels: 3, height: 32, width: 32 };
            let encoder = EncoderSettings::Image(settings).get().init(&shape, EncoderOutput::Summary, &Device::flex().autodiff());
            assert_eq!(trainable(&encoder), n_params, "resnet {variant}");
        }
        let mobilenet = EncoderSettings::Image(read("mobilenet_v2")).get().init(
            &Shape::Image { channels: 3, height: 32, width: 32 },
            EncoderOutput::Summary,
            &Device::flex().autodiff(),
        );
        assert_eq!(trainable(&mobilenet), 2_223_872);

        fn trainable(encoder: &Encoder) -> usize {
            struct Count(usize);
            impl burn::module::ModuleVisitor for Count {
                fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
                    self.0 += if param.is_require_grad() { param.dims().iter().product::<usize>() } else { 0 };
                }
            }
            let mut count = Count(0);
            encoder.visit(&mut count);
            count.0
        }
    }
}
