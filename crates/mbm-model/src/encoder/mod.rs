//! Encoders turn the tensors of one input into [`Steps`].
//!
//! To add an encoder, add one file here, one line to the list below, and one line to the settings of each input type that may use
//! it.

mod category;
mod mobilenet;
mod reduce;
mod resnet;
mod sequence;
mod stacked_cnn;
mod text_transformer;
mod vector;
mod vit;
mod wav2vec2;

use burn::tensor::{Device, Tensor};
use mbm_config::tagged;
use mbm_data::Shape;
use serde::Serialize;

pub use category::{CategoryDense, CategoryDenseSettings, OneHot, OneHotSettings};
pub use mobilenet::{MobileNet, MobileNetSettings};
pub use reduce::Reduce;
pub use resnet::{ResNet, ResNetSettings};
pub use sequence::{
    CnnRnnSettings, EmbedSettings, ParallelCnnSettings, RnnSettings, SequenceEncoder, StackedCnn1dSettings, TransformerSettings,
};
pub use stacked_cnn::{StackedCnn, StackedCnnSettings};
pub use text_transformer::{BertSettings, ClipTextSettings, TextTransformer};
pub use vector::{
    CyclicSettings, DenseSettings, FlatDense, Passthrough, PassthroughSettings, PiecewiseLinear, PiecewiseLinearSettings,
    VectorDense,
};
pub use vit::{ClipImageSettings, Vit, VitSettings};
pub use wav2vec2::{Wav2Vec2, Wav2Vec2Settings};

use crate::pretrained::Origin;
use crate::{Steps, Tensors};

/// Encodes the present rows of one input as steps of a fixed width.
pub trait Encode {
    /// Returns the width of a step.
    fn width(&self) -> usize;

    /// Encodes the present rows, of which there is at least one.
    fn encode(&self, input: Tensors) -> Steps;
}

components! {
    /// Any encoder.
    Encoder: Encode {
        StackedCnn, ResNet, MobileNet, Vit, SequenceEncoder, TextTransformer, Wav2Vec2, Passthrough, VectorDense, FlatDense,
        PiecewiseLinear, CategoryDense, OneHot,
    }
}

tagged! {
    /// Image encoders.
    pub enum ImageEncoder: StackedCnn {
        StackedCnn(StackedCnnSettings) = "stacked_cnn",
        ResNet(ResNetSettings) = "resnet",
        MobileNet(MobileNetSettings) = "mobilenet_v2",
        Vit(VitSettings) = "vit",
        Clip(ClipImageSettings) = "clip",
    }
}

tagged! {
    /// Text encoders.
    pub enum TextEncoder: ParallelCnn {
        ParallelCnn(ParallelCnnSettings) = "parallel_cnn",
        Embed(EmbedSettings) = "embed",
        Rnn(RnnSettings) = "rnn",
        CnnRnn(CnnRnnSettings) = "cnnrnn",
        StackedCnn(StackedCnn1dSettings) = "stacked_cnn",
        Transformer(TransformerSettings) = "transformer",
        Bert(BertSettings) = "bert",
        Clip(ClipTextSettings) = "clip",
    }
}

tagged! {
    /// Audio encoders.
    pub enum AudioEncoder: ParallelCnn {
        ParallelCnn(ParallelCnnSettings) = "parallel_cnn",
        StackedCnn(StackedCnn1dSettings) = "stacked_cnn",
        Rnn(RnnSettings) = "rnn",
        CnnRnn(CnnRnnSettings) = "cnnrnn",
        Transformer(TransformerSettings) = "transformer",
        Wav2Vec2(Wav2Vec2Settings) = "wav2vec2",
    }
}

tagged! {
    /// Time-series encoders.
    pub enum TimeseriesEncoder: ParallelCnn {
        ParallelCnn(ParallelCnnSettings) = "parallel_cnn",
        Dense(DenseSettings) = "dense",
        StackedCnn(StackedCnn1dSettings) = "stacked_cnn",
        Rnn(RnnSettings) = "rnn",
        CnnRnn(CnnRnnSettings) = "cnnrnn",
        Transformer(TransformerSettings) = "transformer",
    }
}

tagged! {
    /// Number encoders.
    pub enum NumberEncoder: Passthrough {
        Passthrough(PassthroughSettings) = "passthrough",
        Dense(DenseSettings) = "dense",
        PiecewiseLinear(PiecewiseLinearSettings) = "ple",
    }
}

