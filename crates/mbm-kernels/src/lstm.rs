//! The recurrence of an LSTM (Hochreiter and Schmidhuber 1997) over whole sequences, with the equations and gate order of
//! PyTorch: with `[i, f, g, o] = x + h W`, the cell is `sigmoid(f) c + sigmoid(i) tanh(g)` and the hidden state
//! `sigmoid(o) tanh(cell)`.
//!
//! The rows of a batch are independent, so they are divided among threads, which synchronize only once, at the end.

use rayon::prelude::*;

use crate::functions::{sigmoid, tanh};
use crate::multiply::{Rows, multiply_add};
use crate::{Instructions, Kernel, Packed, dispatch};

/// The sizes of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LstmShape {
    /// Number of rows.
    pub batch: usize,
    /// Number of steps per row.
    pub steps: usize,
    /// Size of the hidden state.
    pub hidden: usize,
    /// Whether steps are processed from last to first.
    pub is_reversed: bool,
}

/// The output of a recurrence, and what its gradient needs.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmStates {
    /// `[batch, steps, hidden]`: the hidden state after each step; at a masked step, the previous one.
    pub hidden: Vec<f32>,
    /// `[batch, steps, hidden]`: the cell states.
    pub cells: Vec<f32>,
    /// `[batch, steps, 4 hidden]`: the gates after their activations.
    pub gates: Vec<f32>,
}

/// A borrowed view of [`LstmStates`].
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct LstmView<'a> {
    pub hidden: &'a [f32],
    pub cells: &'a [f32],
    pub gates: &'a [f32],
}

impl LstmStates {
    /// Borrows the states.
    pub fn view(&self) -> LstmView<'_> {
        LstmView { hidden: &self.hidden, cells: &self.cells, gates: &self.gates }
    }
}

/// The gradients of a recurrence.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmGradients {
    /// `[batch, steps, 4 hidden]`: the gradient of the inputs.
    pub inputs: Vec<f32>,
    /// `[batch, steps, hidden]`: the hidden state before each step, from which the gradient of the weight is computed.
    pub previous: Vec<f32>,
}

impl LstmShape {
    /// Returns the index of the step that is processed at position `at`.
    #[inline(always)]
    fn step(&self, at: usize) -> usize {
        if self.is_reversed { self.steps - 1 - at } else { at }
    }

    fn n_states(&self) -> usize {
        self.batch * self.steps * self.hidden
    }

    /// Returns the number of rows per thread.
    fn rows_of_thread(&self) -> usize {
        self.batch.div_ceil(rayon::current_num_threads()).max(1)
    }
}

/// Runs the recurrence over all steps. `inputs` `[batch, steps, 4 hidden]` is the contribution of the inputs to the gates,
/// including biases; `weight` is `[hidden, 4 hidden]`; `mask` `[batch, steps]` is 0 at steps to skip.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn lstm_forward(shape: LstmShape, inputs: Vec<f32>, weight: &[f32], mask: &[f32]) -> LstmStates {
    let LstmShape { batch, steps, hidden, .. } = shape;
    assert!(inputs.len() == 4 * shape.n_states() && weight.len() == 4 * hidden * hidden && mask.len() == batch * steps);
    let (mut gates, mut states, mut cells) = (inputs, vec![0.0; shape.n_states()], vec![0.0; shape.n_states()]);
    if shape.n_states() > 0 {
        let packed = dispatch(Pack { weight, shape: [hidden, 4 * hidden], strides: [4 * hidden, 1] });
        let rows = shape.rows_of_thread();
        let n = rows * steps * hidden;
        let parts = gates.par_chunks_mut(4 * n).zip(states.par_chunks_mut(n)).zip(cells.par_chunks_mut(n));
        parts.zip(mask.par_chunks(rows * steps)).for_each(|(((gates, states), cells), mask)| {
            dispatch(Forward { shape, weight: &packed, gates, states, cells, mask });
        });
    }
    LstmStates { hidden: states, cells, gates }
}

