//! Positions of steps as vectors.

use burn::tensor::{Device, Tensor, TensorData};

/// Sines and cosines (Vaswani et al. 2017, section 3.5): `[1, steps, width]`.
pub(crate) fn sinusoids(steps: usize, width: usize, device: &Device) -> Tensor<3> {
    let value = |step: usize, column: usize| {
        let angle = step as f32 / 10_000f32.powf((column / 2 * 2) as f32 / width as f32);
        if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    let data: Vec<f32> = (0..steps).flat_map(|step| (0..width).map(move |column| value(step, column))).collect();
    Tensor::from_data(TensorData::new(data, [1, steps, width]), device)
}
