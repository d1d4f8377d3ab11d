//! Tests of ensembles and searches as users see them: presets, the leaderboard, configs that repeat a run, resumed runs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::stderr;

fn mbm_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mbm")).args(args).current_dir(folder).output().unwrap()
}

/// Runs the command, which must succeed, and returns its standard output.
fn stdout(folder: &Path, args: &[&str]) -> String {
    let output = mbm_in(folder, args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes a table whose price depends on area and town.
fn houses(folder: &Path, n_rows: usize) {
    let row = |row: usize| {
        let (area, town) = (40 + row * 37 % 160, ["Kiel", "Bonn", "Jena"][row * 7 % 3]);
        let price = area * 3 + if town == "Bonn" { 90 } else { 0 } + row * 13 % 11;
        format!("{area}.5,{town},{price}.25\n")
    };
    let rows: String = (0..n_rows).map(row).collect();
    std::fs::write(folder.join("houses.csv"), format!("area,town,price\n{rows}")).unwrap();
}

/// Returns the contents of the files of a model by name.
fn bundle(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(run.join("model")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())).collect()
}

const TRAIN: [&str; 6] = ["train", "--dataset", "houses.csv", "--quiet", "--set", "trainer.epochs=3"];

#[test]
fn balanced_accuracy_predicts_a_rare_class_where_it_is_more_likely_than_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    // A third of the rows is returned if the colour is red, and a ninth if it is blue: never most of them.
    let row = |row: usize| {
        let colour = ["red", "blue"][row % 2];
        let is_returned = (row / 2).is_multiple_of(if colour == "red" { 3 } else { 9 });
        format!("{colour},{},{}\n", row * 7 % 5, ["kept", "returned"][usize::from(is_returned)])
    };
    std::fs::write(folder.path().join("orders.csv"), format!("colour,size,state\n{}", (0..270).map(row).collect::<String>()))
        .unwrap();
    let predicted_as_returned = |run: &str, more: &[&str]| {
        let train = ["train", "--dataset", "orders.csv", "--target", "state", "--quiet", "--set", "trainer.epochs=30"];
        stdout(folder.path(), &[&train[..], &["--output-directory", run], more].concat());
        let rows = stdout(folder.path(), &["predict", "--model-path", run, "--dataset", "orders.csv"]);
        let is_returned = |row: &&str| row.contains(r#""state_predictions":"returned""#);
        rows.lines().filter(is_returned).count()
    };
    assert_eq!(predicted_as_returned("accuracy", &[]), 0);
    let n_returned = predicted_as_returned("balanced", &["--metric", "balanced_accuracy"]);
    assert!((120..=150).contains(&n_returned), "{n_returned} of 135 red rows");
    let board = stdout(folder.path(), &["leaderboard", "balanced", "--json"]);
    let lines: serde_json::Value = serde_json::from_str(&board).unwrap();
    for line in lines.as_array().unwrap() {
        let score = line["held_out"]["balanced_accuracy"].as_f64().unwrap();
        assert!(score > 0.55, "{}: {score}", line["learner"]);
    }
    let config = std::fs::read_to_string(folder.path().join("balanced/config.yaml")).unwrap();
    assert!(config.contains("balance_classes: true"), "{config}");
}

#[test]
fn the_config_of_a_run_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 90);
    for (run, more) in [("fast", ["--preset", "fast"]), ("limited", ["--time-limit", "300s"])] {
        stdout(folder.path(), &[&TRAIN[..], &["--target", "price", "--output-directory", run], &more].concat());
        let config = format!("{run}/config.yaml");
        let again = format!("{run}-again");
        stdout(
            folder.path(),
            &["train", "--dataset", "houses.csv", "--quiet", "--config", &config, "--output-directory", &again],
        );
        assert!(bundle(&folder.path().join(run)) == bundle(&folder.path().join(&again)), "{run}");
        let configs = [run, &again].map(|run| std::fs::read_to_string(folder.path().join(run).join("config.yaml")).unwrap());
        assert_eq!(configs[0], configs[1]);
        assert!(configs[0].contains("rounds: ["), "{}", configs[0]);
    }
}

