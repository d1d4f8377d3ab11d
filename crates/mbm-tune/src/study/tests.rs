use mbm_config::{Diagnostics, Format, Node, Setting};
use proptest::prelude::*;

use super::*;
use crate::Decision::{Continue, Stop};

fn spec(text: &str) -> StudySpec {
    let (node, mut diagnostics) = (Node::parse(text, Format::Yaml).unwrap(), Diagnostics::default());
    let read = Hyperopt::read(&node, "hyperopt", &mut diagnostics);
    StudySpec { settings: diagnostics.unless_any(read).unwrap(), goal: Goal::Minimize, seed: 5, inputs: BTreeMap::new() }
}

const TWO: &str = "
parameters:
  rate: {space: loguniform, lower: 1e-5, upper: 1}
  layers: {space: int, lower: 1, upper: 8}
executor: {num_samples: 8, scheduler: {type: asha, reduction_factor: 2}}
search_alg: {type: tpe, n_startup_trials: 4}";

/// The number of epochs of the simulated training.
const N_EPOCHS: usize = 4;

/// A simulated loss after some epochs.
fn loss(trial: &Trial, epoch: usize) -> f64 {
    let setting = |path, default| trial.parameters.0.get(path).map_or(default, |it| it.as_f64().unwrap());
    let (rate, layers) = (setting("rate", 0.5), setting("layers", 1.0));
    (rate.log10() + 2.0).powi(2) + 0.1 * (layers - 3.0).powi(2) + 1.0 / epoch as f64
}

/// Trains until `n_steps` reports or ends were recorded; returns the number that are left.
fn run(study: &mut Study, mut n_steps: usize) -> usize {
    while let Some(trial) = study.next_trial().unwrap() {
        let mut last = 1;
        for epoch in 1..=N_EPOCHS {
            if n_steps == 0 {
                return 0;
            }
            n_steps -= 1;
            last = epoch;
            if study.report(trial.number, epoch, loss(&trial, epoch)).unwrap() == Stop {
                break;
            }
        }
        if n_steps == 0 {
            return 0;
        }
        n_steps -= 1;
        study.finish(trial.number, Outcome::Scored(loss(&trial, last))).unwrap();
    }
    n_steps
}

fn in_folder(act: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    act(&folder.path().join("journal.jsonl"));
}

/// Runs a study without interruption; returns its trials and its journal.
fn uninterrupted() -> (Vec<Trial>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let mut study = Study::open(&path, spec(TWO)).unwrap();
    run(&mut study, usize::MAX);
    (study.trials().to_vec(), std::fs::read(&path).unwrap())
}

#[test]
fn first_trial_is_the_config_as_written_and_the_others_change_every_parameter() {
    let (trials, _) = uninterrupted();
    assert_eq!(trials.len(), 9);
    assert_eq!(trials[0].parameters, Suggestion::default());
    assert!(trials[1..].iter().all(|trial| trial.parameters.0.keys().eq(["layers", "rate"])));
}

#[test]
fn some_trials_stop_early_and_the_best_one_ran_to_its_end() {
    in_folder(|path| {
        let mut study = Study::open(path, spec(TWO)).unwrap();
        run(&mut study, usize::MAX);
        let n_of = |state| study.trials().iter().filter(|trial| trial.state == state).count();
        assert!(n_of(State::Stopped) >= 3 && n_of(State::Completed) >= 2);
        assert_eq!(n_of(State::Stopped) + n_of(State::Completed), study.n_trials());
        let best = study.best().unwrap();
        assert_eq!((best.state, best.resource), (State::Completed, N_EPOCHS));
        assert!(study.trials().iter().all(|trial| trial.state != State::Completed || trial.score >= best.score));
    });
}

#[test]
fn study_that_runs_again_has_the_same_trials() {
    assert_eq!(uninterrupted(), uninterrupted());
}

