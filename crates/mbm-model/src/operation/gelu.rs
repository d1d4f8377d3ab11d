//! GELU, the Gaussian error linear unit, as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::gelu_backward;

use super::values;

pub(super) fn run(x: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(mbm_kernels::gelu(values(x)), x.shape()))
}

pub(super) fn tracked<C: CheckpointStrategy>(x: FloatTensor<Autodiff<Flex, C>>) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = GeluBackward.prepare::<C>([x.node()]).compute_bound().stateful();
    let x = x.into_primitive().to_contiguous();
    let out = run(&x);
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(x, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct GeluBackward;

impl Backward<Flex, 1> for GeluBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [parent] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        if let Some(node) = parent {
            let found = gelu_backward(values(&ops.state), values(&gradient));
            gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(found, ops.state.shape())));
        }
    }
}
