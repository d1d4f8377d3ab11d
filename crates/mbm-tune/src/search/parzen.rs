//! Parzen estimators: the density of one setting's values among some trials (Bergstra et al. 2011, section 4), with the weights,
//! widths and prior of Optuna 5 (`multivariate=False`), whose densities the tests compare with.

use libm::erfc;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::domain::{Domain, Range};

/// A density over a domain.
pub(super) enum ParzenEstimator {
    /// A mixture of truncated normal distributions of transformed numbers.
    Numbers { range: Range, kernels: Vec<Kernel> },
    /// The probability of each category.
    Categories(Vec<f64>),
}

/// A normal distribution in a mixture.
pub(super) struct Kernel {
    weight: f64,
    mean: f64,
    deviation: f64,
}

impl ParzenEstimator {
    /// Estimates the density of points, in the order of their trials. The prior counts as one more point.
    pub fn new(domain: Domain, points: &[f64]) -> Self {
        let weights = weights(points.len());
        match domain {
            Domain::Range(range) => Self::Numbers { range, kernels: kernels(range, points, &weights) },
            Domain::Categories(n) => Self::Categories(probabilities(n, points, &weights)),
        }
    }

    /// Draws a point.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Numbers { range, kernels } => {
                let kernel = &kernels[drawn(kernels.iter().map(|kernel| kernel.weight), rng)];
                range.number_at(kernel.sample(range.bounds(), rng))
            }
            Self::Categories(probabilities) => drawn(probabilities.iter().copied(), rng) as f64,
        }
    }

    /// Returns the logarithm of the density at a point; of its probability if the domain is discrete.
    pub fn log_density(&self, point: f64) -> f64 {
        match self {
            Self::Numbers { range, kernels } => {
                let density = |kernel: &Kernel| kernel.weight * kernel.density(range, point);
                kernels.iter().map(density).sum::<f64>().ln()
            }
            Self::Categories(probabilities) => probabilities.get(point as usize).map_or(f64::NEG_INFINITY, |it| it.ln()),
        }
    }
}

impl Kernel {
    /// Returns the density of the truncated distribution of the transformed number; of a stepped one, the probability of its cell.
    fn density(&self, range: &Range, point: f64) -> f64 {
        let inside = self.mass(range.bounds());
        match range.cell(point) {
            Some(cell) => self.mass(cell) / inside,
            None => {
                let z = (range.transformed(point) - self.mean) / self.deviation;
                (-0.5 * z * z).exp() / (std::f64::consts::TAU.sqrt() * self.deviation * inside)
            }
        }
    }

    /// Returns the probability of an interval, precisely in both tails.
    fn mass(&self, [low, high]: [f64; 2]) -> f64 {
        let [a, b] = [low, high].map(|x| (x - self.mean) / (self.deviation * std::f64::consts::SQRT_2));
        if a > 0.0 { (erfc(a) - erfc(b)) / 2.0 } else { (erfc(-b) - erfc(-a)) / 2.0 }
    }

    /// Draws from the truncated distribution by rejection. The mean lies within the bounds and the deviation is at most their
    /// distance, so at least a third of the draws are accepted.
    fn sample(&self, [low, high]: [f64; 2], rng: &mut ChaCha8Rng) -> f64 {
        let draws = (0..1000).map(|_| self.mean + self.deviation * standard_normal(rng));
        draws.into_iter().find(|x| (low..=high).contains(x)).unwrap_or(self.mean)
    }
}

/// Returns the weights of points and, last, of the prior; their sum is 1. The last 25 points count fully, earlier ones less and less.
fn weights(n_points: usize) -> Vec<f64> {
    const N_FULL: usize = 25;
    let n_ramp = n_points.saturating_sub(N_FULL);
    let first = 1.0 / n_points.max(1) as f64;
    let ramp = (0..n_ramp).map(|at| first + (1.0 - first) * at as f64 / (n_ramp.max(2) - 1) as f64);
    let mut weights: Vec<f64> = ramp.chain(std::iter::repeat_n(1.0, n_points - n_ramp + 1)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    weights
}

/// Returns a kernel for each point, as wide as the distance to the farther one of its neighbors, and the prior, as wide as the range.
fn kernels(range: Range, points: &[f64], weights: &[f64]) -> Vec<Kernel> {
    let [low, high] = range.bounds();
    let means: Vec<f64> = points.iter().map(|point| range.transformed(*point).clamp(low, high)).collect();
    let narrowest = (high - low) / (points.len() as f64 + 2.0).min(100.0);
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|a, b| means[*a].total_cmp(&means[*b]));
    let mut deviations = vec![high - low; means.len() + 1];
    for (at, &point) in order.iter().enumerate() {
        let before = at.checked_sub(1).map(|it| means[point] - means[order[it]]);
        let after = order.get(at + 1).map(|&it| means[it] - means[point]);
        let widest = match (before, after) {
            (Some(before), Some(after)) => before.max(after),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => (means[point] - low).max(high - means[point]),
        };
        deviations[point] = widest.clamp(narrowest, high - low);
    }
    let means = means.into_iter().chain([(low + high) / 2.0]);
    let parts = means.zip(deviations).zip(weights);
    parts.map(|((mean, deviation), weight)| Kernel { weight: *weight, mean, deviation }).collect()
}

