//! Tests of rows' weights as users see them: what they decide, what is said about them, and errors.

use std::path::Path;
use std::process::{Command, Output};

use crate::stderr;

fn mbm_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mbm")).args(args).current_dir(folder).output().unwrap()
}

fn succeeded(folder: &Path, args: &[&str]) -> Output {
    let output = mbm_in(folder, args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

fn refused(folder: &Path, args: &[&str]) -> String {
    let output = mbm_in(folder, args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

/// Writes a table in which a third of the rows is bought, whatever the inputs are; these have weight 9, the others weight 1.
fn sales(folder: &Path) {
    let row = |row: usize| {
        let (bought, weight) = if row.is_multiple_of(3) { ("yes", 9) } else { ("no", 1) };
        format!("{},{},{bought},{weight}\n", row * 7 % 5, ["red", "blue"][row % 2])
    };
    let rows: String = (0..330).map(row).collect();
    std::fs::write(folder.join("sales.csv"), format!("size,colour,bought,w\n{rows}")).unwrap();
    let without: String = (0..4).map(|row| format!("{row},red,{}\n", ["yes", "no"][row % 2])).collect();
    std::fs::write(folder.join("new.csv"), format!("size,colour,bought\n{without}")).unwrap();
}

const TRAIN: [&str; 8] = ["train", "--dataset", "sales.csv", "--target", "bought", "--weight", "w", "--output-directory"];

#[test]
fn weights_decide_what_every_learner_predicts() {
    let folder = tempfile::tempdir().unwrap();
    sales(folder.path());
    let output = succeeded(folder.path(), &[&TRAIN[..], &["run", "--set", "trainer.epochs=30"]].concat());
    assert!(stderr(&output).contains("rows and metrics are weighted by the column 'w'"), "{}", stderr(&output));
    let board = succeeded(folder.path(), &["leaderboard", "run", "--json"]);
    assert!(stderr(&board).contains("metrics are weighted by the column 'w'"), "{}", stderr(&board));
    let lines: serde_json::Value = serde_json::from_slice(&board.stdout).unwrap();
    let learners = lines.as_array().unwrap();
    assert!(learners.len() >= 7, "{lines:#}");
    for line in learners {
        // Nine of eleven parts of the weight are bought; without weights, a learner would be right for two of them.
        let accuracy = line["held_out"]["accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.75, "{}: {accuracy}", line["learner"]);
    }
    let predicted = succeeded(folder.path(), &["predict", "--model-path", "run", "--dataset", "new.csv"]);
    let predicted = String::from_utf8(predicted.stdout).unwrap();
    assert_eq!(predicted.matches("\"bought_predictions\":\"yes\"").count(), 4, "{predicted}");
    let report = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(report.contains("Metrics are weighted by the column"));
    let config = std::fs::read_to_string(folder.path().join("run/config.yaml")).unwrap();
    assert!(config.contains("sample_weight: w") && !config.contains("name: w"), "{config}");
}

#[test]
fn evaluation_says_what_it_is_weighted_by() {
    let folder = tempfile::tempdir().unwrap();
    sales(folder.path());
    succeeded(folder.path(), &[&TRAIN[..], &["run", "--quiet", "--preset", "fast"]].concat());
    let evaluate = |dataset: &str| {
        let output = succeeded(folder.path(), &["evaluate", "--model-path", "run", "--dataset", dataset, "--json"]);
        let metrics: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (metrics["bought"]["accuracy"].as_f64().unwrap(), stderr(&output))
    };
    let (accuracy, notes) = evaluate("sales.csv");
    assert!((accuracy - 9.0 / 11.0).abs() < 1e-6, "{accuracy}");
    assert!(notes.contains("metrics are weighted by the column 'w'"), "{notes}");
    let (accuracy, notes) = evaluate("new.csv");
    assert_eq!(accuracy, 0.5);
    assert!(notes.contains("the dataset has no column 'w' of weights: metrics are unweighted"), "{notes}");
    std::fs::write(folder.path().join("wrong.csv"), "size,colour,bought,w\n1,red,yes,2\n2,red,no,\n").unwrap();
    let error = refused(folder.path(), &["evaluate", "--model-path", "run", "--dataset", "wrong.csv"]);
    assert!(error.contains("wrong.csv: preprocessing.sample_weight: row 2, column 'w': the cell is empty"), "{error}");
}

#[test]
fn weights_that_cannot_be_used_are_placed_errors() {
    let folder = tempfile::tempdir().unwrap();
    sales(folder.path());
    let train = |weight: &str, target: &str| {
        refused(folder.path(), &["train", "--dataset", "sales.csv", "--target", target, "--weight", weight])
    };
    assert!(train("wait", "bought").contains("the dataset has no column 'wait'"));
    let error = train("colour", "bought");
    assert!(error.contains("row 1, column 'colour': 'red' is not a number; a weight is a number of at least 0"), "{error}");
    let error = train("w", "w");
    assert!(error.contains("output_features[0].name: the column 'w' holds the weights of rows"), "{error}");
    let config = "{input_features: [{name: size, type: number}], output_features: [{name: bought, type: category}]}";
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    let of_config = ["train", "--dataset", "sales.csv", "--config", "c.yaml", "--weight"];
    let error = refused(folder.path(), &[&of_config[..], &["size"]].concat());
    assert!(error.contains("line 1: input_features[0].name: the column 'size' holds the weights of rows"), "{error}");
    let table = std::fs::read_to_string(folder.path().join("sales.csv")).unwrap();
    std::fs::write(folder.path().join("sales.csv"), table.replacen(",9\n", ",-9\n", 1)).unwrap();
    let error = refused(folder.path(), &[&of_config[..], &["w"]].concat());
    assert!(error.contains("row 1, column 'w': the weight is -9; a weight is a number of at least 0"), "{error}");
}

#[test]
fn init_leaves_the_column_of_weights_out_of_the_inputs() {
    let folder = tempfile::tempdir().unwrap();
    sales(folder.path());
    let output = succeeded(folder.path(), &["init", "--dataset", "sales.csv", "--target", "bought", "--weight", "w"]);
    let config = String::from_utf8(output.stdout).unwrap();
    assert!(config.contains("sample_weight: w") && !config.contains("name: w"), "{config}");
}
