//! Architectures of pretrained text transformers: BERT (Devlin et al. 2019) and its smaller variants MiniLM and DistilBERT, and
//! CLIP's text encoder (Radford et al. 2021).

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use mbm_config::{Mistakes, settings};
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, UnsuitedShape, expect_input};
use crate::layer::{
    Activation, Dropout, LayerNorm, NormPosition, Transformer, TransformerSpec, check_heads, learned_parameter, linear,
};
use crate::pretrained::{Family, Implied, Origin, PretrainedEncoder, PretrainedError, bert, clip};
use crate::{Steps, Tensors};

settings! {
    /// Settings of BERT, MiniLM and DistilBERT.
    pub struct BertSettings {
        /// Number of token ids; defaults to that of the tokenizer.
        vocab_size: Option<usize> = None => 1..=1_000_000;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 768 => 8..=4096;
        /// Number of layers.
        num_hidden_layers: usize = 12 => 1..=64;
        /// Number of attention heads.
        num_attention_heads: usize = 12 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        intermediate_size: usize = 3072 => 8..=16_384;
        /// Activation of the feed-forward blocks.
        hidden_act: Activation = Activation::Gelu;
        /// Maximum text length in tokens.
        max_position_embeddings: usize = 512 => 1..=16_384;
        /// Number of segment types; every text is a segment of the first type. 0 for DistilBERT, which has none.
        type_vocab_size: usize = 2 => 0..=16;
        /// Epsilon added to the variance in layer norms.
        layer_norm_eps: f64 = 1e-12 => 0.0..=0.1;
        /// Dropout probability.
        hidden_dropout_prob: f64 = 0.1 => 0.0..=0.9;
        ..pretrained: PretrainedEncoder;
        /// How to reduce the steps: `mean` (default unless the combiner attends to steps), `cls` for the first step, `none` for
        /// every step.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of CLIP's text encoder.
    pub struct ClipTextSettings {
        /// Number of token ids; defaults to that of the tokenizer.
        vocab_size: Option<usize> = None => 1..=1_000_000;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 512 => 8..=4096;
        /// Number of layers.
        num_hidden_layers: usize = 12 => 1..=64;
        /// Number of attention heads.
        num_attention_heads: usize = 8 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        intermediate_size: usize = 2048 => 8..=16_384;
        /// Activation of the feed-forward blocks.
        hidden_act: Activation = Activation::QuickGelu;
        /// Maximum text length in tokens.
        max_position_embeddings: usize = 77 => 1..=16_384;
        /// Epsilon added to the variance in layer norms.
        layer_norm_eps: f64 = 1e-5 => 0.0..=0.1;
        /// Width of the embedding space shared by images and texts.
        projection_dim: usize = 512 => 1..=4096;
        ..pretrained: PretrainedEncoder;
        /// How to reduce the steps: `last` (default unless the combiner attends to steps) takes the end token, which has
        /// attended to the whole text.
        reduce_output: Option<Reduce> = None;
    }
}

/// Transformer over token and position embeddings.
#[derive(Module, Debug)]
pub struct TextTransformer {
    tokens: Embedding,
    positions: Param<Tensor<2>>,
    segments: Option<Param<Tensor<2>>>,
    first_norm: Option<LayerNorm>,
    dropout: Dropout,
    transformer: Transformer,
    projection: Option<Linear>,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
}

impl EncoderConfig for BertSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let (width, eps) = (self.hidden_size, self.layer_norm_eps);
        let transformer = TransformerSpec {
            dropout: self.hidden_dropout_prob,
            norm: NormPosition::Post,
            norm_eps: eps,
            activation: self.hidden_act,
            ..TransformerSpec::usual(width, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size)
        };
        TextTransformer {
            tokens: embedding(self.vocab_size, width, shape, device),
            positions: learned_parameter([self.max_position_embeddings, width], device),
            segments: (self.type_vocab_size > 0).then(|| learned_parameter([self.type_vocab_size, width], device)),
            first_norm: Some(LayerNorm::new(width, eps, device)),
            dropout: Dropout::new(self.hidden_dropout_prob),
            transformer: transformer.init(device),
            projection: None,
            width,
            reduce: Reduce::choose(self.reduce_output, Reduce::Mean, encoder_output),
        }
        .into()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_attention_heads, mistakes);
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn suits(&self, shape: &Shape) -> Result<(), UnsuitedShape> {
        check_vocabulary(self.vocab_size, shape)
    }

    fn max_steps(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        bert::implied(weights)
    }
}

