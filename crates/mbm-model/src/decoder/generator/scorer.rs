//! Scorers of the next token of partial texts by a network, with and without caching its state.

use burn::tensor::{Int, Tensor, TensorData};

use super::Generator;
use super::network::{Memory, State};
use super::search::{Rows, Score};
use crate::Steps;

/// Caches the network's state between steps.
pub(super) struct Cached<'a> {
    generator: &'a Generator,
    memory: Memory,
    state: Option<State>,
    /// The contexts whose state is cached.
    contexts: Vec<usize>,
}

impl<'a> Cached<'a> {
    pub fn new(generator: &'a Generator, memory: Memory) -> Self {
        let contexts = (0..memory.pooled.dims()[0]).collect();
        Self { generator, memory, state: None, contexts }
    }

    fn state(&mut self, rows: &Rows) -> State {
        let Some(state) = self.state.take() else {
            return self.generator.network.get().start(&self.memory, rows.texts.len() / rows.contexts.len());
        };
        let is_same = rows.contexts == self.contexts;
        if is_same && rows.parents.iter().copied().eq(0..rows.texts.len()) {
            return state;
        }
        let device = self.memory.pooled.device();
        let positions: Vec<usize> = rows
            .contexts
            .iter()
            .map(|context| self.contexts.iter().position(|other| other == context).unwrap_or_default())
            .collect();
        let contexts = (!is_same).then(|| indices(&positions, &device));
        self.contexts = rows.contexts.to_vec();
        state.select(&indices(rows.parents, &device), contexts.as_ref())
    }
}

impl Score for Cached<'_> {
    fn score(&mut self, rows: &Rows) -> Vec<f32> {
        let mut state = self.state(rows);
        let last: Vec<u32> = rows.texts.iter().filter_map(|text| text.last().copied()).collect();
        let tokens = self.generator.embed(ids(&last, last.len(), &self.memory.pooled.device())); // [rows, 1, width]
        let hidden = self.generator.network.get().step(tokens.squeeze_dim(1), &mut state);
        self.state = Some(state);
        self.generator.scores(hidden).into_data().try_into_vec().unwrap_or_default()
    }
}

/// Reads all tokens so far again at every step, without a cache.
pub(super) struct Uncached<'a> {
    generator: &'a Generator,
    memory: Memory,
}

impl<'a> Uncached<'a> {
    pub fn new(generator: &'a Generator, memory: Memory) -> Self {
        Self { generator, memory }
    }
}

impl Score for Uncached<'_> {
    fn score(&mut self, rows: &Rows) -> Vec<f32> {
        let device = self.memory.pooled.device();
        let each = rows.texts.len() / rows.contexts.len();
        let contexts: Vec<usize> = rows.contexts.iter().flat_map(|context| std::iter::repeat_n(*context, each)).collect();
        let memory = self.memory.select(&indices(&contexts, &device));
        let tokens = self.generator.embed(ids(&rows.texts.concat(), rows.texts.len(), &device));
        let [n_rows, steps, width] = tokens.dims();
        let hidden = self.generator.network.get().run(Steps::full(tokens), &memory);
        let last = hidden.narrow(1, steps - 1, 1).reshape([n_rows, width]);
        self.generator.scores(last).into_data().try_into_vec().unwrap_or_default()
    }
}

fn ids(ids: &[u32], n_rows: usize, device: &burn::tensor::Device) -> Tensor<2, Int> {
    let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    let steps = ids.len() / n_rows;
    Tensor::from_data(TensorData::new(ids, [n_rows, steps]), device)
}

fn indices(indices: &[usize], device: &burn::tensor::Device) -> Tensor<1, Int> {
    let indices: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
    let n = indices.len();
    Tensor::from_data(TensorData::new(indices, [n]), device)
}
