//! Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2), `softmax(q k' / sqrt(width)) v`, without
//! transposing: each head is read and written as a strided slice of the rows of all heads.
//!
//! Tasks are the heads of each row and then blocks of output rows; sums run in the same order for any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::functions::{exp, largest, total};
use crate::matrix::{Matrix, multiply};
use crate::{Instructions, Kernel, dispatch};

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Number of rows.
    pub batch: usize,
    /// Number of heads, which lie next to each other in each step.
    pub heads: usize,
    /// Number of query steps.
    pub queries: usize,
    /// Number of key steps.
    pub keys: usize,
    /// Size of a head.
    pub width: usize,
    /// Whether steps attend only to themselves and earlier steps.
    pub is_causal: bool,
}

/// The inputs of an attention.
#[derive(Debug, Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// `[batch, queries, heads * width]`.
    pub queries: &'a [f32],
    /// `[batch, keys, heads * width]`.
    pub keys: &'a [f32],
    /// `[batch, keys, heads * width]`.
    pub values: &'a [f32],
    /// `[batch, keys]`: 0 at masked keys. A query whose visible keys are all masked attends to them uniformly.
    pub mask: &'a [f32],
    /// `[batch, heads, queries, keys]`: factors of the attention weights, as in dropout; empty for none.
    pub factors: &'a [f32],
}

/// The output of an attention.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionOutput {
    /// `[batch, queries, heads * width]`.
    pub out: Vec<f32>,
    /// `[batch, heads, queries, keys]`: the attention weights, before the factors.
    pub weights: Vec<f32>,
}

/// The gradients of queries, keys and values.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct AttentionGradients {
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

impl AttentionShape {
    /// Returns the number of values of a step.
    fn row(&self) -> usize {
        self.heads * self.width
    }

    /// Returns the number of weights of a head.
    fn n_weights(&self) -> usize {
        self.queries * self.keys
    }

    fn is_empty(&self) -> bool {
        self.batch * self.heads * self.queries * self.keys * self.width == 0
    }

