//! Encoders of vectors: as they are, through dense layers, or (one number) spread over learnt-from-data bins.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, expect_input};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Steps, Tensors};

settings! {
    /// The values as they are.
    pub struct PassthroughSettings {}

    /// Fully connected layers.
    pub struct DenseSettings {
        /// Layers.
        num_layers: usize = 1 => 1..=16;
        /// The width of each.
        output_size: usize = 64 => 1..=8192;
        /// After each layer.
        activation: Activation = Activation::Relu;
        /// After each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }

    /// Piecewise linear encoding, then a dense layer.
    pub struct PiecewiseLinearSettings {
        /// The width of what comes out.
        output_size: usize = 32 => 1..=8192;
    }

    /// Positions on the cycles of a date, then a dense layer.
    pub struct CyclicSettings {
        /// The width of what comes out.
        output_size: usize = 32 => 1..=8192;
    }
}

/// The values as they are.
#[derive(Module, Debug)]
pub struct Passthrough {
    #[module(skip)]
    width: usize,
}

/// A vector through dense layers.
#[derive(Module, Debug)]
pub struct VectorDense {
    dense: Dense,
}

/// Frames side by side, padded to the longest that training saw, through dense layers.
#[derive(Module, Debug)]
pub struct FlatDense {
    dense: Dense,
    #[module(skip)]
    max_steps: usize,
}

/// One number as how far it has come through each bin of the training values (Gorishniy et al. 2022, section 3.2).
#[derive(Module, Debug)]
pub struct PiecewiseLinear {
    dense: Dense,
    #[module(skip)]
    edges: Vec<f32>,
}

/// Bins that a value can lie beyond the training range, at most: a bin between two values that are nearly equal is so narrow that a value
/// outside would otherwise be infinite, and its loss not a number.
const FARTHEST: f32 = 1e6;

fn vector_width(shape: &Shape) -> usize {
    match shape {
        Shape::Vector { width } => *width,
        Shape::Number { .. } => 1,
        other => panic!("an encoder of vectors was given {other:?}"),
    }
}

pub(super) fn passthrough(shape: &Shape) -> Passthrough {
    Passthrough::new(vector_width(shape))
}

impl Passthrough {
    /// For vectors of a width.
    pub(crate) fn new(width: usize) -> Self {
        Self { width }
    }
}

impl DenseSettings {
    fn spec(&self) -> DenseSpec {
        DenseSpec { n_layers: self.num_layers, output_size: self.output_size, activation: self.activation, dropout: self.dropout }
    }

    pub(super) fn init(&self, shape: &Shape, device: &Device) -> VectorDense {
        VectorDense { dense: self.spec().init(vector_width(shape), device) }
    }

    pub(super) fn init_flat(&self, shape: &Shape, device: &Device) -> FlatDense {
        let Shape::Frames { width, max_steps } = *shape else { panic!("dense was given {shape:?}") };
        FlatDense { dense: self.spec().init(width * max_steps, device), max_steps }
    }
}

fn one_layer(output_size: usize) -> DenseSpec {
    DenseSpec { n_layers: 1, output_size, activation: Activation::Relu, dropout: 0.0 }
}

impl CyclicSettings {
    pub(super) fn init(&self, shape: &Shape, device: &Device) -> VectorDense {
        VectorDense { dense: one_layer(self.output_size).init(vector_width(shape), device) }
    }
}

impl PiecewiseLinearSettings {
    pub(super) fn init(&self, shape: &Shape, device: &Device) -> PiecewiseLinear {
        let Shape::Number { quantiles } = shape else { panic!("ple was given {shape:?}") };
        // A column of one value has one quantile; one bin of width 1 keeps the encoding defined.
        let edges = if quantiles.len() > 1 { quantiles.clone() } else { vec![quantiles[0], quantiles[0] + 1.0] };
        PiecewiseLinear { dense: one_layer(self.output_size).init(edges.len() - 1, device), edges }
    }
}

impl Encode for Passthrough {
    fn width(&self) -> usize {
        self.width
    }

    fn encode(&self, input: Tensors) -> Steps {
        Steps::single(expect_input!(input, Vectors(vectors) => vectors))
    }
}

impl Encode for VectorDense {
    fn width(&self) -> usize {
        self.dense.width()
    }

    fn encode(&self, input: Tensors) -> Steps {
        Steps::single(self.dense.forward(expect_input!(input, Vectors(vectors) => vectors)))
    }
}

impl Encode for FlatDense {
    fn width(&self) -> usize {
        self.dense.width()
    }

    fn encode(&self, input: Tensors) -> Steps {
        let (frames, _) = expect_input!(input, Frames(frames, mask) => (frames, mask));
        let [batch, steps, width] = frames.dims();
        let padding = Tensor::zeros([batch, self.max_steps - steps, width], &frames.device());
        let padded = if steps < self.max_steps { Tensor::cat(vec![frames, padding], 1) } else { frames };
        Steps::single(self.dense.forward(padded.flatten::<2>(1, 2)))
    }
}

impl Encode for PiecewiseLinear {
    fn width(&self) -> usize {
        self.dense.width()
    }

    fn encode(&self, input: Tensors) -> Steps {
        let x = expect_input!(input, Vectors(vectors) => vectors); // [batch, 1]
        let (n_bins, dims) = (self.edges.len() - 1, [x.dims()[0], self.edges.len() - 1]);
        let row = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [1, n_bins]), &x.device()).expand(dims);
        let starts = row(self.edges[..n_bins].to_vec());
        let widths = row(self.edges.windows(2).map(|edge| edge[1] - edge[0]).collect());
        // The outer bins are open, so that values beyond the training range are still told apart.
        let lowest = row((0..n_bins).map(|bin| if bin == 0 { -FARTHEST } else { 0.0 }).collect());
        let highest = row((0..n_bins).map(|bin| if bin + 1 == n_bins { FARTHEST } else { 1.0 }).collect());
        let come = ((x - starts) / widths).max_pair(lowest).min_pair(highest); // [batch, bins]
        Steps::single(self.dense.forward(come))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    fn encoded(quantiles: &[f32], values: &[f32]) -> Tensor<2> {
        let device = Device::flex();
        device.seed(1);
        let shape = Shape::Number { quantiles: quantiles.to_vec() };
        let mut encoder = mbm_config::defaults::<PiecewiseLinearSettings>().init(&shape, &device);
        // Without layers what comes out is the encoding itself.
        encoder.dense = DenseSpec { n_layers: 0, output_size: 1, activation: Activation::Relu, dropout: 0.0 }.init(1, &device);
        let values = Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &device);
        encoder.encode(Tensors::Vectors(values)).values.squeeze_dim(1)
    }

    #[test]
    fn a_number_is_how_far_it_has_come_through_each_bin() {
        let want = [[0.5f32, 0.0, 0.0], [1.0, 0.25, 0.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 3.0]];
        close(encoded(&[0.0, 2.0, 6.0, 7.0], &[1.0, 3.0, -2.0, 9.0]).into_data(), TensorData::from(want));
    }

    #[test]
    fn a_column_of_one_value_or_of_two_has_one_open_bin() {
        close(encoded(&[0.5], &[0.5, 2.5]).into_data(), TensorData::from([[0.0f32], [2.0]]));
        close(encoded(&[0.0, 2.0], &[-2.0, 1.0, 4.0]).into_data(), TensorData::from([[-1.0f32], [0.5], [2.0]]));
    }

    #[test]
    fn bins_too_narrow_to_divide_by_give_finite_numbers() {
        let said = encoded(&[0.0, f32::from_bits(1), 1.0], &[-3e38, 0.0, 3e38]).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(said, [-1e6, 0.0, 0.0, 0.0, 1.0, 1e6]);
    }
}
