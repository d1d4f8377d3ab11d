//! Multi-head attention (Vaswani et al. 2017, section 3.2).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Tensor, activation};

use super::Dropout;
use crate::{Steps, operation};

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
        let [batch, queries, _] = x.dims();
        let [_, keys, _] = context.values.dims();
        let factors = self.dropout.factors([batch, self.n_heads, queries, keys], &x.device());
        let all = [self.query.forward(x), self.key.forward(context.values.clone()), self.value.forward(context.values.clone())];
        let joined = if operation::ARE_THERE {
            operation::attend(all, context.mask.clone().float(), factors, self.n_heads, self.is_causal)
        } else {
            self.attend(all, &context.mask, factors)
        };
        self.output.forward(joined)
    }

    /// The same in operations that every backend has.
    fn attend(&self, [q, k, v]: [Tensor<3>; 3], mask: &Tensor<2, Bool>, factors: Option<Tensor<4>>) -> Tensor<3> {
        let ([batch, queries, width], [_, keys, _]) = (q.dims(), k.dims());
        let scale = 1.0 / ((width / self.n_heads) as f64).sqrt();
        let (q, k, v) = (self.heads(q), self.heads(k), self.heads(v)); // [batch, heads, steps, head width]
        let scores = q.matmul(k.swap_dims(2, 3)) * scale; // [batch, heads, queries, keys]
        let gaps = mask.clone().bool_not().reshape([batch, 1, 1, keys]).expand(scores.dims());
        let gaps = if self.is_causal { gaps.bool_or(self.later(&scores)) } else { gaps };
        let weights = activation::softmax(scores.mask_fill(gaps, -1e9), 3);
        let weights = match factors {
            Some(factors) => weights * factors,
            None => weights,
        };
        weights.matmul(v).swap_dims(1, 2).reshape([batch, queries, width])
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

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn one_operation_gives_what_many_give() {
        let device = Device::flex().autodiff();
        for is_causal in [false, true] {
            let attention = Attention::new(12, 3, 0.0, &device).causal(is_causal);
            let random = |dims| Tensor::<3>::random(dims, Distribution::Normal(0.0, 1.0), &device).require_grad();
            let all = [random([2, 5, 12]), random([2, 5, 12]), random([2, 5, 12])];
            let mask = Tensor::<2, Bool>::from_data([[true, true, true, false, false], [true; 5]], &device);
            let factors = Tensor::<4>::random([2, 3, 5, 5], Distribution::Uniform(0.0, 2.0), &device);
            let weights = Tensor::<3>::random([2, 5, 12], Distribution::Normal(0.0, 1.0), &device);
            let one = operation::attend(all.clone(), mask.clone().float(), Some(factors.clone()), 3, is_causal);
            let many = attention.attend(all.clone(), &mask, Some(factors));
            let near = |a: Tensor<3>, b: Tensor<3>| assert!((a - b).abs().max().into_scalar::<f32>() < 1e-5);
            near(one.clone().inner(), many.clone().inner());
            let (one, many) = ((one * weights.clone()).sum().backward(), (many * weights).sum().backward());
            for input in &all {
                near(input.grad(&one).unwrap(), input.grad(&many).unwrap());
            }
        }
    }
}