/// Computes the gradients from the `states` of the forward pass and the gradient of all hidden states, `[batch, steps, hidden]`.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn lstm_backward(shape: LstmShape, states: LstmView, weight: &[f32], mask: &[f32], gradient: &[f32]) -> LstmGradients {
    let LstmShape { batch, steps, hidden, .. } = shape;
    assert!(gradient.len() == shape.n_states() && weight.len() == 4 * hidden * hidden && mask.len() == batch * steps);
    let (mut inputs, mut previous) = (vec![0.0; 4 * shape.n_states()], vec![0.0; shape.n_states()]);
    if shape.n_states() > 0 {
        let packed = dispatch(Pack { weight, shape: [4 * hidden, hidden], strides: [1, 4 * hidden] });
        let rows = shape.rows_of_thread();
        let n = rows * steps * hidden;
        let parts = inputs.par_chunks_mut(4 * n).zip(previous.par_chunks_mut(n)).enumerate();
        parts.for_each(|(at, (inputs, previous))| {
            let own = at * n..(at * n + previous.len());
            dispatch(Backward {
                shape,
                weight: &packed,
                gates: &states.gates[4 * own.start..4 * own.end],
                states: &states.hidden[own.clone()],
                cells: &states.cells[own.clone()],
                mask: &mask[own.start / hidden..own.end / hidden],
                gradient: &gradient[own],
                inputs,
                previous,
            });
        });
    }
    LstmGradients { inputs, previous }
}

struct Pack<'a> {
    weight: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl Kernel for Pack<'_> {
    type Output = Packed;

    #[inline(always)]
    fn run<I: Instructions>(self) -> Packed {
        Packed::new::<I>(self.weight, self.shape, self.strides[0], self.strides[1])
    }
}

/// The forward pass over some rows of the batch.
struct Forward<'a> {
    shape: LstmShape,
    weight: &'a Packed,
    gates: &'a mut [f32],
    states: &'a mut [f32],
    cells: &'a mut [f32],
    mask: &'a [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let Self { shape, weight, gates, states, cells, mask } = self;
        let LstmShape { steps, hidden, .. } = shape;
        let n_rows = mask.len() / steps;
        let stride = steps * hidden;
        // The rows of these are contiguous; in the outputs, rows of one step are so far apart that they would collide in the
        // cache.
        let (mut now, mut memory) = (vec![0.0; n_rows * hidden], vec![0.0; n_rows * hidden]);
        for at in 0..steps {
            let step = shape.step(at);
            if at > 0 {
                let rows = Rows { values: &now, stride: hidden, count: n_rows };
                multiply_add::<I>(rows, weight, &mut gates[step * 4 * hidden..], 4 * stride);
            }
            for (row, (now, memory)) in now.chunks_exact_mut(hidden).zip(memory.chunks_exact_mut(hidden)).enumerate() {
                let place = row * stride + step * hidden;
                if mask[row * steps + step] != 0.0 {
                    cell::<I>(&mut gates[4 * place..4 * (place + hidden)], memory, now);
                }
                states[place..place + hidden].copy_from_slice(now);
                cells[place..place + hidden].copy_from_slice(memory);
            }
        }
    }
}

/// Computes one step of one row: activates the gates and updates the cell and the hidden state.
#[inline(always)]
fn cell<I: Instructions>(gates: &mut [f32], cell: &mut [f32], state: &mut [f32]) {
    let n = state.len();
    let mut at = 0;
    while at < n {
        let (i, f) = (I::load_some(&gates[at..], n - at), I::load_some(&gates[n + at..], n - at));
        let (g, o) = (I::load_some(&gates[2 * n + at..], n - at), I::load_some(&gates[3 * n + at..], n - at));
        let (i, f, g, o) = (sigmoid::<I>(i), sigmoid::<I>(f), tanh::<I>(g), sigmoid::<I>(o));
        let next = I::fused(f, I::load_some(&cell[at..], n - at), I::mul(i, g));
        for (gate, value) in [i, f, g, o].into_iter().enumerate() {
            I::store_some(value, &mut gates[gate * n + at..], n - at);
        }
        I::store_some(next, &mut cell[at..], n - at);
        I::store_some(I::mul(o, tanh::<I>(next)), &mut state[at..], n - at);
        at += I::LANES;
    }
}

