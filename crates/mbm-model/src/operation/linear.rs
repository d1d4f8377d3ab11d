//! Linear layer as one operation. All dimensions before the last one are flattened to rows.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{linear, linear_bias_backward, linear_rows_backward, linear_weight_backward};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    x: FlexTensor,
    weight: FlexTensor,
}

/// Runs the forward pass; returns the state for the backward pass, and the output.
pub(super) fn run(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> (SavedState, FlexTensor) {
    let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = bias.shape()[0];
    let out = linear(values(&x), values(&weight), values(&bias));
    (SavedState { x, weight }, FlexTensor::from_data(TensorData::new(out, shape)))
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    bias: FloatTensor<Autodiff<Flex, C>>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = LinearBackward.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful();
    let (saved, out) = run(x.into_primitive(), weight.into_primitive(), bias.into_primitive());
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [of_x, of_weight, of_bias] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (SavedState { x, weight }, gradient) = (ops.state, values(&gradient));
        let to = weight.shape()[1];
        let mut register = |node, found, shape| {
            gradients.register::<Flex>(node, FlexTensor::from_data(TensorData::new(found, shape)));
        };
        if let Some(node) = of_x {
            register(node.id, linear_rows_backward(gradient, values(&weight), to), x.shape());
        }
        if let Some(node) = of_weight {
            register(node.id, linear_weight_backward(values(&x), gradient, weight.shape().dims()), weight.shape());
        }
        if let Some(node) = of_bias {
            register(node.id, linear_bias_backward(gradient, to), [to].into());
        }
    }
}
