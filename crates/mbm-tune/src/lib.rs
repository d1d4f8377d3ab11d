//! Search over the settings of a config, as `mbm tune` does it: which settings to try next, which trials to stop early, and a journal
//! from which an interrupted study continues.
//!
//! ```text
//! hyperopt section --Setting::read--> Hyperopt: Parameters (path -> Space), Scheduler, SearchAlgorithm
//!
//!          next_trial (search: TPE)          report (ASHA)                    finish
//! Study ---------------------------> Trial ----------------> Continue | Stop --------> score
//!    \_________________________ every step is a line of the journal ______________________/
//! ```
//!
//! Training is left to the caller: a trial is a list of changes to a config, its score a number. Trial 0 changes nothing, so the
//! config as written is always part of the comparison.
//!
//! ```
//! use mbm_config::{Diagnostics, Format, Node, Setting};
//! use mbm_tune::{Goal, Hyperopt, Outcome, Study, StudySpec};
//!
//! let text = "{parameters: {trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 1}}, executor: {num_samples: 20}}";
//! let settings = Hyperopt::read(&Node::parse(text, Format::Yaml).unwrap(), "hyperopt", &mut Diagnostics::default()).unwrap();
//! let spec = StudySpec { settings, goal: Goal::Minimize, seed: 42, inputs: Default::default() };
//! # let folder = tempfile::tempdir()?;
//! # let journal = folder.path().join("journal.jsonl");
//! let mut study = Study::open(&journal, spec)?;
//! while let Some(trial) = study.next_trial()? {
//!     let rate = trial.parameters.0.get("trainer.learning_rate").and_then(|it| it.as_f64()).unwrap_or(1.0);
//!     study.finish(trial.number, Outcome::Scored((rate.log10() + 2.0).abs()))?; // trained and scored
//! }
//! let best = study.best().unwrap();
//! assert!(best.score.unwrap() < 0.3, "{}", best.parameters);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asha;
mod error;
mod journal;
mod node_json;
mod parameters;
mod search;
mod settings;
pub mod space;
mod study;
mod suggestion;
mod trial;

pub use asha::Decision;
pub use error::TuneError;
pub use parameters::{Parameters, complete_schema};
pub use settings::{Asha, COMBINED, Executor, Fifo, Goal, Hyperopt, RandomSearch, Scheduler, SearchAlgorithm, Tpe, TuneSplit};
pub use space::Space;
pub use study::{Study, StudySpec};
pub use suggestion::Suggestion;
pub use trial::{Outcome, State, Trial, write_csv};
