//! A linear layer, rows times weight plus bias, and its gradients.

use rayon::prelude::*;

use crate::matrix::{Matrix, multiply};

/// Number of multiplications from which on a product is shared among threads.
const SHARED: usize = 1 << 20;

/// Multiplies rows `[n, from]` by a weight `[from, to]` and adds a bias `[to]`: `[n, to]`.
///
/// # Panics
/// If the lengths of the slices do not match.
pub fn linear(rows: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let [n, from, to] = sizes(rows, weight, bias.len());
    let mut out = bias.repeat(n);
    multiply(&mut out, to, Matrix::rows(rows, [n, from]), Matrix::rows(weight, [from, to]), true, n * from * to >= SHARED);
    out
}

/// Computes the gradient of the rows from that of the output `[n, to]` and the weight `[from, to]`: `[n, from]`.
///
/// # Panics
/// As [`linear`].
pub fn linear_rows_backward(gradient: &[f32], weight: &[f32], to: usize) -> Vec<f32> {
    let from = weight.len() / to;
    let [n, _, _] = sizes(gradient, weight, from);
    let mut out = vec![0.0; n * from];
    let weight = Matrix::rows(weight, [from, to]).transposed();
    multiply(&mut out, from, Matrix::rows(gradient, [n, to]), weight, false, n * from * to >= SHARED);
    out
}

/// Computes the gradient of the weight from the rows `[n, from]` and the gradient of the output `[n, to]`: `[from, to]`.
///
/// # Panics
/// As [`linear`].
pub fn linear_weight_backward(rows: &[f32], gradient: &[f32], [from, to]: [usize; 2]) -> Vec<f32> {
    assert!(from > 0 && rows.len().is_multiple_of(from), "the rows have {} values, not a multiple of {from}", rows.len());
    let n = rows.len() / from;
    assert!(gradient.len() == n * to, "the gradient has {} values, expected {n} rows of {to}", gradient.len());
    let mut out = vec![0.0; from * to];
    let rows = Matrix::rows(rows, [n, from]).transposed();
    multiply(&mut out, to, rows, Matrix::rows(gradient, [n, to]), false, n * from * to >= SHARED);
    out
}

/// Computes the gradient of the bias from that of the output `[n, to]`: `[to]`.
pub fn linear_bias_backward(gradient: &[f32], to: usize) -> Vec<f32> {
    let n = gradient.len() / to.max(1);
    let share = n.div_ceil(rayon::current_num_threads()).max(64);
    let parts: Vec<Vec<f32>> = gradient.par_chunks((share * to).max(1)).map(|rows| column_sums(rows, to)).collect();
    let mut out = vec![0.0; to];
    parts.iter().for_each(|part| out.iter_mut().zip(part).for_each(|(sum, value)| *sum += value));
    out
}

fn column_sums(rows: &[f32], n_cols: usize) -> Vec<f32> {
    let mut sums = vec![0.0; n_cols];
    rows.chunks_exact(n_cols).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
    sums
}

/// Returns `[n, from, to]`: the number of rows and the sizes of the weight.
fn sizes(rows: &[f32], weight: &[f32], to: usize) -> [usize; 3] {
    assert!(to > 0 && weight.len().is_multiple_of(to), "the weight has {} values, not a multiple of {to}", weight.len());
    let from = weight.len() / to;
    assert!(from > 0 && rows.len().is_multiple_of(from), "the rows have {} values, not a multiple of {from}", rows.len());
    [rows.len() / from, from, to]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|at| (at as f32 * step).cos()).collect()
    }

    /// Returns `[rows, columns]` with the elements `sum over it of left(row, it) * right(it, column)`.
    fn product(dims: [usize; 3], left: impl Fn(usize, usize) -> f32, right: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let [rows, inner, columns] = dims;
        let place = |at: usize| (0..inner).map(|it| left(at / columns, it) * right(it, at % columns)).sum();
        (0..rows * columns).map(place).collect()
    }

    fn is_close(found: &[f32], want: &[f32]) -> bool {
        found.len() == want.len() && found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-4)
    }

    proptest! {
        #[test]
        fn linear_and_its_gradients_match_the_definition(n in 0usize..300, from in 1usize..9, to in 1usize..9) {
            let (rows, weight, bias, gradient) = (wave(n * from, 0.71), wave(from * to, 0.37), wave(to, 1.3), wave(n * to, 0.53));
            let mut want = product([n, from, to], |row, it| rows[row * from + it], |it, column| weight[it * to + column]);
            want.iter_mut().enumerate().for_each(|(at, value)| *value += bias[at % to]);
            prop_assert!(is_close(&linear(&rows, &weight, &bias), &want));
            let want = product([n, to, from], |row, it| gradient[row * to + it], |it, column| weight[column * to + it]);
            prop_assert!(is_close(&linear_rows_backward(&gradient, &weight, to), &want));
            let want = product([1, n, to], |_, _| 1.0, |it, column| gradient[it * to + column]);
            prop_assert!(is_close(&linear_bias_backward(&gradient, to), &want));
            let want = product([from, n, to], |row, it| rows[it * from + row], |it, column| gradient[it * to + column]);
            prop_assert!(is_close(&linear_weight_backward(&rows, &gradient, [from, to]), &want));
        }
    }
}
