//! Vector encoders: passthrough, dense layers, or piecewise linear encoding of a number over bins fitted to the training data.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, expect_input};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Steps, Tensors};

settings! {
    /// Settings of the passthrough encoder.
    pub struct PassthroughSettings {}

    /// Settings of fully connected layers.
    pub struct DenseSettings {
        /// Number of layers.
        num_layers: usize = 1 => 1..=16;
        /// Width of each layer.
        output_size: usize = 64 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout after each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }

    /// Settings of piecewise linear encoding, optionally followed by a dense layer.
    pub struct PiecewiseLinearSettings {
        /// Width of the dense layer; without it, the encoding itself is passed on, which is faster for many inputs.
        output_size: Option<usize> = Some(32) => 1..=8192;
        /// Maximum number of bins; they have equally many training rows.
        num_bins: usize = 32 => 1..=32;
    }

    /// Settings of the cyclic date encoding followed by a dense layer.
    pub struct CyclicSettings {
        /// Width of the output.
        output_size: usize = 32 => 1..=8192;
    }
}

/// Passes the values through unchanged.
#[derive(Module, Debug)]
pub struct Passthrough {
    #[module(skip)]
    width: usize,
}

/// Dense layers over a vector.
#[derive(Module, Debug)]
pub struct VectorDense {
    dense: Dense,
}

/// Dense layers over the concatenated frames, padded to the longest sequence seen in training.
#[derive(Module, Debug)]
pub struct FlatDense {
    dense: Dense,
    #[module(skip)]
    max_steps: usize,
}

/// Piecewise linear encoding: how far a number has advanced through each bin of the training values (Gorishniy et al. 2022,
/// section 3.2).
#[derive(Module, Debug)]
pub struct PiecewiseLinear {
    dense: Dense,
    #[module(skip)]
    edges: Vec<f32>,
}

/// Maximum distance of a value from the training range, in bin widths. A bin between two nearly equal values is so narrow that an
/// outlier's encoding would otherwise be infinite and its loss NaN.
const FARTHEST: f32 = 1e6;

fn vector_width(shape: &Shape) -> usize {
    match shape {
        Shape::Vector { width } => *width,
        Shape::Number { .. } => 1,
        other => panic!("a vector encoder takes vectors or numbers, got {other:?}"),
    }
}

impl EncoderConfig for PassthroughSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, _device: &Device) -> Encoder {
        Passthrough::new(vector_width(shape)).into()
    }

    fn has_no_parameters(&self) -> bool {
        true
    }
}

impl Passthrough {
    /// Creates the encoder for vectors of the given width.
    pub(crate) fn new(width: usize) -> Self {
        Self { width }
    }
}

impl EncoderConfig for DenseSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let (n_layers, output_size) = (self.num_layers, self.output_size);
        let spec = DenseSpec { n_layers, output_size, activation: self.activation, dropout: self.dropout };
        match *shape {
            Shape::Frames { width, max_steps } => FlatDense { dense: spec.init(width * max_steps, device), max_steps }.into(),
            ref vector => VectorDense { dense: spec.init(vector_width(vector), device) }.into(),
        }
    }
}

fn one_layer(output_size: usize) -> DenseSpec {
    DenseSpec { n_layers: 1, output_size, activation: Activation::Relu, dropout: 0.0 }
}

impl EncoderConfig for CyclicSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, device: &Device) -> Encoder {
        VectorDense { dense: one_layer(self.output_size).init(vector_width(shape), device) }.into()
    }
}

impl EncoderConfig for PiecewiseLinearSettings {
    fn init(&self, shape: &Shape, _encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let edges = self.edges(shape);
        let dense = self.output_size.map_or(DenseSpec { n_layers: 0, ..one_layer(1) }, one_layer);
        PiecewiseLinear { dense: dense.init(edges.len() - 1, device), edges }.into()
    }

    fn has_no_parameters(&self) -> bool {
        self.output_size.is_none()
    }

    fn bin_edges(&self, shape: &Shape) -> Option<Vec<f32>> {
        self.has_no_parameters().then(|| self.edges(shape))
    }
}

impl PiecewiseLinearSettings {
    /// Returns the edges of the bins: quantiles of the training values.
    fn edges(&self, shape: &Shape) -> Vec<f32> {
        let Shape::Number { quantiles } = shape else { panic!("ple takes numbers, got {shape:?}") };
        let n_bins = self.num_bins.min(quantiles.len() - 1);
        // A constant column has a single quantile; one bin of width 1 keeps the encoding defined.
        if n_bins == 0 {
            return vec![quantiles[0], quantiles[0] + 1.0];
        }
        (0..=n_bins).map(|edge| quantiles[edge * (quantiles.len() - 1) / n_bins]).collect()
    }
}

