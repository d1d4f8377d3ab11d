//! A study: trials are given out, report their metric while they are trained, and are scored. Every step is written to the journal
//! before it takes effect, so a study that is opened again is in the state in which it was left.

use std::collections::BTreeMap;
use std::path::Path;

use crate::asha::{Decision, Rungs};
use crate::journal::{Event, Header, Journal};
use crate::search::suggest;
use crate::trial::{Outcome, State, Trial};
use crate::{Goal, Hyperopt, Scheduler, Suggestion, TuneError};

/// What a study searches, and what its scores depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct StudySpec {
    /// The `hyperopt` section of the config.
    pub settings: Hyperopt,
    /// Which scores are better; that of the settings or, without it, of the metric.
    pub goal: Goal,
    /// The seed, unless the settings have one.
    pub seed: u64,
    /// What else the scores depend on, by name, such as the hashes of the config and of the dataset. A journal that was written
    /// with others is refused.
    pub inputs: BTreeMap<String, String>,
}

/// A search over settings.
#[derive(Debug)]
pub struct Study {
    spec: StudySpec,
    journal: Journal,
    log: Log,
}

/// The trials so far.
#[derive(Debug)]
struct Log {
    goal: Goal,
    trials: Vec<Trial>,
    rungs: Option<Rungs>,
    /// For each trial, whether it was told to stop early.
    is_stopped: Vec<bool>,
}

impl Study {
    /// Opens the study of a journal, or starts it if there is no such file. Trials that were running are given out again.
    ///
    /// # Errors
    /// Fails if the journal is damaged, is that of another study or is in use, and on an error of the file system.
    pub fn open(path: &Path, spec: StudySpec) -> Result<Self, TuneError> {
        let seed = spec.settings.search_alg.seed().unwrap_or(spec.seed);
        let header = Header::new(&spec.settings, spec.goal, seed, spec.inputs.clone());
        let (journal, events) = Journal::open(path, &header)?;
        let mut log = Log::new(&spec);
        for (at, event) in events.iter().enumerate() {
            // The first line is the header.
            let refused = |message| TuneError::Damaged { path: path.to_path_buf(), line: at + 2, message };
            log.apply(event).map_err(refused)?;
        }
        let running = log.trials.iter_mut().filter(|trial| trial.state == State::Running);
        running.for_each(|trial| trial.state = State::Interrupted);
        Ok(Self { spec: StudySpec { seed, ..spec }, journal, log })
    }

    /// Gives out the next trial: one that was interrupted, with the same number and parameters, or a new one; `None` once all were
    /// given out. Trial 0 changes nothing. Several trials may run at the same time.
    ///
    /// # Errors
    /// Fails if the journal cannot be written.
    pub fn next_trial(&mut self) -> Result<Option<Trial>, TuneError> {
        let interrupted = self.log.trials.iter().find(|trial| trial.state == State::Interrupted);
        let (number, parameters) = match interrupted {
            Some(trial) => (trial.number, trial.parameters.clone()),
            None if self.log.trials.len() >= self.spec.settings.n_trials() => return Ok(None),
            None => (self.log.trials.len(), self.suggestion(self.log.trials.len())),
        };
        self.record(&Event::Started { trial: number, parameters })?;
        Ok(self.log.trials.get(number).cloned())
    }

    fn suggestion(&self, number: usize) -> Suggestion {
        if number == 0 {
            return Suggestion::default();
        }
        let StudySpec { settings, goal, seed, .. } = &self.spec;
        suggest(&settings.parameters, &settings.search_alg, *goal, *seed, number, &self.log.trials)
    }

    /// Takes the metric of a running trial after it has used a resource, such as a number of epochs, and decides whether the trial
    /// continues. A trial that is told to stop is to be scored and finished as it is.
    ///
    /// # Errors
    /// Fails if the trial is not running, or the journal cannot be written.
    pub fn report(&mut self, trial: usize, resource: usize, score: f64) -> Result<Decision, TuneError> {
        self.running(trial)?;
        self.record(&Event::Reported { trial, resource, score: finite(score) })?;
        let is_last = self.log.rungs.as_ref().is_some_and(|rungs| rungs.is_last(resource));
        Ok(if is_last || self.log.is_stopped[trial] { Decision::Stop } else { Decision::Continue })
    }