/// Returns the derivative of the sigmoid, given its value.
#[inline(always)]
fn sigmoid_slope<I: Instructions>(value: I::Vector) -> I::Vector {
    I::mul(value, I::sub(I::splat(1.0), value))
}

/// The backward pass over some rows of the batch, from the last step to the first.
struct Backward<'a> {
    shape: LstmShape,
    weight: &'a Packed,
    gates: &'a [f32],
    states: &'a [f32],
    cells: &'a [f32],
    mask: &'a [f32],
    gradient: &'a [f32],
    inputs: &'a mut [f32],
    previous: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let Self { shape, weight, gates, states, cells, mask, gradient, inputs, previous } = self;
        let LstmShape { steps, hidden, .. } = shape;
        let n_rows = mask.len() / steps;
        let stride = steps * hidden;
        // The gradients of the hidden state and of the cell from later steps.
        let (mut of_state, mut of_cell) = (vec![0.0; n_rows * hidden], vec![0.0; n_rows * hidden]);
        let zeros = vec![0.0; hidden];
        for at in (0..steps).rev() {
            let step = shape.step(at);
            for row in 0..n_rows {
                let place = row * stride + step * hidden;
                let own = row * hidden..(row + 1) * hidden;
                let (of_state, of_cell) = (&mut of_state[own.clone()], &mut of_cell[own]);
                for (sum, value) in of_state.iter_mut().zip(&gradient[place..place + hidden]) {
                    *sum += value;
                }
                if mask[row * steps + step] == 0.0 {
                    continue;
                }
                let before = (at > 0).then(|| row * stride + shape.step(at - 1) * hidden);
                let cell_before = before.map_or(&zeros[..], |before| &cells[before..before + hidden]);
                if let Some(before) = before {
                    previous[place..place + hidden].copy_from_slice(&states[before..before + hidden]);
                }
                let gates = &gates[4 * place..4 * (place + hidden)];
                let inputs = &mut inputs[4 * place..4 * (place + hidden)];
                cell_backward::<I>(gates, &cells[place..place + hidden], cell_before, of_state, of_cell, inputs);
                // The previous state's gradient comes from the product below; at a masked step, that state is this one itself.
                of_state.fill(0.0);
            }
            if at > 0 {
                let rows = Rows { values: &inputs[step * 4 * hidden..], stride: 4 * stride, count: n_rows };
                multiply_add::<I>(rows, weight, &mut of_state, hidden);
            }
        }
    }
}

