//! The vision transformer (Dosovitskiy et al. 2021), whose steps are a class token and the patches, and CLIP's variant of it
//! (Radford et al. 2021).

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::{Mistakes, settings};
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, expect_input, grid};
use crate::layer::{Activation, LayerNorm, Transformer, TransformerSpec, check_heads, learned_parameter, linear};
use crate::pretrained::{Family, Implied, Origin, PretrainedEncoder, PretrainedError, clip, vit};
use crate::{Steps, Tensors};

settings! {
    /// Settings of the vision transformer.
    pub struct VitSettings {
        /// Height and width of a patch in pixels.
        patch_size: usize = 16 => 1..=64;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 192 => 8..=4096;
        /// Number of layers.
        num_hidden_layers: usize = 6 => 1..=64;
        /// Number of attention heads.
        num_attention_heads: usize = 3 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        intermediate_size: usize = 768 => 8..=16_384;
        /// Activation of the feed-forward blocks.
        hidden_act: Activation = Activation::Gelu;
        /// Epsilon added to the variance in layer norms.
        layer_norm_eps: f64 = 1e-6 => 0.0..=0.1;
        /// Dropout probability.
        hidden_dropout_prob: f64 = 0.1 => 0.0..=0.9;
        ..pretrained: PretrainedEncoder;
        /// How to reduce the steps: `cls` takes the class token, `mean` the mean, `none` keeps every step.
        reduce_output: Option<Reduce> = None;
    }

    /// Settings of CLIP's image encoder.
    pub struct ClipImageSettings {
        /// Height and width of a patch in pixels.
        patch_size: usize = 32 => 1..=64;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 768 => 8..=4096;
        /// Number of layers.
        num_hidden_layers: usize = 12 => 1..=64;
        /// Number of attention heads.
        num_attention_heads: usize = 12 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        intermediate_size: usize = 3072 => 8..=16_384;
        /// Activation of the feed-forward blocks.
        hidden_act: Activation = Activation::QuickGelu;
        /// Epsilon added to the variance in layer norms.
        layer_norm_eps: f64 = 1e-5 => 0.0..=0.1;
        /// Width of the embedding space shared by images and texts.
        projection_dim: usize = 512 => 1..=4096;
        ..pretrained: PretrainedEncoder;
        /// How to reduce the steps: `cls` takes the class token, `mean` the mean, `none` keeps every step.
        reduce_output: Option<Reduce> = None;
    }
}

/// Vision transformer without its classification head.
#[derive(Module, Debug)]
pub struct Vit {
    patches: Conv2d,
    class_token: Param<Tensor<3>>,
    positions: Param<Tensor<3>>,
    first_norm: Option<LayerNorm>,
    transformer: Transformer,
    projection: Option<Linear>,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
    /// Rows and columns of the patch grid.
    #[module(skip)]
    grid: [usize; 2],
}

/// Settings common to both variants. CLIP's patch convolution has no bias, and its steps are normalized before the first layer
/// and projected at the end.
struct VitSpec {
    patch_size: usize,
    transformer: TransformerSpec,
    projection: Option<usize>,
    reduce_output: Option<Reduce>,
}

impl EncoderConfig for VitSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let transformer = TransformerSpec {
            dropout: self.hidden_dropout_prob,
            norm_eps: self.layer_norm_eps,
            activation: self.hidden_act,
            ..TransformerSpec::usual(self.hidden_size, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size)
        };
        let spec = VitSpec { patch_size: self.patch_size, transformer, projection: None, reduce_output: self.reduce_output };
        spec.init(shape, encoder_output, device).into()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_attention_heads, mistakes);
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        vit::implied(weights)
    }
}

impl EncoderConfig for ClipImageSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let transformer = TransformerSpec {
            norm_eps: self.layer_norm_eps,
            activation: self.hidden_act,
            ..TransformerSpec::usual(self.hidden_size, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size)
        };
        let projection = Some(self.projection_dim);
        let spec = VitSpec { patch_size: self.patch_size, transformer, projection, reduce_output: self.reduce_output };
        spec.init(shape, encoder_output, device).into()
    }

    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_attention_heads, mistakes);
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        clip::implied_by_images(weights)
    }
}

impl VitSpec {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Vit {
        let Shape::Image { channels, height, width } = *shape else { panic!("vit takes images, got {shape:?}") };
        let (size, hidden) = (self.patch_size.min(height).min(width), self.transformer.width);
        let is_clip = self.projection.is_some();
        let patches = Conv2dConfig::new([channels, hidden], [size, size]).with_stride([size, size]).with_bias(!is_clip);
        let grid = [height / size, width / size];
        Vit {
            patches: patches.init(device),
            class_token: learned_parameter([1, 1, hidden], device),
            positions: learned_parameter([1, 1 + grid[0] * grid[1], hidden], device),
            first_norm: is_clip.then(|| LayerNorm::new(hidden, self.transformer.norm_eps, device)),
            transformer: self.transformer.init(device),
            projection: self.projection.map(|to| LinearConfig::new(hidden, to).with_bias(false).init(device)),
            width: self.projection.unwrap_or(hidden),
            reduce: Reduce::choose(self.reduce_output, Reduce::First, encoder_output),
            grid,
        }
    }
}

impl Encode for Vit {
    fn width(&self) -> usize {
        self.width
    }

    fn families(&self) -> &'static [&'static Family] {
        let is_clip = self.projection.is_some();
        if is_clip { &[&clip::VISION] } else { &[&vit::TORCHVISION, &vit::HUGGING_FACE] }
    }

    fn patch_grid(&self) -> Option<[usize; 2]> {
        Some(self.grid)
    }

    fn encode(&self, input: Tensors) -> Steps {
        let images = expect_input!(input, Images(images) => images);
        let patches = grid(self.patches.forward(images)); // [batch, patches, width]
        let [batch, _, width] = patches.dims();
        let class_token = self.class_token.val().expand([batch, 1, width]);
        let steps = Tensor::cat(vec![class_token, patches], 1) + self.positions.val();
        let steps = match &self.first_norm {
            Some(norm) => norm.forward(steps),
            None => steps,
        };
        let steps = self.reduce.apply(self.transformer.forward(Steps::full(steps)), None);
        match &self.projection {
            Some(projection) => Steps { values: linear(projection, steps.values), mask: steps.mask },
            None => steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use crate::testing::check_encoder;

    #[test]
    fn vit_learns() {
        let sizes = "patch_size: 8, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32";
        let settings = format!("{{type: vit, {sizes}, hidden_dropout_prob: 0.0}}");
        check_encoder("image", &settings, Shape::Image { channels: 3, height: 16, width: 16 });
    }
}
