//! Resizing of position embeddings to a different number of patches.

/// Resizes position embeddings, a first row and a square grid, `[1, 1 + n * n, width]`, to `dims`, a first row and `grid`, by
/// bicubic interpolation (a = -0.75, edges repeated, as in PyTorch's `interpolate(mode="bicubic", align_corners=False)`).
pub(super) fn resampled(values: Vec<f32>, dims: &[usize], grid: Option<[usize; 2]>) -> Vec<f32> {
    let width = dims[dims.len() - 1];
    let n_positions = (values.len() / width).saturating_sub(1);
    let side = n_positions.isqrt();
    let Some([rows, cols]) = grid.filter(|grid| *grid != [side, side] && side > 0) else { return values };
    let (first, square) = values.split_at(width);
    let mut out = first.to_vec();
    out.reserve(rows * cols * width);
    for row in 0..rows {
        let vertical = taps(row, rows, side);
        for col in 0..cols {
            let horizontal = taps(col, cols, side);
            let start = out.len();
            out.resize(start + width, 0.0);
            for (y, by_row) in vertical {
                for (x, by_col) in horizontal {
                    let embedding = &square[(y * side + x) * width..][..width];
                    out[start..].iter_mut().zip(embedding).for_each(|(sum, value)| *sum += by_row * by_col * value);
                }
            }
        }
    }
    out
}

/// Returns the four source positions, out of `from`, around target position `at`, out of `to`, with their weights.
fn taps(at: usize, to: usize, from: usize) -> [(usize, f32); 4] {
    const A: f32 = -0.75;
    let center = (at as f32 + 0.5) * from as f32 / to as f32 - 0.5;
    let (floor, t) = (center.floor(), center - center.floor());
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let weights = [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)];
    std::array::from_fn(|tap| {
        let position = (floor as i64 + tap as i64 - 1).clamp(0, from as i64 - 1);
        (position as usize, weights[tap])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_equal_sizes_are_the_identity() {
        for at in 0..7 {
            let sum: f32 = taps(at, 7, 4).iter().map(|(_, weight)| weight).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
        let values: Vec<f32> = (0..10).map(|it| it as f32).collect();
        assert_eq!(resampled(values.clone(), &[1, 5, 2], Some([2, 2])), values);
    }

    #[test]
    fn resized_grid_matches_pytorch() {
        // A 4 x 4 grid of values 10 y + x, resized to 8 x 6; expected values from PyTorch.
        let values: Vec<f32> = std::iter::once(-1.0).chain((0..16).map(|at| (at / 4 * 10 + at % 4) as f32)).collect();
        let out = resampled(values, &[1, 49, 1], Some([8, 6]));
        assert_eq!(out[0], -1.0);
        for (row, col, want) in [(3, 3, 14.7558), (4, 3, 18.8183), (0, 0, -1.1415), (7, 5, 34.1415)] {
            let found: f32 = out[1 + row * 6 + col];
            assert!((found - want).abs() < 1e-4, "{row}, {col}: expected {want}, found {found}");
        }
    }
}