#[test]
fn the_config_of_a_network_that_the_time_limit_ended_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 90);
    let train = ["train", "--dataset", "houses.csv", "--quiet"];
    let endless = ["--set", "learners=network", "--set", "trainer.epochs=1000000", "--set", "trainer.early_stop=0"];
    stdout(
        folder.path(),
        &[&train[..], &endless, &["--target", "price", "--time-limit", "1s", "--output-directory", "run"]].concat(),
    );
    stdout(folder.path(), &[&train[..], &["--config", "run/config.yaml", "--output-directory", "again"]].concat());
    let configs = ["run", "again"].map(|run| std::fs::read_to_string(folder.path().join(run).join("config.yaml")).unwrap());
    assert_eq!(configs[0], configs[1]);
    assert!(configs[0].contains("train_steps: ") && !configs[0].contains("train_steps: null"), "{}", configs[0]);
    assert!(bundle(&folder.path().join("run")) == bundle(&folder.path().join("again")));
    let output = mbm_in(folder.path(), &["leaderboard", "run"]);
    let error = stderr(&output);
    assert!(error.starts_with("error: run/leaderboard.json: there is none, as the run has one learner, the network;"), "{error}");
    assert_eq!(output.status.code(), Some(1));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let error = stderr(&mbm_in(folder.path(), &["leaderboard", "empty"]));
    assert_eq!(error, "error: empty/leaderboard.json: there is no such file; specify a run folder of 'mbm train'\n");
}

#[test]
fn the_leaderboard_lists_each_learner_and_the_ensemble() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 90);
    stdout(
        folder.path(),
        &[&TRAIN[..], &["--target", "price", "--output-directory", "run", "--k-fold", "3", "--metric", "mean_absolute_error"]]
            .concat(),
    );
    let board = stdout(folder.path(), &["leaderboard", "run"]);
    let learners = ["network", "boosted_trees_1", "random_forest", "extra_trees", "linear", "svm"];
    assert!(learners.iter().all(|learner| board.contains(learner)), "{board}");
    assert!(board.starts_with("output  learner"), "{board}");
    let lines: serde_json::Value = serde_json::from_str(&stdout(folder.path(), &["leaderboard", "run", "--json"])).unwrap();
    let lines = lines.as_array().unwrap();
    let error = |line: &serde_json::Value| line["held_out"]["mean_absolute_error"].as_f64().unwrap();
    let model = lines.iter().find(|line| line["weight"] == 1.0).unwrap();
    assert!(lines.iter().all(|line| error(model) <= error(line) + 1e-9), "{board}");
    let shown: Vec<f64> = board.lines().skip(1).map(|line| line.split_whitespace().nth(4).unwrap().parse().unwrap()).collect();
    assert!(shown.is_sorted() && board.lines().skip(1).all(|line| line.contains(" mean_absolute_error ")), "{board}");
    let report = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(report.contains("boosted_trees_1"));
    let output = mbm_in(folder.path(), &["leaderboard", "houses.csv"]);
    assert!(output.status.code() == Some(1) && stderr(&output).contains("leaderboard.json"), "{}", stderr(&output));
}

#[test]
fn folds_give_a_mean_with_its_deviation_and_a_prediction_of_each_row() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 90);
    let network = "{input_features: [{name: area, type: number}, {name: town, type: category}], output_features: [{name: price, type: number}], trainer: {epochs: 3}}";
    std::fs::write(folder.path().join("network.yaml"), network).unwrap();
    for (run, model) in
        [("fast", ["--target", "price", "--preset", "fast"]), ("network", ["--config", "network.yaml", "--random-seed", "3"])]
    {
        let train = ["train", "--dataset", "houses.csv", "--k-fold", "4", "--output-directory", run];
        let shown = stdout(folder.path(), &[&train[..], &model].concat());
        assert!(shown.contains("over 4 folds"), "{shown}");
        let lines: Vec<mbm::Ranked> = serde_json::from_str(&stdout(folder.path(), &["leaderboard", run, "--json"])).unwrap();
        // The preset trains the network once.
        let n_folds = |line: &mbm::Ranked| if run == "fast" && line.learner == "network" { 0 } else { 4 };
        assert!(lines.iter().all(|line| line.folds.len() == n_folds(line)), "{run}");
        let (mean, deviation) = lines.iter().find(|line| line.is_model()).unwrap().over_folds().unwrap();
        assert!(mean.is_finite() && deviation > 0.0, "{run}: {mean} {deviation}");
        let table = mbm::Table::read(&folder.path().join(run).join("out_of_fold.parquet")).unwrap();
        // A fifth of the rows is for testing.
        assert_eq!((table.n_rows(), table.columns.len()), (72, 3), "{run}");
    }
    let board = stdout(folder.path(), &["leaderboard", "network"]);
    assert_eq!(board.lines().count(), 2, "{board}");
}

