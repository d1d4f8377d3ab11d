//! The learners that are tried if the config names none.

use crate::config::features::InputFeature;
use crate::learn::settings::{BoostedTreesLearner, ExtraTreesLearner, Learner, NetworkLearner, RandomForestLearner, TreeGrowth};

/// Maximum number of rows for which the network is trained once per fold.
const MAX_BAGGED: usize = 5_000;

/// Returns the learners for a table of some rows, and the number of folds.
pub(crate) fn learners(n_rows: usize, inputs: &[InputFeature]) -> (Vec<Learner>, usize) {
    let is_cheap = |input: &InputFeature| {
        !matches!(input, InputFeature::Image(_) | InputFeature::Text(_) | InputFeature::Audio(_) | InputFeature::Timeseries(_))
    };
    let bagged = n_rows <= MAX_BAGGED && inputs.iter().all(is_cheap);

    let boosted: BoostedTreesLearner = mbm_config::defaults();
    let symmetric =
        BoostedTreesLearner { growth: TreeGrowth::Symmetric, max_depth: 6, l2: 3.0, min_rows: Some(1), ..boosted.clone() };
    let random = BoostedTreesLearner { random_thresholds: true, row_share: 1.0, ..boosted.clone() };
    // Deep trees of many rows would fill the bundle; the mean over the folds has enough trees.
    let (n_trees, min_rows) = if n_rows <= MAX_BAGGED { (100, 1) } else { (40, 3) };
    let forest = RandomForestLearner { n_trees, min_rows, ..mbm_config::defaults() };
    let extra = ExtraTreesLearner { n_trees, min_rows, ..mbm_config::defaults() };
    let mut learners = vec![
        Learner::Network(NetworkLearner { bagged, weights: Vec::new() }),
        Learner::BoostedTrees(boosted),
        Learner::BoostedTrees(symmetric),
        Learner::BoostedTrees(random),
        Learner::RandomForest(forest),
        Learner::ExtraTrees(extra),
        Learner::Linear(mbm_config::defaults()),
    ];
    if n_rows <= MAX_BAGGED {
        learners.push(Learner::Svm(mbm_config::defaults()));
    }
    if inputs.iter().any(|input| matches!(input, InputFeature::Timeseries(_) | InputFeature::Audio(_))) {
        learners.push(Learner::Convolutions(mbm_config::defaults()));
    }
    (learners, if n_rows < 20_000 { 5 } else { 1 })
}
