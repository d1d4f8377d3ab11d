//! The interface of networks that generate texts.

use burn::tensor::{Int, Tensor};

use super::rnn::{RnnNetwork, RnnState};
use super::transformer::{TransformerNetwork, TransformerState};
use crate::Steps;

/// The fused inputs that a network generates texts from.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The steps to attend to, of the network's width.
    pub steps: Steps,
    /// The fused vectors: `[contexts, fused width]`.
    pub pooled: Tensor<2>,
}

/// Maps tokens to hidden values.
pub trait Write {
    /// Processes all steps of reference texts in one pass: embedded tokens `[batch, steps, width]` to the same shape.
    fn run(&self, tokens: Steps, memory: &Memory) -> Tensor<3>;

    /// Returns the initial state for `n_rows` texts per context.
    fn start(&self, memory: &Memory, n_rows: usize) -> State;

    /// Processes the next step of every text: `[rows, width]` to the same shape. Texts of one context are adjacent rows.
    fn step(&self, token: Tensor<2>, state: &mut State) -> Tensor<2>;

    /// Returns how much each token attends to each step of the memory: `[batch, tokens, steps]`.
    fn attention(&self, tokens: Steps, memory: &Memory) -> Tensor<3>;
}

components! {
    /// Any text-generating network.
    Network: Write { TransformerNetwork, RnnNetwork }
}

/// State that a network carries from step to step.
#[derive(Debug, Clone)]
pub enum State {
    /// State of a transformer.
    Transformer(TransformerState),
    /// State of a recurrent network.
    Rnn(Box<RnnState>),
}

impl State {
    /// Selects texts by row and, if contexts have finished, the remaining contexts.
    pub fn select(self, rows: &Tensor<1, Int>, contexts: Option<&Tensor<1, Int>>) -> Self {
        match self {
            Self::Transformer(state) => Self::Transformer(state.select(rows, contexts)),
            Self::Rnn(state) => Self::Rnn(Box::new(state.select(rows, contexts))),
        }
    }
}

impl Memory {
    /// Selects contexts by index, with repetitions.
    pub fn select(&self, contexts: &Tensor<1, Int>) -> Self {
        Self { steps: self.steps.select(contexts), pooled: self.pooled.clone().select(0, contexts.clone()) }
    }
}
