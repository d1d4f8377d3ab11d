//! Optimizers and their settings.

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, AdamWConfig, AdjustLrFn, LionConfig, ModuleOptimizer, MuonConfig, SgdConfig};
use burn::tensor::Tensor;
use mbm_config::{settings, tagged};
use mbm_model::Model;

settings! {
    /// Adam (Kingma and Ba 2015).
    pub struct AdamSettings {
        /// Decay rates of the running means of the gradient and of its square.
        betas: Vec<f64> = vec![0.9, 0.999] => 0.0..=0.999_999;
        /// Added to the denominator, the root of the mean square.
        eps: f64 = 1e-8 => 0.0..=1.0;
        /// L2 penalty, added to the gradient.
        weight_decay: f64 = 0.0 => 0.0..=10.0;
    }

    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    pub struct AdamWSettings {
        /// Decay rates of the running means of the gradient and of its square.
        betas: Vec<f64> = vec![0.9, 0.999] => 0.0..=0.999_999;
        /// Added to the denominator, the root of the mean square.
        eps: f64 = 1e-8 => 0.0..=1.0;
        /// Decoupled weight decay.
        weight_decay: f64 = 0.01 => 0.0..=10.0;
    }

    /// Stochastic gradient descent.
    pub struct SgdSettings {
        /// Momentum of the gradient.
        momentum: f64 = 0.9 => 0.0..=0.999_999;
        /// Whether to use Nesterov momentum.
        nesterov: bool = false;
        /// L2 penalty, added to the gradient.
        weight_decay: f64 = 0.0 => 0.0..=10.0;
    }

    /// Lion (Chen et al. 2023).
    pub struct LionSettings {
        /// Interpolation factor of the update and decay rate of the running mean.
        betas: Vec<f64> = vec![0.9, 0.99] => 0.0..=0.999_999;
        /// Decoupled weight decay.
        weight_decay: f64 = 0.0 => 0.0..=10.0;
    }

    /// Muon (Jordan 2024) for matrices and AdamW for all other parameters, both at the same learning rate (Liu et al. 2025).
    pub struct MuonSettings {
        /// Momentum of the gradient.
        momentum: f64 = 0.95 => 0.0..=0.999_999;
        /// Decoupled weight decay.
        weight_decay: f64 = 0.01 => 0.0..=10.0;
    }
}

tagged! {
    /// The optimizer.
    pub enum OptimizerSettings: Adam {
        Adam(AdamSettings) = "adam",
        AdamW(AdamWSettings) = "adamw",
        Sgd(SgdSettings) = "sgd",
        Lion(LionSettings) = "lion",
        Muon(MuonSettings) = "muon",
    }
}

impl OptimizerSettings {
    /// Creates the optimizer for a model.
    pub fn init(&self, model: &Model) -> ModuleOptimizer {
        match self {
            Self::Adam(it) => AdamConfig::new()
                .with_beta_1(beta(&it.betas, 0, 0.9))
                .with_beta_2(beta(&it.betas, 1, 0.999))
                .with_epsilon(it.eps as f32)
                .with_weight_decay(decay(it.weight_decay))
                .init(),
            Self::AdamW(it) => adamw(&it.betas, it.eps, it.weight_decay).init(),
            Self::Sgd(it) => {
                let momentum = MomentumConfig { momentum: it.momentum, dampening: 0.0, nesterov: it.nesterov };
                SgdConfig::new()
                    .with_momentum((it.momentum > 0.0).then_some(momentum))
                    .with_weight_decay(decay(it.weight_decay))
                    .init()
            }
            Self::Lion(it) => LionConfig::new()
                .with_beta_1(beta(&it.betas, 0, 0.9))
                .with_beta_2(beta(&it.betas, 1, 0.99))
                .with_weight_decay(it.weight_decay as f32)
                .init(),
            Self::Muon(it) => {
                let muon = MuonConfig::new()
                    .with_momentum(MomentumConfig { momentum: it.momentum, dampening: 0.0, nesterov: true })
                    .with_weight_decay(decay(it.weight_decay))
                    .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
                let matrices = Matrices::of(model);
                adamw(&[], 1e-8, it.weight_decay).init().with_group(ParamGroup::from_ids(matrices), muon.build(), None)
            }
        }
    }
}

fn beta(betas: &[f64], at: usize, default: f32) -> f32 {
    betas.get(at).map_or(default, |beta| *beta as f32)
}

fn decay(penalty: f64) -> Option<WeightDecayConfig> {
    (penalty > 0.0).then(|| WeightDecayConfig::new(penalty as f32))
}

