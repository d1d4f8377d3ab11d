use mbm_config::{Diagnostics, Format, Node, Setting, defaults};
use serde_json::json;

use super::*;
use crate::RandomSearch;

const FOUR: &str = "
momentum: {space: uniform, lower: 0, upper: 1}
rate: {space: loguniform, lower: 1e-5, upper: 1}
layers: {space: int, lower: 1, upper: 8}
cell: {space: choice, categories: [rnn, gru, lstm, cnn]}";

fn parameters(text: &str) -> Parameters {
    Parameters::read(&Node::parse(text, Format::Yaml).unwrap(), "", &mut Diagnostics::default()).unwrap()
}

fn tpe() -> SearchAlgorithm {
    SearchAlgorithm::Tpe(defaults())
}

fn random() -> SearchAlgorithm {
    SearchAlgorithm::Random(defaults::<RandomSearch>())
}

fn number(suggestion: &Suggestion, path: &str) -> f64 {
    suggestion.0[path].as_f64().unwrap()
}

/// A smooth function of four settings with its minimum, 0, at 0.3, 0.01, 3 and gru.
fn loss(suggestion: &Suggestion) -> f64 {
    let cell = if suggestion.0["cell"] == "gru" { 0.0 } else { 1.0 };
    4.0 * (number(suggestion, "momentum") - 0.3).powi(2)
        + (number(suggestion, "rate").log10() + 2.0).powi(2)
        + 0.1 * (number(suggestion, "layers") - 3.0).powi(2)
        + cell
}

fn completed(number: usize, parameters: Suggestion, score: Option<f64>) -> Trial {
    Trial { state: State::Completed, score, ..Trial::started(number, parameters) }
}

/// Runs 40 trials, with scores of either goal.
fn run(algorithm: &SearchAlgorithm, goal: Goal, seed: u64) -> Vec<Trial> {
    let (parameters, mut trials) = (parameters(FOUR), Vec::new());
    for number in 1..=40 {
        let suggestion = suggest(&parameters, algorithm, goal, seed, number, &trials);
        let score = goal.loss(Some(loss(&suggestion)));
        trials.push(completed(number, suggestion, Some(score)));
    }
    trials
}

fn median_of_best(algorithm: &SearchAlgorithm, goal: Goal) -> f64 {
    let best = |seed| run(algorithm, goal, seed).iter().map(|trial| goal.loss(trial.score)).fold(f64::INFINITY, f64::min);
    let mut found: Vec<f64> = (0..31).map(best).collect();
    found.sort_by(f64::total_cmp);
    found[15]
}

#[test]
fn tpe_finds_better_settings_than_random_search() {
    let [tpe, random] = [tpe(), random()].map(|algorithm| median_of_best(&algorithm, Goal::Minimize));
    assert!(tpe < random / 2.0, "{tpe} is not below half of {random}");
}

#[test]
fn goal_only_turns_the_scores_around() {
    let parameters = |trials: Vec<Trial>| trials.into_iter().map(|trial| trial.parameters).collect::<Vec<_>>();
    assert_eq!(parameters(run(&tpe(), Goal::Minimize, 3)), parameters(run(&tpe(), Goal::Maximize, 3)));
}

#[test]
fn same_seed_and_trials_give_the_same_parameters() {
    let trials = run(&tpe(), Goal::Minimize, 7);
    assert_eq!(run(&tpe(), Goal::Minimize, 7), trials);
    assert_ne!(run(&tpe(), Goal::Minimize, 8), trials);
    let next = |trials: &[Trial]| suggest(&parameters(FOUR), &tpe(), Goal::Minimize, 7, 41, trials);
    // Running trials do not count.
    let running = Trial::started(40, Suggestion::default());
    assert_eq!(next(&trials), next(&[trials.clone(), vec![running]].concat()));
}

#[test]
fn start_up_trials_are_those_of_random_search() {
    let (tpe, random) = (run(&tpe(), Goal::Minimize, 1), run(&random(), Goal::Minimize, 1));
    assert_eq!(tpe[..10], random[..10]);
    assert_ne!(tpe[10..12], random[10..12]);
}

#[test]
fn every_combination_of_grids_is_tried_before_one_is_repeated() {
    let text = "a: {space: grid_search, values: [1, 2]}\nb: {space: grid_search, values: [x, y, z]}\nc: {space: int, lower: 1, upper: 9}";
    let parameters = parameters(text);
    let pair = |number| {
        let it = suggest(&parameters, &random(), Goal::Minimize, 1, number, &[]).0;
        (it["a"].clone(), it["b"].clone())
    };
    let pairs: Vec<_> = (1..=6).map(pair).collect();
    assert_eq!(pairs[..3], [(json!(1), json!("x")), (json!(2), json!("x")), (json!(1), json!("y"))]);
    assert!((1..6).all(|at| !pairs[..at].contains(&pairs[at])));
    assert_eq!(pair(7), pairs[0]);
}

/// Returns the numbers of the better trials.
fn better(trials: &[Trial], n_startup_trials: usize) -> Option<Vec<usize>> {
    let groups = Groups::split(trials, Goal::Minimize, &Tpe { n_startup_trials, n_candidates: 24, seed: None })?;
    Some(groups.better.iter().map(|trial| trial.number).collect())
}

#[test]
fn better_trials_are_a_tenth_by_score_and_at_most_25() {
    let trials = |n: usize| -> Vec<Trial> {
        (1..=n).map(|number| completed(number, Suggestion::default(), Some(-(number as f64)))).collect()
    };
    assert_eq!(better(&trials(9), 10), None);
    assert_eq!(better(&trials(10), 10), Some(vec![10]));
    assert_eq!(better(&trials(11), 10), Some(vec![10, 11]));
    assert_eq!(better(&trials(400), 10).unwrap().len(), 25);
}

#[test]
fn completed_trials_rank_before_stopped_ones_and_those_without_a_score_last() {
    let trial =
        |number, state, resource, score| Trial { state, resource, score, ..Trial::started(number, Suggestion::default()) };
    let trials = [
        trial(0, State::Completed, 9, Some(0.0)),
        trial(1, State::Failed, 0, None),
        trial(2, State::Completed, 9, None),
        trial(3, State::Stopped, 3, Some(0.1)),
        trial(4, State::Stopped, 9, Some(0.3)),
        trial(5, State::Stopped, 9, Some(0.2)),
        trial(6, State::Completed, 9, Some(0.9)),
        trial(7, State::Running, 9, Some(0.0)),
    ];
    let mut ranked: Vec<&Trial> = trials.iter().collect();
    ranked.sort_by(|a, b| rank(a, Goal::Minimize).partial_cmp(&rank(b, Goal::Minimize)).unwrap());
    assert_eq!(ranked.iter().map(|trial| trial.number).collect::<Vec<_>>(), [0, 6, 5, 4, 3, 1, 2, 7]);
    // Of six finished ones, besides the config as written, the best one.
    assert_eq!(better(&trials, 1), Some(vec![6]));
}

#[test]
fn only_failures_do_not_keep_tpe_from_suggesting() {
    let parameters = parameters(FOUR);
    let failed = |number| Trial {
        state: State::Failed,
        ..Trial::started(number, suggest(&parameters, &random(), Goal::Minimize, 1, number, &[]))
    };
    let trials: Vec<Trial> = (1..=12).map(failed).collect();
    assert_eq!(suggest(&parameters, &tpe(), Goal::Minimize, 1, 13, &trials).0.len(), 4);
}
