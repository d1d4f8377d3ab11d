//! Transformer layers, pre-norm or post-norm: encoders, and decoders, which also attend to a context.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Bool, Device, Tensor};
use mbm_config::choices;

use super::{Activation, Attention, Dropout, KeysValues, LayerNorm, linear};
use crate::Steps;

choices! {
    /// Where a transformer layer is normalized.
    pub enum NormPosition {
        /// Before attention and feed-forward, plus once after the last layer (Xiong et al. 2020).
        Pre = "pre",
        /// After attention and feed-forward, as in the original (Vaswani et al. 2017).
        Post = "post",
    }
}

/// Hyperparameters of a [`Transformer`].
pub(crate) struct TransformerSpec {
    pub width: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub feed_forward: usize,
    pub dropout: f64,
    pub norm: NormPosition,
    /// Added to the variance in layer norms.
    pub norm_eps: f64,
    /// Whether self-attention is causal.
    pub is_causal: bool,
    pub activation: Activation,
    /// Whether self-attention uses rotary position embeddings.
    pub is_rotary: bool,
    /// Whether layers have cross-attention to a context between self-attention and feed-forward.
    pub has_context: bool,
}

/// A stack of transformer layers.
#[derive(Module, Debug)]
pub struct Transformer {
    layers: Vec<Layer>,
    last_norm: Option<LayerNorm>,
}

#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    attention_norm: LayerNorm,
    context: Option<Context>,
    widen: Linear,
    narrow: Linear,
    feed_forward_norm: LayerNorm,
    dropout: Dropout,
    #[module(skip)]
    norm: NormPosition,
    #[module(skip)]
    activation: Activation,
}

/// The cross-attention of a layer.
#[derive(Module, Debug)]
struct Context {
    attention: Attention,
    norm: LayerNorm,
}

/// The key-value cache of a layer for step-by-step decoding.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache {
    /// `[rows, steps so far, width]`
    pub own: Option<KeysValues>,
    /// `[contexts, keys, width]`
    pub context: KeysValues,
}

impl TransformerSpec {
    /// Returns common defaults to override: pre-norm, GELU, no dropout.
    pub fn usual(width: usize, n_layers: usize, n_heads: usize, feed_forward: usize) -> Self {
        Self {
            width,
            n_layers,
            n_heads,
            feed_forward,
            dropout: 0.0,
            norm: NormPosition::Pre,
            norm_eps: LayerNorm::EPSILON,
            is_causal: false,
            activation: Activation::Gelu,
            is_rotary: false,
            has_context: false,
        }
    }

    pub fn init(&self, device: &Device) -> Transformer {
        let last_norm = (self.norm == NormPosition::Pre).then(|| self.norm(device));
        Transformer { layers: (0..self.n_layers).map(|_| self.layer(device)).collect(), last_norm }
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNorm::new(self.width, self.norm_eps, device)
    }

    fn layer(&self, device: &Device) -> Layer {
        Layer {
            attention: self.attention(device).causal(self.is_causal).rotary(self.is_rotary),
            attention_norm: self.norm(device),
            context: self.has_context.then(|| Context { attention: self.attention(device), norm: self.norm(device) }),
            widen: LinearConfig::new(self.width, self.feed_forward).init(device),
            narrow: LinearConfig::new(self.feed_forward, self.width).init(device),
            feed_forward_norm: self.norm(device),
            dropout: Dropout::new(self.dropout),
            norm: self.norm,
            activation: self.activation,
        }
    }

    fn attention(&self, device: &Device) -> Attention {
        Attention::new(self.width, self.n_heads, self.dropout, device)
    }
}

impl Transformer {
    /// Runs all layers on `[batch, steps, width]`, preserving the shape.
    pub fn forward(&self, steps: Steps) -> Steps {
        self.run(steps, None)
    }

    /// The same for layers with cross-attention.
    pub fn forward_with(&self, steps: Steps, context: &Steps) -> Steps {
        self.run(steps, Some(context))
    }

    fn run(&self, steps: Steps, context: Option<&Steps>) -> Steps {
        let Steps { values, mask } = steps;
        let values = self.layers.iter().fold(values, |x, layer| layer.forward(x, &mask, context));
        Steps { values: self.normed(values), mask }
    }