tagged! {
    /// Encoders of categories, both binary and multiclass.
    pub enum CategoryEncoder: Dense {
        Dense(CategoryDenseSettings) = "dense",
        OneHot(OneHotSettings) = "onehot",
    }
}

tagged! {
    /// Encoders of vectors and sets.
    pub enum VectorEncoder: Dense {
        Dense(DenseSettings) = "dense",
        Passthrough(PassthroughSettings) = "passthrough",
    }
}

tagged! {
    /// Date encoders.
    pub enum DateEncoder: Cyclic {
        Cyclic(CyclicSettings) = "cyclic",
    }
}

/// The encoder settings of one input.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum EncoderSettings {
    Image(ImageEncoder),
    Text(TextEncoder),
    Audio(AudioEncoder),
    Timeseries(TimeseriesEncoder),
    Number(NumberEncoder),
    Category(CategoryEncoder),
    Vector(VectorEncoder),
    Date(DateEncoder),
}

/// What a combiner reads from an input. Determines an encoder's output unless its settings specify a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncoderOutput {
    /// One vector per row.
    Summary,
    /// All steps, which the combiner attends to.
    Steps,
}

impl EncoderSettings {
    /// Initializes the encoder for inputs of the given shape.
    ///
    /// # Panics
    /// Panics if the settings and the shape belong to different input types, which the plan rules out.
    pub fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        match self {
            Self::Image(ImageEncoder::StackedCnn(it)) => Encoder::StackedCnn(it.init(shape, encoder_output, device)),
            Self::Image(ImageEncoder::ResNet(it)) => Encoder::ResNet(it.init(shape, encoder_output, device)),
            Self::Image(ImageEncoder::MobileNet(it)) => Encoder::MobileNet(it.init(shape, encoder_output, device)),
            Self::Image(ImageEncoder::Vit(it)) => Encoder::Vit(it.init(shape, encoder_output, device)),
            Self::Image(ImageEncoder::Clip(it)) => Encoder::Vit(it.init(shape, encoder_output, device)),
            Self::Text(TextEncoder::Bert(it)) => Encoder::TextTransformer(it.init(shape, encoder_output, device)),
            Self::Text(TextEncoder::Clip(it)) => Encoder::TextTransformer(it.init(shape, encoder_output, device)),
            Self::Text(text) => Encoder::SequenceEncoder(sequence::init_text(text, shape, encoder_output, device)),
            Self::Audio(AudioEncoder::Wav2Vec2(it)) => Encoder::Wav2Vec2(it.init(shape, encoder_output, device)),
            Self::Audio(audio) => Encoder::SequenceEncoder(sequence::init_audio(audio, shape, encoder_output, device)),
            Self::Timeseries(TimeseriesEncoder::Dense(it)) => Encoder::FlatDense(it.init_flat(shape, device)),
            Self::Timeseries(series) => Encoder::SequenceEncoder(sequence::init_series(series, shape, encoder_output, device)),
            Self::Number(NumberEncoder::Passthrough(_)) | Self::Vector(VectorEncoder::Passthrough(_)) => {
                Encoder::Passthrough(vector::passthrough(shape))
            }
            Self::Number(NumberEncoder::Dense(it)) | Self::Vector(VectorEncoder::Dense(it)) => {
                Encoder::VectorDense(it.init(shape, device))
            }
            Self::Number(NumberEncoder::PiecewiseLinear(it)) => Encoder::PiecewiseLinear(it.init(shape, device)),
            Self::Category(CategoryEncoder::Dense(it)) => Encoder::CategoryDense(it.init(shape, device)),
            Self::Category(CategoryEncoder::OneHot(_)) => Encoder::OneHot(category::one_hot(shape)),
            Self::Date(DateEncoder::Cyclic(it)) => Encoder::VectorDense(it.init(shape, device)),
        }
    }
}

