//! Learning rates of groups of parameters.

use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::module::{ParamGroup, ParamId};

/// Groups of parameters whose learning rate is not the trainer's.
pub(crate) struct LearningRates {
    groups: Vec<(ParamGroup, f64)>,
}

impl LearningRates {
    /// Parameters with what their rate is times the trainer's.
    pub fn new(factors: &[(ParamId, f64)]) -> Self {
        let mut each: Vec<f64> = factors.iter().map(|(_, factor)| *factor).collect();
        each.sort_by(f64::total_cmp);
        each.dedup();
        let ids = |factor: f64| factors.iter().filter(|(_, other)| *other == factor).map(|(id, _)| *id).collect();
        Self { groups: each.into_iter().map(|factor| (ParamGroup::from_ids(ids(factor)), factor)).collect() }
    }

    /// The rates of a step.
    pub fn at(&self, rate: f64) -> ModuleLearningRate {
        if self.groups.is_empty() {
            return rate.into();
        }
        // Burn makes rates of groups by schedules alone, and of those a constant one is a line that does not rise; its rates lie above 0
        // and go up to 1.
        let constant = |rate: f64| {
            let rate = rate.clamp(f64::MIN_POSITIVE, 1.0);
            LinearLrSchedulerConfig::new(rate, rate, 1)
        };
        let base = ModuleLrSchedulerConfig::new(constant(rate).into());
        let config =
            self.groups.iter().fold(base, |config, (group, factor)| config.with_group(group.clone(), constant(rate * factor)));
        config.init().map_or(rate.into(), |mut schedule| schedule.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_has_the_rate_of_its_group() {
        let ids: [ParamId; 3] = std::array::from_fn(|_| ParamId::new());
        let rates = LearningRates::new(&[(ids[0], 0.1), (ids[1], 0.0)]).at(0.01);
        let found = ids.map(|id| rates.lr_from_param(id, None));
        assert!((found[0] - 0.001).abs() < 1e-12 && found[1] < 1e-300 && (found[2] - 0.01).abs() < 1e-12, "{found:?}");
        assert_eq!(LearningRates::new(&[]).at(0.5).base(), 0.5);
    }
}
