//! Sequential minimal optimization with second-order working-set selection (Fan, Chen and Lin 2005, "Working Set Selection
//! Using Second Order Information for Training SVM"; the problem form is LIBSVM's).

use super::kernel::Gram;

/// `min 1/2 a'Qa + p'a` subject to `y'a = 0` and `0 <= a_i <= c_i`, with `Q_ij = y_i y_j K_ij`.
pub(super) struct DualProblem<'a> {
    /// The linear term.
    pub p: Vec<f64>,
    /// Signs, +1 or -1.
    pub y: Vec<f64>,
    /// Upper bounds; a variable whose bound is 0 takes no part.
    pub c: Vec<f64>,
    /// `K`. There are as many variables as rows, or a multiple, where variable `i` belongs to row `i % rows`.
    pub gram: &'a Gram<'a>,
}

/// The multipliers and the offset: `f(x) = sum y_i a_i K(x_i, x) - rho`.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    pub alpha: Vec<f64>,
    pub rho: f64,
    /// `-y_i` times the derivative of the objective by `a_i`.
    values: Vec<f64>,
}

/// Lower bound of the curvature, which avoids division by zero along flat directions.
const TAU: f32 = 1e-12;

/// Number of running extrema, so that the compiler can use wide registers.
const N_LANES: usize = 8;

impl DualProblem<'_> {
    /// Solves until the optimality conditions are violated by less than `tolerance`, in at most `max(100 n, 10,000,000)` steps.
    pub fn solve(&self, tolerance: f64) -> Solution {
        let values = self.p.iter().zip(&self.y).map(|(p, y)| -p * y).collect();
        State::new(self, vec![0.0; self.p.len()], values).descend(tolerance)
    }

    /// Solves as [`solve`](Self::solve) does, from the solution of a problem in which fewer bounds are 0.
    pub fn solve_from(&self, start: &Solution, tolerance: f64) -> Solution {
        let mut state = State::new(self, start.alpha.clone(), start.values.clone());
        let mut imbalance = 0.0;
        for i in (0..self.c.len()).filter(|i| start.alpha[*i] > self.c[*i]) {
            imbalance -= state.shift(i, -self.y[i] * start.alpha[i]);
        }
        // Other variables take over what the removed ones have contributed to y'a.
        while imbalance != 0.0 {
            let next = if imbalance > 0.0 { state.highest() } else { state.lowest() };
            let moved = next.map_or(0.0, |i| state.shift(i, imbalance));
            if moved == 0.0 {
                break;
            }
            imbalance -= moved;
        }
        state.descend(tolerance)
    }

    /// Returns `f(x)` of the row of variable `i`.
    pub fn decision(&self, solution: &Solution, i: usize) -> f64 {
        -solution.values[i] - self.y[i] * self.p[i] - solution.rho
    }
}

/// The variables during the descent. Changes are those of `y_i a_i`, which every step keeps at a sum of 0.
struct State<'a> {
    problem: &'a DualProblem<'a>,
    alpha: Vec<f64>,
    values: Vec<f64>,
    /// 0 for the variables whose `y_i a_i` can rise, else minus infinity.
    rising: Vec<f64>,
    /// 0 for the variables whose `y_i a_i` can fall, else infinity.
    falling: Vec<f64>,
    /// Buffers for the rows of the kernel.
    scratch: [Vec<f32>; 2],
    /// The decrease that each variable promises together with the one that was chosen.
    gains: Vec<f32>,
}

impl<'a> State<'a> {
    fn new(problem: &'a DualProblem<'a>, alpha: Vec<f64>, values: Vec<f64>) -> Self {
        let n = alpha.len();
        let (rising, falling) = (vec![f64::NEG_INFINITY; n], vec![f64::INFINITY; n]);
        let mut state = Self { problem, alpha, values, rising, falling, scratch: [Vec::new(), Vec::new()], gains: vec![0.0; n] };
        (0..n).for_each(|i| state.note_bounds(i));
        state
    }

    fn descend(mut self, tolerance: f64) -> Solution {
        for _ in 0..(100 * self.alpha.len()).max(10_000_000) {
            let Some(i) = self.highest() else { break };
            let Some(j) = self.partner(i, tolerance) else { break };
            self.step(i, j);
        }
        Solution { rho: self.offset(), alpha: self.alpha, values: self.values }
    }

    fn note_bounds(&mut self, i: usize) {
        let (is_above, is_below) = (self.alpha[i] > 0.0, self.alpha[i] < self.problem.c[i]);
        let (can_rise, can_fall) = if self.problem.y[i] > 0.0 { (is_below, is_above) } else { (is_above, is_below) };
        self.rising[i] = if can_rise { 0.0 } else { f64::NEG_INFINITY };
        self.falling[i] = if can_fall { 0.0 } else { f64::INFINITY };
    }

