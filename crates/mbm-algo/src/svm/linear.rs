//! Dual coordinate descent for linear machines with the hinge loss (Hsieh et al. 2008, "A Dual Coordinate Descent Method for
//! Large-scale Linear SVM", algorithm 3 with shrinking by the projected gradient).

use crate::Matrix;
use crate::linear_algebra::dot;

/// Weights and intercept; the intercept is the weight of a constant column, penalised as LIBLINEAR does.
pub(super) fn fit(x: Matrix, y: &[f64], c: &[f64], tolerance: f64) -> (Vec<f32>, f32) {
    let n = x.n_rows();
    let mut weights = vec![0f32; x.n_cols];
    let mut intercept = 0f64;
    let mut alpha = vec![0f64; n];
    let squares: Vec<f64> = (0..n).map(|i| f64::from(dot(x.row(i), x.row(i))) + 1.0).collect();
    let mut order: Vec<usize> = (0..n).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..1000 {
        shuffle(&mut order, &mut random);
        let (mut highest, mut lowest) = (f64::NEG_INFINITY, f64::INFINITY);
        for &i in &order {
            let gradient = y[i] * (f64::from(dot(&weights, x.row(i))) + intercept) - 1.0;
            let projected = match alpha[i] {
                a if a <= 0.0 => gradient.min(0.0),
                a if a >= c[i] => gradient.max(0.0),
                _ => gradient,
            };
            (highest, lowest) = (highest.max(projected), lowest.min(projected));
            if projected.abs() > 1e-12 {
                let old = alpha[i];
                alpha[i] = (old - gradient / squares[i]).clamp(0.0, c[i]);
                let by = (alpha[i] - old) * y[i];
                weights.iter_mut().zip(x.row(i)).for_each(|(w, value)| *w += by as f32 * value);
                intercept += by;
            }
        }
        if highest - lowest < tolerance {
            break;
        }
    }
    (weights, intercept as f32)
}

/// Fisher-Yates with xorshift: the same order on every run.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for i in (1..order.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(i, (*random % (i as u64 + 1)) as usize);
    }
}
