//! Custom operations of the CPU backend, each with its own backward pass.

mod attention;
mod conv;
mod cross_entropy;
mod gelu;
mod layer_norm;
mod linear;
mod lstm;
mod norm;
mod pool;

use attention::Attention;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use norm::Norm;

/// Whether these operations are available, which is the case in builds where every tensor is on the CPU.
pub(crate) const AVAILABLE: bool = !cfg!(any(feature = "cuda", feature = "wgpu"));

/// Runs an LSTM layer over all steps. `inputs` are `[batch, steps, width]`; `input_weight` is `[width, 4 hidden]` and `bias` is
/// `[4 hidden]`, with gates in the order `[i, f, g, o]`; `weight`, for the state, is `[hidden, 4 hidden]`; `mask` is
/// `[batch, steps]`, 0 for padding steps, which leave the state unchanged. Returns the states: `[batch, steps, hidden]`.
pub(crate) fn lstm(
    inputs: Tensor<3>,
    input_weight: Tensor<2>,
    bias: Tensor<1>,
    weight: Tensor<2>,
    mask: Tensor<2>,
    is_reversed: bool,
) -> Tensor<3> {
    let (inputs, input_weight, bias) = (inputs.into_dispatch(), input_weight.into_dispatch(), bias.into_dispatch());
    let (weight, mask) = (weight.into_dispatch(), mask.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::lstm(inputs, input_weight, bias, weight, mask, is_reversed))
}

/// Convolves `[batch, in, height, width]` with `[out, in, kernel, kernel]`, padding with zeros: `[batch, out, height, width]`.
pub(crate) fn convolve(images: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Operations>::convolve(images.into_dispatch(), weight.into_dispatch(), stride, padding))
}

/// Like [`convolve`], then applies each channel's scale and shift, `[2, out]`, adds the residual, if any, and clamps to the
/// bounds. Not differentiable.
pub(crate) fn convolve_with_epilogue(
    images: Tensor<4>,
    weight: Tensor<4>,
    affine: Tensor<2>,
    residual: Option<Tensor<4>>,
    [low, high]: [f32; 2],
    [stride, padding]: [usize; 2],
) -> Tensor<4> {
    let residual = residual.unwrap_or_else(|| Tensor::zeros([0, 0, 0, 0], &affine.device()));
    let (images, weight) = (images.into_dispatch(), weight.into_dispatch());
    let (affine, residual) = (affine.into_dispatch(), residual.into_dispatch());
    let out = <Dispatch as Operations>::convolve_with_epilogue(images, weight, affine, residual, low, high, stride, padding);
    Tensor::from_dispatch(out)
}

/// Computes means, then variances, of each channel of `[batch, channels, height, width]`: `[2, channels]`. Not differentiable.
pub(crate) fn moments(images: Tensor<4>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Operations>::moments(images.into_dispatch()))
}

/// Normalizes channels by moments `[2, channels]`, then applies each channel's scale and shift, then clamps to the bounds. The
/// backward pass assumes that the moments are those of the images.
pub(crate) fn normalize(
    images: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    moments: Tensor<2>,
    epsilon: f64,
    [low, high]: [f32; 2],
) -> Tensor<4> {
    let (images, moments) = (images.into_dispatch(), moments.into_dispatch());
    let (scale, shift) = (scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::normalize(images, scale, shift, moments, epsilon as f32, low, high))
}

/// Max pooling over square windows of `[batch, channels, height, width]`.
pub(crate) fn max_pool(images: Tensor<4>, kernel: usize, stride: usize, padding: usize) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Operations>::max_pool(images.into_dispatch(), kernel, stride, padding))
}

/// Applies the Gaussian error linear unit to every value.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Operations>::gelu(x.into_dispatch()))
}

/// Multiplies `[.., from]` by a weight `[from, to]` and adds a bias `[to]`: `[.., to]`.
pub(crate) fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<D> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::linear_layer(x, weight, bias))
}

