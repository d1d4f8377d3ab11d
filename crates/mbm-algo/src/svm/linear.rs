//! Dual coordinate descent for linear machines with the hinge loss (Hsieh et al. 2008, "A Dual Coordinate Descent Method for
//! Large-scale Linear SVM", algorithm 3: rows that stay at a bound are shrunk until the others have converged).

use crate::Matrix;
use crate::linear_algebra::dot;

/// Rows, their signs and the upper bounds of their multipliers.
pub(super) struct LinearProblem<'a> {
    pub x: Matrix<'a>,
    /// 1 or -1.
    pub y: Vec<f64>,
    pub c: Vec<f64>,
}

/// Multipliers of the rows and the resulting weights; the intercept is the weight of a constant column and penalized, as in
/// LIBLINEAR.
pub(super) struct Solution {
    pub alpha: Vec<f64>,
    pub weights: Vec<f32>,
    pub intercept: f64,
}

/// The range of gradients within which a row at a bound stays active.
#[derive(Clone, Copy)]
struct Bounds {
    highest: f64,
    lowest: f64,
}

/// Maximum number of passes over the active rows; convergence takes dozens, and thousands for a large `C`.
const MAX_PASSES: usize = 10_000;
/// Number of passes after which shrunk rows are reactivated even without convergence: two nearly identical rows can trade their
/// multipliers for thousands of passes.
const MAX_PASSES_SHUT: usize = 100;
const OPEN: Bounds = Bounds { highest: f64::INFINITY, lowest: f64::NEG_INFINITY };
const NONE: Bounds = Bounds { highest: f64::NEG_INFINITY, lowest: f64::INFINITY };

impl LinearProblem<'_> {
    /// Descends from multipliers between 0 and `C` until the projected gradients span less than `tolerance`.
    pub fn solve(&self, alpha: Vec<f64>, tolerance: f64) -> Solution {
        let n = self.x.n_rows();
        let mut solution = self.started(alpha);
        let squares: Vec<f64> = (0..n).map(|i| f64::from(dot(self.x.row(i), self.x.row(i))) + 1.0).collect();
        let mut order: Vec<usize> = (0..n).collect();
        let (mut n_active, mut bounds) = (n, OPEN);
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for pass in 1..=MAX_PASSES {
            let seen = self.pass(&mut solution, &squares, &mut order, &mut n_active, bounds, &mut random);
            let has_converged = seen.highest - seen.lowest < tolerance;
            if has_converged && n_active == n {
                break;
            }
            if has_converged || pass % MAX_PASSES_SHUT == 0 {
                (n_active, bounds) = (n, OPEN);
            } else {
                let highest = if seen.highest > 0.0 { seen.highest } else { f64::INFINITY };
                bounds = Bounds { highest, lowest: if seen.lowest < 0.0 { seen.lowest } else { f64::NEG_INFINITY } };
            }
        }
        solution
    }

    /// Updates each active row once, shrinks rows that stay at a bound, and returns the range of the projected gradients.
    fn pass(
        &self,
        solution: &mut Solution,
        squares: &[f64],
        order: &mut [usize],
        n_active: &mut usize,
        bounds: Bounds,
        random: &mut u64,
    ) -> Bounds {
        shuffle(&mut order[..*n_active], random);
        let mut seen = NONE;
        let mut at = 0;
        while at < *n_active {
            let i = order[at];
            let gradient = self.y[i] * (f64::from(dot(&solution.weights, self.x.row(i))) + solution.intercept) - 1.0;
            let (is_zero, is_full) = (solution.alpha[i] <= 0.0, solution.alpha[i] >= self.c[i]);
            if (is_zero && gradient > bounds.highest) || (is_full && gradient < bounds.lowest) {
                *n_active -= 1;
                order.swap(at, *n_active);
                continue;
            }
            let projected = if is_zero {
                gradient.min(0.0)
            } else if is_full {
                gradient.max(0.0)
            } else {
                gradient
            };
            seen = Bounds { highest: seen.highest.max(projected), lowest: seen.lowest.min(projected) };
            if projected.abs() > 1e-12 {
                let old = solution.alpha[i];
                let moved = (old - gradient / squares[i]).clamp(0.0, self.c[i]);
                self.add(solution, i, moved - old);
                solution.alpha[i] = moved;
            }
            at += 1;
        }
        seen
    }

    fn started(&self, alpha: Vec<f64>) -> Solution {
        let nothing = vec![0.0; alpha.len()];
        let mut solution = Solution { alpha: nothing, weights: vec![0.0; self.x.n_cols], intercept: 0.0 };
        (0..alpha.len()).filter(|i| alpha[*i] > 0.0).for_each(|i| self.add(&mut solution, i, alpha[i]));
        solution
    }

    fn add(&self, solution: &mut Solution, i: usize, step: f64) {
        solution.alpha[i] += step;
        let by = step * self.y[i];
        solution.weights.iter_mut().zip(self.x.row(i)).for_each(|(w, value)| *w += by as f32 * value);
        solution.intercept += by;
    }
}

/// Shuffles by Fisher-Yates with xorshift: the same order on every run.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for i in (1..order.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(i, (*random % (i as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn optimality_conditions_hold_from_any_start(
            points in proptest::collection::vec((-1f32..1.0, -1f32..1.0, proptest::bool::ANY), 2..60),
            c in 0.1f64..10.0,
            starts in proptest::collection::vec(0f64..1.0, 60),
        ) {
            let data: Vec<f32> = points.iter().flat_map(|point| [point.0, point.1]).collect();
            let y: Vec<f64> = points.iter().map(|point| if point.2 { 1.0 } else { -1.0 }).collect();
            let n = points.len();
            let problem = LinearProblem { x: Matrix { data: &data, n_cols: 2 }, y, c: vec![c; n] };
            for start in [vec![0.0; n], starts[..n].iter().map(|share| share * c).collect()] {
                let Solution { alpha, weights, intercept } = problem.solve(start, 1e-4);
                for (i, alpha) in alpha.into_iter().enumerate() {
                    let margin = problem.y[i] * (f64::from(dot(&weights, problem.x.row(i))) + intercept);
                    proptest::prop_assert!((0.0..=c).contains(&alpha));
                    proptest::prop_assert!(alpha > 0.0 || margin > 1.0 - 1e-3, "row {i}: alpha 0, margin {margin}");
                    proptest::prop_assert!(alpha < c || margin < 1.0 + 1e-3, "row {i}: alpha c, margin {margin}");
                }
            }
        }
    }
}
