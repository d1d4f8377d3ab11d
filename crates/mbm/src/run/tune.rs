//! `mbm tune`: runs with different settings, of which the best is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mbm_algo::metric::{CLASSIFICATION, Direction, REGRESSION, RETRIEVAL, SETS, TEXTS};
use mbm_config::{Diagnostic, Diagnostics, Node};
use mbm_data::{Table, remove, write_file};
use mbm_train::Event;
use mbm_tune::{Asha, COMBINED, Decision, Goal, Hyperopt, Outcome, Scheduler, Space, Study, StudySpec, Trial, write_csv};
use sha2::{Digest, Sha256};

use crate::config::plan::Plan;
use crate::config::source::ConfigSource;
use crate::error::Error;
use crate::run::event::RunEvent;
use crate::run::experiment::{Experiment, hexadecimal};
use crate::run::folder::Start;
use crate::run::learners::leaderboard;

/// Progress of a search.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TuneEvent {
    /// A trial starts.
    Started(Trial),
    /// An event of its run.
    Run(RunEvent),
    /// A trial has ended.
    Ended {
        /// The trial.
        trial: Trial,
        /// Whether it is the best so far.
        is_best: bool,
    },
}

/// The result of a search.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuned {
    /// The run folder of the best trial.
    pub folder: PathBuf,
    /// The metric on validation rows that trials are compared by.
    pub metric: String,
    /// The best trial; `None` if none ran to its end.
    pub best: Option<Trial>,
    /// All trials.
    pub trials: Vec<Trial>,
    /// Whether the search was stopped from outside.
    pub is_stopped: bool,
}

/// A search in progress.
struct Search<'a> {
    experiment: &'a Experiment,
    settings: Hyperopt,
    goal: Goal,
    study: Study,
    folder: PathBuf,
    stop: &'a AtomicBool,
}

/// Searches better settings in the spaces of the plan's `hyperopt` section: each trial is a run of the experiment with other settings. The
/// folder `tune` in the experiment's folder holds the journal, the table of trials, and the run folder of the best trial. A search that
/// was interrupted continues.
///
/// # Errors
/// Fails if the plan has no `hyperopt` section, its metric or a path does not exist, the journal is that of another search, or data cannot
/// be read. A trial that fails does not end the search.
pub fn tune(experiment: &Experiment, stop: &AtomicBool, observe: &mut dyn FnMut(TuneEvent)) -> Result<Tuned, Error> {
    let mut search = Search::open(experiment, stop)?;
    let mut is_stopped = false;
    while let Some(trial) = search.study.next_trial()? {
        observe(TuneEvent::Started(trial.clone()));
        if !search.run(&trial, observe)? {
            is_stopped = true;
            break;
        }
    }
    search.write_trials()?;
    let best = search.study.best().cloned();
    let (folder, trials) = (search.folder.join(BEST), search.study.trials().to_vec());
    Ok(Tuned { folder, metric: search.settings.metric, best, trials, is_stopped })
}

/// The files of a search.
const FOLDER: &str = "tune";
const JOURNAL: &str = "journal.jsonl";
const TRIALS: &str = "trials.csv";
const BEST: &str = "best";
const TRIAL: &str = "trial";

impl<'a> Search<'a> {
    fn open(experiment: &'a Experiment, stop: &'a AtomicBool) -> Result<Self, Error> {
        let Some(settings) = experiment.plan.config.hyperopt.clone() else {
            return Err(invalid("hyperopt", "the section is missing; it says which settings are searched".to_owned()));
        };
        let goal = settings.goal.unwrap_or_else(|| goal_of(&settings.metric));
        let plan = without_search(&experiment.plan);
        let table = Table::read_with(&experiment.dataset, &experiment.table_options)?;
        table.require_rows()?;
        check_paths(&plan, &settings)?;
        let folder = experiment.folder.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let config = hexadecimal(&Sha256::digest(plan.to_json().to_string()));
        let inputs = BTreeMap::from([("config".to_owned(), config), ("dataset".to_owned(), table.hash.clone())]);
        let spec = StudySpec { settings: settings.clone(), goal, seed: plan.config.random_seed, inputs };
        let study = Study::open(&folder.join(JOURNAL), spec)?;
        Ok(Self { experiment, settings, goal, study, folder, stop })
    }

