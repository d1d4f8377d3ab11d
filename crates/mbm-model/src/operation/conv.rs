//! 2-d convolution as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{Affine, ConvShape, Epilogue, conv_backward, conv_forward};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    shape: ConvShape,
    images: FlexTensor,
    weight: FlexTensor,
}

fn shape_of(images: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> ConvShape {
    let (input, kernel) = (images.shape(), weight.shape());
    ConvShape {
        batch: input[0],
        channels: [input[1], kernel[0]],
        size: [input[2], input[3]],
        kernel: [kernel[2], kernel[3]],
        stride: [stride; 2],
        padding: [padding; 2],
    }
}

fn tensor(shape: ConvShape, out: Vec<f32>) -> FlexTensor {
    let [rows, columns] = shape.out_size();
    FlexTensor::from_data(TensorData::new(out, [shape.batch, shape.channels[1], rows, columns]))
}

/// Runs the forward pass; returns the state for the backward pass, and the output.
pub(super) fn run(images: FlexTensor, weight: FlexTensor, stride: usize, padding: usize) -> (SavedState, FlexTensor) {
    let (images, weight) = (images.to_contiguous(), weight.to_contiguous());
    let shape = shape_of(&images, &weight, stride, padding);
    let out = conv_forward(shape, values(&images), values(&weight), None);
    (SavedState { shape, images, weight }, tensor(shape, out))
}

/// Runs a convolution with fused scale, shift, residual and bounds. The tensors are images, weight, `[2, out]` scales and shifts,
/// and the residual, which is empty if there is none.
pub(super) fn run_with_epilogue(tensors: [FlexTensor; 4], bounds: [f32; 2], stride: usize, padding: usize) -> FlexTensor {
    let [images, weight, affine, residual] = tensors.map(|tensor| tensor.to_contiguous());
    let shape = shape_of(&images, &weight, stride, padding);
    let (scale, shift) = values(&affine).split_at(shape.channels[1]);
    let epilogue = Epilogue { affine: Affine { scale, shift, bounds }, residual: values(&residual) };
    tensor(shape, conv_forward(shape, values(&images), values(&weight), Some(epilogue)))
}

pub(super) fn tracked<C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    stride: usize,
    padding: usize,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = ConvBackward.prepare::<C>([images.node(), weight.node()]).compute_bound().stateful();
    let (saved, out) = run(images.into_primitive(), weight.into_primitive(), stride, padding);
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 2> for ConvBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [of_images, of_weight] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let SavedState { shape, images, weight } = ops.state;
        let found = conv_backward(shape, values(&images), values(&weight), values(&gradient), of_images.is_some());
        if let (Some(node), Some(found)) = (of_images, found.0) {
            gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(found, images.shape())));
        }
        if let Some(node) = of_weight {
            gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(found.1, weight.shape())));
        }
    }
}
