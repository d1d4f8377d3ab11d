//! Recurrent networks that generate texts with attention to the memory.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor, activation};
use mbm_config::{choices, settings};

use super::network::{Memory, State, Write};
use crate::Steps;
use crate::layer::{CellState, CellType, Dropout, Recurrent, RecurrentSpec, linear};

choices! {
    /// How the attention weights are computed from the hidden state.
    pub enum AttentionKind {
        /// Additive: a small network over the state before the step, whose cell reads the attended context (Bahdanau, Cho and
        /// Bengio 2015).
        Bahdanau = "bahdanau",
        /// Multiplicative: a product with the state after the step (Luong, Pham and Manning 2015, "general").
        Luong = "luong",
    }
}

settings! {
    /// Settings of a recurrent network that generates texts.
    pub struct RnnGeneratorSettings {
        /// Recurrent cell.
        cell_type: CellType = CellType::Lstm;
        /// Number of layers.
        num_layers: usize = 1 => 1..=16;
        /// Width of token embeddings and hidden states.
        hidden_size: usize = 256 => 8..=4096;
        /// Kind of attention.
        attention: AttentionKind = AttentionKind::Luong;
        /// Whether the output layer shares its weights with the token embedding (Press and Wolf 2017).
        tied_embeddings: bool = true;
        /// Dropout on token embeddings, between layers and on the output.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// Recurrent layers whose first step reads the fused vector, as in "Show and tell" (Vinyals et al. 2015).
#[derive(Module, Debug)]
pub struct RnnNetwork {
    beginning: Linear,
    recurrent: Recurrent,
    query: Option<Linear>,
    key: Linear,
    energy: Option<Linear>,
    output: Linear,
    dropout: Dropout,
    #[module(skip)]
    kind: AttentionKind,
}

/// State carried from step to step.
#[derive(Debug, Clone)]
pub struct RnnState {
    cells: Vec<CellState>,
    context: Context,
}

/// The memory with its attention keys.
#[derive(Debug, Clone)]
struct Context {
    keys: Tensor<3>,
    steps: Steps,
}

impl RnnGeneratorSettings {
    /// Initializes the network for a fused vector of width `fused`.
    pub(super) fn init(&self, fused: usize, device: &Device) -> RnnNetwork {
        let width = self.hidden_size;
        let is_additive = self.attention == AttentionKind::Bahdanau;
        let spec = RecurrentSpec {
            cell: self.cell_type,
            input_size: if is_additive { 2 * width } else { width },
            hidden_size: width,
            n_layers: self.num_layers,
            bidirectional: false,
            dropout: self.dropout,
        };
        let layer = |from: usize, to: usize| LinearConfig::new(from, to).init(device);
        RnnNetwork {
            beginning: layer(fused, width),
            recurrent: spec.init(device),
            query: is_additive.then(|| layer(width, width)),
            key: LinearConfig::new(width, width).with_bias(false).init(device),
            energy: is_additive.then(|| LinearConfig::new(width, 1).with_bias(false).init(device)),
            output: layer(2 * width, width),
            dropout: Dropout::new(self.dropout),
            kind: self.attention,
        }
    }
}

impl RnnNetwork {
    fn context(&self, memory: &Memory) -> Context {
        Context { keys: linear(&self.key, memory.steps.values.clone()), steps: memory.steps.clone() }
    }

    /// Computes the attention weights of states `[contexts, queries, width]` over the steps: `[contexts, queries, steps]`.
    fn weights(&self, states: Tensor<3>, context: &Context) -> Tensor<3> {
        let scores = match (&self.query, &self.energy) {
            (Some(query), Some(energy)) => {
                let queries: Tensor<4> = linear(query, states).unsqueeze_dim(2); // [contexts, queries, 1, width]
                let keys: Tensor<4> = context.keys.clone().unsqueeze_dim(1); // [contexts, 1, steps, width]
                linear(energy, activation::tanh(queries + keys)).squeeze_dim(3)
            }
            (_, _) => states.matmul(context.keys.clone().swap_dims(1, 2)),
        };
        let gaps: Tensor<3, Bool> = context.steps.mask.clone().bool_not().unsqueeze_dim::<3>(1).expand(scores.dims());
        activation::softmax(scores.mask_fill(gaps, -1e9), 2)
    }

    /// Returns the attended context of states `[rows, width]`, in which the rows of one context are adjacent.
    fn found(&self, states: Tensor<2>, context: &Context) -> Tensor<2> {
        let ([rows, width], [contexts, _, _]) = (states.dims(), context.keys.dims());
        let weights = self.weights(states.reshape([contexts, rows / contexts, width]), context);
        weights.matmul(context.steps.values.clone()).reshape([rows, width])
    }

    /// Computes the output from a state and its attended context.
    fn out<const D: usize>(&self, state: Tensor<D>, found: Tensor<D>) -> Tensor<D> {
        self.dropout.forward(activation::tanh(linear(&self.output, Tensor::cat(vec![state, found], D - 1))))
    }

    /// Runs a single step: `[rows, width]` to the same shape.
    fn advance(&self, token: Tensor<2>, cells: &mut [CellState], context: &Context) -> Tensor<2> {
        match self.kind {
            AttentionKind::Luong => {
                let hidden = self.recurrent.step(token, cells);
                let found = self.found(hidden.clone(), context);
                self.out(hidden, found)
            }
            AttentionKind::Bahdanau => {
                let before = cells.last().expect("a stack has at least one layer").hidden.clone();
                let found = self.found(before, context);
                let hidden = self.recurrent.step(Tensor::cat(vec![token, found.clone()], 1), cells);
                self.out(hidden, found)
            }
        }
    }

    /// Returns the cell states after reading the fused vector, for `n_rows` texts per context.
    fn first_cells(&self, memory: &Memory, context: &Context, n_rows: usize) -> Vec<CellState> {
        let [contexts, _] = memory.pooled.dims();
        let width = self.beginning.weight.dims()[1];
        let first: Tensor<2> = self.beginning.forward(memory.pooled.clone());
        let first = first.unsqueeze_dim::<3>(1).repeat_dim(1, n_rows).reshape([contexts * n_rows, width]);
        let mut cells = self.recurrent.start(contexts * n_rows, &first.device());
        self.advance(first, &mut cells, context);
        cells
    }

    /// Returns the states, `[batch, steps, width]`, and attention weights, `[batch, steps, memory steps]`, at every step of
    /// reference texts.
    fn luong(&self, tokens: &Steps, memory: &Memory, context: &Context) -> (Tensor<3>, Tensor<3>) {
        let [_, steps, _] = tokens.values.dims();
        let first = Steps::single(self.beginning.forward(memory.pooled.clone()));
        let all = Steps {
            values: Tensor::cat(vec![first.values, tokens.values.clone()], 1),
            mask: Tensor::cat(vec![first.mask, tokens.mask.clone()], 1),
        };
        let hidden = self.recurrent.forward(&all).0.narrow(1, 1, steps);
        let weights = self.weights(hidden.clone(), context);
        (hidden, weights)
    }
}

impl Write for RnnNetwork {
    fn run(&self, tokens: Steps, memory: &Memory) -> Tensor<3> {
        let context = self.context(memory);
        if self.kind == AttentionKind::Luong {
            let (hidden, weights) = self.luong(&tokens, memory, &context);
            return self.out(hidden, weights.matmul(context.steps.values));
        }
        let [batch, steps, width] = tokens.values.dims();
        let mut cells = self.first_cells(memory, &context, 1);
        let outputs = (0..steps).map(|step| {
            let token = tokens.values.clone().narrow(1, step, 1).reshape([batch, width]);
            self.advance(token, &mut cells, &context)
        });
        Tensor::stack(outputs.collect(), 1)
    }

    fn start(&self, memory: &Memory, n_rows: usize) -> State {
        let context = self.context(memory);
        let cells = self.first_cells(memory, &context, n_rows);
        State::Rnn(Box::new(RnnState { cells, context }))
    }

    fn step(&self, token: Tensor<2>, state: &mut State) -> Tensor<2> {
        let State::Rnn(state) = state else { unreachable!("a network's state is its own") };
        self.advance(token, &mut state.cells, &state.context)
    }

    fn attention(&self, tokens: Steps, memory: &Memory) -> Tensor<3> {
        let context = self.context(memory);
        if self.kind == AttentionKind::Luong {
            return self.luong(&tokens, memory, &context).1;
        }
        let [batch, steps, width] = tokens.values.dims();
        let mut cells = self.first_cells(memory, &context, 1);
        let weights = (0..steps).map(|step| {
            let before = cells.last().expect("a stack has at least one layer").hidden.clone();
            self.advance(tokens.values.clone().narrow(1, step, 1).reshape([batch, width]), &mut cells, &context);
            self.weights(before.unsqueeze_dim(1), &context)
        });
        Tensor::cat(weights.collect(), 1)
    }
}

impl RnnState {
    pub(super) fn select(self, rows: &Tensor<1, Int>, contexts: Option<&Tensor<1, Int>>) -> Self {
        let cells = self
            .cells
            .into_iter()
            .map(|cell| CellState { hidden: cell.hidden.select(0, rows.clone()), memory: cell.memory.select(0, rows.clone()) });
        let context = match contexts {
            Some(contexts) => {
                Context { keys: self.context.keys.select(0, contexts.clone()), steps: self.context.steps.select(contexts) }
            }
            None => self.context,
        };
        Self { cells: cells.collect(), context }
    }
}