#[test]
fn a_killed_run_keeps_the_learners_that_it_had_fitted() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 400);
    let train = ["train", "--dataset", "houses.csv", "--target", "price", "--json", "--set", "trainer.epochs=2"];
    stdout(folder.path(), &[&train[..], &["--output-directory", "whole"]].concat());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mbm"));
    command.args(train).args(["--output-directory", "killed"]).current_dir(folder.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let n_fitted = lines.filter(|line| line.contains("\"learner\":")).take(2).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(n_fitted, 2);
    let kept = std::fs::read_dir(folder.path().join("killed/checkpoints/learners")).unwrap().count();
    assert!(kept >= 4, "two files for each of two learners, found {kept}");
    stdout(folder.path(), &[&train[..], &["--output-directory", "killed", "--resume"]].concat());
    assert!(bundle(&folder.path().join("whole")) == bundle(&folder.path().join("killed")));
    assert!(!folder.path().join("killed/checkpoints/learners").exists(), "they are part of the bundle now");
    let again =
        stdout(folder.path(), &[&train[..], &["--output-directory", "killed", "--resume", "--time-limit", "1ms"]].concat());
    assert!(again.contains("the run has finished already") && again.contains("\"r2\""), "{again}");
    assert!(bundle(&folder.path().join("whole")) == bundle(&folder.path().join("killed")));
}

#[test]
fn learners_read_texts_that_are_all_alike() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String =
        (0..60).map(|row| format!("{} and so on,{}\n", ["alpha", "omega"][row % 2], row % 2 * 9 + row % 5)).collect();
    std::fs::write(folder.path().join("notes.csv"), format!("note,price\n{rows}")).unwrap();
    let config = "{input_features: [{name: note, type: text}], output_features: [{name: price, type: number}], trainer: {epochs: 1}, learners: [{type: linear}, {type: boosted_trees}]}";
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    stdout(folder.path(), &["train", "--config", "c.yaml", "--dataset", "notes.csv", "--output-directory", "run", "--quiet"]);
    let board = stdout(folder.path(), &["leaderboard", "run"]);
    assert!(board.contains("linear") && board.contains("boosted_trees"), "{board}");
}

#[test]
fn a_search_continues_and_keeps_the_best_run() {
    let folder = tempfile::tempdir().unwrap();
    houses(folder.path(), 60);
    let config = "
input_features: [{name: area, type: number}, {name: town, type: category}]
output_features: [{name: price, type: number}]
trainer: {epochs: 3, early_stop: 0}
hyperopt:
  metric: mean_absolute_error
  output_feature: price
  parameters:
    trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 0.1}
    combiner.num_fc_layers: {space: int, lower: 1, upper: 2}
  executor: {num_samples: 3, scheduler: {type: fifo}}
";
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    let args = ["tune", "--config", "c.yaml", "--dataset", "houses.csv", "--output-directory", "out"];
    let found = stdout(folder.path(), &args);
    assert!(found.contains("best of 4 trials") && found.contains("run folder out/tune/best"), "{found}");
    let tune = folder.path().join("out/tune");
    let trials = std::fs::read_to_string(tune.join("trials.csv")).unwrap();
    assert_eq!((trials.lines().count(), trials.matches("completed").count()), (5, 4), "{trials}");
    assert!(tune.join("best/report.html").is_file() && !tune.join("trial").exists());
    // A journal that ends within the last trial continues there.
    let journal = std::fs::read_to_string(tune.join("journal.jsonl")).unwrap();
    std::fs::write(tune.join("journal.jsonl"), &journal[..journal.len() - 9]).unwrap();
    assert_eq!(stdout(folder.path(), &args), found);
    assert_eq!(std::fs::read_to_string(tune.join("trials.csv")).unwrap(), trials);
    let limited = ["--set", "hyperopt.executor.scheduler={type: asha, max_t: 2}", "--output-directory", "limited"];
    let args_of_limited = [&["tune", "--config", "c.yaml", "--dataset", "houses.csv"][..], &limited].concat();
    assert!(stdout(folder.path(), &args_of_limited).contains("limited/tune/best"));
    assert!(folder.path().join("limited/tune/best/report.html").is_file(), "a trial that ends at max_t is complete");
    let output = mbm_in(folder.path(), &[&args[..], &["--set", "trainer.epochs=4"]].concat());
    assert!(stderr(&output).contains("its config differs"), "{}", stderr(&output));
    let output = mbm_in(folder.path(), &[&args[..], &["--set", "hyperopt=null"]].concat());
    assert!(stderr(&output).contains("hyperopt: the section is missing"), "{}", stderr(&output));
    let wrong = "hyperopt.parameters={trainer.learning_rat: {space: uniform, lower: 0, upper: 1}}";
    let output = mbm_in(folder.path(), &[&args[..], &["--set", wrong]].concat());
    assert!(stderr(&output).contains("did you mean 'learning_rate'"), "{}", stderr(&output));
}
