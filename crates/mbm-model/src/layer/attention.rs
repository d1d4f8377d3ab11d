//! Multi-head attention (Vaswani et al. 2017, section 3.2).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Tensor, activation};

use super::Dropout;
use crate::Steps;

/// Attention of queries to the valid steps of a sequence.
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
}

impl Attention {
    /// `width` must be a multiple of `n_heads`, which the plan has checked.
    pub fn new(width: usize, n_heads: usize, dropout: f64, device: &Device) -> Self {
        let linear = || LinearConfig::new(width, width).init(device);
        Self {
            query: linear(),
            key: linear(),
            value: linear(),
            output: linear(),
            dropout: Dropout::new(dropout),
            n_heads,
            is_causal: false,
        }
    }

    /// Whether a step attends to none that comes later; queries and keys are then the same steps.
    pub fn causal(self, is_causal: bool) -> Self {
        Self { is_causal, ..self }
    }

    /// `[batch, queries, width]` attends to `[batch, keys, width]`.
    pub fn forward(&self, x: Tensor<3>, context: &Steps) -> Tensor<3> {
        let [batch, queries, width] = x.dims();
        let [_, keys, _] = context.values.dims();
        let scale = 1.0 / ((width / self.n_heads) as f64).sqrt();
        let q = self.heads(self.query.forward(x)); // [batch, heads, queries, head width]
        let k = self.heads(self.key.forward(context.values.clone())); // [batch, heads, keys, head width]
        let v = self.heads(self.value.forward(context.values.clone()));
        let scores = q.matmul(k.swap_dims(2, 3)) * scale; // [batch, heads, queries, keys]
        let gaps = context.mask.clone().bool_not().reshape([batch, 1, 1, keys]).expand([batch, self.n_heads, queries, keys]);
        let gaps = if self.is_causal { gaps.bool_or(self.later(&scores)) } else { gaps };
        let weights = self.dropout.forward(activation::softmax(scores.mask_fill(gaps, -1e9), 3));
        let joined = weights.matmul(v).swap_dims(1, 2).reshape([batch, queries, width]);
        self.output.forward(joined)
    }

    /// True where the key comes after the query, in the shape of `scores`.
    fn later(&self, scores: &Tensor<4>) -> Tensor<4, Bool> {
        let [_, _, queries, keys] = scores.dims();
        Tensor::<2, Bool>::tril_mask([queries, keys], 0, &scores.device()).reshape([1, 1, queries, keys]).expand(scores.dims())
    }

    /// `[batch, steps, width]` to `[batch, heads, steps, width / heads]`.
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, steps, width] = x.dims();
        x.reshape([batch, steps, self.n_heads, width / self.n_heads]).swap_dims(1, 2)
    }
}
