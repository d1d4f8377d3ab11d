//! Bootstrap intervals of metrics (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13: percentiles).
//!
//! A draw gives each row a number of repetitions, which multiplies its weight, so that every weighted metric can be drawn. Two metrics of the
//! same draws are paired: the draws of their difference say whether one is better.

use rand::RngExt;

use super::SampleWeights;

/// An interval of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Returns the weights of rows in a draw of as many of them, with replacement, times those that they have.
pub fn resampled(n_rows: usize, weights: &SampleWeights, rng: &mut impl RngExt) -> SampleWeights {
    let mut drawn = vec![0f32; n_rows];
    (0..n_rows).for_each(|_| drawn[rng.random_range(0..n_rows)] += 1.0);
    drawn.iter_mut().enumerate().for_each(|(row, count)| *count *= weights.of(row) as f32);
    Some(drawn).into()
}

impl Interval {
    /// Returns the interval that holds a share of the draws, with as many of them below as above; `None` if fewer than half of the draws
    /// are numbers, as those of a metric that is not defined on most draws.
    pub fn of_draws(draws: &[Option<f64>], share: f64) -> Option<Self> {
        let mut defined: Vec<f64> = draws.iter().flatten().copied().filter(|draw| !draw.is_nan()).collect();
        if defined.is_empty() || 2 * defined.len() < draws.len() {
            return None;
        }
        defined.sort_by(f64::total_cmp);
        let at = |quantile: f64| {
            let place = quantile * (defined.len() - 1) as f64;
            let (below, above) = (defined[place.floor() as usize], defined[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        let tail = (1.0 - share) / 2.0;
        Some(Self { low: at(tail), high: at(1.0 - tail) })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn draws_keep_the_number_of_rows_and_multiply_weights() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drawn = resampled(50, &SampleWeights::default(), &mut rng).per_row(50);
        assert!((drawn.iter().sum::<f32>() - 50.0).abs() < 1e-3 && drawn.contains(&0.0), "{drawn:?}");
        let weights = Some((0..50).map(|row| if row < 25 { 0.0 } else { 2.0 }).collect()).into();
        let drawn = resampled(50, &weights, &mut rng).per_row(50);
        assert!(drawn[..25].iter().all(|weight| *weight == 0.0) && drawn[25..].iter().all(|weight| weight % 2.0 == 0.0));
    }

    #[test]
    fn intervals_of_means_cover_as_often_as_they_say() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let n_covered = (0..300).filter(|_| {
            let values: Vec<f64> = (0..40).map(|_| rng.random_range(0.0..1.0)).collect();
            let draw = |rng: &mut ChaCha8Rng| resampled(40, &SampleWeights::default(), rng).mean(values.iter().copied());
            let draws: Vec<Option<f64>> = (0..300).map(|_| draw(&mut rng)).collect();
            let interval = Interval::of_draws(&draws, 0.9).unwrap();
            interval.low <= 0.5 && 0.5 <= interval.high
        });
        let share = n_covered.count() as f64 / 300.0;
        assert!((0.84..=0.95).contains(&share), "{share}");
    }

    #[test]
    fn undefined_draws_are_left_out_unless_they_are_most() {
        assert_eq!(Interval::of_draws(&[None, Some(1.0), Some(1.0)], 0.9), Some(Interval { low: 1.0, high: 1.0 }));
        assert_eq!(Interval::of_draws(&[None, None, Some(1.0)], 0.9), None);
        assert_eq!(Interval::of_draws(&[], 0.9), None);
    }
}
