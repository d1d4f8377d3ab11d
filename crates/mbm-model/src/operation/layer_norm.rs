//! Layer normalization as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::layer_norm_backward;

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    x: FlexTensor,
    scale: FlexTensor,
    moments: Vec<f32>,
}

/// Runs the forward pass; returns the state for the backward pass, and the output.
pub(super) fn run(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, epsilon: f32) -> (SavedState, FlexTensor) {
    let (x, scale, shift) = (x.to_contiguous(), scale.to_contiguous(), shift.to_contiguous());
    let normed = mbm_kernels::layer_norm(values(&x), values(&scale), values(&shift), epsilon);
    let out = FlexTensor::from_data(TensorData::new(normed.out, x.shape()));
    (SavedState { x, scale, moments: normed.moments }, out)
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    scale: FloatTensor<Autodiff<Flex, C>>,
    shift: FloatTensor<Autodiff<Flex, C>>,
    epsilon: f32,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = LayerNormBackward.prepare::<C>([x.node(), scale.node(), shift.node()]).compute_bound().stateful();
    let (saved, out) = run(x.into_primitive(), scale.into_primitive(), shift.into_primitive(), epsilon);
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 3> for LayerNormBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let SavedState { x, scale, moments } = ops.state;
        let found = layer_norm_backward(values(&x), values(&scale), &moments, values(&gradient));
        let all = [(found.values, x.shape()), (found.scale, scale.shape()), (found.shift, scale.shape())];
        for (node, (values, shape)) in ops.parents.into_iter().zip(all) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(values, shape)));
            }
        }
    }
}