impl EncoderSettings {
    /// Checks that inputs of the given shape can be encoded. The shape depends on the data, so validating the config does not
    /// include this check.
    ///
    /// # Errors
    /// Fails if the tokenizer has more ids than the encoder has embeddings.
    pub fn suits(&self, shape: &Shape) -> Result<(), String> {
        let vocab_size = match self {
            Self::Text(TextEncoder::Bert(it)) => it.vocab_size,
            Self::Text(TextEncoder::Clip(it)) => it.vocab_size,
            _ => None,
        };
        match (shape, vocab_size) {
            (Shape::Tokens { vocab_size: n_ids, .. }, Some(vocab_size)) if *n_ids > vocab_size => {
                Err(format!("the tokenizer has {n_ids} ids, but the encoder's vocab_size is {vocab_size}"))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the encoder has no learned parameters, that is, only lays out the values of a row.
    pub(crate) fn has_no_parameters(&self) -> bool {
        match self {
            Self::Number(NumberEncoder::Passthrough(_))
            | Self::Vector(VectorEncoder::Passthrough(_))
            | Self::Category(CategoryEncoder::OneHot(_)) => true,
            Self::Number(NumberEncoder::Dense(_) | NumberEncoder::PiecewiseLinear(_))
            | Self::Vector(VectorEncoder::Dense(_))
            | Self::Category(CategoryEncoder::Dense(_)) => false,
            Self::Image(_) | Self::Text(_) | Self::Audio(_) | Self::Timeseries(_) | Self::Date(_) => false,
        }
    }

    /// Returns whether the features can be precomputed once: the encoder is pretrained and frozen. Excludes word vectors, since
    /// looking them up is as fast as reading cached features, and tokens without one are initialized at random with the model.
    pub fn is_computed_once(&self) -> bool {
        let origin = self.origin();
        origin.use_pretrained && !origin.trainable && !matches!(self, Self::Text(TextEncoder::Embed(_)))
    }

    /// Returns where the parameters come from.
    pub fn origin(&self) -> Origin<'_> {
        match self {
            Self::Image(ImageEncoder::ResNet(it)) => {
                Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning)
            }
            Self::Image(ImageEncoder::MobileNet(it)) => {
                Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning)
            }
            Self::Image(ImageEncoder::Vit(it)) => {
                Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning)
            }
            Self::Image(ImageEncoder::Clip(it)) => {
                Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning)
            }
            Self::Text(TextEncoder::Embed(it)) => Origin::new(it.use_pretrained, &it.weights, it.trainable),
            Self::Text(TextEncoder::Bert(it)) => Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning),
            Self::Text(TextEncoder::Clip(it)) => Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning),
            Self::Audio(AudioEncoder::Wav2Vec2(it)) => {
                Origin::new(it.use_pretrained, &it.weights, it.trainable).tuned(&it.fine_tuning)
            }
            Self::Image(ImageEncoder::StackedCnn(_)) => Origin::FRESH,
            Self::Text(_) | Self::Audio(_) | Self::Timeseries(_) | Self::Number(_) => Origin::FRESH,
            Self::Category(_) | Self::Vector(_) | Self::Date(_) => Origin::FRESH,
        }
    }
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

