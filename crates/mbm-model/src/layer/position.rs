//! Position embeddings.

use burn::tensor::{Device, Tensor, TensorData};

/// Returns sinusoidal position embeddings (Vaswani et al. 2017, section 3.5): `[1, steps, width]`.
pub(crate) fn sinusoids(steps: usize, width: usize, device: &Device) -> Tensor<3> {
    let data: Vec<f32> = (0..steps).flat_map(|step| (0..width).map(move |column| sinusoid(step, column, width))).collect();
    Tensor::from_data(TensorData::new(data, [1, steps, width]), device)
}

fn sinusoid(step: usize, column: usize, width: usize) -> f32 {
    let angle = step as f32 / 10_000f32.powf((column / 2 * 2) as f32 / width as f32);
    if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }
}

/// Applies rotary position embeddings (Su et al. 2021), which rotate the halves of each head by angles proportional to the
/// position: `[batch, steps, heads * head]`, with the first step at position `first`.
pub(crate) fn rotated(x: Tensor<3>, n_heads: usize, first: usize) -> Tensor<3> {
    let [batch, steps, width] = x.dims();
    let half = width / n_heads / 2;
    let angles: Vec<f32> = (first..first + steps)
        .flat_map(|position| (0..half).map(move |pair| position as f32 / 10_000f32.powf(pair as f32 / half as f32)))
        .collect();
    let table = |of: fn(f32) -> f32| {
        let data: Vec<f32> = angles.iter().map(|angle| of(*angle)).collect();
        Tensor::<4>::from_data(TensorData::new(data, [1, steps, 1, half]), &x.device())
    };
    let (cos, sin) = (table(f32::cos), table(f32::sin));
    let x = x.reshape([batch, steps, n_heads, 2 * half]);
    let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let halves = vec![a.clone() * cos.clone() - b.clone() * sin.clone(), a * sin + b * cos];
    Tensor::cat(halves, 3).reshape([batch, steps, width])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn products_of_rotated_vectors_depend_only_on_distance() {
        let device = Device::flex();
        let (q, k) = (
            Tensor::<3>::random([1, 1, 8], Distribution::Normal(0.0, 1.0), &device),
            Tensor::<3>::random([1, 1, 8], Distribution::Normal(0.0, 1.0), &device),
        );
        let product =
            |at: usize, other: usize| (rotated(q.clone(), 2, at) * rotated(k.clone(), 2, other)).sum().into_scalar::<f32>();
        assert!((product(3, 1) - product(10, 8)).abs() < 1e-4);
        assert!((product(3, 1) - product(3, 2)).abs() > 1e-4);
        let all = Tensor::cat(vec![q.clone(), q.clone()], 1);
        let second = rotated(all, 2, 4).narrow(1, 1, 1);
        assert!((second - rotated(q, 2, 5)).abs().max().into_scalar::<f32>() < 1e-6);
    }
}
