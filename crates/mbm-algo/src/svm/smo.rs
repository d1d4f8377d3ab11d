//! Sequential minimal optimization with second-order working-set selection (Fan, Chen and Lin 2005, "Working Set Selection
//! Using Second Order Information for Training SVM"; the problem form is LIBSVM's).

/// `min 1/2 a'Qa + p'a` subject to `y'a = 0` and `0 <= a_i <= c_i`, with `Q_ij = y_i y_j K_ij`.
pub(super) struct DualProblem<'a> {
    /// The linear term.
    pub p: Vec<f64>,
    /// Signs, +1 or -1.
    pub y: Vec<f64>,
    /// Upper bounds.
    pub c: Vec<f64>,
    /// Writes kernel row `i` (without the signs) into the buffer.
    pub kernel_row: &'a dyn Fn(usize, &mut Vec<f32>),
    /// `K_ii`.
    pub diagonal: &'a dyn Fn(usize) -> f64,
}

/// The multipliers and the offset: `f(x) = sum y_i a_i K(x_i, x) - rho`.
pub(super) struct Solution {
    pub alpha: Vec<f64>,
    pub rho: f64,
}

/// Lower bound of the curvature, which avoids division by zero along flat directions.
const TAU: f64 = 1e-12;

impl DualProblem<'_> {
    /// Solves until the optimality conditions are violated by less than `tolerance`, in at most `max(100 n, 10,000,000)` steps.
    pub fn solve(&self, tolerance: f64) -> Solution {
        let n = self.p.len();
        let mut alpha = vec![0.0; n];
        let mut gradient = self.p.clone();
        let (mut row_i, mut row_j) = (Vec::new(), Vec::new());
        for _ in 0..(100 * n).max(10_000_000) {
            let Some(i) = self.most_violating(&alpha, &gradient) else { break };
            (self.kernel_row)(i, &mut row_i);
            let Some(j) = self.partner(i, &row_i, &alpha, &gradient, tolerance) else { break };
            (self.kernel_row)(j, &mut row_j);
            let (old_i, old_j) = (alpha[i], alpha[j]);
            self.step(i, j, f64::from(row_i[j]), &mut alpha, &gradient);
            let (by_i, by_j) = (self.y[i] * (alpha[i] - old_i), self.y[j] * (alpha[j] - old_j));
            for (t, g) in gradient.iter_mut().enumerate() {
                *g += self.y[t] * (by_i * f64::from(row_i[t]) + by_j * f64::from(row_j[t]));
            }
        }
        let rho = self.offset(&alpha, &gradient);
        Solution { alpha, rho }
    }

    fn can_rise(&self, t: usize, alpha: f64) -> bool {
        if self.y[t] > 0.0 { alpha < self.c[t] } else { alpha > 0.0 }
    }

    fn can_fall(&self, t: usize, alpha: f64) -> bool {
        if self.y[t] > 0.0 { alpha > 0.0 } else { alpha < self.c[t] }
    }

    fn most_violating(&self, alpha: &[f64], gradient: &[f64]) -> Option<usize> {
        let rising = (0..alpha.len()).filter(|&t| self.can_rise(t, alpha[t]));
        rising.max_by(|&a, &b| (-self.y[a] * gradient[a]).total_cmp(&(-self.y[b] * gradient[b])))
    }

    /// Returns the `j` that promises the largest decrease together with `i`; `None` at the optimum.
    fn partner(&self, i: usize, row: &[f32], alpha: &[f64], gradient: &[f64], tolerance: f64) -> Option<usize> {
        let top = -self.y[i] * gradient[i];
        let k_ii = (self.diagonal)(i);
        let (mut best, mut best_gain, mut lowest) = (None, 0.0, f64::INFINITY);
        for t in (0..alpha.len()).filter(|&t| self.can_fall(t, alpha[t])) {
            let value = -self.y[t] * gradient[t];
            lowest = lowest.min(value);
            let gap = top - value;
            if gap > 0.0 {
                let curve = (k_ii + (self.diagonal)(t) - 2.0 * f64::from(row[t])).max(TAU);
                let gain = gap * gap / curve;
                if gain > best_gain {
                    (best, best_gain) = (Some(t), gain);
                }
            }
        }
        best.filter(|_| top - lowest >= tolerance)
    }

    /// Moves the pair along `y'a = 0` to its minimum within the box constraints.
    fn step(&self, i: usize, j: usize, k_ij: f64, alpha: &mut [f64], gradient: &[f64]) {
        let curve = ((self.diagonal)(i) + (self.diagonal)(j) - 2.0 * k_ij).max(TAU);
        let wanted = (-self.y[i] * gradient[i] + self.y[j] * gradient[j]) / curve;
        let room_i = if self.y[i] > 0.0 { self.c[i] - alpha[i] } else { alpha[i] };
        let room_j = if self.y[j] > 0.0 { alpha[j] } else { self.c[j] - alpha[j] };
        let by = wanted.min(room_i).min(room_j);
        alpha[i] = (alpha[i] + self.y[i] * by).clamp(0.0, self.c[i]);
        alpha[j] = (alpha[j] - self.y[j] * by).clamp(0.0, self.c[j]);
    }

    fn offset(&self, alpha: &[f64], gradient: &[f64]) -> f64 {
        let (mut upper, mut lower, mut sum, mut n_free) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0usize);
        for t in 0..alpha.len() {
            let value = self.y[t] * gradient[t];
            if alpha[t] > 0.0 && alpha[t] < self.c[t] {
                (sum, n_free) = (sum + value, n_free + 1);
            }
            if self.can_rise(t, alpha[t]) {
                upper = upper.min(value);
            }
            if self.can_fall(t, alpha[t]) {
                lower = lower.max(value);
            }
        }
        if n_free > 0 { sum / n_free as f64 } else { (upper + lower) / 2.0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn solution_is_feasible_and_optimal(
            points in proptest::collection::vec((-1f32..1.0, -1f32..1.0, any::<bool>()), 2..40),
            c in 0.1f64..10.0,
        ) {
            let n = points.len();
            let kernel = |i: usize, j: usize| (1.0 + points[i].0 * points[j].0 + points[i].1 * points[j].1).powi(2);
            let kernel_row = |i: usize, out: &mut Vec<f32>| *out = (0..n).map(|j| kernel(i, j)).collect();
            let diagonal = |i: usize| f64::from(kernel(i, i));
            let y: Vec<f64> = points.iter().map(|point| if point.2 { 1.0 } else { -1.0 }).collect();
            let problem = DualProblem { p: vec![-1.0; n], y: y.clone(), c: vec![c; n], kernel_row: &kernel_row, diagonal: &diagonal };
            let Solution { alpha, rho } = problem.solve(1e-3);
            prop_assert!(alpha.iter().all(|a| (0.0..=c).contains(a)), "{alpha:?}");
            prop_assert!(alpha.iter().zip(&y).map(|(a, y)| a * y).sum::<f64>().abs() < 1e-9 * c * n as f64);
            // With rows of both sides: alpha is 0 beyond the margin, c within it, and in between on it.
            prop_assume!(y.contains(&1.0) && y.contains(&-1.0));
            for i in 0..n {
                let decision: f64 = (0..n).map(|j| alpha[j] * y[j] * f64::from(kernel(i, j))).sum::<f64>() - rho;
                let margin = y[i] * decision;
                prop_assert!(alpha[i] > 0.0 || margin > 1.0 - 5e-3, "row {i}: alpha 0, margin {margin}");
                prop_assert!(alpha[i] < c || margin < 1.0 + 5e-3, "row {i}: alpha c, margin {margin}");
            }
        }
    }
}
