//! LSTM layer as one operation.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{
    LstmShape, LstmView, linear, linear_bias_backward, linear_rows_backward, linear_weight_backward, lstm_backward, lstm_forward,
};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    shape: LstmShape,
    inputs: FlexTensor,
    input_weight: FlexTensor,
    weight: FlexTensor,
    mask: FlexTensor,
    pub hidden: FlexTensor,
    cells: Arc<Vec<f32>>,
    gates: Arc<Vec<f32>>,
}

/// Runs the forward pass. The tensors are inputs, input weight, bias, hidden weight and mask.
pub(super) fn run(tensors: [FlexTensor; 5], is_reversed: bool) -> SavedState {
    let [inputs, input_weight, bias, weight, mask] = tensors.map(|tensor| tensor.to_contiguous());
    let (sizes, hidden) = (inputs.shape(), weight.shape()[0]);
    let shape = LstmShape { batch: sizes[0], steps: sizes[1], hidden, is_reversed };
    let gates = linear(values(&inputs), values(&input_weight), values(&bias));
    let states = lstm_forward(shape, gates, values(&weight), values(&mask));
    let hidden = FlexTensor::from_data(TensorData::new(states.hidden, [shape.batch, shape.steps, hidden]));
    SavedState { shape, inputs, input_weight, weight, mask, hidden, cells: Arc::new(states.cells), gates: Arc::new(states.gates) }
}

pub(super) fn tracked<C: CheckpointStrategy>(
    tensors: [FloatTensor<Autodiff<Flex, C>>; 5],
    is_reversed: bool,
) -> FloatTensor<Autodiff<Flex, C>> {
    let [inputs, input_weight, bias, weight, _] = &tensors;
    let nodes = [inputs.node(), input_weight.node(), bias.node(), weight.node()];
    let prepared = LstmBackward.prepare::<C>(nodes).compute_bound().stateful();
    let saved = run(tensors.map(|tensor| tensor.into_primitive()), is_reversed);
    match prepared {
        OpsKind::Tracked(prepared) => {
            let hidden = saved.hidden.clone();
            prepared.finish(saved, hidden)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(saved.hidden),
    }
}

#[derive(Debug)]
struct LstmBackward;

impl Backward<Flex, 4> for LstmBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 4>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [of_inputs, of_input_weight, of_bias, of_weight] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let SavedState { shape, inputs, input_weight, weight, mask, hidden, cells, gates } = ops.state;
        let states = LstmView { hidden: values(&hidden), cells: &cells, gates: &gates };
        let found = lstm_backward(shape, states, values(&weight), values(&mask), values(&gradient));
        let (of_gates, width) = (&found.inputs, 4 * shape.hidden);
        let mut register = |node, found, shape| {
            gradients.register::<Flex>(node, FlexTensor::from_data(TensorData::new(found, shape)));
        };
        if let Some(node) = of_weight {
            register(node.id, linear_weight_backward(&found.previous, of_gates, weight.shape().dims()), weight.shape());
        }
        if let Some(node) = of_bias {
            register(node.id, linear_bias_backward(of_gates, width), [width].into());
        }
        if let Some(node) = of_input_weight {
            register(
                node.id,
                linear_weight_backward(values(&inputs), of_gates, input_weight.shape().dims()),
                input_weight.shape(),
            );
        }
        if let Some(node) = of_inputs {
            register(node.id, linear_rows_backward(of_gates, values(&input_weight), width), inputs.shape());
        }
    }
}