    /// Views one head of one row of `[batch, steps, heads * width]`; `task` is `row * heads + head`.
    fn head<'a>(&self, values: &'a [f32], steps: usize, task: usize) -> Matrix<'a> {
        let (row, head) = (task / self.heads, task % self.heads);
        let start = row * steps * self.row() + head * self.width;
        Matrix::strided(&values[start..], [steps, self.width], self.row())
    }

    /// Views the weights of a head, `[queries, keys]`.
    fn weights<'a>(&self, weights: &'a [f32], task: usize) -> Matrix<'a> {
        Matrix::rows(&weights[task * self.n_weights()..(task + 1) * self.n_weights()], [self.queries, self.keys])
    }

    /// Multiplies, for each head, the matrix of `left` for some steps by that of `right`: `[batch, steps, heads * width]`.
    fn products<'a>(
        &self,
        steps: usize,
        left: impl Fn(usize, Range<usize>) -> Matrix<'a> + Sync,
        right: impl Fn(usize) -> Matrix<'a> + Sync,
    ) -> Vec<f32> {
        let mut out = vec![0.0; self.batch * steps * self.row()];
        // With fewer rows than threads, the steps of a row are divided among threads.
        let parts = rayon::current_num_threads().div_ceil(self.batch);
        let share = steps.div_ceil(parts);
        let rows = out.par_chunks_mut(steps * self.row()).enumerate();
        let blocks = rows.flat_map(|(row, out)| out.par_chunks_mut(share * self.row()).enumerate().map(move |it| (row, it)));
        blocks.for_each(|(row, (block, out))| {
            let n_steps = out.len() / self.row();
            for head in 0..self.heads {
                let task = row * self.heads + head;
                let left = left(task, block * share..block * share + n_steps);
                multiply(&mut out[head * self.width..], self.row(), left, right(task), false, false);
            }
        });
        out
    }

    fn check(&self, inputs: AttentionInputs) {
        let AttentionInputs { queries, keys, values, mask, factors } = inputs;
        let (n_queries, n_keys) = (self.batch * self.queries * self.row(), self.batch * self.keys * self.row());
        let sizes = [queries.len(), keys.len(), values.len(), mask.len()];
        assert_eq!(sizes, [n_queries, n_keys, n_keys, self.batch * self.keys], "the inputs do not match {self:?}");
        assert!(
            factors.is_empty() || factors.len() == self.batch * self.heads * self.n_weights(),
            "the factors do not match {self:?}"
        );
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Computes attention.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn attention_forward(shape: AttentionShape, inputs: AttentionInputs) -> AttentionOutput {
    shape.check(inputs);
    let mut weights = vec![0.0; shape.batch * shape.heads * shape.n_weights()];
    if shape.is_empty() {
        return AttentionOutput { out: vec![0.0; shape.batch * shape.queries * shape.row()], weights };
    }
    weights.par_chunks_mut(shape.n_weights()).enumerate().for_each(|(task, weights)| {
        let queries = shape.head(inputs.queries, shape.queries, task);
        let keys = shape.head(inputs.keys, shape.keys, task);
        multiply(weights, shape.keys, queries, keys.transposed(), false, false);
        dispatch(Softmax { weights, mask: shape.mask(inputs, task), scale: shape.scale(), is_causal: shape.is_causal });
    });
    let factored = product(&weights, inputs.factors);
    let used = if inputs.factors.is_empty() { &weights } else { &factored };
    let out = shape.products(
        shape.queries,
        |task, steps| shape.weights(used, task).some_rows(steps),
        |task| shape.head(inputs.values, shape.keys, task),
    );
    AttentionOutput { out, weights }
}

/// Computes the gradients from the weights of the forward pass and the gradient of `out`.
///
/// # Panics
/// If the lengths of the slices do not match the shape.
pub fn attention_backward(
    shape: AttentionShape,
    inputs: AttentionInputs,
    weights: &[f32],
    gradient: &[f32],
) -> AttentionGradients {
    shape.check(inputs);
    assert!(weights.len() == shape.batch * shape.heads * shape.n_weights() && gradient.len() == inputs.queries.len());
    if shape.is_empty() {
        let zeros = |like: &[f32]| vec![0.0; like.len()];
        return AttentionGradients { queries: zeros(inputs.queries), keys: zeros(inputs.keys), values: zeros(inputs.values) };
    }
    let mut of_scores = vec![0.0; weights.len()];
    of_scores.par_chunks_mut(shape.n_weights()).enumerate().for_each(|(task, of_scores)| {
        let gradient = shape.head(gradient, shape.queries, task);
        multiply(of_scores, shape.keys, gradient, shape.head(inputs.values, shape.keys, task).transposed(), false, false);
        let own = task * shape.n_weights()..(task + 1) * shape.n_weights();
        if let Some(factors) = inputs.factors.get(own.clone()) {
            of_scores.iter_mut().zip(factors).for_each(|(place, factor)| *place *= factor);
        }
        dispatch(SoftmaxBackward { weights: &weights[own], mask: shape.mask(inputs, task), scale: shape.scale(), of_scores });
    });
    let factored = product(weights, inputs.factors);
    let used = if inputs.factors.is_empty() { weights } else { &factored };
    AttentionGradients {
        queries: shape.products(
            shape.queries,
            |task, steps| shape.weights(&of_scores, task).some_rows(steps),
            |task| shape.head(inputs.keys, shape.keys, task),
        ),
        keys: shape.products(
            shape.keys,
            |task, steps| shape.weights(&of_scores, task).transposed().some_rows(steps),
            |task| shape.head(inputs.queries, shape.queries, task),
        ),
        values: shape.products(
            shape.keys,
            |task, steps| shape.weights(used, task).transposed().some_rows(steps),
            |task| shape.head(gradient, shape.queries, task),
        ),
    }
}

/// Returns `weights * factors`; empty without factors.
fn product(weights: &[f32], factors: &[f32]) -> Vec<f32> {
    factors.iter().zip(weights).map(|(factor, weight)| factor * weight).collect()
}

impl AttentionShape {
    fn mask<'a>(&self, inputs: AttentionInputs<'a>, task: usize) -> &'a [f32] {
        &inputs.mask[task / self.heads * self.keys..][..self.keys]
    }
}

