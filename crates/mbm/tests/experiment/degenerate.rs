//! Degenerate columns, with nothing to learn or values beyond the range of floats: every encoder trains on them and predicts
//! finite numbers, or the error names the column before the first step.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mbm::{ConfigFormat, Error, Experiment, Model, Plan};

/// Number of rows in a table; all but the last four are for training.
const N_ROWS: usize = 12;

/// Returns degenerate columns of numbers, each with a description.
fn numbers() -> Vec<(&'static str, Vec<String>)> {
    let cells = |cell: &dyn Fn(usize) -> &'static str| (0..N_ROWS).map(|row| cell(row).to_owned()).collect::<Vec<_>>();
    vec![
        ("constant", cells(&|_| "7")),
        ("two values", cells(&|row| if row % 2 == 0 { "0" } else { "1" })),
        ("one row has it", cells(&|row| if row == 1 { "3" } else { "" })),
        ("no row has it", cells(&|_| "")),
        ("huge", cells(&|row| if row % 2 == 0 { "1e100" } else { "-1e100" })),
        ("one huge", cells(&|row| if row == 3 { "1e100" } else { "1" })),
        ("one large and unseen", cells(&|row| if row + 1 == N_ROWS { "1e100" } else { "1" })),
        ("denormal", cells(&|row| if row % 2 == 0 { "1e-310" } else { "1e-45" })),
        ("negative zero", cells(&|row| if row % 2 == 0 { "-0.0" } else { "0.0" })),
        ("nearly equal", cells(&|row| if row % 2 == 0 { "1" } else { "1.0000000000000002" })),
    ]
}

/// Converts a number to a cell of another type, so that the pattern of the column stays.
fn as_type(kind: &str, number: &str) -> String {
    match (kind, number) {
        (_, "") => String::new(),
        ("number", _) => number.to_owned(),
        ("vector", _) => format!("{number} {number}"),
        ("timeseries", _) => format!("{number} 1 {number}"),
        ("date", _) => if number.starts_with('-') { "0001-01-01" } else { "2024-02-29" }.to_owned(),
        ("binary", _) => if number.contains('1') { "yes" } else { "no" }.to_owned(),
        (_, _) => format!("w{}", number.replace(['-', '.'], "_")),
    }
}

/// Returns every encoder of inputs that are read from text cells, at a small size.
fn inputs() -> Vec<(&'static str, &'static str)> {
    let recurrent = "encoder: {type: rnn, state_size: 4}";
    vec![
        ("number", "encoder: {type: passthrough}"),
        ("number", "encoder: {type: passthrough}, preprocessing: {normalization: minmax}"),
        ("number", "encoder: {type: passthrough}, preprocessing: {normalization: log1p}"),
        ("number", "encoder: {type: dense, output_size: 4}"),
        ("number", "encoder: {type: ple, output_size: 4}"),
        ("number", "encoder: {type: ple, output_size: 4}, preprocessing: {normalization: minmax}"),
        ("category", "encoder: {type: dense, embedding_size: 4}"),
        ("category", "encoder: {type: onehot}"),
        ("binary", "encoder: {type: dense, embedding_size: 4}"),
        ("binary", "encoder: {type: onehot}"),
        ("set", "encoder: {type: dense, output_size: 4}"),
        ("set", "encoder: {type: passthrough}"),
        ("vector", "encoder: {type: dense, output_size: 4}"),
        ("vector", "encoder: {type: passthrough}"),
        ("date", "encoder: {type: cyclic, output_size: 4}"),
        ("timeseries", "encoder: {type: dense, output_size: 4}"),
        ("timeseries", "encoder: {type: parallel_cnn, num_filters: 4}"),
        ("timeseries", "encoder: {type: stacked_cnn, num_filters: 4}"),
        ("timeseries", recurrent),
        ("timeseries", "encoder: {type: cnnrnn, num_filters: 4, state_size: 4}"),
        ("timeseries", "encoder: {type: transformer, hidden_size: 8, num_heads: 2, transformer_output_size: 8}"),
        ("text", "encoder: {type: embed, embedding_size: 4}"),
        ("text", "encoder: {type: parallel_cnn, embedding_size: 4, num_filters: 4}"),
        ("text", "encoder: {type: stacked_cnn, embedding_size: 4, num_filters: 4}"),
        ("text", "encoder: {type: rnn, embedding_size: 4, state_size: 4}"),
        ("text", "encoder: {type: cnnrnn, embedding_size: 4, num_filters: 4, state_size: 4}"),
        ("text", "encoder: {type: transformer, hidden_size: 8, num_heads: 2, transformer_output_size: 8}"),
    ]
}

/// Writes a table with a column for each type of input, and a target.
fn write(path: &Path, cells: &[String], target: &dyn Fn(usize) -> String) {
    const TYPES: [&str; 8] = ["number", "category", "binary", "set", "vector", "date", "timeseries", "text"];
    let mut table = format!("{},y,split\n", TYPES.join(","));
    for (row, cell) in cells.iter().enumerate() {
        let typed: Vec<String> = TYPES.iter().map(|kind| as_type(kind, cell)).collect();
        let split = if row + 4 < cells.len() || cells.len() == 1 { "train" } else { "test" };
        table.push_str(&format!("{},{},{split}\n", typed.join(","), target(row)));
    }
    std::fs::write(path, table).unwrap();
}

