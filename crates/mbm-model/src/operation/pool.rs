//! Max pooling as one operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;
use mbm_kernels::{PoolShape, max_pool, max_pool_backward};

use super::values;

/// State saved for the backward pass.
#[derive(Debug, Clone)]
pub(super) struct SavedState {
    shape: PoolShape,
    images: FlexTensor,
    out: FlexTensor,
}

impl SavedState {
    pub fn out(self) -> FlexTensor {
        self.out
    }
}

pub(super) fn run(images: FlexTensor, kernel: usize, stride: usize, padding: usize) -> SavedState {
    let images = images.to_contiguous();
    let sizes = images.shape();
    let (batch, channels) = (sizes[0], sizes[1]);
    let shape = PoolShape { planes: batch * channels, size: [sizes[2], sizes[3]], kernel, stride, padding };
    let [rows, columns] = shape.out_size();
    let out = TensorData::new(max_pool(shape, values(&images)), [batch, channels, rows, columns]);
    SavedState { shape, images, out: FlexTensor::from_data(out) }
}

pub(super) fn tracked<C: CheckpointStrategy>(
    images: FloatTensor<Autodiff<Flex, C>>,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> FloatTensor<Autodiff<Flex, C>> {
    let prepared = PoolBackward.prepare::<C>([images.node()]).compute_bound().stateful();
    let saved = run(images.into_primitive(), kernel, stride, padding);
    match prepared {
        OpsKind::Tracked(prepared) => {
            let out = saved.out.clone();
            prepared.finish(saved, out)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(saved.out),
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = SavedState;

    fn backward(self, ops: Ops<SavedState, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let [parent] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let SavedState { shape, images, out } = ops.state;
        if let Some(node) = parent {
            let found = max_pool_backward(shape, values(&images), values(&out), values(&gradient));
            gradients.register::<Flex>(node.id, FlexTensor::from_data(TensorData::new(found, images.shape())));
        }
    }
}
