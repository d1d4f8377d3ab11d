//! The learners that are tried if the config names none.

use crate::learn::settings::{BoostedTreesLearner, ExtraTreesLearner, Learner, NetworkLearner, RandomForestLearner, TreeGrowth};

/// Returns the learners for a table of some rows, and the number of folds.
pub(crate) fn learners(n_rows: usize) -> (Vec<Learner>, usize) {
    let boosted: BoostedTreesLearner = mbm_config::defaults();
    let symmetric = BoostedTreesLearner {
        growth: TreeGrowth::Symmetric,
        max_depth: 6,
        l2: 3.0,
        min_rows: Some(1),
        column_share: 1.0,
        ..boosted.clone()
    };
    let random = BoostedTreesLearner { random_thresholds: true, row_share: 1.0, column_share: 1.0, ..boosted.clone() };
    let forest: RandomForestLearner = mbm_config::defaults();
    let extra: ExtraTreesLearner = mbm_config::defaults();
    let learners = vec![
        Learner::Network(mbm_config::defaults::<NetworkLearner>()),
        Learner::BoostedTrees(boosted),
        Learner::BoostedTrees(symmetric),
        Learner::BoostedTrees(random),
        Learner::RandomForest(forest),
        Learner::ExtraTrees(extra),
    ];
    (learners, if n_rows < 20_000 { 5 } else { 1 })
}