    /// Returns the variable that can rise with the highest value.
    fn highest(&self) -> Option<usize> {
        let highest = extremum(&self.values, &self.rising, f64::NEG_INFINITY, |a, b| a > b);
        position(&self.values, &self.rising, highest)
    }

    /// Returns the variable that can fall with the lowest value.
    fn lowest(&self) -> Option<usize> {
        let lowest = extremum(&self.values, &self.falling, f64::INFINITY, |a, b| a < b);
        position(&self.values, &self.falling, lowest)
    }

    /// Returns the `j` that promises the largest decrease together with `i`; `None` at the optimum.
    fn partner(&mut self, i: usize, tolerance: f64) -> Option<usize> {
        let gram = self.problem.gram;
        let (top, k_ii) = (self.values[i], gram.diagonal(i % gram.n_rows()));
        let lowest = extremum(&self.values, &self.falling, f64::INFINITY, |a, b| a < b);
        if top - lowest < tolerance {
            return None;
        }
        let n = gram.n_rows();
        let row = gram.row(i % n, &mut self.scratch[0]);
        let variables = self.values.chunks_exact(n).zip(self.falling.chunks_exact(n));
        for (gains, (values, falling)) in self.gains.chunks_exact_mut(n).zip(variables) {
            let columns = values.iter().zip(falling).zip(row.iter().zip(gram.diagonals()));
            for (gain, ((value, falling), (k_ij, k_jj))) in gains.iter_mut().zip(columns) {
                let gap = (top - (value + falling)) as f32;
                let gap = if gap > 0.0 { gap } else { 0.0 };
                let curve = k_ii + k_jj - 2.0 * k_ij;
                *gain = gap * gap / if curve > TAU { curve } else { TAU };
            }
        }
        largest(&self.gains)
    }

    /// Moves the pair along `y'a = 0` to its minimum within the box constraints.
    fn step(&mut self, i: usize, j: usize) {
        let (gram, y, c) = (self.problem.gram, &self.problem.y, &self.problem.c);
        let n = gram.n_rows();
        let [for_i, for_j] = &mut self.scratch;
        let (row_i, row_j) = (gram.row(i % n, for_i), gram.row(j % n, for_j));
        let curve = (gram.diagonal(i % n) + gram.diagonal(j % n) - 2.0 * row_i[j % n]).max(TAU);
        let wanted = (self.values[i] - self.values[j]) / f64::from(curve);
        let room_i = if y[i] > 0.0 { c[i] - self.alpha[i] } else { self.alpha[i] };
        let room_j = if y[j] > 0.0 { self.alpha[j] } else { c[j] - self.alpha[j] };
        let by = wanted.min(room_i).min(room_j);
        let (by_i, by_j) = (moved(&mut self.alpha[i], y[i], by, c[i]), moved(&mut self.alpha[j], y[j], -by, c[j]));
        for values in self.values.chunks_exact_mut(n) {
            for (value, (k_i, k_j)) in values.iter_mut().zip(row_i.iter().zip(row_j)) {
                *value -= by_i * f64::from(*k_i) + by_j * f64::from(*k_j);
            }
        }
        self.note_bounds(i);
        self.note_bounds(j);
    }

    /// Changes `y_i a_i` as far as its bounds allow, and returns by how much.
    fn shift(&mut self, i: usize, by: f64) -> f64 {
        let (gram, y, c) = (self.problem.gram, self.problem.y[i], self.problem.c[i]);
        let n = gram.n_rows();
        let by = moved(&mut self.alpha[i], y, by, c);
        let row = gram.row(i % n, &mut self.scratch[0]);
        for values in self.values.chunks_exact_mut(n) {
            values.iter_mut().zip(row).for_each(|(value, k)| *value -= by * f64::from(*k));
        }
        self.note_bounds(i);
        by
    }

    fn offset(&self) -> f64 {
        let (mut upper, mut lower, mut sum, mut n_free) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0usize);
        for (i, value) in self.values.iter().map(|value| -value).enumerate() {
            let (can_rise, can_fall) = (self.rising[i] == 0.0, self.falling[i] == 0.0);
            if can_rise && can_fall {
                (sum, n_free) = (sum + value, n_free + 1);
            }
            upper = if can_rise { upper.min(value) } else { upper };
            lower = if can_fall { lower.max(value) } else { lower };
        }
        if n_free > 0 { sum / n_free as f64 } else { (upper + lower) / 2.0 }
    }
}