    fn normed(&self, values: Tensor<3>) -> Tensor<3> {
        match &self.last_norm {
            Some(norm) => norm.forward(values),
            None => values,
        }
    }

    /// Returns the initial caches for [`Transformer::step`], for layers with cross-attention.
    pub fn start(&self, context: &Steps) -> Vec<LayerCache> {
        let caches = self.layers.iter().map(|layer| {
            let attention = &layer.context.as_ref().expect("a decoder's layers have a context").attention;
            LayerCache { own: None, context: attention.keys_values(context.clone(), 0) }
        });
        caches.collect()
    }

    /// Runs one step, at the given position, of every row: `[rows, 1, width]`. Rows of one context must be adjacent, and every
    /// context must have the same number of rows.
    pub fn step(&self, x: Tensor<3>, position: usize, caches: &mut [LayerCache]) -> Tensor<3> {
        let x = self.layers.iter().zip(caches).fold(x, |x, (layer, cache)| layer.step(x, position, cache));
        self.normed(x)
    }

    /// Returns the cross-attention weights of the last layer, averaged over heads: `[batch, steps, keys]`.
    pub fn attention(&self, steps: Steps, context: &Steps) -> Tensor<3> {
        let (last, others) = self.layers.split_last().expect("a stack has at least one layer");
        let x = others.iter().fold(steps.values, |x, layer| layer.forward(x, &steps.mask, Some(context)));
        last.attention(x, &steps.mask, context)
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, mask: &Tensor<2, Bool>, context: Option<&Steps>) -> Tensor<3> {
        let x = self.attended(x, mask);
        let x = match (&self.context, context) {
            (Some(part), Some(context)) => self.part(&part.norm, x, |x| part.attention.forward(x, context)),
            (_, _) => x,
        };
        self.part(&self.feed_forward_norm, x, |x| self.feed_forward(x))
    }

    fn attended(&self, x: Tensor<3>, mask: &Tensor<2, Bool>) -> Tensor<3> {
        self.part(&self.attention_norm, x, |x| {
            let steps = Steps { values: x.clone(), mask: mask.clone() };
            self.attention.forward(x, &steps)
        })
    }

    fn step(&self, x: Tensor<3>, position: usize, cache: &mut LayerCache) -> Tensor<3> {
        let x = self.part(&self.attention_norm, x, |x| {
            let new = self.attention.keys_values(Steps::full(x.clone()), position);
            let own = match cache.own.take() {
                Some(own) => own.extended(new),
                None => new,
            };
            let attended = self.attention.attend_to(x, position, &own, false);
            cache.own = Some(own);
            attended
        });
        let x = match &self.context {
            Some(part) => self.part(&part.norm, x, |x| {
                let ([rows, _, width], [contexts, _, _]) = (x.dims(), cache.context.keys.dims());
                let queries = x.reshape([contexts, rows / contexts, width]);
                part.attention.attend_to(queries, 0, &cache.context, false).reshape([rows, 1, width])
            }),
            None => x,
        };
        self.part(&self.feed_forward_norm, x, |x| self.feed_forward(x))
    }

    fn attention(&self, x: Tensor<3>, mask: &Tensor<2, Bool>, context: &Steps) -> Tensor<3> {
        let x = self.attended(x, mask);
        let part = self.context.as_ref().expect("a decoder's layers have a context");
        let x = match self.norm {
            NormPosition::Pre => part.norm.forward(x),
            NormPosition::Post => x,
        };
        part.attention.weights(x, &part.attention.keys_values(context.clone(), 0))
    }

    /// Applies a sublayer with its residual connection, normalized before or after.
    fn part(&self, norm: &LayerNorm, x: Tensor<3>, run: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
        match self.norm {
            NormPosition::Pre => x.clone() + self.dropout.forward(run(norm.forward(x))),
            NormPosition::Post => norm.forward(x.clone() + self.dropout.forward(run(x))),
        }
    }

    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        linear(&self.narrow, self.activation.apply(linear(&self.widen, x)))
    }
}
