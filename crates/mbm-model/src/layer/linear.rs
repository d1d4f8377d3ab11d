//! Linear layer applied to all steps of a batch in one matrix product.

use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::operation;

/// Maps `[.., input]` to `[.., output]`. Burn's own layer computes one product per row of a batch, each with its own
/// weight gradient.
pub(crate) fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    if operation::AVAILABLE {
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
    fn values_and_gradients_equal_those_of_burns_layer() {
        for has_bias in [true, false] {
            let device = Device::flex().autodiff();
            let layer = LinearConfig::new(5, 4).with_bias(has_bias).init(&device);
            let x = Tensor::<3>::random([3, 7, 5], Distribution::Default, &device).require_grad();
            let factors = Tensor::random([3, 7, 4], Distribution::Default, &device);
            let [ours, theirs] = [linear(&layer, x.clone()), layer.forward(x.clone())].map(|y| {
                let gradients = (y.clone() * factors.clone()).sum().backward();
                let bias = layer.bias.as_ref().map(|bias| bias.val().grad(&gradients).unwrap().into_data());
                let weight = layer.weight.val().grad(&gradients).unwrap();
                [y.into_data(), x.grad(&gradients).unwrap().into_data(), weight.into_data()].into_iter().chain(bias)
            });
            assert_eq!(ours.clone().count(), if has_bias { 4 } else { 3 });
            ours.zip(theirs).for_each(|(ours, theirs)| close(ours, theirs));
        }
    }
}
