//! Multi-head attention as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{AttentionInputs, AttentionShape, attention_backward, attention_forward};

use super::values;

/// Settings of an attention operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention {
    pub heads: usize,
    pub is_causal: bool,
}

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    shape: AttentionShape,
    /// Queries, keys, values, mask and factors.
    inputs: [FlexTensor; 5],
    weights: Vec<f32>,
}

impl SavedState {
    fn inputs(&self) -> AttentionInputs<'_> {
        let [queries, keys, values, mask, factors] = self.inputs.each_ref().map(values);
        AttentionInputs { queries, keys, values, mask, factors }
    }
}

/// Runs the forward pass; returns the state for the backward pass, and the output. An empty tensor of factors stands for none.
pub(super) fn run(inputs: [FlexTensor; 5], attention: Attention) -> (SavedState, FlexTensor) {
    let inputs = inputs.map(|input| input.to_contiguous());
    let (queries, keys) = (inputs[0].shape(), inputs[1].shape());
    let shape = AttentionShape {
        batch: queries[0],
        heads: attention.heads,
        queries: queries[1],
        keys: keys[1],
        width: queries[2] / attention.heads,
        is_causal: attention.is_causal,
    };
    let mut saved = SavedState { shape, inputs, weights: Vec::new() };
    let attended = attention_forward(shape, saved.inputs());
    saved.weights = attended.weights;
    (saved, FlexTensor::from_data(TensorData::new(attended.out, queries)))
}

pub(super) fn tracked<C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; 5],
    attention: Attention,
) -> FloatTensor<Autodiff<Flex, C>> {
    let [queries, keys, values, ..] = &inputs;
    let prepared = AttentionBackward.prepare::<C>([queries.node(), keys.node(), values.node()]).compute_bound().stateful();
    let (saved, out) = run(inputs.map(|input| input.into_primitive()), attention);
    match prepared {
        OpsKind::Tracked(prepared) => prepared.finish(saved, out),
        OpsKind::UnTracked(prepared) => prepared.finish(out),
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let saved = ops.state;
        let found = attention_backward(saved.shape, saved.inputs(), &saved.weights, values(&gradient));
        let all = [found.queries, found.keys, found.values].into_iter().zip(&saved.inputs);
        for (node, (values, input)) in ops.parents.into_iter().zip(all) {
            if let Some(node) = node {
                gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(values, input.shape())));
            }
        }
    }
}