/// Computes the gradients of one step of one row; `of_cell` becomes the gradient of the previous cell.
#[inline(always)]
fn cell_backward<I: Instructions>(
    gates: &[f32],
    cell: &[f32],
    cell_before: &[f32],
    of_state: &[f32],
    of_cell: &mut [f32],
    inputs: &mut [f32],
) {
    let n = cell.len();
    let one = I::splat(1.0);
    let mut at = 0;
    while at < n {
        let (i, f) = (I::load_some(&gates[at..], n - at), I::load_some(&gates[n + at..], n - at));
        let (g, o) = (I::load_some(&gates[2 * n + at..], n - at), I::load_some(&gates[3 * n + at..], n - at));
        let squashed = tanh::<I>(I::load_some(&cell[at..], n - at));
        let of_state = I::load_some(&of_state[at..], n - at);
        let of_o = I::mul(I::mul(of_state, squashed), sigmoid_slope::<I>(o));
        let bent = I::sub(one, I::mul(squashed, squashed));
        let of_this = I::fused(I::mul(of_state, o), bent, I::load_some(&of_cell[at..], n - at));
        let of_i = I::mul(I::mul(of_this, g), sigmoid_slope::<I>(i));
        let of_g = I::mul(I::mul(of_this, i), I::sub(one, I::mul(g, g)));
        let of_f = I::mul(I::mul(of_this, I::load_some(&cell_before[at..], n - at)), sigmoid_slope::<I>(f));
        for (gate, value) in [of_i, of_f, of_g, of_o].into_iter().enumerate() {
            I::store_some(value, &mut inputs[gate * n + at..], n - at);
        }
        I::store_some(I::mul(of_this, f), &mut of_cell[at..], n - at);
        at += I::LANES;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, elementwise in double precision: the hidden states, given inputs, weight and mask.
    fn plain(shape: LstmShape, inputs: &[f64], weight: &[f64], mask: &[f32]) -> Vec<f64> {
        let LstmShape { batch, steps, hidden, .. } = shape;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut out = vec![0.0; shape.n_states()];
        for row in 0..batch {
            let (mut state, mut cell) = (vec![0.0; hidden], vec![0.0; hidden]);
            for step in (0..steps).map(|at| shape.step(at)) {
                if mask[row * steps + step] != 0.0 {
                    let gate = |which: usize, at: usize| {
                        let column = which * hidden + at;
                        let recurrent: f64 = (0..hidden).map(|from| state[from] * weight[from * 4 * hidden + column]).sum();
                        inputs[(row * steps + step) * 4 * hidden + column] + recurrent
                    };
                    let next: Vec<[f64; 4]> = (0..hidden).map(|at| std::array::from_fn(|which| gate(which, at))).collect();
                    for (at, [i, f, g, o]) in next.into_iter().enumerate() {
                        cell[at] = sigmoid(f) * cell[at] + sigmoid(i) * g.tanh();
                        state[at] = sigmoid(o) * cell[at].tanh();
                    }
                }
                out[(row * steps + step) * hidden..][..hidden].copy_from_slice(&state);
            }
        }
        out
    }

    fn wave(n: usize, step: f64, scale: f64) -> Vec<f64> {
        (0..n).map(|at| ((at as f64 + 1.0) * step).sin() * scale).collect()
    }

    fn narrow(values: &[f64]) -> Vec<f32> {
        values.iter().map(|value| *value as f32).collect()
    }

    proptest! {
        #[test]
        fn states_and_gradients_match_the_definition(
            batch in 1usize..6, steps in 1usize..5, hidden in 1usize..20, is_reversed: bool, gap in 0usize..40, seed in 1usize..100,
        ) {
            let shape = LstmShape { batch, steps, hidden, is_reversed };
            let mut mask = vec![1.0; batch * steps];
            if let Some(place) = mask.get_mut(gap) {
                *place = 0.0;
            }
            let inputs = wave(4 * shape.n_states(), 0.7 + seed as f64, 1.5);
            let weight = wave(4 * hidden * hidden, 0.3 + seed as f64, 0.6);
            let gradient = wave(shape.n_states(), 0.9, 1.0);
            let states = lstm_forward(shape, narrow(&inputs), &narrow(&weight), &mask);
            for (found, want) in states.hidden.iter().zip(plain(shape, &inputs, &weight, &mask)) {
                prop_assert!((f64::from(*found) - want).abs() < 2e-6, "{found} is not {want}");
            }
            // The expected gradient, by finite differences of the weighted sum of the states.
            let sum = |inputs: &[f64]| -> f64 {
                plain(shape, inputs, &weight, &mask).iter().zip(&gradient).map(|(state, weight)| state * weight).sum()
            };
            let found = lstm_backward(shape, states.view(), &narrow(&weight), &mask, &narrow(&gradient));
            for at in (0..inputs.len()).step_by(1 + inputs.len() / 7) {
                let moved = |by: f64| {
                    let mut inputs = inputs.clone();
                    inputs[at] += by;
                    sum(&inputs)
                };
                let want = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                prop_assert!((f64::from(found.inputs[at]) - want).abs() < 1e-5, "{} is not {want}", found.inputs[at]);
            }
        }
    }

    #[test]
    fn empty_batch_gives_empty_states() {
        let shape = LstmShape { batch: 0, steps: 3, hidden: 2, is_reversed: false };
        assert!(lstm_forward(shape, Vec::new(), &[0.0; 16], &[]).hidden.is_empty());
    }
}