/// Writes how far a number has advanced through each bin between the edges. The outer bins are open-ended, so that values beyond the
/// training range remain distinguishable.
pub(crate) fn write_progress(value: f32, edges: &[f32], into: &mut [f32]) {
    let last = into.len() - 1;
    for (bin, (into, edge)) in into.iter_mut().zip(edges.windows(2)).enumerate() {
        let (lowest, highest) = (if bin == 0 { -FARTHEST } else { 0.0 }, if bin == last { FARTHEST } else { 1.0 });
        *into = ((value - edge[0]) / (edge[1] - edge[0])).max(lowest).min(highest);
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
        // The outer bins are open-ended, so that values beyond the training range remain distinguishable.
        let lowest = row((0..n_bins).map(|bin| if bin == 0 { -FARTHEST } else { 0.0 }).collect());
        let highest = row((0..n_bins).map(|bin| if bin + 1 == n_bins { FARTHEST } else { 1.0 }).collect());
        let progress = ((x - starts) / widths).max_pair(lowest).min_pair(highest); // [batch, bins]
        Steps::single(self.dense.forward(progress))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_encoder, close};

    fn encoded(quantiles: &[f32], values: &[f32]) -> Tensor<2> {
        let device = Device::flex();
        device.seed(1);
        let shape = Shape::Number { quantiles: quantiles.to_vec() };
        let settings = PiecewiseLinearSettings { output_size: None, ..mbm_config::defaults() };
        let Encoder::PiecewiseLinear(encoder) = settings.init(&shape, EncoderOutput::Summary, &device) else { panic!() };
        let values = Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &device);
        encoder.encode(Tensors::Vectors(values)).values.squeeze_dim(1)
    }

    #[test]
    fn ple_encodes_progress_through_each_bin() {
        let want = [[0.5f32, 0.0, 0.0], [1.0, 0.25, 0.0], [-1.0, 0.0, 0.0], [1.0, 1.0, 3.0]];
        close(encoded(&[0.0, 2.0, 6.0, 7.0], &[1.0, 3.0, -2.0, 9.0]).into_data(), TensorData::from(want));
    }

    #[test]
    fn ple_without_a_dense_layer_is_the_same_in_a_block() {
        let quantiles = [0.0f32, 2.0, 6.0, 7.0];
        for value in [-3.0, 0.0, 1.0, 2.0, 3.5, 7.0, 9.0] {
            let mut progress = [0.0; 3];
            write_progress(value, &quantiles, &mut progress);
            close(encoded(&quantiles, &[value]).into_data(), TensorData::from([progress]));
        }
    }

    #[test]
    fn bins_are_merged_to_the_maximum_number() {
        let settings = PiecewiseLinearSettings { num_bins: 2, ..mbm_config::defaults() };
        let quantiles: Vec<f32> = (0..=32).map(|edge| edge as f32).collect();
        assert_eq!(settings.edges(&Shape::Number { quantiles }), [0.0, 16.0, 32.0]);
    }

    #[test]
    fn ple_of_one_or_two_quantiles_has_one_open_bin() {
        close(encoded(&[0.5], &[0.5, 2.5]).into_data(), TensorData::from([[0.0f32], [2.0]]));
        close(encoded(&[0.0, 2.0], &[-2.0, 1.0, 4.0]).into_data(), TensorData::from([[-1.0f32], [0.5], [2.0]]));
    }

    #[test]
    fn ple_is_finite_for_subnormal_bin_widths() {
        let values = encoded(&[0.0, f32::from_bits(1), 1.0], &[-3e38, 0.0, 3e38]).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [-1e6, 0.0, 0.0, 0.0, 1.0, 1e6]);
    }

    #[test]
    fn number_vector_and_date_encoders_learn() {
        check_encoder("number", "ple", Shape::Number { quantiles: vec![-4.0, -2.0, -1.0, 0.5, 2.0, 4.0] });
        check_encoder("vector", "dense", Shape::Vector { width: 5 });
        check_encoder("vector", "{type: dense, num_layers: 2, activation: tanh}", Shape::Vector { width: 5 });
        check_encoder("date", "cyclic", Shape::Vector { width: 11 });
        check_encoder("timeseries", "dense", Shape::Frames { width: 3, max_steps: 6 });
    }
}
