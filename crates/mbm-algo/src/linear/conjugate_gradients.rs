//! Conjugate gradients for ridge regression (Björck and Elfving 1979): solves `(A'A + alpha I) W = A'Y` from products with `A`
//! alone.
//!
//! The equations are scaled by their diagonal, so that columns of different scale converge together.

use super::centered::Centered;

/// Most steps.
const MAX_ITERATIONS: usize = 300;
/// Ends when the residual of each target has shrunk by this factor.
const TOLERANCE: f64 = 1e-4;

/// Returns `W`, `[n_cols, n_targets]`, from `Y` `[n_rows, n_targets]`.
pub(super) fn solve(a: &Centered, y: &[f64], n_targets: usize, alpha: f64) -> Vec<f64> {
    let scales: Vec<f64> = a.squared_norms().iter().map(|norm| 1.0 / (norm + alpha)).collect();
    let scaled = |values: &[f64]| {
        let rows = values.chunks_exact(n_targets).zip(&scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |value| value * scale)).collect::<Vec<f64>>()
    };
    let mut residuals = a.transposed_times(y, n_targets);
    let mut solution = vec![0.0; residuals.len()];
    let mut directions = scaled(&residuals);
    let mut sizes = inner_products(&residuals, &directions, n_targets);
    let goals: Vec<f64> = sizes.iter().map(|size| size * TOLERANCE * TOLERANCE).collect();
    for _ in 0..MAX_ITERATIONS {
        if sizes.iter().zip(&goals).all(|(size, goal)| size <= goal) {
            break;
        }
        let mut images = a.transposed_times(&a.times(&directions, n_targets), n_targets);
        images.iter_mut().zip(&directions).for_each(|(image, direction)| *image += alpha * direction);
        let curvatures = inner_products(&directions, &images, n_targets);
        let steps = ratios(&sizes, &curvatures);
        add_multiples(&mut solution, &steps, &directions);
        add_multiples(&mut residuals, &steps.iter().map(|step| -step).collect::<Vec<_>>(), &images);
        let next = scaled(&residuals);
        let next_sizes = inner_products(&residuals, &next, n_targets);
        let factors = ratios(&next_sizes, &sizes);
        directions.iter_mut().zip(factors.iter().cycle()).for_each(|(direction, factor)| *direction *= factor);
        add_multiples(&mut directions, &vec![1.0; n_targets], &next);
        sizes = next_sizes;
    }
    solution
}

/// Returns the quotients, and 0 for a target that is solved exactly.
fn ratios(numerators: &[f64], denominators: &[f64]) -> Vec<f64> {
    numerators.iter().zip(denominators).map(|(a, b)| if *b > 0.0 { a / b } else { 0.0 }).collect()
}

/// Returns the inner product of each pair of columns of two matrices `[n, n_targets]`.
fn inner_products(a: &[f64], b: &[f64], n_targets: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n_targets];
    for (a, b) in a.chunks_exact(n_targets).zip(b.chunks_exact(n_targets)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums
}

/// Adds each column of `values` times its factor.
fn add_multiples(to: &mut [f64], factors: &[f64], values: &[f64]) {
    to.iter_mut().zip(values).zip(factors.iter().cycle()).for_each(|((to, value), factor)| *to += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn solution_meets_the_normal_equations_despite_different_scales() {
        let (n_rows, n_cols, n_targets) = (120, 6, 2);
        let scale = |column: usize| 10f32.powi(column as i32 - 2);
        let data: Vec<f32> = (0..n_rows * n_cols).map(|at| ((at * at) as f32 * 0.71).sin() * scale(at % n_cols)).collect();
        let a = Centered::new(Matrix { data: &data, n_cols }.into(), &vec![1.0; n_rows]);
        let y: Vec<f64> = (0..n_rows * n_targets).map(|at| (at as f64 * 0.3).cos()).collect();
        let weights = solve(&a, &y, n_targets, 0.5);
        let errors: Vec<f64> = a.times(&weights, n_targets).iter().zip(&y).map(|(fitted, y)| y - fitted).collect();
        let pulls = a.transposed_times(&errors, n_targets);
        let moments = a.transposed_times(&y, n_targets);
        let size = moments.iter().fold(0.0, |top: f64, moment| moment.abs().max(top));
        assert!(pulls.iter().zip(&weights).all(|(pull, weight)| (pull - 0.5 * weight).abs() < 1e-4 * size));
    }

    #[test]
    fn targets_of_zero_have_no_weights() {
        let a = Centered::new(Matrix { data: &[1.0, 2.0, 3.0], n_cols: 1 }.into(), &[1.0; 3]);
        assert_eq!(solve(&a, &[0.0; 3], 1, 1.0), [0.0]);
    }
}
