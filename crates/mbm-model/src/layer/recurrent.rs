//! Recurrent layers with packed gates: one matrix product per step for all gates of a cell. On the CPU, all steps of an LSTM
//! layer are one operation.
//!
//! Equations and gate order are those of PyTorch's `RNN`, `LSTM` and `GRU`. Steps are split off by repeated halving rather than
//! one at a time, because the gradient of a slice is as large as the sliced tensor: T slices of T steps would cost T squared.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Bool, Device, Tensor, activation};
use mbm_config::choices;

use super::Dropout;
use crate::{Steps, operation};

choices! {
    /// The recurrent cell.
    pub enum CellType {
        /// `tanh` of input and state (Elman 1990).
        Rnn = "rnn",
        /// Long short-term memory (Hochreiter and Schmidhuber 1997).
        Lstm = "lstm",
        /// Gated recurrent unit (Cho et al. 2014).
        Gru = "gru",
    }
}

/// Hyperparameters of a [`Recurrent`] stack.
pub(crate) struct RecurrentSpec {
    pub cell: CellType,
    pub input_size: usize,
    pub hidden_size: usize,
    pub n_layers: usize,
    pub bidirectional: bool,
    pub dropout: f64,
}

/// A stack of recurrent layers, unidirectional or bidirectional.
#[derive(Module, Debug)]
pub struct Recurrent {
    layers: Vec<Layer>,
    dropout: Dropout,
}

#[derive(Module, Debug)]
struct Layer {
    forward: Cell,
    backward: Option<Cell>,
}

#[derive(Module, Debug)]
struct Cell {
    input: Param<Tensor<2>>,
    hidden: Param<Tensor<2>>,
    input_bias: Param<Tensor<1>>,
    hidden_bias: Param<Tensor<1>>,
    #[module(skip)]
    kind: CellType,
    #[module(skip)]
    hidden_size: usize,
}

/// The state that a cell passes from step to step.
#[derive(Debug, Clone)]
pub(crate) struct CellState {
    /// `[batch, hidden]`
    pub hidden: Tensor<2>,
    /// `[batch, hidden]`: the cell state of an LSTM; zeros for other cells.
    pub memory: Tensor<2>,
}

impl CellType {
    fn n_gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

impl RecurrentSpec {
    /// Output width of each step.
    pub fn width(&self) -> usize {
        self.hidden_size * if self.bidirectional { 2 } else { 1 }
    }

    pub fn init(&self, device: &Device) -> Recurrent {
        let layers = (0..self.n_layers).map(|layer| {
            let input_size = if layer == 0 { self.input_size } else { self.width() };
            Layer { forward: self.cell(input_size, device), backward: self.bidirectional.then(|| self.cell(input_size, device)) }
        });
        Recurrent { layers: layers.collect(), dropout: Dropout::new(self.dropout) }
    }

    fn cell(&self, input_size: usize, device: &Device) -> Cell {
        let bound = 1.0 / (self.hidden_size as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        let gates = self.cell.n_gates() * self.hidden_size;
        Cell {
            input: uniform.init([input_size, gates], device),
            hidden: uniform.init([self.hidden_size, gates], device),
            input_bias: uniform.init([gates], device),
            hidden_bias: uniform.init([gates], device),
            kind: self.cell,
            hidden_size: self.hidden_size,
        }
    }
}

impl Recurrent {
    /// Returns the outputs of all steps, `[batch, steps, width]`, and the final states after the last valid step (for the
    /// backward direction, the first), concatenated: `[batch, width]`.
    pub fn forward(&self, steps: &Steps) -> (Tensor<3>, Tensor<2>) {
        let mut values = steps.values.clone();
        let mut last = None;
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            if layer_idx > 0 {
                values = self.dropout.forward(values);
            }
            let (outputs, state) = layer.forward(Steps { values, mask: steps.mask.clone() });
            (values, last) = (outputs, Some(state));
        }
        (values, last.expect("a stack has at least one layer"))
    }

    /// Returns the initial states.
    pub fn start(&self, batch: usize, device: &Device) -> Vec<CellState> {
        let zeros = |layer: &Layer| Tensor::zeros([batch, layer.forward.hidden_size], device);
        self.layers.iter().map(|layer| CellState { hidden: zeros(layer), memory: zeros(layer) }).collect()
    }