#[test]
fn study_interrupted_anywhere_has_the_trials_of_an_uninterrupted_one() {
    let (trials, _) = uninterrupted();
    for n_steps in 0..30 {
        in_folder(|path| {
            run(&mut Study::open(path, spec(TWO)).unwrap(), n_steps);
            run(&mut Study::open(path, spec(TWO)).unwrap(), n_steps);
            let mut study = Study::open(path, spec(TWO)).unwrap();
            run(&mut study, usize::MAX);
            assert_eq!(study.trials(), trials, "interrupted after {n_steps} steps");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn journal_cut_at_any_byte_restores_the_first_trials_and_leads_to_the_same(cut in 0.0..1.0f64) {
        let (trials, journal) = uninterrupted();
        in_folder(|path| {
            std::fs::write(path, &journal[..(cut * journal.len() as f64) as usize]).unwrap();
            let mut study = Study::open(path, spec(TWO)).unwrap();
            for (restored, trial) in study.trials().iter().zip(&trials) {
                assert_eq!(restored.parameters, trial.parameters);
                assert!(!restored.is_finished() || restored == trial);
            }
            run(&mut study, usize::MAX);
            assert_eq!(study.trials(), trials);
        });
    }
}

#[test]
fn finished_study_gives_out_no_trial_until_samples_are_added() {
    in_folder(|path| {
        run(&mut Study::open(path, spec(TWO)).unwrap(), usize::MAX);
        assert_eq!(Study::open(path, spec(TWO)).unwrap().next_trial().unwrap(), None);
        let mut more = spec(TWO);
        more.settings.executor.num_samples = 9;
        assert_eq!(Study::open(path, more).unwrap().next_trial().unwrap().unwrap().number, 9);
    });
}

#[test]
fn failed_and_undefined_trials_count_as_the_worst() {
    in_folder(|path| {
        let mut study = Study::open(path, StudySpec { goal: Goal::Maximize, ..spec(TWO) }).unwrap();
        for outcome in [Outcome::Failed("out of memory".to_owned()), Outcome::Scored(f64::NAN), Outcome::Scored(-3.0)] {
            let trial = study.next_trial().unwrap().unwrap();
            assert!(study.best().is_none());
            study.finish(trial.number, outcome).unwrap();
        }
        assert_eq!(study.best().unwrap().number, 2);
        drop(study);
        let study = Study::open(path, StudySpec { goal: Goal::Maximize, ..spec(TWO) }).unwrap();
        let states: Vec<State> = study.trials().iter().map(|trial| trial.state).collect();
        assert_eq!(states, [State::Failed, State::Completed, State::Completed]);
        assert_eq!(study.trials()[0].error.as_deref(), Some("out of memory"));
    });
}

#[test]
fn trials_run_at_the_same_time_and_continue_by_their_rank() {
    in_folder(|path| {
        let mut study = Study::open(path, spec(TWO)).unwrap();
        let numbers: Vec<usize> = (0..3).map(|_| study.next_trial().unwrap().unwrap().number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        let decisions = [(1, 2.0), (0, 3.0), (2, 1.0)].map(|(trial, loss)| study.report(trial, 1, loss).unwrap());
        assert_eq!(decisions, [Continue, Stop, Continue]);
        study.finish(0, Outcome::Scored(2.9)).unwrap();
        assert_eq!((study.trials()[0].state, study.trials()[0].resource), (State::Stopped, 1));
    });
}

#[test]
fn trial_that_uses_all_resources_stops_and_is_complete() {
    in_folder(|path| {
        let text = TWO.replace("reduction_factor: 2", "reduction_factor: 2, max_t: 2");
        let mut study = Study::open(path, spec(&text)).unwrap();
        let trial = study.next_trial().unwrap().unwrap().number;
        assert_eq!([study.report(trial, 1, 1.0).unwrap(), study.report(trial, 2, 0.5).unwrap()], [Continue, Stop]);
        study.finish(trial, Outcome::Scored(0.5)).unwrap();
        assert_eq!(study.best().unwrap().number, trial);
    });
}

#[test]
fn trial_is_known_to_be_the_best_before_it_is_finished() {
    in_folder(|path| {
        let mut study = Study::open(path, StudySpec { goal: Goal::Maximize, ..spec(TWO) }).unwrap();
        let numbers = [(); 3].map(|()| study.next_trial().unwrap().unwrap().number);
        assert!(study.is_best(1, 0.5) && !study.is_best(1, f64::NAN) && !study.is_best(3, 0.5));
        study.finish(1, Outcome::Scored(0.5)).unwrap();
        // Of equal scores, the first trial is the best.
        assert_eq!(numbers.map(|trial| study.is_best(trial, 0.5)), [true, false, false]);
        assert_eq!([0.4, 0.6].map(|score| study.is_best(2, score)), [false, true]);
        study.finish(0, Outcome::Scored(0.5)).unwrap();
        assert_eq!(study.best().unwrap().number, 0);
    });
}

#[test]
fn without_a_scheduler_no_trial_stops() {
    in_folder(|path| {
        let mut study =
            Study::open(path, spec("parameters: {a: {space: uniform, lower: 0, upper: 1}}\nexecutor: {scheduler: fifo}"))
                .unwrap();
        for loss in [1.0, 2.0, 3.0] {
            let trial = study.next_trial().unwrap().unwrap().number;
            assert_eq!(study.report(trial, 1, loss).unwrap(), Continue);
        }
    });
}

#[test]
fn only_running_trials_report_and_end() {
    in_folder(|path| {
        let mut study = Study::open(path, spec(TWO)).unwrap();
        assert_eq!(study.report(0, 1, 1.0).unwrap_err().to_string(), "trial 0 is not running");
        let trial = study.next_trial().unwrap().unwrap().number;
        study.finish(trial, Outcome::Scored(1.0)).unwrap();
        assert!(study.finish(trial, Outcome::Scored(1.0)).is_err());
    });
}

#[test]
fn journal_with_impossible_events_is_refused() {
    let (_, journal) = uninterrupted();
    in_folder(|path| {
        for line in [
            r#"{"event":"started","trial":99999999999,"parameters":{}}"#,
            r#"{"event":"started","trial":0,"parameters":{}}"#,
            r#"{"event":"reported","trial":0,"resource":1,"score":1.0}"#,
            r#"{"event":"ended","trial":99,"state":"completed","score":1.0}"#,
        ] {
            std::fs::write(path, [&journal[..], line.as_bytes(), b"\n"].concat()).unwrap();
            let message = Study::open(path, spec(TWO)).unwrap_err().to_string();
            let n_lines = journal.iter().filter(|byte| **byte == b'\n').count();
            assert!(message.contains(&format!(", line {}: trial ", n_lines + 1)), "{message}");
        }
    });
}
