//! Text generation, token by token, with a network that reads the fused inputs and the tokens so far.
//!
//! ```text
//! Fused --memory--> steps to attend to          training: network over the reference text --> token costs
//!                                               search:   network, one step at a time --> hypotheses
//! ```

mod decoding;
mod network;
mod rnn;
mod scorer;
mod search;
mod transformer;

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use mbm_config::{Mistakes, settings, tagged};
use mbm_data::feature::FittedTargetText;

pub use decoding::{Decoding, DecodingSettings, Hypothesis};
pub use rnn::{AttentionKind, RnnGeneratorSettings};
pub use transformer::{PositionKind, TransformerGeneratorSettings};

use self::network::{Memory, Network};
use self::scorer::{Cached, Uncached};
use super::{Decode, Decoder, DecoderConfig, DecoderContext, Observe, TextGenerator};
use crate::combiner::AttentionContext;
use crate::layer::{Dropout, learned_parameter, linear};
use crate::{Fused, InputSummary, Sequence, Steps, Target, TargetTokens, operation};

settings! {
    /// Settings of a text generator.
    pub struct GeneratorSettings {
        /// Network that predicts the next token.
        network: GeneratorNetwork = GeneratorNetwork::Transformer(mbm_config::defaults());
        /// How texts are decoded.
        decoding: DecodingSettings = mbm_config::defaults();
    }
}

tagged! {
    /// Networks that generate texts.
    pub enum GeneratorNetwork: Transformer {
        Transformer(TransformerGeneratorSettings) = "transformer",
        Rnn(RnnGeneratorSettings) = "rnn",
    }
}

// The id of the token before every text, the id of the token that ends it, and the first id of a regular token.
pub(crate) const BEGIN: u32 = FittedTargetText::BEGIN;
pub(crate) const END: u32 = FittedTargetText::END;
pub(crate) const N_SPECIAL: u32 = FittedTargetText::N_SPECIAL;

/// Number of values per row in the costs of a text decoder: the summed label-smoothed cross-entropy of its tokens, the plain one,
/// the number of correctly predicted tokens, and the number of tokens.
pub(super) const N_SCORES: usize = 4;

/// Text generator.
#[derive(Module, Debug)]
pub struct Generator {
    /// Projections of the memory's parts to one width.
    projections: Vec<Linear>,
    /// Learned embeddings that identify the parts.
    origins: Vec<Param<Tensor<3>>>,
    embedding: Embedding,
    network: Network,
    output: Option<Param<Tensor<2>>>,
    bias: Param<Tensor<1>>,
    dropout: Dropout,
    #[module(skip)]
    attention_context: AttentionContext,
    #[module(skip)]
    label_smoothing: f64,
    #[module(skip)]
    embedding_scale: f64,
}

impl DecoderConfig for GeneratorSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        let DecoderContext { fused, steps, output: vocabulary, text, inputs } = context;
        let device = inputs.device;
        let (network, width, dropout, tied) = match &self.network {
            GeneratorNetwork::Transformer(it) => {
                let network = Network::TransformerNetwork(it.init(text.max_steps, device));
                (network, it.hidden_size, it.dropout, it.tied_embeddings)
            }
            GeneratorNetwork::Rnn(it) => {
                (Network::RnnNetwork(it.init(fused, device)), it.hidden_size, it.dropout, it.tied_embeddings)
            }
        };
        let parts = match inputs.attention_context {
            AttentionContext::Fused => vec![steps],
            AttentionContext::Inputs => inputs.widths.to_vec(),
            AttentionContext::InputsAndPooled => [inputs.widths, &[fused]].concat(),
        };
        let is_plain = parts == [width];
        let std = 1.0 / (width as f64).sqrt();
        let normal = Initializer::Normal { mean: 0.0, std };
        Generator {
            projections: if is_plain {
                Vec::new()
            } else {
                parts.iter().map(|from| LinearConfig::new(*from, width).init(device)).collect()
            },
            origins: if parts.len() < 2 {
                Vec::new()
            } else {
                parts.iter().map(|_| learned_parameter([1, 1, width], device)).collect()
            },
            embedding: EmbeddingConfig::new(vocabulary, width).with_initializer(normal.clone()).init(device),
            network,
            output: (!tied).then(|| normal.init([vocabulary, width], device)),
            bias: Initializer::Zeros.init([vocabulary], device),
            dropout: Dropout::new(dropout),
            attention_context: inputs.attention_context,
            label_smoothing: text.label_smoothing,
            embedding_scale: 1.0 / std,
        }
        .into()
    }

    fn check(&self, _inputs: &[InputSummary], mistakes: &mut Mistakes) {
        let GeneratorNetwork::Transformer(network) = &self.network else { return };
        network.check(mistakes);
    }

    fn reads_inputs(&self) -> bool {
        true
    }

    fn decoding(&self) -> Option<&DecodingSettings> {
        Some(&self.decoding)
    }
}

impl Generator {
    /// Returns the memory that the network attends to.
    fn memory(&self, fused: &Fused) -> Memory {
        let inputs = || fused.inputs.iter().map(Sequence::steps).collect::<Vec<_>>();
        let parts = match self.attention_context {
            AttentionContext::Fused => vec![fused.sequence.clone()],
            AttentionContext::Inputs => inputs(),
            AttentionContext::InputsAndPooled => [inputs(), vec![Steps::single(fused.pooled.clone())]].concat(),
        };
        let projected = parts.into_iter().enumerate().map(|(at, part)| {
            let values = self.projections.get(at).map_or(part.values.clone(), |layer| linear(layer, part.values.clone()));
            let values = self.origins.get(at).map_or(values.clone(), |origin| values + origin.val());
            (values, part.mask)
        });
        let (values, masks): (Vec<_>, Vec<_>) = projected.unzip();
        let steps = Steps { values: Tensor::cat(values, 1), mask: Tensor::cat(masks, 1) };
        Memory { steps, pooled: fused.pooled.clone() }
    }