/// Normalizes the last dimension to mean 0 and variance 1, then applies scale and shift; `epsilon` is added to the variance.
pub(crate) fn layer_norm<const D: usize>(x: Tensor<D>, scale: Tensor<1>, shift: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let (x, scale, shift) = (x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::layer_norm(x, scale, shift, epsilon as f32))
}

/// Multi-head attention, with the heads concatenated in the last dimension: queries are `[batch, queries, width]`, keys and
/// values `[batch, keys, width]`; `mask` is `[batch, keys]`, 0 for padding keys; `factors`, if any, are
/// `[batch, heads, queries, keys]` and multiply the attention weights.
pub(crate) fn attend(
    [queries, keys, values]: [Tensor<3>; 3],
    mask: Tensor<2>,
    factors: Option<Tensor<4>>,
    heads: usize,
    is_causal: bool,
) -> Tensor<3> {
    let factors = factors.unwrap_or_else(|| Tensor::zeros([0, 0, 0, 0], &mask.device()));
    let (queries, keys, values) = (queries.into_dispatch(), keys.into_dispatch(), values.into_dispatch());
    let (mask, factors) = (mask.into_dispatch(), factors.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::attend(queries, keys, values, mask, factors, heads, is_causal))
}

/// Scores tokens and computes their costs: `hidden` is `[tokens, width]`, `weight` is `[vocabulary, width]`, `bias` is
/// `[vocabulary]`, `targets` are the target ids, `[tokens]`, and `smoothing` is the share of the target distribution spread over
/// the vocabulary. Returns `[tokens, 3]`: the smoothed cross-entropy, the only column with a gradient; the plain cross-entropy;
/// and 1 where the target id is the most probable one, else 0.
pub(crate) fn token_costs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    targets: Tensor<1>,
    smoothing: f64,
) -> Tensor<2> {
    let (hidden, weight) = (hidden.into_dispatch(), weight.into_dispatch());
    let (bias, targets) = (bias.into_dispatch(), targets.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Operations>::token_costs(hidden, weight, bias, targets, smoothing as f32))
}

