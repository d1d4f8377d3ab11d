//! A stack of transformer encoder layers, normalised before or after each part.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::choices;

use super::{Activation, Attention, Dropout, LayerNorm};
use crate::Steps;

choices! {
    /// Where a layer normalises.
    pub enum NormPlace {
        /// Before attention and feed-forward, and once at the end (Xiong et al. 2020).
        Pre = "pre",
        /// After each, as in the original (Vaswani et al. 2017).
        Post = "post",
    }
}

/// What a stack is made of.
pub(crate) struct TransformerSpec {
    pub width: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub feed_forward: usize,
    pub dropout: f64,
    pub norm: NormPlace,
    /// Added to a layer norm's variance.
    pub norm_eps: f64,
    /// Whether a step attends to none that comes later.
    pub is_causal: bool,
    pub activation: Activation,
}

/// Layers of self-attention and feed-forward.
#[derive(Module, Debug)]
pub struct Transformer {
    layers: Vec<Layer>,
    last_norm: Option<LayerNorm>,
}

#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    feed_forward_norm: LayerNorm,
    dropout: Dropout,
    #[module(skip)]
    norm: NormPlace,
    #[module(skip)]
    activation: Activation,
}

impl TransformerSpec {
    /// Normalised before each part, GELU inside, without dropout: what most have, for others to differ from.
    pub fn usual(width: usize, n_layers: usize, n_heads: usize, feed_forward: usize) -> Self {
        Self {
            width,
            n_layers,
            n_heads,
            feed_forward,
            dropout: 0.0,
            norm: NormPlace::Pre,
            norm_eps: LayerNorm::EPSILON,
            is_causal: false,
            activation: Activation::Gelu,
        }
    }

    pub fn init(&self, device: &Device) -> Transformer {
        let last_norm = (self.norm == NormPlace::Pre).then(|| self.norm(device));
        Transformer { layers: (0..self.n_layers).map(|_| self.layer(device)).collect(), last_norm }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNorm::new(self.width, self.norm_eps, device)
    }

    fn layer(&self, device: &Device) -> Layer {
        Layer {
            attention: Attention::new(self.width, self.n_heads, self.dropout, device).causal(self.is_causal),
            attention_norm: self.norm(device),
            widen: LinearConfig::new(self.width, self.feed_forward).init(device),
            narrow: LinearConfig::new(self.feed_forward, self.width).init(device),
            feed_forward_norm: self.norm(device),
            dropout: Dropout::new(self.dropout),
            norm: self.norm,
            activation: self.activation,
        }
    }
}

impl Transformer {
    /// `[batch, steps, width]` to the same shape.
    pub fn forward(&self, steps: Steps) -> Steps {
        let Steps { values, mask } = steps;
        let values = self.layers.iter().fold(values, |x, layer| {
            let steps = Steps { values: x, mask: mask.clone() };
            layer.forward(steps)
        });
        let values = match &self.last_norm {
            Some(norm) => norm.forward(values),
            None => values,
        };
        Steps { values, mask }
    }
}

impl Layer {
    fn forward(&self, steps: Steps) -> Tensor<3> {
        let x = steps.values.clone();
        match self.norm {
            NormPlace::Pre => {
                let normed = Steps { values: self.attention_norm.forward(x.clone()), mask: steps.mask };
                let x = x + self.attend(&normed);
                x.clone() + self.feed_forward(self.feed_forward_norm.forward(x))
            }
            NormPlace::Post => {
                let x = self.attention_norm.forward(x + self.attend(&steps));
                self.feed_forward_norm.forward(x.clone() + self.feed_forward(x))
            }
        }
    }

    fn attend(&self, steps: &Steps) -> Tensor<3> {
        self.dropout.forward(self.attention.forward(steps.values.clone(), steps))
    }

    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.dropout.forward(self.narrow.forward(self.activation.apply(self.widen.forward(x))))
    }
}