/// Changes a multiplier so that `y a` changes by `by`, within its bounds; returns by how much it did.
fn moved(alpha: &mut f64, y: f64, by: f64, c: f64) -> f64 {
    let old = *alpha;
    *alpha = (old + y * by).clamp(0.0, c);
    y * (*alpha - old)
}

/// Returns the extremum of the sums, or `worst` if there is none.
fn extremum(values: &[f64], barriers: &[f64], worst: f64, is_better: impl Fn(f64, f64) -> bool) -> f64 {
    let mut best = [worst; N_LANES];
    let (values, barriers) = (values.chunks_exact(N_LANES), barriers.chunks_exact(N_LANES));
    let tail = values.remainder().iter().zip(barriers.remainder());
    let better = |a: f64, b: f64| if is_better(a, b) { a } else { b };
    let last = tail.fold(worst, |best, (value, barrier)| better(value + barrier, best));
    for (values, barriers) in values.zip(barriers) {
        for lane in 0..N_LANES {
            best[lane] = better(values[lane] + barriers[lane], best[lane]);
        }
    }
    best.into_iter().fold(last, better)
}

/// Returns where the sum is `wanted`, unless that is infinite.
fn position(values: &[f64], barriers: &[f64], wanted: f64) -> Option<usize> {
    values.iter().zip(barriers).position(|(value, barrier)| value + barrier == wanted && wanted.is_finite())
}

/// Returns where the largest value is, unless none is above 0.
fn largest(values: &[f32]) -> Option<usize> {
    let mut best = [0f32; N_LANES];
    let chunks = values.chunks_exact(N_LANES);
    let last = chunks.remainder().iter().fold(0.0, |best: f32, value| best.max(*value));
    for chunk in chunks {
        for lane in 0..N_LANES {
            best[lane] = if chunk[lane] > best[lane] { chunk[lane] } else { best[lane] };
        }
    }
    let wanted = best.into_iter().fold(last, f32::max);
    (wanted > 0.0).then(|| values.iter().position(|value| *value == wanted))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::TestCaseResult;

    use super::*;
    use crate::Matrix;
    use crate::svm::Kernel;

    /// Checks that `y'a` is 0, and that a multiplier is 0 beyond the margin, `c` within it, and in between on it.
    fn check(problem: &DualProblem, solution: &Solution) -> TestCaseResult {
        let DualProblem { y, c, gram, .. } = problem;
        let (alpha, n) = (&solution.alpha, y.len());
        let sum: f64 = alpha.iter().zip(y).map(|(a, y)| a * y).sum();
        prop_assert!(sum.abs() <= 1e-9 * c.iter().sum::<f64>(), "{sum}");
        let kept: Vec<usize> = (0..n).filter(|i| c[*i] > 0.0).collect();
        let is_two_sided = kept.iter().any(|i| y[*i] > 0.0) && kept.iter().any(|i| y[*i] < 0.0);
        for i in 0..n {
            prop_assert!((0.0..=c[i]).contains(&alpha[i]), "row {i}: alpha {}", alpha[i]);
            let row = gram.row(i, &mut Vec::new()).to_vec();
            let decision = (0..n).map(|j| alpha[j] * y[j] * f64::from(row[j])).sum::<f64>() - solution.rho;
            prop_assert!((decision - problem.decision(solution, i)).abs() < 1e-4 || !is_two_sided, "row {i}: {decision}");
            let margin = y[i] * decision;
            if is_two_sided && c[i] > 0.0 {
                prop_assert!(alpha[i] > 0.0 || margin > 1.0 - 5e-3, "row {i}: alpha 0, margin {margin}");
                prop_assert!(alpha[i] < c[i] || margin < 1.0 + 5e-3, "row {i}: alpha c, margin {margin}");
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn solution_is_feasible_and_optimal_from_any_start(
            points in proptest::collection::vec((-1f32..1.0, -1f32..1.0, any::<bool>(), any::<bool>()), 2..40),
            c in 0.1f64..10.0,
        ) {
            let n = points.len();
            let data: Vec<f32> = points.iter().flat_map(|point| [point.0, point.1]).collect();
            let gram = Gram::new(Matrix { data: &data, n_cols: 2 }, Kernel::Rbf { gamma: 2.0 });
            let y: Vec<f64> = points.iter().map(|point| if point.2 { 1.0 } else { -1.0 }).collect();
            let problem = |c| DualProblem { p: vec![-1.0; n], y: y.clone(), c, gram: &gram };
            let all = problem(vec![c; n]);
            let solution = all.solve(1e-3);
            check(&all, &solution)?;
            let kept = problem(points.iter().map(|point| if point.3 { c } else { 0.0 }).collect());
            check(&kept, &kept.solve(1e-3))?;
            check(&kept, &kept.solve_from(&solution, 1e-3))?;
        }
    }
}
