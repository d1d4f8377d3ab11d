//! The linear layer that scores tokens and their cross-entropy as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{Scoring, token_costs, token_costs_backward};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    /// Hidden values, weight, bias and targets.
    inputs: [FlexTensor; 4],
    smoothing: f32,
    probabilities: Vec<f32>,
}

impl SavedState {
    fn scoring(&self) -> Scoring<'_> {
        let [hidden, weight, bias, targets] = self.inputs.each_ref().map(values);
        Scoring { hidden, weight, bias, targets, smoothing: self.smoothing }
    }
}

/// Runs the forward pass; returns the state for the backward pass, and the costs.
pub(super) fn run(inputs: [FlexTensor; 4], smoothing: f32) -> (SavedState, FlexTensor) {
    let inputs = inputs.map(|input| input.to_contiguous());
    let n_tokens = inputs[3].shape()[0];
    let mut saved = SavedState { inputs, smoothing, probabilities: Vec::new() };
    let found = token_costs(saved.scoring());
    saved.probabilities = found.probabilities;
    (saved, FlexTensor::from_data(TensorData::new(found.costs, [n_tokens, 3])))
}

pub(super) fn tracked<C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; 4],
    smoothing: f32,
) -> FloatTensor<Autodiff<Flex, C>> {
    let [hidden, weight, bias, _] = &inputs;
    let prepared = CostsBackward.prepare::<C>([hidden.node(), weight.node(), bias.node()]).compute_bound().stateful();
    let (saved, costs) = run(inputs.map(|input| input.into_primitive()), smoothing);
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, costs),
        OpsKind::UnTracked(prepared) => prepared.finish(costs),
    }
}

#[derive(Debug)]
struct CostsBackward;

impl Backward<Flex, 3> for CostsBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let smoothed: Vec<f32> = values(&gradient).iter().step_by(3).copied().collect();
        let mut saved = ops.state;
        let probabilities = std::mem::take(&mut saved.probabilities);
        let found = token_costs_backward(saved.scoring(), probabilities, &smoothed);
        let all = [found.hidden, found.weight, found.bias].into_iter().zip(&saved.inputs);
        for (node, (values, input)) in ops.parents.into_iter().zip(all) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(values, input.shape())));
            }
        }
    }
}
