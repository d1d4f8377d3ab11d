//! A stack of fully connected layers.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{Activation, Dropout, linear};

/// Hyperparameters of a [`Dense`] stack.
pub(crate) struct DenseSpec {
    pub n_layers: usize,
    pub output_size: usize,
    pub activation: Activation,
    pub dropout: f64,
}

/// A stack of layers, each linear, activation and dropout; the identity if there are no layers.
#[derive(Module, Debug)]
pub struct Dense {
    layers: Vec<Linear>,
    dropout: Dropout,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    width: usize,
}

impl DenseSpec {
    /// Creates the stack for inputs of the given width.
    pub fn init(&self, width: usize, device: &Device) -> Dense {
        let inputs = (0..self.n_layers).map(|layer| if layer == 0 { width } else { self.output_size });
        let layers = inputs.map(|input| LinearConfig::new(input, self.output_size).init(device)).collect();
        let width = if self.n_layers == 0 { width } else { self.output_size };
        Dense { layers, dropout: Dropout::new(self.dropout), activation: self.activation, width }
    }
}

impl Dense {
    /// Output width.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Maps `[.., input]` to `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.layers.iter().fold(x, |x, layer| self.dropout.forward(self.activation.apply(linear(layer, x))))
    }
}
