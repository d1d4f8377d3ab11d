//! Convolutions, each followed by pooling, and a dense layer: the plain CNN for images (LeCun et al. 1998).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, EncoderOutput, Reduce, expect_input, grid};
use crate::layer::{Activation, Conv, Dropout, MaxPool};
use crate::{Steps, Tensors};

settings! {
    /// The plain CNN.
    pub struct StackedCnnSettings {
        /// Convolutions, each halving the image as long as it has four rows and columns.
        num_conv_layers: usize = 2 => 1..=12;
        /// Channels of the first convolution; each next one doubles them.
        num_filters: usize = 16 => 1..=1024;
        /// Rows and columns of a filter; odd.
        filter_size: usize = 3 => 1..=15;
        /// Normalises each convolution over the batch.
        batch_norm: bool = true;
        /// The width of what comes out.
        output_size: usize = 128 => 1..=8192;
        /// After each layer.
        activation: Activation = Activation::Relu;
        /// Before the dense layer.
        fc_dropout: f64 = 0.0 => 0.0..=0.9;
        /// `none` gives the grid of places instead of one vector.
        reduce_output: Option<Reduce> = None;
    }
}

/// The plain CNN. Summary: the flattened grid through a dense layer; steps: each place of the grid through it.
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

impl StackedCnnSettings {
    pub(super) fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> StackedCnn {
        let Shape::Image { channels, height, width } = *shape else { panic!("stacked_cnn was given {shape:?}") };
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
        let places = (height >> n_pools) * (width >> n_pools);
        let channels = filters(self.num_conv_layers - 1);
        // The mean over the grid for `mean`, each place for `none`; otherwise all places side by side.
        let reduce = Reduce::choose(self.reduce_output, Reduce::Last, encoder_output);
        let features = if reduce == Reduce::Last { channels * places } else { channels };
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
            // The largest values are the largest before and after normalising, and normalising them alone costs a quarter.
            if layer < self.n_pools {
                x = self.pool.forward(x);
            }
            x = self.activation.apply(conv.normalize(x));
        }
        if self.reduce == Reduce::Last {
            let flat = self.dropout.forward(x.flatten::<2>(1, 3)); // [batch, channels * places]
            return Steps::single(self.activation.apply(self.dense.forward(flat)));
        }
        let places = self.activation.apply(self.dense.forward(self.dropout.forward(grid(x)))); // [batch, places, width]
        self.reduce.apply(Steps::full(places), None)
    }
}