    /// Embeds token ids: `[rows, steps]` to `[rows, steps, width]`.
    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.embedding.forward(ids) * self.embedding_scale
    }

    /// Embeds the reference texts shifted right, so that each step holds the previous token (teacher forcing).
    fn embed_all(&self, target: &TargetTokens, device: &Device) -> Steps {
        let batch = target.lengths.len();
        let ids: Vec<i64> =
            (0..batch).flat_map(|row| (0..target.steps).map(move |step| i64::from(previous(target, row, step)))).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, target.steps]), device);
        // Rows without a text keep one step for attention to read.
        let flags: Vec<bool> =
            target.lengths.iter().flat_map(|length| (0..target.steps).map(move |step| step < (*length).max(1))).collect();
        let mask = Tensor::from_data(TensorData::new(flags, [batch, target.steps]), device);
        Steps { values: self.embed(ids), mask }
    }

    fn weight(&self) -> Tensor<2> {
        self.output.as_ref().map_or_else(|| self.embedding.weight.val(), Param::val)
    }

    /// Computes token scores: `[rows, width]` to `[rows, vocabulary]`.
    fn scores(&self, hidden: Tensor<2>) -> Tensor<2> {
        hidden.matmul(self.weight().transpose()) + self.bias.val().unsqueeze()
    }

    /// Returns the costs of the reference texts: `[batch, N_SCORES]`.
    fn costs(&self, fused: &Fused, target: &TargetTokens) -> Tensor<2> {
        let device = fused.pooled.device();
        let (batch, steps) = (target.lengths.len(), target.steps);
        let mut tokens = self.embed_all(target, &device);
        tokens.values = self.dropout.forward(tokens.values);
        let hidden = self.network.get().run(tokens, &self.memory(fused)); // [batch, steps, width]
        let [_, _, width] = hidden.dims();
        let positions: Vec<usize> = (0..batch).flat_map(|row| row * steps..row * steps + target.lengths[row]).collect();
        let n = positions.len();
        let ints = positions.iter().map(|position| *position as i64).collect::<Vec<_>>();
        let hidden = hidden.reshape([batch * steps, width]).select(0, Tensor::from_data(TensorData::new(ints, [n]), &device));
        let ids: Vec<f32> = positions.iter().map(|position| target.ids[*position] as f32).collect();
        let costs = self.token_costs(hidden, Tensor::from_data(TensorData::new(ids, [n]), &device)); // [tokens, 3]
        let mut rows = vec![0f32; batch * n];
        positions.iter().enumerate().for_each(|(token, position)| rows[position / steps * n + token] = 1.0);
        let rows = Tensor::<2>::from_data(TensorData::new(rows, [batch, n]), &device);
        let lengths: Vec<f32> = target.lengths.iter().map(|length| *length as f32).collect();
        Tensor::cat(vec![rows.matmul(costs), Tensor::from_data(TensorData::new(lengths, [batch, 1]), &device)], 1)
    }

    fn token_costs(&self, hidden: Tensor<2>, ids: Tensor<1>) -> Tensor<2> {
        if operation::AVAILABLE {
            return operation::token_costs(hidden, self.weight(), self.bias.val(), ids, self.label_smoothing);
        }
        let log_p = activation::log_softmax(self.scores(hidden), 1); // [tokens, vocabulary]
        let ids: Tensor<2, Int> = ids.int().unsqueeze_dim(1);
        let cost = log_p.clone().gather(1, ids.clone()).neg();
        let is_right = log_p.clone().argmax(1).equal(ids).float();
        let smoothed = cost.clone() * (1.0 - self.label_smoothing) - log_p.mean_dim(1) * self.label_smoothing;
        Tensor::cat(vec![smoothed, cost, is_right], 1)
    }
}

/// Returns the token before a step of a reference text; the first step follows the beginning.
fn previous(target: &TargetTokens, row: usize, step: usize) -> u32 {
    if step == 0 { BEGIN } else { target.ids[row * target.steps + step - 1] }
}

/// Returns the costs of the target's texts, or zeros that still propagate a gradient if the target has none.
pub(super) fn costs(fused: &Fused, target: Option<&Target>, of: impl FnOnce(&TargetTokens) -> Tensor<2>) -> Tensor<2> {
    match target.and_then(|target| target.tokens.as_ref()).filter(|tokens| tokens.steps > 0) {
        Some(tokens) => of(tokens),
        None => (fused.pooled.clone().sum_dim(1) * 0.0).repeat_dim(1, N_SCORES),
    }
}

impl Decode for Generator {
    /// Returns the costs of the reference texts in the target, or zeros without a target.
    fn decode(&self, fused: &Fused, target: Option<&Target>) -> Tensor<2> {
        costs(fused, target, |tokens| self.costs(fused, tokens))
    }

    fn text_generator(&self) -> Option<&dyn TextGenerator> {
        Some(self)
    }
}

impl TextGenerator for Generator {
    fn write(&self, fused: &Fused, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<Hypothesis>> {
        let memory = self.memory(fused);
        let [n_rows, _] = memory.pooled.dims();
        if decoding.is_cached {
            search::search(&mut Cached::new(self, memory), n_rows, decoding, observe)
        } else {
            search::search(&mut Uncached::new(self, memory), n_rows, decoding, observe)
        }
    }

    fn attention(&self, fused: &Fused, target: &TargetTokens) -> Option<Tensor<3>> {
        let tokens = self.embed_all(target, &fused.pooled.device());
        Some(self.network.get().attention(tokens, &self.memory(fused)))
    }
}

#[cfg(test)]
mod tests;
