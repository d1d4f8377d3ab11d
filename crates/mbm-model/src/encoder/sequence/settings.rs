//! The settings of sequence encoders.

use std::path::Path;

use burn::tensor::Device;
use mbm_config::{Mistakes, settings};
use mbm_data::Shape;

use super::Init;
use crate::encoder::{Encoder, EncoderConfig, EncoderOutput, Reduce};
use crate::layer::{Activation, CellType, NormPosition, check_heads};
use crate::pretrained::{Implied, Origin, Pretrained, PretrainedError, word_vectors};

settings! {
    /// Settings of learned token embeddings, reduced to one vector. Pretrained weights are word vectors as text, such as GloVe's;
    /// tokens without a vector are initialized at random.
    pub struct EmbedSettings {
        /// Width of a token embedding.
        embedding_size: usize = 128 => 1..=4096;
        /// Dropout on the embeddings.
        dropout: f64 = 0.0 => 0.0..=0.9;
        ..pretrained: Pretrained;
        /// How to reduce the steps to one vector; defaults to `mean`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of parallel convolutions with several filter lengths (Kim 2014).
    pub struct ParallelCnnSettings {
        /// Width of a token embedding (text inputs only).
        embedding_size: usize = 128 => 1..=4096;
        /// Filter lengths.
        filter_sizes: Vec<usize> = vec![2, 3, 4, 5] => 1..=63;
        /// Number of filters per length.
        num_filters: usize = 64 => 1..=4096;
        /// Number of dense layers after the convolutions.
        num_fc_layers: usize = 1 => 0..=8;
        /// Width of each layer.
        output_size: usize = 128 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout on the stem's output and after the dense layers.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// How to reduce the steps to one vector; defaults to `max`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of stacked convolutions, each halving the number of steps.
    pub struct StackedCnn1dSettings {
        /// Width of a token embedding (text inputs only).
        embedding_size: usize = 128 => 1..=4096;
        /// Number of convolutions.
        num_conv_layers: usize = 3 => 1..=12;
        /// Length of a filter.
        filter_size: usize = 5 => 1..=63;
        /// Number of filters per convolution.
        num_filters: usize = 64 => 1..=4096;
        /// Width of the output.
        output_size: usize = 128 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout on the stem's output and after the dense layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// How to reduce the steps to one vector; defaults to `max`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of recurrent layers.
    pub struct RnnSettings {
        /// Width of a token embedding (text inputs only).
        embedding_size: usize = 128 => 1..=4096;
        /// Recurrent cell.
        cell_type: CellType = CellType::Rnn;
        /// Number of layers.
        num_layers: usize = 1 => 1..=16;
        /// Width of the hidden state.
        state_size: usize = 128 => 1..=4096;
        /// Whether the layers run in both directions.
        bidirectional: bool = false;
        /// Dropout between layers and on the stem's output.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// How to reduce the steps to one vector; defaults to `last`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of convolutions followed by recurrent layers.
    pub struct CnnRnnSettings {
        /// Width of a token embedding (text inputs only).
        embedding_size: usize = 128 => 1..=4096;
        /// Number of convolutions, each halving the number of steps.
        num_conv_layers: usize = 2 => 1..=12;
        /// Length of a filter.
        filter_size: usize = 5 => 1..=63;
        /// Number of filters per convolution.
        num_filters: usize = 64 => 1..=4096;
        /// Recurrent cell.
        cell_type: CellType = CellType::Rnn;
        /// Number of recurrent layers.
        num_rec_layers: usize = 1 => 1..=16;
        /// Width of the hidden state.
        state_size: usize = 128 => 1..=4096;
        /// Whether the layers run in both directions.
        bidirectional: bool = false;
        /// Dropout between layers and on the stem's output.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// How to reduce the steps to one vector; defaults to `last`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of the transformer encoder of "Attention is all you need" (Vaswani et al. 2017).
    pub struct TransformerSettings {
        /// Number of layers.
        num_layers: usize = 2 => 1..=64;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 128 => 8..=4096;
        /// Number of attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        transformer_output_size: usize = 256 => 8..=16_384;
        /// Where layers apply layer norm.
        norm: NormPosition = NormPosition::Pre;
        /// Activation of the feed-forward blocks; the paper uses `relu`.
        activation: Activation = Activation::Gelu;
        /// Dropout probability.
        dropout: f64 = 0.1 => 0.0..=0.9;
        /// How to reduce the steps to one vector; defaults to `mean`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }
}

impl EncoderConfig for ParallelCnnSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.parallel(self).into()
    }
}

impl EncoderConfig for StackedCnn1dSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.stacked(self).into()
    }
}

impl EncoderConfig for RnnSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.rnn(self).into()
    }
}

impl EncoderConfig for CnnRnnSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.cnn_rnn(self).into()
    }
}

impl EncoderConfig for EmbedSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.embed(self).into()
    }

    fn n_values(&self, shape: &Shape) -> usize {
        if let Shape::Tokens { max_steps, .. } = shape { max_steps * self.embedding_size } else { shape.n_values() }
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    /// Looking vectors up is as fast as reading them from a cache, and tokens without one are initialized at random with the
    /// model.
    fn is_computed_once(&self) -> bool {
        false
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        word_vectors::implied(weights)
    }
}

impl EncoderConfig for TransformerSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        Init { shape, encoder_output, device }.transformer(self).into()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_heads, mistakes);
    }
}
