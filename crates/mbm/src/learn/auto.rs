//! The learners that are tried if the config names none.

use crate::config::features::InputFeature;
use crate::learn::settings::{
    BoostedTreesLearner, EnsembleSettings, ExtraTreesLearner, Learner, NetworkLearner, Preset, RandomForestLearner, SvmLearner,
    TreeGrowth,
};

/// Maximum number of rows for which the network is trained once per fold.
const MAX_BAGGED: usize = 5_000;

/// Maximum number of inputs for which it is.
const MAX_INPUTS: usize = 1_000;

/// Number of rows from which learners are compared on the validation rows instead of in folds.
const MIN_HELD_OUT: usize = 20_000;

/// Maximum number of rows for which all learners are fitted, and a second time on the validation rows, too.
const MAX_REFITTED: usize = 200_000;

/// Maximum number of trees of boosting: a round has one per class, label or value.
const MAX_TREES: usize = 6_000;

/// Maximum number of trees of a round for which boosting is fitted with random thresholds, too.
const MAX_VARIED: usize = 20;

/// What `learners: auto` stands for.
pub(crate) struct Auto<'a> {
    /// Number of rows for training and validation.
    pub n_rows: usize,
    /// The inputs.
    pub inputs: &'a [InputFeature],
    /// Number of trees of a round of boosting, for the output that has most.
    pub n_trees_of_round: usize,
    /// How much work is spent.
    pub preset: Preset,
}

