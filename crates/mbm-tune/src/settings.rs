//! The `hyperopt` section of the config, in Ludwig's shape.

use mbm_config::{choices, defaults, settings, tagged};

use crate::Parameters;

/// The `output_feature` that stands for all outputs together.
pub const COMBINED: &str = "combined";

settings! {
    /// The search for better settings by `mbm tune`.
    pub struct Hyperopt {
        /// The settings that are searched: dotted paths of the config, each with the space of its values.
        parameters: Parameters;
        /// Whether the metric is minimized or maximized; by default, what is better by the definition of the metric.
        goal: Option<Goal> = None;
        /// The metric by which trials are compared.
        metric: String = "loss".to_owned();
        /// The output whose metric is used; `combined` is the sum of the losses of all outputs.
        output_feature: String = COMBINED.to_owned();
        /// The rows on which the metric is measured.
        split: TuneSplit = TuneSplit::Validation;
        /// How many trials are run, and when they stop early.
        executor: Executor = defaults();
        /// How the values of a trial are chosen.
        search_alg: SearchAlgorithm = SearchAlgorithm::Tpe(defaults());
    }

    /// How trials are run.
    pub struct Executor {
        /// Number of trials in addition to the config as written; with `grid_search`, that number for each combination.
        num_samples: usize = 10 => 1..=10_000;
        /// When trials stop early.
        scheduler: Scheduler = Scheduler::Asha(defaults());
    }

    /// Settings of asynchronous successive halving (Li et al. 2020): a trial stops unless its metric is among the best of those
    /// that were measured after as many epochs.
    pub struct Asha {
        /// Number of epochs after which trials are compared for the first time.
        grace_period: usize = 1 => 1..=1_000_000;
        /// Trials are compared after `grace_period` epochs, `reduction_factor` times as many, and so on; one in
        /// `reduction_factor` continues.
        reduction_factor: usize = 4 => 2..=1000;
        /// Maximum number of epochs of a trial; by default, what the config says.
        max_t: Option<usize> = None => 1..=1_000_000_000;
    }

    /// Settings of running every trial to its end.
    pub struct Fifo {}

    /// Settings of the tree-structured Parzen estimator (Bergstra et al. 2011).
    pub struct Tpe {
        /// Number of trials that are drawn at random before the estimator is used.
        n_startup_trials: usize = 10 => 1..=10_000;
        /// Number of candidates of which the most promising one is tried.
        n_candidates: usize = 24 => 1..=10_000;
        /// The random seed; by default, that of the config.
        seed: Option<u64> = None;
    }

    /// Settings of drawing every trial at random.
    pub struct RandomSearch {
        /// The random seed; by default, that of the config.
        seed: Option<u64> = None;
    }
}

choices! {
    /// Which values of a metric are better.
    pub enum Goal {
        /// Lower values are better.
        Minimize = "minimize",
        /// Higher values are better.
        Maximize = "maximize",
    }
}

choices! {
    /// The rows on which trials are compared; test rows are not offered, as their metrics would no longer hold for new rows.
    pub enum TuneSplit {
        /// The validation rows.
        Validation = "validation",
    }
}

tagged! {
    /// When trials stop early.
    pub enum Scheduler: Asha { Asha(Asha) = "asha", Fifo(Fifo) = "fifo" }
}

tagged! {
    /// How the values of a trial are chosen.
    pub enum SearchAlgorithm: Tpe { Tpe(Tpe) = "tpe", Random(RandomSearch) = "random" }
}

impl SearchAlgorithm {
    /// Returns the seed, if one is given.
    pub fn seed(&self) -> Option<u64> {
        match self {
            Self::Tpe(it) => it.seed,
            Self::Random(it) => it.seed,
        }
    }
}

impl Goal {
    /// Returns a loss that is lower the better a score is; that of a score that is not a number is infinite.
    pub(crate) fn loss(self, score: Option<f64>) -> f64 {
        match (self, score) {
            (_, None) => f64::INFINITY,
            (Self::Minimize, Some(score)) => score,
            (Self::Maximize, Some(score)) => -score,
        }
    }
}

impl Hyperopt {
    /// Returns the number of trials, including the config as written.
    pub fn n_trials(&self) -> usize {
        let n_samples = if self.parameters.are_all_grids() { 1 } else { self.executor.num_samples };
        n_samples.saturating_mul(self.parameters.n_combinations()).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use mbm_config::{Diagnostics, Format, Node, Setting};

    use super::*;

    fn read(text: &str) -> Result<Hyperopt, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let read = Hyperopt::read(&Node::parse(text, Format::Yaml).unwrap(), "hyperopt", &mut diagnostics);
        diagnostics.unless_any(read)
    }

    #[test]
    fn section_in_ludwigs_shape_is_read_and_written() {
        let text = "
goal: maximize
metric: accuracy
output_feature: species
split: validation
parameters:
  trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 0.1}
  combiner.num_fc_layers: {space: randint, lower: 1, upper: 3}
executor:
  num_samples: 20
  scheduler: {type: asha, grace_period: 2, reduction_factor: 3, max_t: 50}
search_alg: {type: random, seed: 3}";
        let hyperopt = read(text).unwrap();
        assert_eq!((hyperopt.goal, hyperopt.n_trials()), (Some(Goal::Maximize), 21));
        let asha = Asha { grace_period: 2, reduction_factor: 3, max_t: Some(50) };
        assert_eq!(hyperopt.executor, Executor { num_samples: 20, scheduler: Scheduler::Asha(asha) });
        assert_eq!(hyperopt.search_alg.seed(), Some(3));
        assert_eq!(read(&serde_json::to_string(&hyperopt).unwrap()).unwrap(), hyperopt);
    }

    #[test]
    fn all_but_the_parameters_has_defaults() {
        let hyperopt = read("parameters: {a: {space: uniform, lower: 0, upper: 1}}").unwrap();
        assert_eq!((hyperopt.metric.as_str(), hyperopt.output_feature.as_str()), ("loss", "combined"));
        assert_eq!((hyperopt.goal, hyperopt.n_trials()), (None, 11));
        assert_eq!((hyperopt.executor.scheduler.type_name(), hyperopt.search_alg.type_name()), ("asha", "tpe"));
        assert!(read("{}").unwrap_err().to_string().contains("hyperopt: the key 'parameters' is missing"));
    }

    #[test]
    fn mistakes_say_what_is_allowed() {
        let text = "
parameters: {a: {space: uniform, lower: 0, upper: 1}}
split: test
goal: minimise
executor: {num_samples: 0, scheduler: hyperband}
search_alg: grid";
        let expected = "5 problems in the config
  line 3: hyperopt.split: unknown value 'test'; allowed: validation
  line 4: hyperopt.goal: unknown value 'minimise', did you mean 'minimize'?; allowed: minimize, maximize
  line 5: hyperopt.executor.num_samples: 0 is out of range; allowed: 1 to 10000
  line 5: hyperopt.executor.scheduler.type: unknown type 'hyperband'; allowed: asha, fifo
  line 6: hyperopt.search_alg.type: unknown type 'grid'; allowed: tpe, random";
        assert_eq!(read(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn each_combination_of_a_grid_is_sampled_or_tried_once() {
        let grid = "a: {space: grid_search, values: [1, 2, 3]}, b: {space: grid_search, values: [x, y]}";
        assert_eq!(read(&format!("parameters: {{{grid}}}")).unwrap().n_trials(), 7);
        let mixed = read(&format!("parameters: {{{grid}, c: {{space: int, lower: 1, upper: 9}}}}")).unwrap();
        assert_eq!(mixed.n_trials(), 61);
    }
}