/// Flattens feature maps `[batch, channels, height, width]` to steps `[batch, height * width, channels]`.
fn grid(maps: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use mbm_config::{Diagnostics, Format, Node, Setting};

    use super::*;
    use crate::combiner::CombinerSettings;
    use crate::testing::{check, spec};

    fn read<T: Setting>(text: &str) -> T {
        let mut diagnostics = Diagnostics::default();
        let read = T::read(&Node::parse(text, Format::Yaml).unwrap(), "encoder", &mut diagnostics);
        diagnostics.unless_any(read).unwrap()
    }

    /// Runs the checks of trainable parts on each encoder, using it for two inputs so that absent rows occur.
    fn check_each(shape: Shape, texts: &[&str], settings: impl Fn(&str) -> EncoderSettings) {
        for text in texts {
            let inputs = vec![(settings(text), shape.clone()), (settings(text), shape.clone())];
            check(text, &spec(inputs, CombinerSettings::Concat(mbm_config::defaults())));
        }
    }

    #[test]
    fn image_encoders_learn() {
        let shape = Shape::Image { channels: 3, height: 16, width: 16 };
        let texts = [
            "{type: stacked_cnn, num_filters: 4, output_size: 16}",
            "{type: stacked_cnn, num_filters: 4, output_size: 16, reduce_output: none}",
            "{type: vit, patch_size: 8, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32, hidden_dropout_prob: 0.0}",
        ];
        check_each(shape, &texts, |text| EncoderSettings::Image(read(text)));
    }

    #[test]
    fn small_resnet_learns() {
        let shape = Shape::Image { channels: 1, height: 16, width: 16 };
        check_each(shape, &["{type: resnet, model_variant: 20}"], |text| EncoderSettings::Image(read(text)));
    }

    #[test]
    fn convnets_have_published_number_of_parameters() {
        use burn::module::Module;
        // torchvision's models without their last linear layer; the CIFAR network as counted in the paper (0.27 M with it).
        let cases = [("18", 11_176_512), ("50", 23_508_032), ("20", 269_722 - 650)];
        for (variant, n_params) in cases {
            let settings: ImageEncoder = read(&format!("{{type: resnet, model_variant: {variant}}}"));
            let shape = Shape::Image { channels: 3, height: 32, width: 32 };
            let encoder = EncoderSettings::Image(settings).init(&shape, EncoderOutput::Summary, &Device::flex().autodiff());
            assert_eq!(trainable(&encoder), n_params, "resnet {variant}");
        }
        let mobilenet = EncoderSettings::Image(read("mobilenet_v2")).init(
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

    #[test]
    fn text_encoders_learn() {
        let shape = Shape::Tokens { vocab_size: 12, max_steps: 5 };
        let texts = [
            "{type: embed, embedding_size: 8}",
            "{type: parallel_cnn, embedding_size: 8, num_filters: 4, output_size: 16}",
            "{type: stacked_cnn, embedding_size: 8, num_filters: 8, output_size: 16}",
            "{type: rnn, embedding_size: 8, state_size: 8}",
            "{type: rnn, cell_type: lstm, embedding_size: 8, state_size: 8, num_layers: 2}",
            "{type: rnn, cell_type: gru, embedding_size: 8, state_size: 8, bidirectional: true}",
            "{type: rnn, cell_type: gru, embedding_size: 8, state_size: 8, reduce_output: mean}",
            "{type: cnnrnn, cell_type: gru, embedding_size: 8, num_filters: 8, state_size: 8}",
            "{type: transformer, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0}",
            "{type: transformer, norm: post, hidden_size: 16, num_heads: 2, transformer_output_size: 32, dropout: 0.0}",
        ];
        check_each(shape, &texts, |text| EncoderSettings::Text(read(text)));
    }

    #[test]
    fn audio_and_timeseries_encoders_learn() {
        let shape = Shape::Frames { width: 3, max_steps: 6 };
        let texts = [
            "{type: parallel_cnn, num_filters: 4}",
            "{type: rnn, cell_type: lstm, state_size: 8}",
            "{type: transformer, hidden_size: 16, dropout: 0.0}",
        ];
        check_each(shape.clone(), &texts, |text| EncoderSettings::Audio(read(text)));
        check_each(shape, &["{type: dense}", "{type: stacked_cnn, num_filters: 16}"], |text| {
            EncoderSettings::Timeseries(read(text))
        });
    }

    #[test]
    fn number_vector_date_and_category_encoders_learn() {
        let quantiles = vec![-4.0, -2.0, -1.0, 0.5, 2.0, 4.0];
        check_each(Shape::Number { quantiles }, &["ple"], |text| EncoderSettings::Number(read(text)));
        check_each(Shape::Vector { width: 5 }, &["dense", "{type: dense, num_layers: 2, activation: tanh}"], |text| {
            EncoderSettings::Vector(read(text))
        });
        check_each(Shape::Vector { width: 11 }, &["cyclic"], |text| EncoderSettings::Date(read(text)));
        check_each(Shape::Class { n_classes: 8 }, &["dense", "onehot"], |text| EncoderSettings::Category(read(text)));
    }

    #[test]
    fn padding_does_not_change_the_encoding() {
        use crate::Tensors;
        use mbm_data::{Column, Values};
        let shape = Shape::Tokens { vocab_size: 12, max_steps: 9 };
        let texts = [
            "embed",
            "parallel_cnn",
            "rnn",
            "{type: rnn, cell_type: lstm, bidirectional: true}",
            "{type: rnn, cell_type: gru, reduce_output: max}",
            "transformer",
        ];
        for text in texts {
            let device = Device::flex();
            device.seed(1);
            let encoder = EncoderSettings::Text(read(text)).init(&shape, EncoderOutput::Summary, &device);
            let encode = |steps: usize, lengths: Vec<usize>, ids: Vec<u32>| {
                let column = Column { present: vec![true; lengths.len()], values: Values::Tokens { steps, lengths, ids } };
                let values = encoder.get().encode(Tensors::new(&column, &device)).values;
                values.narrow(0, 0, 1).into_data().try_into_vec::<f32>().unwrap()
            };
            let unpadded = encode(3, vec![3], vec![4, 5, 6]);
            let padded = encode(6, vec![3, 6], vec![4, 5, 6, 0, 0, 0, 7, 8, 9, 10, 11, 2]);
            let worst = unpadded.iter().zip(&padded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-5, "{text}: difference {worst} exceeds f32 rounding");
        }
    }
}