impl Auto<'_> {
    /// Returns the learners.
    pub fn learners(&self) -> Vec<Learner> {
        let mut learners = vec![Learner::Network(NetworkLearner { bagged: self.is_bagged(), ..mbm_config::defaults() })];
        learners.extend(match self.preset {
            Preset::Fast => self.few(),
            Preset::Good => self.all(),
            Preset::Best => self.all().into_iter().chain(self.more()).collect(),
        });
        let is_series = |input: &InputFeature| matches!(input, InputFeature::Timeseries(_) | InputFeature::Audio(_));
        if self.inputs.iter().any(is_series) {
            learners.push(Learner::Convolutions(mbm_config::defaults()));
        }
        learners
    }

    /// Returns how they are combined, where `given` does not say.
    pub fn ensemble(&self, given: &EnsembleSettings) -> EnsembleSettings {
        let n_folds = match self.preset {
            _ if self.n_rows >= MIN_HELD_OUT => 1,
            Preset::Fast => 3,
            Preset::Good => 5,
            Preset::Best => 8,
        };
        let k_fold = given.k_fold.unwrap_or(n_folds);
        let refit = given.refit || (k_fold == 1 && self.n_rows <= MAX_REFITTED && self.preset != Preset::Fast);
        EnsembleSettings { k_fold: Some(k_fold), refit, ..given.clone() }
    }

    /// Whether the network is trained once per fold.
    fn is_bagged(&self) -> bool {
        let max_rows = if self.preset == Preset::Best { 2 * MAX_BAGGED } else { MAX_BAGGED };
        if self.inputs.len() > MAX_INPUTS {
            return false;
        }
        self.preset != Preset::Fast && self.n_rows <= max_rows && !self.inputs.iter().any(InputFeature::is_media)
    }

    fn few(&self) -> Vec<Learner> {
        let trees = self.boosted(BoostedTreesLearner { max_rounds: 150, learning_rate: 0.15, ..mbm_config::defaults() });
        vec![Learner::BoostedTrees(trees), Learner::RandomForest(self.forest()), Learner::Linear(mbm_config::defaults())]
    }

    fn all(&self) -> Vec<Learner> {
        let boosted = self.boosted(mbm_config::defaults());
        if self.n_rows > MAX_REFITTED {
            let sampled = BoostedTreesLearner { max_rows: MAX_REFITTED, ..symmetric(boosted.clone()) };
            return vec![Learner::BoostedTrees(boosted), Learner::BoostedTrees(sampled)];
        }
        let random = BoostedTreesLearner { random_thresholds: true, row_share: 1.0, ..boosted.clone() };
        let forest = self.forest();
        let extra = ExtraTreesLearner { n_trees: forest.n_trees, min_rows: forest.min_rows, ..mbm_config::defaults() };
        let mut learners = Vec::new();
        if !self.reads_frozen_images_alone() {
            learners.push(Learner::BoostedTrees(boosted.clone()));
        }
        if !self.is_led_by_smooth_functions() {
            learners.push(Learner::BoostedTrees(symmetric(boosted)));
            if self.n_trees_of_round <= MAX_VARIED {
                learners.push(Learner::BoostedTrees(random.clone()));
            }
        }
        let linear = Learner::Linear(mbm_config::defaults());
        learners.extend([Learner::RandomForest(forest), Learner::ExtraTrees(extra.clone()), linear]);
        if self.n_rows <= MAX_BAGGED {
            learners.push(Learner::Svm(mbm_config::defaults()));
        }
        if self.has_media_among_others() {
            // Numbers, categories and dates alone, which the many columns of media can hide.
            let without = [
                Learner::BoostedTrees(BoostedTreesLearner { without_media: true, ..random }),
                Learner::ExtraTrees(ExtraTreesLearner { without_media: true, ..extra }),
            ];
            learners.extend(without);
            if self.n_rows <= MAX_BAGGED {
                learners.push(Learner::Svm(SvmLearner { without_media: true, ..mbm_config::defaults() }));
            }
        }
        learners
    }

    /// Whether some inputs are images, sounds, series or texts, and others are not.
    fn has_media_among_others(&self) -> bool {
        let n_media = self.inputs.iter().filter(|input| input.is_media()).count();
        (1..self.inputs.len()).contains(&n_media)
    }

    /// Whether smooth functions of all columns are ahead of trees, which take long: on images alone, and on the features of frozen encoders
    /// for several classes.
    fn is_led_by_smooth_functions(&self) -> bool {
        let is_frozen = |input: &InputFeature| input.encoder().get().is_computed_once();
        self.inputs.iter().all(|input| matches!(input, InputFeature::Image(_)))
            || self.n_trees_of_round > 2 && self.inputs.iter().any(is_frozen)
    }

    /// Whether a frozen encoder reads nothing but images, for several classes: boosted trees of its thousand features take longest and are behind.
    fn reads_frozen_images_alone(&self) -> bool {
        let is_frozen =
            |input: &InputFeature| matches!(input, InputFeature::Image(_)) && input.encoder().get().is_computed_once();
        self.n_trees_of_round > 2 && !self.inputs.is_empty() && self.inputs.iter().all(is_frozen)
    }

    /// Returns further learners with lower learning rates and other sizes of trees.
    fn more(&self) -> Vec<Learner> {
        let slow =
            self.boosted(BoostedTreesLearner { learning_rate: 0.03, max_rounds: 2000, patience: 60, ..mbm_config::defaults() });
        let small = BoostedTreesLearner { max_leaves: 8, l2: 5.0, column_share: Some(0.5), ..slow.clone() };
        let large = BoostedTreesLearner { max_leaves: 127, min_rows: Some(10), row_share: 0.7, ..slow.clone() };
        let random = BoostedTreesLearner { random_thresholds: true, row_share: 1.0, ..slow.clone() };
        let forest = RandomForestLearner { n_trees: 300, min_rows: 3, column_share: Some(0.5), ..mbm_config::defaults() };
        let extra = ExtraTreesLearner { n_trees: 300, min_rows: 2, column_share: Some(0.7), ..mbm_config::defaults() };
        let mut learners = vec![
            Learner::BoostedTrees(symmetric(slow.clone())),
            Learner::BoostedTrees(small),
            Learner::BoostedTrees(random),
            Learner::ExtraTrees(extra),
            Learner::BoostedTrees(slow),
            Learner::RandomForest(forest),
            Learner::BoostedTrees(large),
        ];
        if self.n_rows <= MAX_BAGGED {
            learners.push(Learner::Svm(SvmLearner { c: 30.0, ..mbm_config::defaults() }));
        }
        learners
    }

    /// Limits the number of rounds that have many trees, and raises the learning rate by as much as the remaining rounds can make use of.
    fn boosted(&self, trees: BoostedTreesLearner) -> BoostedTreesLearner {
        let max_rounds = trees.max_rounds.min((MAX_TREES / self.n_trees_of_round.max(1)).max(20));
        let factor = (trees.max_rounds as f64 / max_rounds as f64).sqrt();
        BoostedTreesLearner { max_rounds, learning_rate: (trees.learning_rate * factor).min(0.3), ..trees }
    }

    /// Deep trees of many rows would fill the bundle; the mean over the folds has enough trees.
    fn forest(&self) -> RandomForestLearner {
        let (n_trees, min_rows) = if self.n_rows <= MAX_BAGGED { (100, 1) } else { (40, 3) };
        RandomForestLearner { n_trees, min_rows, ..mbm_config::defaults() }
    }
}

