//! Learning rates per parameter group.

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::module::{ParamGroup, ParamId};

/// Parameter groups whose learning rate differs from the trainer's.
pub(crate) struct LearningRates {
    groups: Vec<(ParamGroup, f64)>,
}

impl LearningRates {
    /// Groups parameters by the factor on the trainer's learning rate.
    pub fn new(factors: &[(ParamId, f64)]) -> Self {
        let mut each: Vec<f64> = factors.iter().map(|(_, factor)| *factor).collect();
        each.sort_by(f64::total_cmp);
        each.dedup();
        let groups = each.into_iter().map(|factor| {
            let ids = factors.iter().filter(|(_, other)| *other == factor).map(|(id, _)| *id).collect();
            (ParamGroup::from_ids(ids), factor)
        });
        Self { groups: groups.collect() }
    }

    /// Returns the learning rates of a step, given the trainer's.
    pub fn at(&self, rate: f64) -> ModuleLearningRate {
        if self.groups.is_empty() {
            return rate.into();
        }
        // Burn supports group rates only through schedules.
        let base = ModuleLrSchedulerConfig::new(constant(rate).into());
        let config =
            self.groups.iter().fold(base, |config, (group, factor)| config.with_group(group.clone(), constant(rate * factor)));
        config.init().map_or(rate.into(), |mut schedule| schedule.step())
    }
}

/// A linear schedule with equal ends is constant; its rates must be above 0 and at most 1.
fn constant(rate: f64) -> LinearLrSchedulerConfig {
    let rate = rate.clamp(f64::MIN_POSITIVE, 1.0);
    LinearLrSchedulerConfig::new(rate, rate, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_the_rate_of_their_group() {
        let ids: [ParamId; 3] = std::array::from_fn(|_| ParamId::new());
        let rates = LearningRates::new(&[(ids[0], 0.1), (ids[1], 0.0)]).at(0.01);
        let found = ids.map(|id| rates.lr_from_param(id, None));
        assert!((found[0] - 0.001).abs() < 1e-12 && found[1] < 1e-300 && (found[2] - 0.01).abs() < 1e-12, "{found:?}");
        assert_eq!(LearningRates::new(&[]).at(0.5).base(), 0.5);
    }
}
