//! Batch normalization with a fused rectifier as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{Affine, NormShape, Normalized, affine, norm_backward};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    shape: NormShape,
    images: FlexTensor,
    scale: FlexTensor,
    mean: Vec<f32>,
    inverse: Vec<f32>,
    out: FlexTensor,
    bounds: [f32; 2],
}

/// Settings of a normalization.
pub(super) struct Norm {
    pub epsilon: f32,
    pub bounds: [f32; 2],
}

fn shape(images: &FlexTensor) -> NormShape {
    let sizes = images.shape();
    NormShape { batch: sizes[0], channels: sizes[1], positions: sizes[2] * sizes[3] }
}

/// Computes means, then variances, of each channel: `[2, channels]`.
pub(super) fn moments(images: FlexTensor) -> FlexTensor {
    let images = images.to_contiguous();
    let (mut mean, variance) = mbm_kernels::moments(shape(&images), values(&images));
    let channels = mean.len();
    mean.extend(variance);
    FlexTensor::from_data(TensorData::new(mean, [2, channels]))
}

/// Normalizes by the given moments, `[2, channels]`: batch or running statistics.
pub(super) fn run(images: FlexTensor, scale: FlexTensor, shift: FlexTensor, moments: FlexTensor, norm: Norm) -> SavedState {
    let (images, scale, shift, moments) =
        (images.to_contiguous(), scale.to_contiguous(), shift.to_contiguous(), moments.to_contiguous());
    let shape = shape(&images);
    let (mean, variance) = values(&moments).split_at(shape.channels);
    let inverse: Vec<f32> = variance.iter().map(|variance| 1.0 / (variance + norm.epsilon).sqrt()).collect();
    let scales: Vec<f32> = values(&scale).iter().zip(&inverse).map(|(scale, inverse)| scale * inverse).collect();
    let shifts: Vec<f32> =
        values(&shift).iter().zip(mean).zip(&scales).map(|((shift, mean), scale)| shift - mean * scale).collect();
    let by = Affine { scale: &scales, shift: &shifts, bounds: norm.bounds };
    let out = FlexTensor::from_data(TensorData::new(affine(shape, values(&images), by), images.shape()));
    let mean = mean.to_vec();
    SavedState { shape, images, scale, mean, inverse, out, bounds: norm.bounds }
}

impl SavedState {
    pub fn out(self) -> FlexTensor {
        self.out
    }
}

/// Requires `moments` to be those of `images`: the gradient also flows through them.
pub(super) fn tracked<C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<Flex, C>>,
    scale: FloatTensor<Autodiff<Flex, C>>,
    shift: FloatTensor<Autodiff<Flex, C>>,
    moments: FloatTensor<Autodiff<Flex, C>>,
    norm: Norm,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = NormBackward.prepare::<C>([images.node(), scale.node(), shift.node()]).compute_bound().stateful();
    let saved = run(images.into_primitive(), scale.into_primitive(), shift.into_primitive(), moments.into_primitive(), norm);
    match prepared {
        OpsKind::Tracked(prepared) => {
            let out = saved.out.clone();
            prepared.finish(saved, out)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(saved.out),
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let parents = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let SavedState { shape, images, scale, mean, inverse, out, bounds } = ops.state;
        let done = Normalized {
            images: values(&images),
            mean: &mean,
            inverse: &inverse,
            scale: values(&scale),
            out: values(&out),
            bounds,
        };
        let found = norm_backward(shape, done, values(&gradient));
        let channels = [shape.channels];
        let all = [(found.images, images.shape()), (found.scale, channels.into()), (found.shift, channels.into())];
        for (node, (values, shape)) in parents.into_iter().zip(all) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(values, shape)));
            }
        }
    }
}