impl EncoderConfig for ClipTextSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let width = self.hidden_size;
        let transformer = TransformerSpec {
            norm_eps: self.layer_norm_eps,
            is_causal: true,
            activation: self.hidden_act,
            ..TransformerSpec::usual(width, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size)
        };
        TextTransformer {
            tokens: embedding(self.vocab_size, width, shape, device),
            positions: learned_parameter([self.max_position_embeddings, width], device),
            segments: None,
            first_norm: None,
            dropout: Dropout::new(0.0),
            transformer: transformer.init(device),
            projection: Some(LinearConfig::new(width, self.projection_dim).with_bias(false).init(device)),
            width: self.projection_dim,
            reduce: Reduce::choose(self.reduce_output, Reduce::Last, encoder_output),
        }
        .into()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_attention_heads, mistakes);
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn suits(&self, shape: &Shape) -> Result<(), UnsuitedShape> {
        check_vocabulary(self.vocab_size, shape)
    }

    fn max_steps(&self) -> Option<usize> {
        Some(self.max_position_embeddings)
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        clip::implied_by_texts(weights)
    }
}

/// Checks that an encoder with `vocab_size` embeddings, if it has a number of its own, has one for each id of the tokenizer.
fn check_vocabulary(vocab_size: Option<usize>, shape: &Shape) -> Result<(), UnsuitedShape> {
    match (shape, vocab_size) {
        (Shape::Tokens { vocab_size: n_ids, .. }, Some(vocab_size)) if *n_ids > vocab_size => {
            Err(UnsuitedShape::VocabularySize { n_ids: *n_ids, vocab_size })
        }
        _ => Ok(()),
    }
}

/// Creates an embedding for each id of the configured vocabulary or, by default, of the tokenizer.
fn embedding(vocab_size: Option<usize>, width: usize, shape: &Shape, device: &Device) -> Embedding {
    let Shape::Tokens { vocab_size: n_known, .. } = *shape else { panic!("a text encoder takes tokens, got {shape:?}") };
    EmbeddingConfig::new(vocab_size.unwrap_or(n_known), width).init(device)
}

impl Encode for TextTransformer {
    fn width(&self) -> usize {
        self.width
    }

    fn families(&self) -> &'static [&'static Family] {
        let is_clip = self.projection.is_some();
        if is_clip { &[&clip::TEXT] } else { &[&bert::BERT, &bert::DISTILBERT] }
    }

    fn encode(&self, input: Tensors) -> Steps {
        let (ids, mask) = expect_input!(input, Tokens(ids, mask) => (ids, mask));
        let values = self.embed(ids);
        let values = match &self.first_norm {
            Some(norm) => norm.forward(values),
            None => values,
        };
        let steps = Steps { values: self.dropout.forward(values), mask };
        let steps = self.reduce.apply(self.transformer.forward(steps), None);
        match &self.projection {
            Some(projection) => Steps { values: linear(projection, steps.values), mask: steps.mask },
            None => steps,
        }
    }
}

impl TextTransformer {
    /// Sums token, position and first-segment embeddings: `[batch, steps]` to `[batch, steps, width]`.
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, n_steps] = ids.dims();
        let positions = self.positions.val().narrow(0, 0, n_steps).unsqueeze::<3>();
        let values = self.tokens.forward(ids) + positions;
        match &self.segments {
            Some(segments) => values + segments.val().narrow(0, 0, 1).unsqueeze::<3>(),
            None => values,
        }
    }
}
