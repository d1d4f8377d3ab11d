//! Eigenvalues and eigenvectors of symmetric matrices, by Jacobi rotations (Golub and Van Loan 2013, section 8.5).

/// Most sweeps over all pairs; each squares the size of what is off the diagonal, so a few suffice.
const MAX_SWEEPS: usize = 30;

/// Returns the eigenvalues of a symmetric matrix `[n, n]` in descending order, and the eigenvectors as rows, `[n, n]`.
pub(crate) fn eigen(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|k| vectors[k * n + k] = 1.0);
    let size: f64 = matrix.iter().map(|value| value * value).sum();
    for _ in 0..MAX_SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i * n + j].powi(2)).sum();
        if off <= size * f64::EPSILON * f64::EPSILON {
            break;
        }
        for i in 0..n {
            for j in i + 1..n {
                rotate(&mut matrix, &mut vectors, n, (i, j));
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]));
    let rows = order.iter().flat_map(|&k| vectors[k * n..(k + 1) * n].iter().copied());
    (order.iter().map(|&k| matrix[k * n + k]).collect(), rows.collect())
}

/// Makes the value at `(i, j)` zero by a rotation of rows and columns `i` and `j`.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, (i, j): (usize, usize)) {
    let off = matrix[i * n + j];
    if off == 0.0 {
        return;
    }
    let slope = (matrix[j * n + j] - matrix[i * n + i]) / (2.0 * off);
    let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    for k in 0..n {
        let (a, b) = (matrix[k * n + i], matrix[k * n + j]);
        (matrix[k * n + i], matrix[k * n + j]) = (cosine * a - sine * b, sine * a + cosine * b);
    }
    rotate_rows(matrix, n, (i, j), (cosine, sine));
    rotate_rows(vectors, n, (i, j), (cosine, sine));
}

fn rotate_rows(matrix: &mut [f64], n: usize, (i, j): (usize, usize), (cosine, sine): (f64, f64)) {
    let (above, below) = matrix.split_at_mut(j * n);
    for (a, b) in above[i * n..(i + 1) * n].iter_mut().zip(&mut below[..n]) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvalues_of_a_known_matrix() {
        let (values, vectors) = eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
        assert!((values[0] - 3.0).abs() < 1e-14 && (values[1] - 1.0).abs() < 1e-14, "{values:?}");
        assert!((vectors[0] - vectors[1]).abs() < 1e-14 && (vectors[2] + vectors[3]).abs() < 1e-14, "{vectors:?}");
    }

    proptest::proptest! {
        #[test]
        fn vectors_are_orthonormal_and_reproduce_the_matrix(n in 1usize..14, values in proptest::collection::vec(-1f64..1.0, 196)) {
            let matrix: Vec<f64> = (0..n * n).map(|at| values[at / n * n + at % n] + values[at % n * n + at / n]).collect();
            let (eigenvalues, vectors) = eigen(matrix.clone(), n);
            proptest::prop_assert!(eigenvalues.is_sorted_by(|a, b| a >= b));
            for i in 0..n {
                for j in 0..n {
                    let overlap: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                    proptest::prop_assert!((overlap - f64::from(u8::from(i == j))).abs() < 1e-12);
                    let got: f64 = (0..n).map(|k| eigenvalues[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    proptest::prop_assert!((got - matrix[i * n + j]).abs() < 1e-12);
                }
            }
        }
    }
}
