//! The recurrence of an LSTM as one operation.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{LstmShape, LstmView, lstm_backward, lstm_forward};

use super::values;

/// A recurrence that has run.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    shape: LstmShape,
    weight: FlexTensor,
    mask: FlexTensor,
    pub hidden: FlexTensor,
    cells: Arc<Vec<f32>>,
    gates: Arc<Vec<f32>>,
}

pub(super) fn run(inputs: FlexTensor, weight: FlexTensor, mask: FlexTensor, is_reversed: bool) -> Ran {
    let sizes = inputs.shape();
    let [batch, steps, gates] = [sizes[0], sizes[1], sizes[2]];
    let shape = LstmShape { batch, steps, hidden: gates / 4, is_reversed };
    let (weight, mask) = (weight.to_contiguous(), mask.to_contiguous());
    let inputs = inputs.to_contiguous().into_data().try_into_vec::<f32>().expect("tensors of this crate are f32");
    let states = lstm_forward(shape, inputs, values(&weight), values(&mask));
    let hidden = FlexTensor::from_data(TensorData::new(states.hidden, [batch, steps, shape.hidden]));
    Ran { shape, weight, mask, hidden, cells: Arc::new(states.cells), gates: Arc::new(states.gates) }
}

pub(super) fn tracked<C: CheckpointStrategy>(
    inputs: FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    mask: FloatTensor<Autodiff<Flex, C>>,
    is_reversed: bool,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = LstmBackward.prepare::<C>([inputs.node(), weight.node()]).compute_bound().stateful();
    let ran = run(inputs.into_primitive(), weight.into_primitive(), mask.into_primitive(), is_reversed);
    match prepared {
        OpsKind::Tracked(prepared) => {
            let hidden = ran.hidden.clone();
            prepared.finish(ran, hidden)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(ran.hidden),
    }
}

#[derive(Debug)]
struct LstmBackward;

impl Backward<Flex, 2> for LstmBackward {
    type State = Ran;

    fn backward(self, ops: Ops<Ran, 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [of_inputs, of_weight] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let Ran { shape, weight, mask, hidden, cells, gates } = ops.state;
        let states = LstmView { hidden: values(&hidden), cells: &cells, gates: &gates };
        let found = lstm_backward(shape, states, values(&weight), values(&mask), values(&gradient));
        let LstmShape { batch, steps, hidden, .. } = shape;
        let tensor = |values: Vec<f32>, width: usize| FlexTensor::from_data(TensorData::new(values, [batch * steps, width]));
        let inputs = tensor(found.inputs, 4 * hidden);
        if let Some(node) = of_weight {
            let previous = tensor(found.previous, hidden).transpose(0, 1);
            gradients.register::<Flex>(node.id, Flex::float_matmul(previous, inputs.clone()));
        }
        if let Some(node) = of_inputs {
            gradients.register::<Flex>(node.id, inputs.reshape([batch, steps, 4 * hidden].into()));
        }
    }
}
