//! Learning rate schedules. The rate is a function of the step, so that resuming needs no state.

use std::f64::consts::PI;

use mbm_config::{choices, settings};

choices! {
    /// The shape of the schedule after the warmup.
    pub enum Decay {
        /// Constant rate.
        Constant = "constant",
        /// Linear decay to zero.
        Linear = "linear",
        /// Cosine decay to zero (Loshchilov and Hutter 2017).
        Cosine = "cosine",
        /// Decay with the inverse square root of the step, from the end of the warmup (Vaswani et al. 2017).
        InverseSqrt = "inverse_sqrt",
        /// Rises from 1/25 of the rate for 30% of all steps, then falls to nearly zero (Smith and Topin 2019). Ignores warmup.
        OneCycle = "one_cycle",
    }
}

settings! {
    /// The learning rate schedule.
    pub struct ScheduleSettings {
        /// The shape of the schedule after the warmup.
        decay: Decay = Decay::Constant;
        /// Fraction of all steps over which the rate rises linearly from zero.
        warmup_fraction: f64 = 0.0 => 0.0..=1.0;
        /// The warmup as a number of steps; overrides `warmup_fraction`.
        warmup_steps: Option<usize> = None => 0..=1_000_000_000;
    }
}

impl ScheduleSettings {
    /// Returns the factor on the learning rate at a step (from 0) of `n_steps`.
    pub fn factor(&self, step: usize, n_steps: usize) -> f64 {
        let (step, n_steps) = (step as f64, n_steps.max(1) as f64);
        if self.decay == Decay::OneCycle {
            return one_cycle(step / n_steps);
        }
        let warmup = self.warmup_steps.map_or((self.warmup_fraction * n_steps).floor(), |steps| steps as f64);
        if step < warmup {
            return (step + 1.0) / warmup;
        }
        let done = (step - warmup) / (n_steps - warmup).max(1.0);
        match self.decay {
            Decay::Constant | Decay::OneCycle => 1.0,
            Decay::Linear => (1.0 - done).max(0.0),
            Decay::Cosine => (1.0 + (PI * done.min(1.0)).cos()) / 2.0,
            Decay::InverseSqrt => (warmup.max(1.0) / (step + 1.0)).sqrt(),
        }
    }
}

/// Rises from 1/25 to 1, then falls to 1/250,000, both along half a cosine.
fn one_cycle(done: f64) -> f64 {
    if done < 0.3 { between(0.04, 1.0, done / 0.3) } else { between(1.0, 4e-6, (done - 0.3) / 0.7) }
}

/// Returns the value after a share of half a cosine from one value to another.
fn between(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(decay: Decay, warmup_fraction: f64) -> Vec<f64> {
        let schedule = ScheduleSettings { decay, warmup_fraction, warmup_steps: None };
        (0..10).map(|step| (schedule.factor(step, 10) * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn schedules_have_the_expected_shapes() {
        assert_eq!(factors(Decay::Constant, 0.2), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(Decay::Linear, 0.0), [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]);
        assert_eq!(factors(Decay::Cosine, 0.0)[5], 0.5);
        assert_eq!(factors(Decay::InverseSqrt, 0.2), [0.5, 1.0, 0.816, 0.707, 0.632, 0.577, 0.535, 0.5, 0.471, 0.447]);
        let steps = ScheduleSettings { decay: Decay::Linear, warmup_fraction: 0.9, warmup_steps: Some(2) };
        assert_eq!([0, 1, 2, 6].map(|step| steps.factor(step, 10)), [0.5, 1.0, 1.0, 0.5]);
        let cycle = factors(Decay::OneCycle, 0.0);
        assert_eq!((cycle[0], cycle[3]), (0.04, 1.0));
        assert!(cycle[9] < 0.06);
    }
}
