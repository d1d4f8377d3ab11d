//! A plain CNN for images (LeCun et al. 1998): convolutions, each followed by pooling, and a dense layer.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, expect_input, grid};
use crate::layer::{Activation, Conv, Dropout, MaxPool};
use crate::{Steps, Tensors};

settings! {
    /// Settings of the plain CNN.
    pub struct StackedCnnSettings {
        /// Number of convolutions; each halves the image as long as it has at least four rows and columns.
        num_conv_layers: usize = 2 => 1..=12;
        /// Number of filters of the first convolution; each of the next four convolutions doubles it.
        num_filters: usize = 16 => 1..=1024;
        /// Height and width of a filter; rounded up to an odd number.
        filter_size: usize = 3 => 1..=15;
        /// Whether to apply batch norm after each convolution.
        batch_norm: bool = true;
        /// Width of the output.
        output_size: usize = 128 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout before the dense layer.
        fc_dropout: f64 = 0.0 => 0.0..=0.9;
        /// `none` returns every position of the feature map instead of one vector.
        reduce_output: Option<Reduce> = None;
    }
}

/// Plain CNN. For a summary, the dense layer reads the flattened feature map; for steps, it reads each position separately.
#[derive(Module, Debug)]
pub struct StackedCnn {
    convs: Vec<Conv>,
    dense: Linear,
    dropout: Dropout,
    pool: MaxPool,
    #[module(skip)]
    n_pools: usize,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    reduce: Reduce,
    #[module(skip)]
    width: usize,
}

impl EncoderConfig for StackedCnnSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let Shape::Image { channels, height, width } = *shape else { panic!("stacked_cnn takes images, got {shape:?}") };
        let filters = |layer: usize| self.num_filters << layer.min(4);
        let convs: Vec<Conv> = (0..self.num_conv_layers)
            .map(|layer| {
                Conv::new(
                    [if layer == 0 { channels } else { filters(layer - 1) }, filters(layer)],
                    self.filter_size | 1,
                    self.batch_norm,
                    device,
                )
            })
            .collect();
        let n_pools = (0..self.num_conv_layers).take_while(|layer| height.min(width) >> layer >= 4).count();
        let positions = (height >> n_pools) * (width >> n_pools);
        let channels = filters(self.num_conv_layers - 1);
        // By default, the dense layer reads all positions concatenated; with any other reduction, it reads each one separately.
        let reduce = Reduce::choose(self.reduce_output, Reduce::Last, encoder_output);
        let features = if reduce == Reduce::Last { channels * positions } else { channels };
        StackedCnn {
            convs,
            dense: LinearConfig::new(features, self.output_size).init(device),
            dropout: Dropout::new(self.fc_dropout),
            pool: MaxPool::new(2, 2, 0),
            n_pools,
            activation: self.activation,
            reduce,
            width: self.output_size,
        }
        .into()
    }
}

impl Encode for StackedCnn {
    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, input: Tensors) -> Steps {
        let mut x = expect_input!(input, Images(images) => images); // [batch, channels, height, width]
        for (layer, conv) in self.convs.iter().enumerate() {
            x = conv.convolve(x);
            // The maxima are the same before and after normalization, and normalizing only the maxima costs a quarter.
            if layer < self.n_pools {
                x = self.pool.forward(x);
            }
            x = self.activation.apply(conv.normalize(x));
        }
        if self.reduce == Reduce::Last {
            let flat = self.dropout.forward(x.flatten::<2>(1, 3)); // [batch, channels * positions]
            return Steps::single(self.activation.apply(self.dense.forward(flat)));
        }
        let positions = self.activation.apply(self.dense.forward(self.dropout.forward(grid(x)))); // [batch, positions, width]
        self.reduce.apply(Steps::full(positions), None)
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use crate::testing::check_encoder;

    #[test]
    fn stacked_cnn_learns() {
        let shape = Shape::Image { channels: 3, height: 16, width: 16 };
        check_encoder("image", "{type: stacked_cnn, num_filters: 4, output_size: 16}", shape.clone());
        check_encoder("image", "{type: stacked_cnn, num_filters: 4, output_size: 16, reduce_output: none}", shape);
    }
}