    /// Runs a trial. Returns false if it was stopped from outside, so that it is run again.
    fn run(&mut self, trial: &Trial, observe: &mut dyn FnMut(TuneEvent)) -> Result<bool, Error> {
        let scored = self.score(trial, observe);
        if self.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let mut is_best = false;
        let outcome = match scored {
            Ok(score) => {
                is_best = self.study.is_best(trial.number, score);
                if is_best {
                    self.keep()?;
                }
                Outcome::Scored(score)
            }
            Err(error @ (Error::Io { .. } | Error::Tune(_))) => return Err(error),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        self.study.finish(trial.number, outcome)?;
        let path = self.folder.join(TRIAL);
        remove(&path).map_err(Error::io(&path))?;
        self.write_trials()?;
        let trial = self.study.trials()[trial.number].clone();
        observe(TuneEvent::Ended { trial, is_best });
        Ok(true)
    }

    /// Trains a trial in the folder for the current one, and returns its metric.
    fn score(&mut self, trial: &Trial, observe: &mut dyn FnMut(TuneEvent)) -> Result<f64, Error> {
        let mut source =
            ConfigSource::new(Node::from(&without_search(&self.experiment.plan).to_json()), "the settings of the trial");
        source.change(&trial.parameters.overrides())?;
        let mut plan = measured(&source.check()?, &self.settings)?;
        if let Scheduler::Asha(Asha { max_t: Some(max_t), .. }) = self.settings.executor.scheduler {
            plan.config.trainer.epochs = plan.config.trainer.epochs.min(max_t);
        }
        let n_epochs = plan.config.trainer.epochs;
        let folder = self.folder.join(TRIAL);
        let experiment = Experiment { plan, folder, start: Start::Overwrite, ..self.experiment.clone() };
        let key = key(&experiment.plan, &self.settings);
        let (ends, mut best, mut failed) = (AtomicBool::new(false), None, None);
        let (study, goal, stop) = (&mut self.study, self.goal, self.stop);
        let mut each = |event: RunEvent| {
            if stop.load(Ordering::Relaxed) {
                ends.store(true, Ordering::Relaxed);
            }
            if let RunEvent::Training(Event::Epoch { epoch, validation, .. }) = &event
                && let Some(value) = validation.get(&key)
            {
                best = Some(best.map_or(*value, |best| better(goal, best, *value)));
                match study.report(trial.number, epoch + 1, *value) {
                    Ok(Decision::Stop) if epoch + 1 < n_epochs => ends.store(true, Ordering::Relaxed),
                    Ok(Decision::Continue | Decision::Stop) => {}
                    Err(error) => {
                        failed = Some(error);
                        ends.store(true, Ordering::Relaxed);
                    }
                }
            }
            observe(TuneEvent::Run(event));
        };
        let outcome = experiment.run(&ends, &mut each)?;
        failed.map_or(Ok(()), |error| Err(Error::Tune(error)))?;
        Ok(held_out(&outcome.folder, &self.settings).or(best).unwrap_or(f64::NAN))
    }

    /// Makes the run of the current trial the best one.
    fn keep(&self) -> Result<(), Error> {
        let (trial, best, old) = (self.folder.join(TRIAL), self.folder.join(BEST), self.folder.join(format!("{BEST}.old")));
        remove(&old).map_err(Error::io(&old))?;
        if best.exists() {
            std::fs::rename(&best, &old).map_err(Error::io(&best))?;
        }
        std::fs::rename(&trial, &best).map_err(Error::io(&best))?;
        remove(&old).map_err(Error::io(&old))
    }

    fn write_trials(&self) -> Result<(), Error> {
        let mut text = Vec::new();
        let path = self.folder.join(TRIALS);
        write_csv(self.study.trials(), &mut text).map_err(|error| Error::damaged(&path, error))?;
        Ok(write_file(&path, &text)?)
    }
}

/// Returns the metric of the ensemble on held-out rows, if there is one.
fn held_out(folder: &Path, settings: &Hyperopt) -> Option<f64> {
    let lines = leaderboard(folder).ok()?;
    let is_output = |name: &str| settings.output_feature == COMBINED || settings.output_feature == name;
    let line = lines.iter().find(|line| line.is_model() && is_output(&line.output))?;
    line.held_out.get(&settings.metric).copied()
}

/// Returns the plan whose best epoch is chosen by the metric of the search.
fn measured(plan: &Plan, settings: &Hyperopt) -> Result<Plan, Error> {
    let mut overrides = Vec::new();
    if settings.output_feature != COMBINED {
        overrides.push(format!("trainer.validation_field={}", settings.output_feature));
    }
    if settings.metric != "loss" {
        overrides.push(format!("trainer.validation_metric={}", settings.metric));
    }
    let mut source = ConfigSource::new(Node::from(&plan.to_json()), "hyperopt");
    source.change(&overrides)?;
    source.check()
}

/// Returns the name of the metric among the values of an epoch.
fn key(plan: &Plan, settings: &Hyperopt) -> String {
    let output = match settings.output_feature.as_str() {
        COMBINED => plan.config.output_features[0].name(),
        name => name,
    };
    if settings.metric == "loss" { "loss".to_owned() } else { format!("{output}.{}", settings.metric) }
}

/// Checks that each path of the config can be set to the first value of its space.
fn check_paths(plan: &Plan, settings: &Hyperopt) -> Result<(), Error> {
    let mut problems = Diagnostics::default();
    for (path, space) in &settings.parameters.0 {
        match check_path(plan, path, space) {
            Err(Error::Config { diagnostics, .. }) => problems.0.extend(diagnostics.0),
            checked => checked?,
        }
    }
    problems.unless_any(Some(())).map_err(|diagnostics| Error::Config { file: "hyperopt".to_owned(), diagnostics })
}

fn check_path(plan: &Plan, path: &str, space: &Space) -> Result<(), Error> {
    let space = serde_json::to_value(space).unwrap_or_default();
    let first =
        ["/lower", "/categories/0", "/values/0"].into_iter().find_map(|at| space.pointer(at)).cloned().unwrap_or_default();
    let mut source = ConfigSource::new(Node::from(&plan.to_json()), "hyperopt");
    source.change(&[format!("{path}={first}")])?;
    source.check().map(|_| ())
}

fn without_search(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    plan.config.hyperopt = None;
    plan
}

fn invalid(path: &str, message: String) -> Error {
    Error::Config { file: "the config".to_owned(), diagnostics: Diagnostic::at(0, path, message).into() }
}

fn better(goal: Goal, a: f64, b: f64) -> f64 {
    match goal {
        Goal::Minimize => a.min(b),
        Goal::Maximize => a.max(b),
    }
}

/// Returns the direction in which a metric improves.
fn goal_of(metric: &str) -> Goal {
    let directions = [
        CLASSIFICATION.iter().find(|it| it.name == metric).map(|it| it.better),
        SETS.iter().find(|it| it.name == metric).map(|it| it.better),
        REGRESSION.iter().find(|it| it.name == metric).map(|it| it.better),
        TEXTS.iter().find(|it| it.name == metric).map(|it| it.better),
        RETRIEVAL.iter().find(|it| it.name == metric).map(|it| it.better),
    ];
    match directions.into_iter().flatten().next() {
        Some(Direction::Higher) => Goal::Maximize,
        Some(Direction::Lower) | None => Goal::Minimize,
    }
}
