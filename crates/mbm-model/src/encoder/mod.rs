//! Encoders: one input's tensors to [`Steps`]. A new encoder is one file here, one line in the list below, and one line in the
//! settings of the input types that may use it.

mod category;
mod mobilenet;
mod reduce;
mod resnet;
mod sequence;
mod stacked_cnn;
mod vector;
mod vit;

use burn::tensor::{Device, Tensor};
use mbm_config::tagged;
use mbm_data::Shape;

pub use category::{CategoryDense, CategoryDenseSettings, OneHot, OneHotSettings};
pub use mobilenet::{MobileNet, MobileNetSettings};
pub use reduce::Reduce;
pub use resnet::{ResNet, ResNetSettings};
pub use sequence::{
    CnnRnnSettings, EmbedSettings, ParallelCnnSettings, RnnSettings, SequenceEncoder, StackedCnn1dSettings, TransformerSettings,
};
pub use stacked_cnn::{StackedCnn, StackedCnnSettings};
pub use vector::{
    CyclicSettings, DenseSettings, FlatDense, Passthrough, PassthroughSettings, PiecewiseLinear, PiecewiseLinearSettings, VectorDense,
};
pub use vit::{Vit, VitSettings};

use crate::{Steps, Tensors};

/// Turns the present rows of one input into steps of one width.
pub trait Encode {
    /// The width of a step.
    fn width(&self) -> usize;

    /// The present rows, at least one.
    fn encode(&self, input: Tensors) -> Steps;
}

components! {
    /// Any encoder.
    Encoder: Encode {
        StackedCnn, ResNet, MobileNet, Vit, SequenceEncoder, Passthrough, VectorDense, FlatDense, PiecewiseLinear, CategoryDense, OneHot,
    }
}

tagged! {
    /// Encoders of pictures.
    pub enum ImageEncoder: StackedCnn {
        StackedCnn(StackedCnnSettings) = "stacked_cnn",
        ResNet(ResNetSettings) = "resnet",
        MobileNet(MobileNetSettings) = "mobilenet_v2",
        Vit(VitSettings) = "vit",
    }
}

tagged! {
    /// Encoders of texts.
    pub enum TextEncoder: ParallelCnn {
        ParallelCnn(ParallelCnnSettings) = "parallel_cnn",
        Embed(EmbedSettings) = "embed",
        Rnn(RnnSettings) = "rnn",
        CnnRnn(CnnRnnSettings) = "cnnrnn",
        StackedCnn(StackedCnn1dSettings) = "stacked_cnn",
        Transformer(TransformerSettings) = "transformer",
    }
}

tagged! {
    /// Encoders of sounds.
    pub enum AudioEncoder: ParallelCnn {
        ParallelCnn(ParallelCnnSettings) = "parallel_cnn",
        StackedCnn(StackedCnn1dSettings) = "stacked_cnn",
        Rnn(RnnSettings) = "rnn",
        CnnRnn(CnnRnnSettings) = "cnnrnn",
        Transformer(TransformerSettings) = "transformer",
    }
}

tagged! {
    /// Encoders of series.
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
    /// Encoders of numbers.
    pub enum NumberEncoder: Passthrough {
        Passthrough(PassthroughSettings) = "passthrough",
        Dense(DenseSettings) = "dense",
        PiecewiseLinear(PiecewiseLinearSettings) = "ple",
    }
}

tagged! {
    /// Encoders of classes, of two as of many.
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
    /// Encoders of dates.
    pub enum DateEncoder: Cyclic {
        Cyclic(CyclicSettings) = "cyclic",
    }
}

/// The encoder settings of one input.
#[derive(Debug, Clone, PartialEq)]
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

/// What a combiner does with an input's steps, and so what an encoder should give where its settings do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It reads one vector a row.
    Summary,
    /// It attends to the steps.
    Steps,
}

impl EncoderSettings {
    /// The encoder for inputs of a shape.
    ///
    /// # Panics
    /// Settings and shape of different input types: the plan pairs them.
    pub fn init(&self, shape: &Shape, reading: Reading, device: &Device) -> Encoder {
        match self {
            Self::Image(ImageEncoder::StackedCnn(it)) => Encoder::StackedCnn(it.init(shape, reading, device)),
            Self::Image(ImageEncoder::ResNet(it)) => Encoder::ResNet(it.init(shape, reading, device)),
            Self::Image(ImageEncoder::MobileNet(it)) => Encoder::MobileNet(it.init(shape, reading, device)),
            Self::Image(ImageEncoder::Vit(it)) => Encoder::Vit(it.init(shape, reading, device)),
            Self::Text(text) => Encoder::SequenceEncoder(sequence::init_text(text, shape, reading, device)),
            Self::Audio(audio) => Encoder::SequenceEncoder(sequence::init_audio(audio, shape, reading, device)),
            Self::Timeseries(TimeseriesEncoder::Dense(it)) => Encoder::FlatDense(it.init_flat(shape, device)),
            Self::Timeseries(series) => Encoder::SequenceEncoder(sequence::init_series(series, shape, reading, device)),
            Self::Number(NumberEncoder::Passthrough(_)) | Self::Vector(VectorEncoder::Passthrough(_)) => {
                Encoder::Passthrough(vector::passthrough(shape))
            }
            Self::Number(NumberEncoder::Dense(it)) | Self::Vector(VectorEncoder::Dense(it)) => Encoder::VectorDense(it.init(shape, device)),
            Self::Number(NumberEncoder::PiecewiseLinear(it)) => Encoder::PiecewiseLinear(it.init(shape, device)),
            Self::Category(CategoryEncoder::Dense(it)) => Encoder::CategoryDense(it.init(shape, device)),
            Self::Category(CategoryEncoder::OneHot(_)) => Encoder::OneHot(category::one_hot(shape)),
            Self::Date(DateEncoder::Cyclic(it)) => Encoder::VectorDense(it.init(shape, device)),
        }
    }
}

/// The tensors of a kind, or a panic that names what was wired wrongly.
macro_rules! expect_input {
    ($input:expr, $kind:ident $pattern:tt => $value:expr) => {
        match $input {
            Tensors::$kind $pattern => $value,
            other => panic!("an encoder of {} was given {other:?}", stringify!($kind)),
        }
    };
}
pub(crate) use expect_input;

/// `[batch, channels, height, width]` as steps, `[batch, height * width, channels]`.
fn grid(maps: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = maps.dims();
    maps.reshape([batch, channels, height * width]).swap_dims(1, 2)
}
