//! The learners of a run and how they are combined, before and after they are fitted.

use crate::config::features::InputFeature;
use crate::config::plan::Plan;
use crate::learn::auto::Auto;
use crate::learn::settings::{EnsembleSettings, Learner, Learners, NetworkLearner};
use crate::run::learners::FittedLearners;

/// The learners of a run, where it has others than the network.
#[derive(Clone)]
pub(crate) struct Combined {
    /// The learners, the network among them.
    pub learners: Vec<Learner>,
    /// How they are combined.
    pub ensemble: EnsembleSettings,
    /// Whether some inputs are images, sounds, series or texts.
    pub has_media: bool,
}

/// The share of a time limit at which the last learner ends.
pub(crate) const SHARE_OF_LEARNERS: f64 = 0.85;

/// Number of folds where neither the config nor the number of rows says.
const N_FOLDS: usize = 5;

impl Combined {
    /// Returns the learners for a number of rows, and of trees of a round of boosting; `None` for the network alone.
    pub fn new(plan: &Plan, n_rows: usize, n_trees_of_round: usize) -> Option<Self> {
        let config = &plan.config;
        let has_media = config.input_features.iter().any(InputFeature::is_media);
        match &config.learners {
            Learners::Network if config.is_combined() => {
                let network = Learner::Network(NetworkLearner { bagged: true, ..mbm_config::defaults() });
                Some(Self { learners: vec![network], ensemble: config.ensemble.clone(), has_media })
            }
            Learners::Network => None,
            Learners::Auto => {
                let auto = Auto { n_rows, inputs: &config.input_features, n_trees_of_round, preset: config.ensemble.preset };
                Some(Self { learners: auto.learners(), ensemble: auto.ensemble(&config.ensemble), has_media })
            }
            Learners::List(learners) => {
                let k_fold = config.ensemble.k_fold.or(Some(N_FOLDS));
                let ensemble = EnsembleSettings { k_fold, ..config.ensemble.clone() };
                Some(Self { learners: learners.clone(), ensemble, has_media })
            }
        }
    }

    /// Returns the number of folds.
    pub fn n_folds(&self) -> usize {
        self.ensemble.k_fold.unwrap_or(N_FOLDS)
    }

    /// Whether the network is trained once per fold.
    pub fn is_bagged(&self) -> bool {
        self.learners.iter().any(Learner::is_bagged_network)
    }

    /// Returns the share of a time limit at which the last learner ends; measuring takes the rest, and fitting learners once more on all
    /// rows takes as long as the first time.
    pub fn share_of_learners(&self) -> f64 {
        let is_refitted = self.ensemble.refit && self.n_folds() == 1;
        if is_refitted { SHARE_OF_LEARNERS / 2.0 } else { SHARE_OF_LEARNERS }
    }

    /// Returns the share of a time limit that networks may take: most of it where they read images, sounds, series or texts, as trees are
    /// ahead of them on numbers and categories.
    pub fn share_of_networks(&self) -> f64 {
        let is_network = |learner: &Learner| matches!(learner, Learner::Network(_));
        match self.learners.iter().all(is_network) {
            true => SHARE_OF_LEARNERS,
            false => self.share_of_learners() * if self.has_media { 0.6 } else { 0.3 },
        }
    }

    /// Returns the number of steps after which the network of a fold ends, if the config says so.
    pub fn steps(&self, fold: usize) -> Option<usize> {
        let networks = self.learners.iter().filter_map(|it| if let Learner::Network(it) = it { Some(it) } else { None });
        networks.flat_map(|network| network.steps.get(fold)).next().copied()
    }

    /// Returns a plan with these learners.
    pub fn plan(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        plan.config.learners = Learners::List(self.learners.clone());
        plan.config.ensemble = self.ensemble.clone();
        plan
    }

    /// Records what was done in a number of folds: weights, rounds, and the steps of the networks if they depend on the clock.
    pub fn record(&mut self, fitted: &FittedLearners, n_folds: usize, steps: Option<Vec<usize>>) {
        self.ensemble.k_fold = Some(n_folds);
        let before = std::mem::take(&mut self.learners);
        self.learners = before.iter().cloned().map(Learner::without_results).collect();
        for selection in &fitted.selections {
            match selection {
                Some(selection) => selection.record(&mut self.learners),
                None => self.record_network_alone(),
            }
        }
        for (learner, before) in self.learners.iter_mut().zip(before) {
            if let (Learner::Network(network), Learner::Network(before)) = (learner, before) {
                network.steps = steps.clone().unwrap_or(before.steps);
            }
        }
    }

    /// Records an output that only the network predicts.
    fn record_network_alone(&mut self) {
        let n_folds = self.n_folds();
        for learner in &mut self.learners {
            let weight = if matches!(learner, Learner::Network(_)) { 1.0 } else { 0.0 };
            learner.push_result(weight, vec![0; n_folds]);
        }
    }
}