/// Trains for an epoch, and returns the numbers predicted for all rows.
fn predicted_numbers(folder: &Path, inputs: &[(&str, &str)], output: &str) -> Result<Vec<f64>, Error> {
    let features: Vec<String> = inputs
        .iter()
        .enumerate()
        .map(|(at, (kind, more))| format!("  - {{name: {kind}{at}, column: {kind}, type: {kind}, {more}}}\n"))
        .collect();
    let text = format!(
        "input_features:\n{}output_features:\n  - {{name: y, {output}}}\npreprocessing: {{split: {{type: fixed, column: split}}}}\n\
         trainer: {{epochs: 1, batch_size: 8}}\n",
        features.concat()
    );
    let plan = Plan::read(&text, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let (dataset, run) = (folder.join("rows.csv"), tempfile::tempdir_in(folder).unwrap());
    let experiment = Experiment::new(plan, dataset.clone(), run.path().to_path_buf());
    experiment.run(&AtomicBool::new(false), &mut |_| {})?;
    let path = run.path().join("predictions.jsonl");
    Model::open(run.path())?.predict_to(&dataset, &path)?;
    let predictions = std::fs::read_to_string(path).unwrap();
    let mut numbers = Vec::new();
    for line in predictions.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        for cell in line.as_object().unwrap().values() {
            match cell.as_str() {
                // A vector is written as text.
                Some(text) => numbers.extend(text.split(' ').filter_map(|word| word.parse::<f64>().ok())),
                // Numbers that are not finite are written as null.
                None => numbers.push(cell.as_f64().unwrap_or(f64::NAN)),
            }
        }
    }
    Ok(numbers)
}

/// Asserts that inputs together give finite numbers; on an error, that each one alone does, or that its error names the column.
fn check(what: &str, folder: &Path, inputs: &[(&str, &str)], output: &str) {
    match predicted_numbers(folder, inputs, output) {
        Ok(numbers) => assert!(numbers.iter().all(|number| number.is_finite()), "{what}: {output}: {numbers:?}"),
        Err(error) if inputs.len() == 1 => {
            let (kind, message) = (inputs[0].0, error.to_string());
            let names = [format!("'{kind}0'"), format!("'{kind}'"), "'y'".to_owned(), "preprocessing.split".to_owned()];
            assert!(names.iter().any(|name| message.contains(name)), "{what}: {inputs:?}: {message}");
        }
        Err(_) => inputs.iter().for_each(|input| check(what, folder, std::slice::from_ref(input), output)),
    }
}

fn number_target(row: usize) -> String {
    (row % 3).to_string()
}

#[test]
fn every_encoder_handles_degenerate_columns() {
    let folder = tempfile::tempdir().unwrap();
    for (what, cells) in numbers() {
        write(&folder.path().join("rows.csv"), &cells, &number_target);
        check(what, folder.path(), &inputs(), "type: number");
    }
    write(&folder.path().join("rows.csv"), &["1".to_owned()], &number_target);
    check("one row", folder.path(), &inputs(), "type: number");
}

#[test]
fn one_hot_of_a_single_class_works_with_gated_fusion() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("rows.csv"), &vec!["7".to_owned(); N_ROWS], &number_target);
    let input = [("category", "encoder: {type: onehot}"), ("number", "encoder: {type: ple}")];
    // The text after the output type closes the output and continues the config.
    check("one class", folder.path(), &input, "type: number}\ncombiner: {type: gated, output_size: 4");
}

#[test]
fn every_decoder_handles_degenerate_targets() {
    let folder = tempfile::tempdir().unwrap();
    let cells: Vec<String> = (0..N_ROWS).map(|row| (row % 5).to_string()).collect();
    let input = [("number", "encoder: {type: passthrough}")];
    for (what, targets) in numbers() {
        for (kind, decoders) in [
            ("number", &["regressor", "svr", "ridge", "boosted_trees"][..]),
            ("category", &["classifier", "svm", "boosted_trees"]),
            ("binary", &["regressor", "svm", "boosted_trees"]),
            ("set", &["classifier"]),
            ("vector", &["projector"]),
        ] {
            write(&folder.path().join("rows.csv"), &cells, &|row| as_type(kind, &targets[row]));
            for decoder in decoders {
                check(&format!("{what} as {kind}"), folder.path(), &input, &format!("type: {kind}, decoder: {decoder}"));
            }
        }
    }
    write(&folder.path().join("rows.csv"), &cells, &|row| format!("class{row}"));
    for decoder in ["classifier", "svm", "boosted_trees"] {
        check("one class per row", folder.path(), &input, &format!("type: category, decoder: {decoder}"));
    }
}

#[test]
fn diverged_loss_names_the_cell() {
    let folder = tempfile::tempdir().unwrap();
    let cells: Vec<String> = (0..N_ROWS).map(|row| if row == 5 { "1e18" } else { "1" }.to_owned()).collect();
    write(&folder.path().join("rows.csv"), &cells, &number_target);
    let input = [("vector", "encoder: {type: passthrough}")];
    // Larger values count as absent; with the loss weight, the square of this one overflows single precision.
    let output = "type: number, loss: {type: mean_squared_error, weight: 1e6}";
    let error = predicted_numbers(folder.path(), &input, output).unwrap_err().to_string();
    assert!(error.contains("column 'vector', row 6, holds '1e18 1e18', which the model reads as 1e18"), "{error}");
}