fn symmetric(of: BoostedTreesLearner) -> BoostedTreesLearner {
    BoostedTreesLearner { growth: TreeGrowth::Symmetric, max_depth: 6, l2: 3.0, min_rows: Some(1), ..of }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plan::Plan;

    fn auto(inputs: &[InputFeature], n_rows: usize, preset: Preset) -> (Vec<&'static str>, EnsembleSettings, bool) {
        let auto = Auto { n_rows, inputs, n_trees_of_round: 1, preset };
        let learners = auto.learners();
        let is_bagged = learners.iter().any(Learner::is_bagged_network);
        (learners.iter().map(Learner::type_name).collect(), auto.ensemble(&mbm_config::defaults()), is_bagged)
    }

    #[test]
    fn work_follows_the_rows_the_inputs_and_the_preset() {
        let plan: Plan =
            "{input_features: [{name: a, type: number}], output_features: [{name: y, type: number}]}".parse().unwrap();
        let numbers = &plan.config.input_features;
        let (learners, ensemble, is_bagged) = auto(numbers, 500, Preset::Good);
        assert!(learners.contains(&"svm") && is_bagged);
        assert_eq!((ensemble.k_fold, ensemble.refit), (Some(5), false));
        let (learners, ensemble, is_bagged) = auto(numbers, 500, Preset::Fast);
        assert_eq!(learners, ["network", "boosted_trees", "random_forest", "linear"]);
        assert!(ensemble.k_fold == Some(3) && !is_bagged);
        let (_, ensemble, is_bagged) = auto(numbers, 50_000, Preset::Good);
        assert!(ensemble.k_fold == Some(1) && ensemble.refit && !is_bagged);
        let (learners, ensemble, _) = auto(numbers, 1_000_000, Preset::Good);
        assert_eq!(learners, ["network", "boosted_trees", "boosted_trees"]);
        assert!(ensemble.k_fold == Some(1) && !ensemble.refit);
        let wide = vec![numbers[0].clone(); 2_000];
        assert!(!auto(&wide, 500, Preset::Good).2, "a network of many inputs is trained once");
        assert!(auto(numbers, 500, Preset::Best).0.len() > auto(numbers, 500, Preset::Good).0.len());
    }

    #[test]
    fn numbers_next_to_media_get_learners_of_their_own() {
        let without_media = |inputs: &str| {
            let plan: Plan =
                format!("{{input_features: [{inputs}], output_features: [{{name: y, type: number}}]}}").parse().unwrap();
            let auto = Auto { n_rows: 500, inputs: &plan.config.input_features, n_trees_of_round: 1, preset: Preset::Good };
            let learners = auto.learners().into_iter().filter(Learner::is_without_media);
            learners.map(|learner| learner.type_name()).collect::<Vec<_>>()
        };
        assert_eq!(without_media("{name: a, type: number}, {name: b, type: text}"), ["boosted_trees", "extra_trees", "svm"]);
        assert!(without_media("{name: a, type: number}").is_empty());
        assert!(without_media("{name: a, type: image}, {name: b, type: text}").is_empty());
    }

    #[test]
    fn many_classes_have_fewer_rounds() {
        let rounds = |n_trees_of_round| {
            let auto = Auto { n_rows: 5_000, inputs: &[], n_trees_of_round, preset: Preset::Good };
            let trees = auto.boosted(mbm_config::defaults());
            (trees.max_rounds, (trees.learning_rate * 1000.0).round())
        };
        assert_eq!([rounds(1), rounds(20), rounds(80), rounds(10_000)], [(300, 80.0), (300, 80.0), (75, 160.0), (20, 300.0)]);
    }

    #[test]
    fn many_classes_have_fewer_boosted_trees() {
        let plan: Plan =
            "{input_features: [{name: a, type: number}], output_features: [{name: y, type: number}]}".parse().unwrap();
        let n_boosted = |n_trees_of_round| {
            let inputs = &plan.config.input_features;
            let auto = Auto { n_rows: 5_000, inputs, n_trees_of_round, preset: Preset::Good };
            auto.learners().iter().filter(|learner| matches!(learner, Learner::BoostedTrees(_))).count()
        };
        assert_eq!([1, 20, 21].map(n_boosted), [3, 3, 2]);
    }

    #[test]
    fn the_number_of_folds_can_be_given() {
        let given = EnsembleSettings { k_fold: Some(10), ..mbm_config::defaults() };
        assert_eq!(
            Auto { n_rows: 500, inputs: &[], n_trees_of_round: 1, preset: Preset::Good }.ensemble(&given).k_fold,
            Some(10)
        );
    }
}
