//! The transformer decoder of "Attention is all you need" (Vaswani et al. 2017).

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use mbm_config::{Mistakes, choices, settings};

use super::network::{Memory, State, Write};
use crate::Steps;
use crate::layer::{
    Activation, LayerCache, NormPosition, Transformer, TransformerSpec, check_heads_at, learned_parameter, sinusoids,
};

choices! {
    /// How a transformer encodes token positions.
    pub enum PositionKind {
        /// Sines and cosines added to the embeddings.
        Sinusoidal = "sinusoidal",
        /// A learned vector per position added to the embeddings.
        Learned = "learned" | "learnt",
        /// Queries and keys rotated by their positions (Su et al. 2021); heads must have an even width.
        Rotary = "rotary",
    }
}

settings! {
    /// Settings of a transformer that generates texts.
    pub struct TransformerGeneratorSettings {
        /// Number of layers.
        num_layers: usize = 3 => 1..=64;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 256 => 8..=4096;
        /// Number of attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        transformer_output_size: usize = 1024 => 8..=16_384;
        /// Where layers apply layer norm.
        norm: NormPosition = NormPosition::Pre;
        /// Activation of the feed-forward blocks.
        activation: Activation = Activation::Relu;
        /// Kind of position encoding.
        positions: PositionKind = PositionKind::Sinusoidal;
        /// Whether the output layer shares its weights with the token embedding (Press and Wolf 2017).
        tied_embeddings: bool = true;
        /// Dropout probability.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// Layers of self-attention, cross-attention to the memory, and feed-forward blocks.
#[derive(Module, Debug)]
pub struct TransformerNetwork {
    layers: Transformer,
    places: Option<Param<Tensor<3>>>,
    #[module(skip)]
    positions: PositionKind,
}

/// State carried from step to step.
#[derive(Debug, Clone)]
pub struct TransformerState {
    caches: Vec<LayerCache>,
    position: usize,
}

impl TransformerGeneratorSettings {
    /// Checks what involves several keys.
    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        let (width, n_heads) = (self.hidden_size, self.num_heads);
        check_heads_at("network", width, n_heads, mistakes);
        if self.positions == PositionKind::Rotary && !(width / n_heads).is_multiple_of(2) {
            mistakes.add("network", "rotary positions require heads of an even width");
        }
    }

    /// Initializes the network for texts of at most `max_steps` tokens.
    pub(super) fn init(&self, max_steps: usize, device: &Device) -> TransformerNetwork {
        let spec = TransformerSpec {
            dropout: self.dropout,
            norm: self.norm,
            is_causal: true,
            activation: self.activation,
            is_rotary: self.positions == PositionKind::Rotary,
            has_context: true,
            ..TransformerSpec::usual(self.hidden_size, self.num_layers, self.num_heads, self.transformer_output_size)
        };
        let places =
            (self.positions == PositionKind::Learned).then(|| learned_parameter([1, max_steps, self.hidden_size], device));
        TransformerNetwork { layers: spec.init(device), places, positions: self.positions }
    }
}

impl TransformerNetwork {
    /// Adds position encodings to tokens, the first of which is at position `first`.
    fn with_positions(&self, tokens: Tensor<3>, first: usize) -> Tensor<3> {
        let [_, steps, width] = tokens.dims();
        match (self.positions, &self.places) {
            (PositionKind::Learned, Some(places)) => tokens + places.val().narrow(1, first, steps),
            (PositionKind::Sinusoidal, _) => {
                let places = sinusoids(first + steps, width, &tokens.device());
                tokens + places.narrow(1, first, steps)
            }
            (PositionKind::Rotary | PositionKind::Learned, _) => tokens,
        }
    }
}

impl Write for TransformerNetwork {
    fn run(&self, tokens: Steps, memory: &Memory) -> Tensor<3> {
        let tokens = Steps { values: self.with_positions(tokens.values, 0), mask: tokens.mask };
        self.layers.forward_with(tokens, &memory.steps).values
    }

    fn start(&self, memory: &Memory, _n_rows: usize) -> State {
        State::Transformer(TransformerState { caches: self.layers.start(&memory.steps), position: 0 })
    }

    fn step(&self, token: Tensor<2>, state: &mut State) -> Tensor<2> {
        let State::Transformer(state) = state else { unreachable!("a network's state is its own") };
        let token = self.with_positions(token.unsqueeze_dim(1), state.position); // [rows, 1, width]
        let hidden = self.layers.step(token, state.position, &mut state.caches);
        state.position += 1;
        hidden.squeeze_dim(1)
    }

    fn attention(&self, tokens: Steps, memory: &Memory) -> Tensor<3> {
        let tokens = Steps { values: self.with_positions(tokens.values, 0), mask: tokens.mask };
        self.layers.attention(tokens, &memory.steps)
    }
}

impl TransformerState {
    pub(super) fn select(self, rows: &Tensor<1, Int>, contexts: Option<&Tensor<1, Int>>) -> Self {
        let caches = self.caches.into_iter().map(|cache| LayerCache {
            own: cache.own.map(|own| own.select(rows)),
            context: contexts.map_or(cache.context.clone(), |contexts| cache.context.select(contexts)),
        });
        Self { caches: caches.collect(), position: self.position }
    }
}