/// Turns the scores of a head, `[queries, keys]`, into weights.
struct Softmax<'a> {
    weights: &'a mut [f32],
    mask: &'a [f32],
    scale: f32,
    is_causal: bool,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let keys = self.mask.len();
        let first = self.mask.iter().position(|valid| *valid != 0.0).unwrap_or(keys);
        for (query, row) in self.weights.chunks_exact_mut(keys).enumerate() {
            let limit = if self.is_causal { (query + 1).min(keys) } else { keys };
            let (row, later) = row.split_at_mut(limit);
            later.fill(0.0);
            if first >= limit {
                row.fill(1.0 / limit as f32);
            } else {
                softmax::<I>(row, &self.mask[..limit], self.scale);
            }
        }
    }
}

/// Computes `softmax(row * scale)` where the mask is 1, and 0 elsewhere; the mask must not be all 0.
#[inline(always)]
fn softmax<I: Instructions>(row: &mut [f32], mask: &[f32], scale: f32) {
    const GAP: f32 = 1e9;
    let n = row.len();
    let (one, scale) = (I::splat(1.0), I::splat(scale));
    let mut highest = I::splat(-GAP);
    for at in (0..n).step_by(I::LANES) {
        let (x, valid) = (I::load_some(&row[at..], n - at), I::load_some(&mask[at..], n - at));
        let x = I::fused(I::mul(x, scale), valid, I::mul(I::sub(valid, one), I::splat(GAP)));
        highest = I::max(highest, x);
        I::store_some(x, &mut row[at..], n - at);
    }
    let highest = I::splat(largest::<I>(highest));
    let mut sum = I::splat(0.0);
    for at in (0..n).step_by(I::LANES) {
        let (x, valid) = (I::load_some(&row[at..], n - at), I::load_some(&mask[at..], n - at));
        let x = I::mul(exp::<I>(I::sub(x, highest)), valid);
        sum = I::add(sum, x);
        I::store_some(x, &mut row[at..], n - at);
    }
    let inverse = I::splat(1.0 / total::<I>(sum));
    for at in (0..n).step_by(I::LANES) {
        I::store_some(I::mul(I::load_some(&row[at..], n - at), inverse), &mut row[at..], n - at);
    }
}

/// Turns the gradient of the weights of a head into that of its scores: `scale * w * (g - sum(g w))`.
struct SoftmaxBackward<'a> {
    weights: &'a [f32],
    mask: &'a [f32],
    scale: f32,
    of_scores: &'a mut [f32],
}

