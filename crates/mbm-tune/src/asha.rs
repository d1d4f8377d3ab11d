//! Early stopping by asynchronous successive halving (ASHA, Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").
//!
//! Trials are compared at rungs: after `grace_period` epochs, `reduction_factor` times as many, and so on. A trial that reaches a rung
//! continues if it is among the best `1 / reduction_factor` of all trials that have reached it so far, and stops otherwise; no trial
//! waits for others. This is the variant without resuming trials that have stopped, which Optuna and Ray implement. As in Optuna,
//! the best trial continues as long as there are fewer than `reduction_factor`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::settings::Asha;

/// Whether a trial goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Training continues.
    Continue,
    /// Training ends here; the trial is scored as it is.
    Stop,
}

/// The losses of all trials at each rung.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rungs {
    settings: Asha,
    /// For each rung, the loss of each trial that has reached it.
    losses: Vec<BTreeMap<usize, f64>>,
}

impl Rungs {
    pub fn new(settings: Asha) -> Self {
        Self { settings, losses: Vec::new() }
    }

    /// Records the loss of a trial at every rung that it has newly reached, and decides at the first where it is not among the best.
    /// An infinite loss is never among the best.
    pub fn decide(&mut self, trial: usize, resource: usize, loss: f64) -> Decision {
        let n_rungs = self.n_rungs(resource);
        self.losses.resize_with(self.losses.len().max(n_rungs), BTreeMap::new);
        for losses in &mut self.losses[..n_rungs] {
            let Entry::Vacant(place) = losses.entry(trial) else { continue };
            place.insert(loss);
            if !is_among_best(losses.values().copied(), loss, self.settings.reduction_factor) {
                return Decision::Stop;
            }
        }
        Decision::Continue
    }

    /// Returns the number of rungs up to a resource. The last resource is none of them, as trials end there anyway.
    fn n_rungs(&self, resource: usize) -> usize {
        let Asha { grace_period, reduction_factor, max_t } = self.settings;
        let rungs = std::iter::successors(Some(grace_period), |rung| rung.checked_mul(reduction_factor));
        rungs.take_while(|rung| *rung <= resource && max_t.is_none_or(|max_t| *rung < max_t)).count()
    }

    /// Whether the resource is used up.
    pub fn is_last(&self, resource: usize) -> bool {
        self.settings.max_t.is_some_and(|max_t| resource >= max_t)
    }

    /// Forgets a trial, which is run again.
    pub fn forget(&mut self, trial: usize) {
        self.losses.iter_mut().for_each(|losses| {
            losses.remove(&trial);
        });
    }
}

/// Whether a loss is among the lowest `1 / reduction_factor` of all, of which it is one; ties continue.
fn is_among_best(losses: impl Iterator<Item = f64>, loss: f64, reduction_factor: usize) -> bool {
    let (mut n, mut n_better) = (0, 0);
    losses.for_each(|other| {
        n += 1;
        n_better += usize::from(other < loss);
    });
    loss.is_finite() && n_better < (n / reduction_factor).max(1)
}

#[cfg(test)]
mod tests {
    use super::Decision::{Continue, Stop};
    use super::*;

    fn rungs(grace_period: usize, reduction_factor: usize, max_t: Option<usize>) -> Rungs {
        Rungs::new(Asha { grace_period, reduction_factor, max_t })
    }

    #[test]
    fn half_of_the_trials_continue_at_each_rung() {
        let mut rungs = rungs(1, 2, None);
        // At 1: of [5], the best one; of [5, 6], one; of [5, 6, 4], one; of [5, 6, 4, 4.5], two.
        let decisions = [5.0, 6.0, 4.0, 4.5].iter().enumerate().map(|(trial, loss)| rungs.decide(trial, 1, *loss));
        assert_eq!(decisions.collect::<Vec<_>>(), [Continue, Stop, Continue, Continue]);
        // At 2: of [3], of [3, 2], of [3, 2, 2.5].
        let decisions = [(0, 3.0), (2, 2.0), (3, 2.5)].map(|(trial, loss)| rungs.decide(trial, 2, loss));
        assert_eq!(decisions, [Continue, Continue, Stop]);
        // Between rungs, nothing is compared.
        assert_eq!([rungs.decide(0, 3, 99.0), rungs.decide(0, 4, 1.0)], [Continue, Continue]);
    }

    #[test]
    fn rungs_start_at_the_grace_period() {
        let mut rungs = rungs(3, 4, None);
        assert_eq!(rungs.decide(0, 3, 1.0), Continue);
        assert_eq!([1, 2, 3].map(|resource| rungs.decide(1, resource, 2.0)), [Continue, Continue, Stop]);
        assert_eq!([rungs.decide(0, 12, 1.0), rungs.decide(2, 11, 0.5), rungs.decide(2, 12, 1.5)], [Continue, Continue, Stop]);
    }

    #[test]
    fn loss_counts_at_every_rung_that_was_skipped() {
        let mut rungs = rungs(1, 3, None);
        assert_eq!([rungs.decide(0, 1, 3.0), rungs.decide(0, 3, 1.0)], [Continue, Continue]);
        // Better at 1, worse at 3.
        assert_eq!(rungs.decide(1, 4, 2.0), Stop);
        // The first loss at a rung stays.
        assert_eq!(rungs.decide(0, 4, 9.0), Continue);
    }

    #[test]
    fn ties_continue_and_infinite_losses_stop() {
        let mut rungs = rungs(1, 2, None);
        assert_eq!([0, 1, 2].map(|trial| rungs.decide(trial, 1, 1.0)), [Continue; 3]);
        assert_eq!(self::rungs(1, 2, None).decide(0, 1, f64::INFINITY), Stop);
    }

    #[test]
    fn last_resource_is_no_rung() {
        let mut rungs = rungs(1, 2, Some(4));
        assert_eq!([rungs.decide(0, 4, 1.0), rungs.decide(1, 2, 0.5), rungs.decide(1, 4, 2.0)], [Continue; 3]);
        assert_eq!([rungs.is_last(3), rungs.is_last(4)], [false, true]);
    }

    #[test]
    fn forgotten_trial_no_longer_counts() {
        let mut rungs = rungs(1, 2, None);
        assert_eq!(rungs.decide(0, 1, 1.0), Continue);
        rungs.forget(0);
        assert_eq!(rungs.decide(1, 1, 2.0), Continue);
    }

    #[test]
    fn largest_resource_terminates() {
        assert_eq!(rungs(1, 2, None).decide(0, usize::MAX, 1.0), Continue);
    }
}
