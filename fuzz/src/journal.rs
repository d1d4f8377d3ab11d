//! Any bytes as the journal of a search, after the header of the search or without it: an error, or a search that continues and can be
//! opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use mbm_config::{Diagnostics, Format, Node, Setting};
use mbm_tune::{Goal, Hyperopt, Outcome, Study, StudySpec};

const SETTINGS: &str = "
parameters:
  trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 0.1}
  combiner.type: {space: choice, categories: [concat, gated]}
executor: {num_samples: 5, scheduler: {type: asha, reduction_factor: 2, max_t: 4}}
search_alg: {type: tpe, n_startup_trials: 2}
";

fn spec() -> StudySpec {
    static SPEC: OnceLock<StudySpec> = OnceLock::new();
    let read = || {
        let node = Node::parse(SETTINGS, Format::Yaml).expect("YAML");
        let settings = Hyperopt::read(&node, "hyperopt", &mut Diagnostics::default()).expect("settings");
        StudySpec { settings, goal: Goal::Minimize, seed: 7, inputs: BTreeMap::from([("dataset".to_owned(), "a1".to_owned())]) }
    };
    SPEC.get_or_init(read).clone()
}

/// Returns the journal of a search of some trials.
fn journal(n_trials: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("journal.jsonl");
    let mut study = Study::open(&path, spec()).expect("a search");
    for number in 0..n_trials {
        let trial = study.next_trial().expect("a journal").expect("a trial").number;
        let _ = study.report(trial, 1, number as f64).expect("a running trial");
        let failed = Outcome::Failed("it diverged".to_owned());
        let outcome = if number == 1 { failed } else { Outcome::Scored(number as f64) };
        study.finish(trial, outcome).expect("a running trial");
    }
    std::fs::read(&path).expect("a journal")
}

/// Returns journals of several lengths as inputs of [`run`]: whole, and without their header.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = [0, 3].map(|n_trials| [&[0], &*journal(n_trials)].concat());
    let events = [1, 4].map(|n_trials| [&[1], &journal(n_trials)[header().len()..]].concat());
    whole.into_iter().chain(events).collect()
}

/// Returns the first line of a journal.
fn header() -> &'static [u8] {
    static HEADER: OnceLock<Vec<u8>> = OnceLock::new();
    HEADER.get_or_init(|| journal(0))
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((has_header, content)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("journal.jsonl");
    let header = if has_header % 2 == 1 { header() } else { &[] };
    let _ = std::fs::write(&path, [header, content].concat());
    let Some(n_trials) = proceed(&path) else { return };
    let again = Study::open(&path, spec()).expect("a search that has continued can be opened");
    assert_eq!(again.trials().len(), n_trials);
}

/// Opens the search and runs a trial, if the journal is accepted; returns the number of trials.
fn proceed(path: &Path) -> Option<usize> {
    let mut study = Study::open(path, spec()).ok()?;
    if let Some(trial) = study.next_trial().expect("the journal can be written") {
        let _ = study.report(trial.number, 1, 0.5).expect("the trial is running");
        study.finish(trial.number, Outcome::Scored(0.5)).expect("the trial is running");
    }
    let _ = study.best();
    Some(study.trials().len())
}