    /// Ends a trial: it is completed, stopped if it was told to stop before the last resource, or failed. A score that is not a
    /// finite number counts as the worst.
    ///
    /// # Errors
    /// Fails if the trial is not running, or the journal cannot be written.
    pub fn finish(&mut self, trial: usize, outcome: Outcome) -> Result<(), TuneError> {
        self.running(trial)?;
        let scored = if self.log.is_stopped[trial] { State::Stopped } else { State::Completed };
        self.record(&match outcome {
            Outcome::Scored(score) => Event::Ended { trial, state: scored, score: finite(score), error: None },
            Outcome::Failed(error) => Event::Ended { trial, state: State::Failed, score: None, error: Some(error) },
        })
    }

    /// Returns whether a running trial will be the best if it is finished with this score, so that its model can be saved before the
    /// journal says so; a kill in between only runs the trial again.
    pub fn is_best(&self, trial: usize, score: f64) -> bool {
        let is_candidate = self.running(trial).is_ok() && !self.log.is_stopped[trial] && score.is_finite();
        let loss = |score| self.spec.goal.loss(score);
        is_candidate
            && self.best().is_none_or(|best| {
                loss(Some(score)) < loss(best.score) || loss(Some(score)) == loss(best.score) && trial < best.number
            })
    }

    /// Returns the best of the trials that ran to their end; of several, the first.
    pub fn best(&self) -> Option<&Trial> {
        let completed = self.log.trials.iter().filter(|trial| trial.state == State::Completed && trial.score.is_some());
        completed.min_by(|a, b| self.spec.goal.loss(a.score).total_cmp(&self.spec.goal.loss(b.score)))
    }

    /// Returns all trials that were given out, by number.
    pub fn trials(&self) -> &[Trial] {
        &self.log.trials
    }

    /// Returns the number of trials of the whole study, including the config as written.
    pub fn n_trials(&self) -> usize {
        self.spec.settings.n_trials()
    }

    fn running(&self, number: usize) -> Result<(), TuneError> {
        let is_running = self.log.trials.get(number).is_some_and(|trial| trial.state == State::Running);
        if is_running { Ok(()) } else { Err(TuneError::NotRunning { number }) }
    }

    fn record(&mut self, event: &Event) -> Result<(), TuneError> {
        self.journal.record(event)?;
        self.log.apply(event).map_err(|_| TuneError::NotRunning { number: event.trial() })
    }
}

fn finite(score: f64) -> Option<f64> {
    score.is_finite().then_some(score)
}

impl Log {
    fn new(spec: &StudySpec) -> Self {
        let rungs = match &spec.settings.executor.scheduler {
            Scheduler::Asha(settings) => Some(Rungs::new(settings.clone())),
            Scheduler::Fifo(_) => None,
        };
        Self { goal: spec.goal, trials: Vec::new(), rungs, is_stopped: Vec::new() }
    }

    /// Applies an event, as it happens or is read from the journal.
    fn apply(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Started { trial, parameters } => self.start(*trial, parameters),
            Event::Reported { trial, resource, score } => self.report(*trial, *resource, *score),
            Event::Ended { trial, state, score, error } => {
                let ended = self.running(*trial)?;
                (ended.state, ended.score, ended.error) = (*state, *score, error.clone());
                if ended.is_finished() { Ok(()) } else { Err(format!("trial {trial} cannot end as '{}'", state.as_str())) }
            }
        }
    }

    fn start(&mut self, number: usize, parameters: &Suggestion) -> Result<(), String> {
        let n_trials = self.trials.len();
        match self.trials.get_mut(number) {
            None if number == n_trials => {
                self.trials.push(Trial::started(number, parameters.clone()));
                self.is_stopped.push(false);
                Ok(())
            }
            Some(trial) if !trial.is_finished() && trial.parameters == *parameters => {
                *trial = Trial::started(number, parameters.clone());
                self.is_stopped[number] = false;
                self.rungs.iter_mut().for_each(|rungs| rungs.forget(number));
                Ok(())
            }
            _ => Err(format!("trial {number} cannot start here")),
        }
    }

    fn report(&mut self, number: usize, resource: usize, score: Option<f64>) -> Result<(), String> {
        let trial = self.running(number)?;
        (trial.resource, trial.score) = (resource, score);
        let loss = self.goal.loss(score);
        // A trial that was told to stop no longer competes.
        if let Some(rungs) = self.rungs.as_mut().filter(|_| !self.is_stopped[number]) {
            self.is_stopped[number] = rungs.decide(number, resource, loss) == Decision::Stop;
        }
        Ok(())
    }

    fn running(&mut self, number: usize) -> Result<&mut Trial, String> {
        let trial = self.trials.get_mut(number).filter(|trial| trial.state == State::Running);
        trial.ok_or_else(|| format!("trial {number} is not running"))
    }
}

#[cfg(test)]
mod tests;
