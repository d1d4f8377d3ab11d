//! The `learners` and `ensemble` sections of the config.

use std::str::FromStr;

use mbm_algo::tree::Growth;
use mbm_config::schema::{Schema, Words};
use mbm_config::{Diagnostics, Node, Setting, Value, choices, settings, tagged};

settings! {
    /// The network of encoders, combiner and decoders, as one of the learners.
    pub struct NetworkLearner {
        /// Whether it is trained once per fold, as the other learners are; otherwise once, on the training rows.
        bagged: bool = false;
        /// Number of steps after which the training of each fold ends; if empty, it ends by `trainer`.
        steps: Vec<usize> = Vec::new() => 1..=1_000_000_000;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// Gradient-boosted trees on numbers, categories, dates and the features of other inputs.
    pub struct BoostedTreesLearner {
        /// How trees grow.
        growth: TreeGrowth = TreeGrowth::LeafWise;
        /// Maximum number of rounds.
        max_rounds: usize = 300 => 1..=100_000;
        /// Number of rounds without improvement on held-out rows after which boosting stops.
        patience: usize = 20 => 1..=100_000;
        /// Factor of the values of leaves.
        learning_rate: f64 = 0.08 => 1e-6..=1.0;
        /// Maximum number of leaves of a tree that grows leaf by leaf.
        max_leaves: usize = 31 => 2..=4096;
        /// Maximum depth of a tree.
        max_depth: usize = 12 => 1..=64;
        /// Minimum number of rows of a leaf; by default a fiftieth of the rows, between 3 and 20.
        min_rows: Option<usize> = None => 1..=1_000_000;
        /// L2 penalty on the values of leaves.
        l2: f64 = 1.0 => 0.0..=1e9;
        /// Share of the rows that each round samples.
        row_share: f64 = 0.8 => 0.01..=1.0;
        /// Share of the columns that each tree samples; by default 0.8, but not more than 256 columns.
        column_share: Option<f64> = None => 0.0001..=1.0;
        /// Whether thresholds are drawn at random instead of searched.
        random_thresholds: bool = false;
        /// Maximum number of rows per fold: beyond it, a seeded sample is used.
        max_rows: usize = 2_000_000 => 2..=100_000_000;
        /// The number of rounds of each fold, for each output in turn; by early stopping if empty.
        rounds: Vec<usize> = Vec::new() => 0..=100_000;
        /// Whether it leaves out the columns of images, sounds, series and texts, which are many and can hide the others.
        without_media: bool = false;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// A random forest (Breiman 2001).
    pub struct RandomForestLearner {
        /// Number of trees per fold.
        n_trees: usize = 100 => 1..=10_000;
        /// Minimum number of rows of a leaf.
        min_rows: usize = 1 => 1..=1_000_000;
        /// Share of the columns that are tried per split; by default, all for numbers, but not more than 256, and the square root of
        /// their number for classes.
        column_share: Option<f64> = None => 0.0001..=1.0;
        /// Maximum number of rows per fold: beyond it, a seeded sample is used.
        max_rows: usize = 100_000 => 2..=100_000_000;
        /// Whether it leaves out the columns of images, sounds, series and texts, which are many and can hide the others.
        without_media: bool = false;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// Extremely randomized trees (Geurts et al. 2006).
    pub struct ExtraTreesLearner {
        /// Number of trees per fold.
        n_trees: usize = 100 => 1..=10_000;
        /// Minimum number of rows of a leaf.
        min_rows: usize = 1 => 1..=1_000_000;
        /// Share of the columns that are tried per split; by default, all for numbers, but not more than 256, and the square root of
        /// their number for classes.
        column_share: Option<f64> = None => 0.0001..=1.0;
        /// Maximum number of rows per fold: beyond it, a seeded sample is used.
        max_rows: usize = 100_000 => 2..=100_000_000;
        /// Whether it leaves out the columns of images, sounds, series and texts, which are many and can hide the others.
        without_media: bool = false;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// Ridge regression for numbers, logistic regression for classes and labels.
    pub struct LinearLearner {
        /// The penalty on the weights, from a list of which the one with the lowest loss on held-out rows is chosen; for ridge regression
        /// by leave-one-out where that is possible. For classes, 1 / `C` of scikit-learn's logistic regression.
        penalties: Vec<f64> = vec![0.01, 0.1, 1.0, 10.0, 100.0, 1000.0] => 1e-9..=1e9;
        /// A factor of the columns next to n-grams, from a list of which the one with the lowest loss on held-out rows is chosen: with a
        /// larger one, their weights are penalized less than those of n-grams. For classes and labels; ridge regression uses the first one.
        column_scales: Vec<f64> = vec![1.0, 10.0] => 1e-3..=1e3;
        /// Whether it leaves out the columns of images, sounds, series and texts, which are many and can hide the others.
        without_media: bool = false;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// A support vector machine with an RBF kernel for numbers and classes.
    pub struct SvmLearner {
        /// The penalty on slack.
        c: f64 = 3.0 => 1e-9..=1e9;
        /// Maximum number of rows per fold: beyond it, a seeded sample is used.
        max_rows: usize = 4000 => 2..=20_000;
        /// Whether it leaves out the columns of images, sounds, series and texts, which are many and can hide the others.
        without_media: bool = false;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// Random convolutions of time series and sounds (MiniRocket, Dempster et al. 2021; Hydra, Dempster et al. 2023) with ridge regression.
    pub struct ConvolutionsLearner {
        /// The penalty on the weights, from a list of which the one with the lowest error by leave-one-out is chosen.
        penalties: Vec<f64> = vec![0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0] => 1e-9..=1e9;
        /// Maximum number of rows per fold: beyond it, a seeded sample is used.
        max_rows: usize = 2000 => 2..=20_000;
        /// Its weight in the ensemble for each output; chosen on held-out rows if empty.
        weights: Vec<f64> = Vec::new() => 0.0..=1.0;
    }

    /// How learners are combined.
    pub struct EnsembleSettings {
        /// How much work `learners: auto` spends.
        preset: Preset = Preset::Good;
        /// Number of folds; each learner is fitted once per fold, on the rows of the other folds, and predicts the mean. 1 fits on the
        /// training rows and chooses by the validation rows. By default 5; 1 if `learners: auto` finds many rows.
        k_fold: Option<usize> = None => 1..=100;
        /// Number of picks of the greedy selection of weights (Caruana et al. 2004).
        n_picks: usize = 25 => 1..=1000;
        /// Whether learners with a weight are fitted once more on the training and validation rows together, if there is one fold.
        refit: bool = false;
    }
}

choices! {
    /// How much work is spent on a model.
    pub enum Preset {
        /// A few learners in a few folds: seconds for small tables.
        Fast = "fast",
        /// All learners that suit the table.
        Good = "good",
        /// More learners with more work each, until the time limit.
        Best = "best",
    }
}

#[allow(clippy::derivable_impls, reason = "the macro derives the other traits")]
impl Default for Preset {
    fn default() -> Self {
        Self::Good
    }
}

choices! {
    /// How boosted trees grow.
    pub enum TreeGrowth {
        /// The leaf with the largest gain is split next (Ke et al. 2017).
        LeafWise = "leaf_wise",
        /// All nodes of a level share a test (Prokhorenkova et al. 2018).
        Symmetric = "symmetric",
    }
}

impl FromStr for Preset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Fast, Self::Good, Self::Best].into_iter().find(|it| it.as_str() == text).ok_or("expected fast, good or best")
    }
}

impl From<TreeGrowth> for Growth {
    fn from(growth: TreeGrowth) -> Self {
        match growth {
            TreeGrowth::LeafWise => Self::LeafWise,
            TreeGrowth::Symmetric => Self::Symmetric,
        }
    }
}

tagged! {
    /// A learner.
    pub enum Learner {
        Network(NetworkLearner) = "network",
        BoostedTrees(BoostedTreesLearner) = "boosted_trees",
        RandomForest(RandomForestLearner) = "random_forest",
        ExtraTrees(ExtraTreesLearner) = "extra_trees",
        Linear(LinearLearner) = "linear",
        Svm(SvmLearner) = "svm",
        Convolutions(ConvolutionsLearner) = "convolutions",
    }
}

impl Learner {
    /// Whether it reads scaled columns.
    pub fn reads_scaled(&self) -> bool {
        matches!(self, Self::Linear(_) | Self::Svm(_))
    }

    /// Whether it is the network, trained once per fold.
    pub fn is_bagged_network(&self) -> bool {
        matches!(self, Self::Network(network) if network.bagged)
    }

    /// Whether it leaves out the columns of images, sounds, series and texts.
    pub fn is_without_media(&self) -> bool {
        match self {
            Self::BoostedTrees(it) => it.without_media,
            Self::RandomForest(it) => it.without_media,
            Self::ExtraTrees(it) => it.without_media,
            Self::Linear(it) => it.without_media,
            Self::Svm(it) => it.without_media,
            Self::Network(_) | Self::Convolutions(_) => false,
        }
    }

    /// Returns the names of lists to choose from that have no value.
    fn empty_lists(&self) -> Vec<&'static str> {
        let lists = match self {
            Self::Linear(it) => vec![("penalties", it.penalties.is_empty()), ("column_scales", it.column_scales.is_empty())],
            Self::Convolutions(it) => vec![("penalties", it.penalties.is_empty())],
            _ => Vec::new(),
        };
        lists.into_iter().filter(|(_, is_empty)| *is_empty).map(|(name, _)| name).collect()
    }

    /// Returns the given weights in the ensemble, one per output; empty if they are chosen.
    pub fn weights(&self) -> &[f64] {
        match self {
            Self::Network(it) => &it.weights,
            Self::BoostedTrees(it) => &it.weights,
            Self::RandomForest(it) => &it.weights,
            Self::ExtraTrees(it) => &it.weights,
            Self::Linear(it) => &it.weights,
            Self::Svm(it) => &it.weights,
            Self::Convolutions(it) => &it.weights,
        }
    }

    fn weights_mut(&mut self) -> &mut Vec<f64> {
        match self {
            Self::Network(it) => &mut it.weights,
            Self::BoostedTrees(it) => &mut it.weights,
            Self::RandomForest(it) => &mut it.weights,
            Self::ExtraTrees(it) => &mut it.weights,
            Self::Linear(it) => &mut it.weights,
            Self::Svm(it) => &mut it.weights,
            Self::Convolutions(it) => &mut it.weights,
        }
    }

    /// Returns the learner without weights, rounds and steps, which are then chosen.
    pub fn without_results(mut self) -> Self {
        self.weights_mut().clear();
        match &mut self {
            Self::BoostedTrees(it) => it.rounds.clear(),
            Self::Network(it) => it.steps.clear(),
            Self::RandomForest(_) | Self::ExtraTrees(_) | Self::Linear(_) | Self::Svm(_) | Self::Convolutions(_) => {}
        }
        self
    }

    /// Adds what was done for the next output: its weight, and the rounds of each fold if it is boosted.
    pub fn push_result(&mut self, weight: f64, rounds: Vec<usize>) {
        self.weights_mut().push(weight);
        if let Self::BoostedTrees(it) = self {
            it.rounds.extend(rounds);
        }
    }
}

/// The learners of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Learners {
    /// The network alone.
    #[default]
    Network,
    /// Chosen for the rows and columns of the table.
    Auto,
    /// These.
    List(Vec<Learner>),
}

impl serde::Serialize for Learners {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Network => serializer.serialize_str("network"),
            Self::Auto => serializer.serialize_str("auto"),
            Self::List(learners) => learners.serialize(serializer),
        }
    }
}

impl Setting for Learners {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Text(word) if word == "network" => Some(Self::Network),
            Value::Text(word) if word == "auto" => Some(Self::Auto),
            Value::List(items) if !items.is_empty() => {
                let learners = Vec::<Learner>::read(node, path, diagnostics)?;
                for (at, (learner, item)) in learners.iter().zip(items).enumerate() {
                    for name in learner.empty_lists() {
                        diagnostics.add(item.line, &format!("{path}[{at}].{name}"), "at least one value is required".to_owned());
                    }
                }
                Some(Self::List(learners))
            }
            other => {
                let message = format!("expected network, auto or a list of learners, found {}", other.name());
                diagnostics.add(node.line, path, message);
                None
            }
        }
    }

    fn schema() -> Schema {
        let word = |word, doc: &str| (word, doc.to_owned());
        let words = Words {
            name: "ChosenLearners",
            doc: "Learners that are not listed.".to_owned(),
            words: vec![
                word("network", "The network alone."),
                word("auto", "An ensemble for the rows and columns of the table."),
            ],
            are_numbers: false,
        };
        Schema::WordsOr(words, Box::new(Vec::<Learner>::schema()))
    }
}
