//! A linear layer over the steps of a batch as one product of matrices.

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::operation;

/// `[.., input]` to `[.., output]`. Burn's own way makes one product for each row of a batch, each with its own gradient of the weights; all steps
/// side by side make one.
pub(crate) fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    if operation::ARE_THERE {
        let weight = layer.weight.val();
        let bias = layer.bias.as_ref().map_or_else(|| Tensor::zeros([weight.dims()[1]], &x.device()), |bias| bias.val());
        return operation::linear(x, weight, bias);
    }
    let mut dims = x.dims();
    let n_steps = dims[..D - 1].iter().product();
    let y = layer.forward(x.reshape([n_steps, dims[D - 1]]));
    dims[D - 1] = y.dims()[1];
    y.reshape(dims)
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::testing::close;

    #[test]
    fn values_and_gradients_are_those_of_the_layer() {
        let device = Device::flex().autodiff();
        let layer = LinearConfig::new(5, 4).init(&device);
        let x = Tensor::<3>::random([3, 7, 5], Distribution::Default, &device).require_grad();
        let factors = Tensor::random([3, 7, 4], Distribution::Default, &device);
        let [ours, theirs] = [linear(&layer, x.clone()), layer.forward(x.clone())];
        close(ours.clone().into_data(), theirs.clone().into_data());
        let gradients = [ours, theirs].map(|y| (y * factors.clone()).sum().backward());
        let [ours, theirs] = gradients
            .map(|gradients| [x.grad(&gradients).unwrap().into_data(), layer.weight.val().grad(&gradients).unwrap().into_data()]);
        ours.into_iter().zip(theirs).for_each(|(ours, theirs)| close(ours, theirs));
    }
}