#[backend_extension(Flex, Autodiff)]
trait Operations: Backend {
    fn token_costs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        smoothing: f32,
    ) -> FloatTensor<Self>;

    fn lstm(
        inputs: FloatTensor<Self>,
        input_weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        is_reversed: bool,
    ) -> FloatTensor<Self>;

    fn convolve(images: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize, padding: usize) -> FloatTensor<Self>;

    #[allow(clippy::too_many_arguments)] // Operations of a backend extension can only take tensors and numbers.
    fn convolve_with_epilogue(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        affine: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        low: f32,
        high: f32,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self>;

    fn max_pool(images: FloatTensor<Self>, kernel: usize, stride: usize, padding: usize) -> FloatTensor<Self>;

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    fn linear_layer(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    fn layer_norm(x: FloatTensor<Self>, scale: FloatTensor<Self>, shift: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self>;

    fn attend(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        heads: usize,
        is_causal: bool,
    ) -> FloatTensor<Self>;

    fn moments(images: FloatTensor<Self>) -> FloatTensor<Self>;

    fn normalize(
        images: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        epsilon: f32,
        low: f32,
        high: f32,
    ) -> FloatTensor<Self>;
}

impl Operations for Flex {
    fn token_costs(hidden: FlexTensor, weight: FlexTensor, bias: FlexTensor, targets: FlexTensor, smoothing: f32) -> FlexTensor {
        cross_entropy::run([hidden, weight, bias, targets], smoothing).1
    }

    fn lstm(
        inputs: FlexTensor,
        input_weight: FlexTensor,
        bias: FlexTensor,
        weight: FlexTensor,
        mask: FlexTensor,
        is_reversed: bool,
    ) -> FlexTensor {
        lstm::run([inputs, input_weight, bias, weight, mask], is_reversed).hidden
    }

    fn convolve(images: FlexTensor, weight: FlexTensor, stride: usize, padding: usize) -> FlexTensor {
        conv::run(images, weight, stride, padding).1
    }

    fn convolve_with_epilogue(
        images: FlexTensor,
        weight: FlexTensor,
        affine: FlexTensor,
        residual: FlexTensor,
        low: f32,
        high: f32,
        stride: usize,
        padding: usize,
    ) -> FlexTensor {
        conv::run_with_epilogue([images, weight, affine, residual], [low, high], stride, padding)
    }

    fn max_pool(images: FlexTensor, kernel: usize, stride: usize, padding: usize) -> FlexTensor {
        pool::run(images, kernel, stride, padding).out()
    }

    fn gelu(x: FlexTensor) -> FlexTensor {
        gelu::run(&x.to_contiguous())
    }

    fn linear_layer(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        linear::run(x, weight, bias).1
    }

    fn layer_norm(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, epsilon: f32) -> FlexTensor {
        layer_norm::run(x, scale, shift, epsilon).1
    }

    fn attend(
        queries: FlexTensor,
        keys: FlexTensor,
        values: FlexTensor,
        mask: FlexTensor,
        factors: FlexTensor,
        heads: usize,
        is_causal: bool,
    ) -> FlexTensor {
        attention::run([queries, keys, values, mask, factors], Attention { heads, is_causal }).1
    }

    fn moments(images: FlexTensor) -> FlexTensor {
        norm::moments(images)
    }

    fn normalize(
        images: FlexTensor,
        scale: FlexTensor,
        shift: FlexTensor,
        moments: FlexTensor,
        epsilon: f32,
        low: f32,
        high: f32,
    ) -> FlexTensor {
        norm::run(images, scale, shift, moments, Norm { epsilon, bounds: [low, high] }).out()
    }
}

impl<C: CheckpointStrategy> Operations for Autodiff<Flex, C> {
    fn token_costs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        smoothing: f32,
    ) -> FloatTensor<Self> {
        cross_entropy::tracked::<C>([hidden, weight, bias, targets], smoothing)
    }

    fn lstm(
        inputs: FloatTensor<Self>,
        input_weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        is_reversed: bool,
    ) -> FloatTensor<Self> {
        lstm::tracked::<C>([inputs, input_weight, bias, weight, mask], is_reversed)
    }

    fn convolve(images: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize, padding: usize) -> FloatTensor<Self> {
        conv::tracked::<C>(images, weight, stride, padding)
    }

    fn convolve_with_epilogue(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        affine: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        low: f32,
        high: f32,
        stride: usize,
        padding: usize,
    ) -> FloatTensor<Self> {
        let tensors = [images, weight, affine, residual].map(|tensor| tensor.into_primitive());
        <Self as AutodiffBackend>::from_inner(conv::run_with_epilogue(tensors, [low, high], stride, padding))
    }

    fn max_pool(images: FloatTensor<Self>, kernel: usize, stride: usize, padding: usize) -> FloatTensor<Self> {
        pool::tracked::<C>(images, kernel, stride, padding)
    }

    fn gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::tracked::<C>(x)
    }

    fn linear_layer(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        linear::tracked::<C>(x, weight, bias)
    }

    fn layer_norm(x: FloatTensor<Self>, scale: FloatTensor<Self>, shift: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        layer_norm::tracked::<C>(x, scale, shift, epsilon)
    }

    fn attend(
        queries: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        factors: FloatTensor<Self>,
        heads: usize,
        is_causal: bool,
    ) -> FloatTensor<Self> {
        attention::tracked::<C>([queries, keys, values, mask, factors], Attention { heads, is_causal })
    }

    fn moments(images: FloatTensor<Self>) -> FloatTensor<Self> {
        <Self as AutodiffBackend>::from_inner(norm::moments(images.into_primitive()))
    }

    fn normalize(
        images: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        moments: FloatTensor<Self>,
        epsilon: f32,
        low: f32,
        high: f32,
    ) -> FloatTensor<Self> {
        norm::tracked::<C>(images, scale, shift, moments, Norm { epsilon, bounds: [low, high] })
    }
}

/// Returns the values of a contiguous tensor as a slice.
fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("tensors in this crate are f32, and this one is contiguous")
}
