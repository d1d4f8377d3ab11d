//! A stack of fully connected layers.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{Activation, Dropout, linear};

/// What a stack is made of.
pub(crate) struct DenseSpec {
    pub n_layers: usize,
    pub output_size: usize,
    pub activation: Activation,
    pub dropout: f64,
}

/// Linear, activation, dropout, as often as asked; with no layers the identity.
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
    /// The stack for inputs of a width.
    pub fn init(&self, width: usize, device: &Device) -> Dense {
        let inputs = (0..self.n_layers).map(|layer| if layer == 0 { width } else { self.output_size });
        let layers = inputs.map(|input| LinearConfig::new(input, self.output_size).init(device)).collect();
        let width = if self.n_layers == 0 { width } else { self.output_size };
        Dense { layers, dropout: Dropout::new(self.dropout), activation: self.activation, width }
    }
}

impl Dense {
    /// The width of what comes out.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[.., input]` to `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.layers.iter().fold(x, |x, layer| self.dropout.forward(self.activation.apply(linear(layer, x))))
    }
}