impl Kernel for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let n = self.mask.len();
        for (weights, row) in self.weights.chunks_exact(n).zip(self.of_scores.chunks_exact_mut(n)) {
            let mut sum = I::splat(0.0);
            for at in (0..n).step_by(I::LANES) {
                sum = I::fused(I::load_some(&weights[at..], n - at), I::load_some(&row[at..], n - at), sum);
            }
            let (sum, scale) = (I::splat(total::<I>(sum)), I::splat(self.scale));
            for at in (0..n).step_by(I::LANES) {
                let weight = I::mul(I::load_some(&weights[at..], n - at), I::load_some(&self.mask[at..], n - at));
                let x = I::mul(I::mul(weight, scale), I::sub(I::load_some(&row[at..], n - at), sum));
                I::store_some(x, &mut row[at..], n - at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dispatch::each;

    fn wave(n: usize, step: f64) -> Vec<f32> {
        (0..n).map(|at| ((at as f64 + 1.0) * step).sin() as f32).collect()
    }

    /// The definition in double precision.
    fn plain(shape: AttentionShape, queries: &[f64], keys: &[f64], values: &[f64], mask: &[f32], factors: &[f32]) -> Vec<f64> {
        let mut out = vec![0.0; queries.len()];
        let row = shape.row();
        for (batch, head) in (0..shape.batch).flat_map(|batch| (0..shape.heads).map(move |head| (batch, head))) {
            for query in 0..shape.queries {
                let to = (batch * shape.queries + query) * row + head * shape.width;
                let from = |key: usize| (batch * shape.keys + key) * row + head * shape.width;
                let limit = if shape.is_causal { (query + 1).min(shape.keys) } else { shape.keys };
                let score = |key: usize| {
                    let dot: f64 = (0..shape.width).map(|at| queries[to + at] * keys[from(key) + at]).sum();
                    dot / (shape.width as f64).sqrt()
                };
                let valid: Vec<usize> = (0..limit).filter(|key| mask[batch * shape.keys + key] != 0.0).collect();
                let weights: Vec<(usize, f64)> = if valid.is_empty() {
                    (0..limit).map(|key| (key, 1.0 / limit as f64)).collect()
                } else {
                    let sum: f64 = valid.iter().map(|key| score(*key).exp()).sum();
                    valid.iter().map(|key| (*key, score(*key).exp() / sum)).collect()
                };
                for (key, weight) in weights {
                    let place = ((batch * shape.heads + head) * shape.queries + query) * shape.keys + key;
                    let weight = weight * factors.get(place).map_or(1.0, |factor| f64::from(*factor));
                    (0..shape.width).for_each(|at| out[to + at] += weight * values[from(key) + at]);
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn attention_and_its_gradients_match_the_definition(
            batch in 1usize..4, heads in 1usize..3, queries in 1usize..6, keys in 1usize..21, width in 1usize..6, is_causal: bool, drops: bool,
        ) {
            let shape = AttentionShape { batch, heads, queries, keys, width, is_causal };
            let (n_queries, n_keys) = (batch * queries * shape.row(), batch * keys * shape.row());
            let (q, k, v) = (wave(n_queries, 0.7), wave(n_keys, 1.3), wave(n_keys, 0.3));
            // The keys of the last row are all masked.
            let mask: Vec<f32> = (0..batch * keys).map(|at| f32::from(u8::from(at % 3 != 1 && at < (batch - 1).max(1) * keys))).collect();
            let n_weights = batch * heads * shape.n_weights();
            let factors: Vec<f32> = if drops { (0..n_weights).map(|at| (at % 2) as f32 * 2.0).collect() } else { Vec::new() };
            let inputs = AttentionInputs { queries: &q, keys: &k, values: &v, mask: &mask, factors: &factors };
            let attended = attention_forward(shape, inputs);
            let wide = [&q, &k, &v].map(|values| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
            let [q64, k64, v64] = &wide;
            let want = plain(shape, q64, k64, v64, &mask, &factors);
            for (found, want) in attended.out.iter().zip(&want) {
                prop_assert!((f64::from(*found) - want).abs() < 1e-5, "{found} is not {want}");
            }
            let gradient = wave(n_queries, 0.9);
            let found = attention_backward(shape, inputs, &attended.weights, &gradient);
            for (which, found) in [&found.queries, &found.keys, &found.values].into_iter().enumerate() {
                for at in 0..found.len() {
                    let moved = |by: f64| {
                        let mut wide = wide.clone();
                        wide[which][at] += by;
                        let out = plain(shape, &wide[0], &wide[1], &wide[2], &mask, &factors);
                        out.iter().zip(&gradient).map(|(out, gradient)| out * f64::from(*gradient)).sum::<f64>()
                    };
                    let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    prop_assert!((f64::from(found[at]) - want).abs() < 1e-4, "input {which} at {at}: {} is not {want}", found[at]);
                }
            }
        }
    }

    #[derive(Clone)]
    struct Row(Vec<f32>, Vec<f32>);
    impl Kernel for Row {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<I: Instructions>(mut self) -> Vec<f32> {
            Softmax { weights: &mut self.0, mask: &self.1, scale: 2.0, is_causal: false }.run::<I>();
            self.0
        }
    }

    #[test]
    fn all_instruction_sets_give_the_same_weights() {
        for n in 1..40 {
            let mask: Vec<f32> = (0..n).map(|at| f32::from(u8::from(at % 4 != 2))).collect();
            let all = each(Row(wave(n, 0.77), mask));
            for (weights, at) in all.iter().flat_map(|weights| (0..n).map(move |at| (weights, at))) {
                assert!((weights[at] - all[0][at]).abs() < 1e-6, "{weights:?}");
                assert!(at % 4 != 2 || weights[at] == 0.0);
            }
        }
    }
}
