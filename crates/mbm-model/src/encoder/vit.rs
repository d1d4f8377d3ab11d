//! The vision transformer (Dosovitskiy et al. 2021): patches as steps, one more that gathers.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, Reading, Reduce, expect_input, grid};
use crate::layer::{Activation, NormPlace, Transformer, TransformerSpec, learnt};
use crate::{Steps, Tensors};

settings! {
    /// The vision transformer.
    pub struct VitSettings {
        /// Rows and columns of a patch.
        patch_size: usize = 16 => 1..=64;
        /// The width of a step; a multiple of the heads.
        hidden_size: usize = 192 => 8..=4096;
        /// Layers.
        num_hidden_layers: usize = 6 => 1..=64;
        /// Attention heads.
        num_attention_heads: usize = 3 => 1..=64;
        /// The width inside the feed-forward parts.
        intermediate_size: usize = 768 => 8..=16_384;
        /// Dropout.
        hidden_dropout_prob: f64 = 0.1 => 0.0..=0.9;
        /// `last` takes the gathering step, `mean` the mean, `none` every step.
        reduce_output: Option<Reduce> = None;
    }
}

/// The vision transformer without its classifier.
#[derive(Module, Debug)]
pub struct Vit {
    patches: Conv2d,
    class_token: Param<Tensor<3>>,
    positions: Param<Tensor<3>>,
    transformer: Transformer,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
}

impl VitSettings {
    pub(super) fn init(&self, shape: &Shape, reading: Reading, device: &Device) -> Vit {
        let Shape::Image { channels, height, width } = *shape else { panic!("vit was given {shape:?}") };
        let size = self.patch_size.min(height).min(width);
        let patches = Conv2dConfig::new([channels, self.hidden_size], [size, size]).with_stride([size, size]);
        let transformer = TransformerSpec {
            width: self.hidden_size,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            feed_forward: self.intermediate_size,
            dropout: self.hidden_dropout_prob,
            norm: NormPlace::Pre,
            activation: Activation::Gelu,
        };
        Vit {
            patches: patches.init(device),
            class_token: learnt([1, 1, self.hidden_size], device),
            positions: learnt([1, 1 + (height / size) * (width / size), self.hidden_size], device),
            transformer: transformer.init(device),
            width: self.hidden_size,
            reduce: Reduce::choose(self.reduce_output, Reduce::Last, reading),
        }
    }
}

impl Encode for Vit {
    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, input: Tensors) -> Steps {
        let images = expect_input!(input, Images(images) => images);
        let patches = grid(self.patches.forward(images)); // [batch, patches, width]
        let [batch, _, width] = patches.dims();
        let gathering = self.class_token.val().expand([batch, 1, width]);
        let steps = self.transformer.forward(Steps::full(Tensor::cat(vec![gathering, patches], 1) + self.positions.val()));
        let first = steps.values.clone().narrow(1, 0, 1).squeeze_dim(1); // [batch, width]
        self.reduce.apply(steps, Some(first))
    }
}