fn adamw(betas: &[f64], eps: f64, weight_decay: f64) -> AdamWConfig {
    AdamWConfig::new()
        .with_beta_1(beta(betas, 0, 0.9))
        .with_beta_2(beta(betas, 1, 0.999))
        .with_epsilon(eps as f32)
        .with_weight_decay(weight_decay as f32)
}

/// Visitor that collects the matrices of a model, except embeddings and decoders, which are not hidden layers.
#[derive(Default)]
struct Matrices {
    found: Vec<ParamId>,
    path: Vec<String>,
}

impl Matrices {
    fn of(model: &Model) -> Vec<ParamId> {
        let mut matrices = Self::default();
        model.visit(&mut matrices);
        matrices.found
    }
}

impl ModuleVisitor for Matrices {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let is_hidden = !self.path.iter().any(|part| matches!(part.as_str(), "decoders" | "embedding" | "Lookup"));
        if D == 2 && is_hidden && param.dims().iter().all(|size| *size > 1) {
            self.found.push(param.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsAccumulator;
    use mbm_config::{Diagnostics, Node, Setting};
    use mbm_model::{autodiff_lock, on_worker_pool};
    use serde::Deserialize;

    use super::*;
    use crate::learning_rates::LearningRates;
    use crate::testing::{Array, ParamGradients, backward, model, parameters, stored};

    #[derive(Deserialize)]
    struct Stored {
        start: Vec<Array>,
        /// For each step.
        gradients: Vec<ParamGradients>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        settings: serde_json::Value,
        /// For each step.
        learning_rates: Vec<f64>,
        /// For each parameter, the factor on the learning rate.
        factors: Vec<f64>,
        want: Vec<Expected>,
    }

    #[derive(Deserialize)]
    struct Expected {
        /// The number of steps taken.
        step: usize,
        parameters: Vec<Vec<f64>>,
    }

    /// Compares single-precision parameters with double-precision references. Parameters are of order one, so each of the twelve
    /// steps rounds them by up to 6e-8.
    fn assert_near(case: &Case, model: &Model, want: &Expected) {
        let found = parameters(model);
        assert_eq!(found.len(), want.parameters.len());
        for (at, ((_, found), values)) in found.iter().zip(&want.parameters).enumerate() {
            assert_eq!(found.len(), values.len());
            for (found, value) in found.iter().zip(values) {
                let is_near = (f64::from(*found) - value).abs() <= 1e-6 * value.abs().max(1.0);
                assert!(is_near, "{}, step {}, parameter {at}: expected {value}, got {found}", case.settings, want.step);
            }
        }
    }

    /// Takes the steps of a case as training does.
    fn check(stored: &Stored, case: &Case) {
        let settings = OptimizerSettings::read(&Node::from(&case.settings), "", &mut Diagnostics::default()).unwrap();
        let mut model = model(&stored.start);
        let mut optimizer = settings.init(&model);
        let factors = parameters(&model).into_iter().map(|(id, _)| id).zip(case.factors.iter().copied());
        let rates = LearningRates::new(&factors.filter(|(_, factor)| *factor != 1.0).collect::<Vec<_>>());
        let mut n_compared = 0;
        for (at, (gradients, rate)) in stored.gradients.iter().zip(&case.learning_rates).enumerate() {
            let _alone = autodiff_lock();
            let mut accumulator = GradientsAccumulator::new();
            accumulator.accumulate(&model, backward(&model, gradients));
            let (rates, before, gradients) = (rates.at(*rate), model, accumulator.grads());
            model = on_worker_pool(|| optimizer.step(rates, before, gradients));
            for want in case.want.iter().filter(|want| want.step == at + 1) {
                assert_near(case, &model, want);
                n_compared += 1;
            }
        }
        assert_eq!(n_compared, case.want.len());
    }

    #[test]
    fn optimizers_match_their_reference_implementations() {
        let stored: Stored = stored("optimizers.json");
        stored.cases.iter().for_each(|case| check(&stored, case));
        let types = OptimizerSettings::TYPES.iter();
        let is_stored = |name: &&str| stored.cases.iter().any(|case| case.settings["type"] == **name);
        assert_eq!(types.filter(|name| !is_stored(name)).count(), 0, "every optimizer needs a stored case");
    }

    #[test]
    fn muon_leaves_decoders_and_vectors_to_adamw() {
        let stored: Stored = stored("optimizers.json");
        let model = model(&stored.start);
        let ids: Vec<ParamId> = parameters(&model).into_iter().map(|(id, _)| id).collect();
        let is_hidden = |at: &usize| stored.start[*at].dims.len() == 2 && *at != 5;
        let hidden: Vec<ParamId> = (0..ids.len()).filter(is_hidden).map(|at| ids[at]).collect();
        assert_eq!(Matrices::of(&model), hidden);
        assert_eq!(hidden.len(), 2);
    }
}
