//! What a network that writes must be able to do.

use burn::tensor::{Int, Tensor};

use super::rnn::{RnnNetwork, RnnState};
use super::transformer::{TransformerNetwork, TransformerState};
use crate::Steps;

/// What is written about.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The steps that are attended to, of the network's width.
    pub steps: Steps,
    /// `[contexts, fused width]`
    pub pooled: Tensor<2>,
}

/// Tokens to hidden values.
pub trait Write {
    /// All steps of right texts at once: embedded tokens `[batch, steps, width]` to the same shape.
    fn run(&self, tokens: Steps, memory: &Memory) -> Tensor<3>;

    /// What the first step begins with, `n_rows` texts for each context.
    fn start(&self, memory: &Memory, n_rows: usize) -> State;

    /// The next step of every text: `[rows, width]` to the same shape. Texts of one context lie side by side.
    fn step(&self, token: Tensor<2>, state: &mut State) -> Tensor<2>;

    /// How much each token looks at each step of the memory: `[batch, tokens, steps]`.
    fn attention(&self, tokens: Steps, memory: &Memory) -> Tensor<3>;
}

components! {
    /// Any network that writes.
    Network: Write { TransformerNetwork, RnnNetwork }
}

/// What a network keeps from step to step.
#[derive(Debug, Clone)]
pub enum State {
    /// Of a transformer.
    Transformer(TransformerState),
    /// Of a recurrent network.
    Rnn(Box<RnnState>),
}

impl State {
    /// Some of the texts, by their rows, and, where contexts have left, those that stay.
    pub fn select(self, rows: &Tensor<1, Int>, contexts: Option<&Tensor<1, Int>>) -> Self {
        match self {
            Self::Transformer(state) => Self::Transformer(state.select(rows, contexts)),
            Self::Rnn(state) => Self::Rnn(Box::new(state.select(rows, contexts))),
        }
    }
}

impl Memory {
    /// Some of the contexts, as often as named.
    pub fn select(&self, contexts: &Tensor<1, Int>) -> Self {
        Self { steps: self.steps.select(contexts), pooled: self.pooled.clone().select(0, contexts.clone()) }
    }
}
