//! Multi-head attention (Vaswani et al. 2017, section 3.2).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Int, Tensor, activation};
use mbm_config::Mistakes;

use super::{Dropout, linear, rotated};
use crate::{Steps, operation};

/// Attention from queries to the valid steps of a sequence.
#[derive(Module, Debug)]
pub struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    dropout: Dropout,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    is_causal: bool,
    #[module(skip)]
    is_rotary: bool,
}

/// Projected keys and values that queries attend to; can be reused across calls.
#[derive(Debug, Clone)]
pub(crate) struct KeysValues {
    /// `[batch, keys, width]`
    pub keys: Tensor<3>,
    /// `[batch, keys, width]`
    pub values: Tensor<3>,
    /// `[batch, keys]`
    pub mask: Tensor<2, Bool>,
}

/// Checks that heads divide the width of a step evenly.
pub(crate) fn check_heads(width: usize, n_heads: usize, mistakes: &mut Mistakes) {
    check_heads_at("", width, n_heads, mistakes);
}

/// The same for a section at a key of the part.
pub(crate) fn check_heads_at(key: &'static str, width: usize, n_heads: usize, mistakes: &mut Mistakes) {
    if !width.is_multiple_of(n_heads) {
        mistakes.add(key, format!("hidden_size {width} is not a multiple of the number of heads, {n_heads}"));
    }
}

impl Attention {
    /// Creates the layer; `width` must be a multiple of `n_heads`, which the plan has checked.
    pub fn new(width: usize, n_heads: usize, dropout: f64, device: &Device) -> Self {
        let layer = || LinearConfig::new(width, width).init(device);
        Self {
            query: layer(),
            key: layer(),
            value: layer(),
            output: layer(),
            dropout: Dropout::new(dropout),
            n_heads,
            is_causal: false,
            is_rotary: false,
        }
    }

    /// Sets whether attention is causal; if so, queries and keys must be the same steps.
    pub fn causal(self, is_causal: bool) -> Self {
        Self { is_causal, ..self }
    }

    /// Sets whether to use rotary position embeddings (Su et al. 2021); if so, queries and keys must be the same steps.
    pub fn rotary(self, is_rotary: bool) -> Self {
        Self { is_rotary, ..self }
    }

    /// Attends from `[batch, queries, width]` to `[batch, keys, width]`.
    pub fn forward(&self, x: Tensor<3>, context: &Steps) -> Tensor<3> {
        let context = self.keys_values(context.clone(), 0);
        self.attend_to(x, 0, &context, self.is_causal)
    }

    /// Projects a context, whose first step is at position `first`, to keys and values.
    pub fn keys_values(&self, context: Steps, first: usize) -> KeysValues {
        let keys = self.rotate(linear(&self.key, context.values.clone()), first);
        KeysValues { keys, values: linear(&self.value, context.values), mask: context.mask }
    }

    /// Attends from `[batch, queries, width]`, whose first step is at position `first`, to projected keys and values.
    pub fn attend_to(&self, x: Tensor<3>, first: usize, context: &KeysValues, is_causal: bool) -> Tensor<3> {
        let [batch, queries, _] = x.dims();
        let [_, keys, _] = context.keys.dims();
        let factors = self.dropout.factors([batch, self.n_heads, queries, keys], &x.device());
        let all = [self.rotate(linear(&self.query, x), first), context.keys.clone(), context.values.clone()];
        let joined = if operation::AVAILABLE {
            operation::attend(all, context.mask.clone().float(), factors, self.n_heads, is_causal)
        } else {
            self.attend(all, &context.mask, factors, is_causal)
        };
        linear(&self.output, joined)
    }

    /// Returns the attention weights of `[batch, queries, width]`, averaged over heads: `[batch, queries, keys]`.
    pub fn weights(&self, x: Tensor<3>, context: &KeysValues) -> Tensor<3> {
        let weights = self.softmax(linear(&self.query, x), context.keys.clone(), &context.mask, false);
        weights.mean_dim(1).squeeze_dim(1)
    }