    /// Runs one step of a unidirectional stack: `[batch, input]` to `[batch, hidden]`.
    pub fn step(&self, x: Tensor<2>, states: &mut [CellState]) -> Tensor<2> {
        self.layers.iter().zip(states).enumerate().fold(x, |x, (layer_idx, (layer, state))| {
            let x = if layer_idx > 0 { self.dropout.forward(x) } else { x };
            let (hidden, memory) = layer.forward.step(x, state.hidden.clone(), state.memory.clone());
            *state = CellState { hidden: hidden.clone(), memory };
            hidden
        })
    }
}

impl Layer {
    fn forward(&self, steps: Steps) -> (Tensor<3>, Tensor<2>) {
        let [batch, n_steps, _] = steps.values.dims();
        // Padding steps pass the state on, so the last step has the final state.
        let state = |outputs: &Tensor<3>, at: usize| {
            let width = outputs.dims()[2];
            outputs.clone().narrow(1, at, 1).reshape([batch, width])
        };
        let outputs = self.forward.run(&steps, false);
        let last = state(&outputs, n_steps - 1);
        let Some(backward) = &self.backward else { return (outputs, last) };
        let others = backward.run(&steps, true);
        let other_last = state(&others, 0);
        (Tensor::cat(vec![outputs, others], 2), Tensor::cat(vec![last, other_last], 1))
    }
}

impl Cell {
    /// Returns the state after each step: `[batch, steps, hidden]`; padding steps leave the state unchanged.
    fn run(&self, steps: &Steps, is_reversed: bool) -> Tensor<3> {
        if self.kind == CellType::Lstm && operation::AVAILABLE {
            let bias = self.input_bias.val() + self.hidden_bias.val();
            let (values, mask) = (steps.values.clone(), steps.mask.clone().float());
            return operation::lstm(values, self.input.val(), bias, self.hidden.val(), mask, is_reversed);
        }
        let [batch, n_steps, width] = steps.values.dims();
        let inputs: Vec<Tensor<2>> = unstack(steps.values.clone()).into_iter().map(|x| x.reshape([batch, width])).collect();
        let masks = unstack_mask(steps.mask.clone());
        let mut hidden = Tensor::zeros([batch, self.hidden_size], &inputs[0].device());
        let mut memory = hidden.clone();
        let mut outputs = vec![hidden.clone(); n_steps];
        for at in 0..n_steps {
            let step = if is_reversed { n_steps - 1 - at } else { at };
            let (next_hidden, next_memory) = self.step(inputs[step].clone(), hidden.clone(), memory.clone());
            let valid = masks[step].clone().expand([batch, self.hidden_size]);
            hidden = hidden.mask_where(valid.clone(), next_hidden);
            if self.kind == CellType::Lstm {
                memory = memory.mask_where(valid, next_memory);
            }
            outputs[step] = hidden.clone();
        }
        Tensor::stack(outputs, 1)
    }

    fn step(&self, x: Tensor<2>, hidden: Tensor<2>, memory: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let from_input = x.matmul(self.input.val()) + self.input_bias.val().unsqueeze(); // [batch, gates * hidden]
        let from_hidden = hidden.clone().matmul(self.hidden.val()) + self.hidden_bias.val().unsqueeze();
        match self.kind {
            CellType::Rnn => (activation::tanh(from_input + from_hidden), memory),
            CellType::Lstm => {
                let [i, f, g, o] = gates(from_input + from_hidden);
                let memory = activation::sigmoid(f) * memory + activation::sigmoid(i) * activation::tanh(g);
                (activation::sigmoid(o) * activation::tanh(memory.clone()), memory)
            }
            CellType::Gru => {
                let ([r, z, n], [hr, hz, hn]) = (gates(from_input), gates(from_hidden));
                let (r, z) = (activation::sigmoid(r + hr), activation::sigmoid(z + hz));
                let candidate = activation::tanh(n + r * hn);
                (candidate.clone() + z * (hidden - candidate), memory)
            }
        }
    }
}

/// Splits `[batch, N * hidden]` into `N` tensors of `[batch, hidden]`.
fn gates<const N: usize>(packed: Tensor<2>) -> [Tensor<2>; N] {
    let [_, width] = packed.dims();
    std::array::from_fn(|gate| packed.clone().narrow(1, gate * width / N, width / N))
}

/// Splits a tensor into its steps, `[batch, 1, width]` each, by repeated halving.
fn unstack(x: Tensor<3>) -> Vec<Tensor<3>> {
    let [_, steps, _] = x.dims();
    if steps == 1 {
        return vec![x];
    }
    let half = steps / 2;
    let mut parts = unstack(x.clone().narrow(1, 0, half));
    parts.extend(unstack(x.narrow(1, half, steps - half)));
    parts
}

fn unstack_mask(mask: Tensor<2, Bool>) -> Vec<Tensor<2, Bool>> {
    let [_, steps] = mask.dims();
    (0..steps).map(|step| mask.clone().narrow(1, step, 1)).collect()
}