/// Returns the probability of each category: every point gives a share to the others, too.
fn probabilities(n_categories: usize, points: &[f64], weights: &[f64]) -> Vec<f64> {
    let share = 1.0 / (points.len() + 1) as f64;
    let row_sum = 1.0 + n_categories as f64 * share;
    let prior = weights.last().copied().unwrap_or(1.0);
    let others = prior / n_categories as f64 + (1.0 - prior) * share / row_sum;
    let mut probabilities = vec![others; n_categories];
    for (point, weight) in points.iter().zip(weights) {
        if let Some(probability) = probabilities.get_mut(*point as usize) {
            *probability += weight / row_sum;
        }
    }
    probabilities
}

/// Draws an index with the given probabilities.
fn drawn(probabilities: impl ExactSizeIterator<Item = f64>, rng: &mut ChaCha8Rng) -> usize {
    let (last, mut rest) = (probabilities.len().saturating_sub(1), rng.random::<f64>());
    let mut found = probabilities.enumerate().filter_map(|(at, probability)| {
        rest -= probability;
        (rest < 0.0).then_some(at)
    });
    found.next().unwrap_or(last)
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn standard_normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt(), std::f64::consts::TAU * rng.random::<f64>());
    radius * angle.cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn range(low: f64, high: f64, step: Option<f64>, is_log: bool) -> Domain {
        Domain::Range(Range { low, high, step, is_log })
    }

    /// Compares log densities with those of Optuna 5.0.0's `_ParzenEstimator` (prior weight 1, magic clip, no endpoints).
    fn check(domain: Domain, points: &[f64], expected: &[(f64, f64)]) {
        let estimator = ParzenEstimator::new(domain, points);
        for (point, density) in expected {
            let found = estimator.log_density(*point);
            // Both sum the same terms in 64 bits.
            assert!((found - density).abs() < 1e-9, "{domain:?} at {point}: {found} is not {density}");
        }
    }

    #[test]
    fn densities_of_numbers_are_those_of_optuna() {
        let numbers = range(0.0, 2.0, None, false);
        let expected =
            [(0.0, -0.7065788045864208), (0.45, -0.4200454572233767), (1.0, -0.7089880192932034), (2.0, -1.0306543163104616)];
        check(numbers, &[0.5, 0.4, 1.9], &expected);
        check(numbers, &[], &[(0.0, -0.7771693800689957), (0.45, -0.6899818800689957)]);
        check(numbers, &[0.3], &[(0.0, -0.6720329600260658), (0.45, -0.6256607419059728)]);
    }

    #[test]
    fn densities_of_logarithms_are_those_of_optuna() {
        let expected = [(1e-4, -2.4189105256823233), (1e-3, -1.7033608660114252), (0.07, -2.1750980116543133)];
        check(range(1e-4, 0.1, None, true), &[1e-3, 2e-3, 5e-2], &expected);
        let expected = [(1.0, -2.681862016040002), (8.0, -3.1967582824005794), (64.0, -6.108366993500191)];
        check(range(1.0, 64.0, Some(1.0), true), &[8.0, 16.0, 17.0], &expected);
    }

    #[test]
    fn probabilities_of_steps_are_those_of_optuna() {
        let expected = [(0.0, -1.6335859270253217), (0.25, -1.378150549104864), (0.75, -1.734241740747553)];
        check(range(0.0, 1.0, Some(0.25), false), &[0.25, 0.25, 1.0], &expected);
        let expected = [(1.0, -2.028529039680252), (4.0, -1.3389007812291234), (5.0, -1.6362834702749696)];
        check(range(1.0, 5.0, Some(1.0), false), &[2.0, 4.0, 4.0], &expected);
    }

    #[test]
    fn earlier_of_many_points_count_less_as_in_optuna() {
        let points: Vec<f64> = (0..40).map(|at| (f64::from(at * 37 % 101) / 101.0 * 1e6).round() / 1e6).collect();
        let expected = [(0.0, -1.0946958979604196), (0.31, 0.117232341376309), (0.77, -0.03912514525887578)];
        check(range(0.0, 1.0, None, false), &points, &expected);
    }

    #[test]
    fn probabilities_of_categories_are_those_of_optuna() {
        let expected = [(0.0, -0.6131044728864088), (1.0, -1.7917594692280545), (2.0, -1.2321436812926323)];
        let estimator = ParzenEstimator::new(Domain::Categories(3), &[0.0, 0.0, 2.0, 0.0]);
        for (point, density) in expected {
            // Optuna adds 1e-12 to the mixture.
            assert!((estimator.log_density(point) - density).abs() < 1e-5);
        }
        let ParzenEstimator::Categories(probabilities) = estimator else { panic!("categories") };
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn draws_follow_the_density() {
        for (domain, points) in [
            (range(1.0, 5.0, Some(1.0), false), vec![2.0, 4.0, 4.0]),
            (range(1.0, 5.0, Some(1.0), true), vec![1.0]),
            (Domain::Categories(6), vec![0.0, 0.0, 2.0]),
        ] {
            let (estimator, mut rng) = (ParzenEstimator::new(domain, &points), ChaCha8Rng::seed_from_u64(1));
            let mut counts = [0u32; 6];
            (0..10_000).for_each(|_| counts[estimator.sample(&mut rng) as usize] += 1);
            for (point, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let expected = estimator.log_density(point as f64).exp();
                // Four standard deviations of a share are at most 0.02.
                assert!((f64::from(*count) / 1e4 - expected).abs() < 0.02, "{domain:?} at {point}: {count}, {expected}");
            }
        }
    }
}