    fn rotate(&self, x: Tensor<3>, first: usize) -> Tensor<3> {
        if self.is_rotary { rotated(x, self.n_heads, first) } else { x }
    }

    /// The same computation in operations that every backend supports.
    fn attend(
        &self,
        [q, k, v]: [Tensor<3>; 3],
        mask: &Tensor<2, Bool>,
        factors: Option<Tensor<4>>,
        is_causal: bool,
    ) -> Tensor<3> {
        let [batch, queries, width] = q.dims();
        let weights = self.softmax(q, k, mask, is_causal);
        let weights = match factors {
            Some(factors) => weights * factors,
            None => weights,
        };
        weights.matmul(self.heads(v)).swap_dims(1, 2).reshape([batch, queries, width])
    }

    /// Computes attention weights: `[batch, heads, queries, keys]`.
    fn softmax(&self, q: Tensor<3>, k: Tensor<3>, mask: &Tensor<2, Bool>, is_causal: bool) -> Tensor<4> {
        let ([batch, _, width], [_, keys, _]) = (q.dims(), k.dims());
        let scale = 1.0 / ((width / self.n_heads) as f64).sqrt();
        let (q, k) = (self.heads(q), self.heads(k)); // [batch, heads, steps, head width]
        let scores = q.matmul(k.swap_dims(2, 3)) * scale; // [batch, heads, queries, keys]
        let gaps = mask.clone().bool_not().reshape([batch, 1, 1, keys]).expand(scores.dims());
        let gaps = if is_causal { gaps.bool_or(self.later(&scores)) } else { gaps };
        activation::softmax(scores.mask_fill(gaps, -1e9), 3)
    }

    /// Returns a mask in the shape of `scores`, true where the key comes after the query.
    fn later(&self, scores: &Tensor<4>) -> Tensor<4, Bool> {
        let [_, _, queries, keys] = scores.dims();
        Tensor::<2, Bool>::tril_mask([queries, keys], 0, &scores.device()).reshape([1, 1, queries, keys]).expand(scores.dims())
    }

    /// Splits heads: `[batch, steps, width]` to `[batch, heads, steps, width / heads]`.
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, steps, width] = x.dims();
        x.reshape([batch, steps, self.n_heads, width / self.n_heads]).swap_dims(1, 2)
    }
}

impl KeysValues {
    /// Appends steps.
    pub fn extended(self, others: Self) -> Self {
        Self {
            keys: Tensor::cat(vec![self.keys, others.keys], 1),
            values: Tensor::cat(vec![self.values, others.values], 1),
            mask: Tensor::cat(vec![self.mask, others.mask], 1),
        }
    }

    /// Selects rows.
    pub fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            keys: self.keys.select(0, rows.clone()),
            values: self.values.select(0, rows.clone()),
            mask: self.mask.int().select(0, rows.clone()).equal_scalar(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn fused_operation_equals_separate_operations() {
        let device = Device::flex().autodiff();
        for is_causal in [false, true] {
            let attention = Attention::new(12, 3, 0.0, &device);
            let random = |dims| Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), &device).require_grad();
            let all = [random([2, 5, 12]), random([2, 5, 12]), random([2, 5, 12])];
            let mask = Tensor::<2, Bool>::from_data([[true, true, true, false, false], [true; 5]], &device);
            let factors = Tensor::<4>::random([2, 3, 5, 5], Distribution::Uniform(0.0, 2.0), &device);
            let weights = Tensor::<3>::random([2, 5, 12], Distribution::Normal(0.0, 1.0), &device);
            let one = operation::attend(all.clone(), mask.clone().float(), Some(factors.clone()), 3, is_causal);
            let many = attention.attend(all.clone(), &mask, Some(factors), is_causal);
            let near = |a: Tensor<3>, b: Tensor<3>| assert!((a - b).abs().max().into_scalar::<f32>() < 1e-5);
            near(one.clone().inner(), many.clone().inner());
            let (one, many) = ((one * weights.clone()).sum().backward(), (many * weights).sum().backward());
            for input in &all {
                near(input.grad(&one).unwrap(), input.grad(&many).unwrap());
            }
        }
    }
}
