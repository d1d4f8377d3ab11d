//! Settings of the trainer and of losses, observed in the parameters and statistics that a run ends with.

use std::path::{Path, PathBuf};

use mbm::{ConfigFormat, Experiment, Plan};
use mbm_weights::WeightFile;
use tempfile::TempDir;

use crate::run;

/// An epoch is one step of plain gradient descent.
const CONFIG: &str = "
input_features:
  - {name: x, type: vector, encoder: {type: dense, output_size: 8}}
output_features:
  - {name: y, type: number}
preprocessing: {split: {type: fixed, column: split}}
trainer:
  epochs: 1
  batch_size: 16
  learning_rate: 0.1
  optimizer: {type: sgd, momentum: 0.0}
  gradient_clipping: {clipglobalnorm: null}
  modality_dropout: 0.0
";

/// Writes a table of 16 rows for training and 4 for validation.
fn dataset() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("x,y,split\n");
    for row in 0..20 {
        let [a, b, c] = [7, 5, 3].map(|factor| f64::from(row * factor % 11) / 5.0 - 1.0);
        let split = if row % 5 == 4 { "validation" } else { "train" };
        table.push_str(&format!("{a} {b} {c},{},{split}\n", a * b - c));
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

/// Trains with some settings changed, and returns the run folder.
fn trained(folder: &Path, overrides: &[&str]) -> PathBuf {
    let overrides: Vec<String> = overrides.iter().map(|pair| (*pair).to_owned()).collect();
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap();
    let results = tempfile::tempdir_in(folder).unwrap().keep();
    run(&Experiment::new(plan, folder.join("rows.csv"), results.clone()));
    results
}

/// Returns all parameters of a trained model.
fn parameters(folder: &Path, overrides: &[&str]) -> Vec<f32> {
    let file = WeightFile::open(&trained(folder, overrides).join("model/weights.safetensors")).unwrap();
    file.tensors().keys().flat_map(|name| file.read(name).unwrap()).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn zero_epochs_leave_the_initial_parameters() {
    let (folder, _dataset) = dataset();
    let initial = parameters(folder.path(), &["trainer.epochs=0"]);
    assert_eq!(initial, parameters(folder.path(), &["trainer.learning_rate=0"]));
    assert!(distance(&initial, &parameters(folder.path(), &[])) > 0.01);
}

#[test]
fn accumulated_gradients_take_the_step_of_one_large_batch() {
    let (folder, _dataset) = dataset();
    let whole = parameters(folder.path(), &[]);
    let parts = parameters(folder.path(), &["trainer.batch_size=4", "trainer.gradient_accumulation_steps=4"]);
    // The gradients of the rows are added in another order.
    assert!(distance(&whole, &parts) < 1e-6, "{}", distance(&whole, &parts));
}

#[test]
fn gradient_clipping_limits_the_length_of_a_step() {
    let (folder, _dataset) = dataset();
    let initial = parameters(folder.path(), &["trainer.learning_rate=0"]);
    let clipped = parameters(folder.path(), &["trainer.gradient_clipping.clipglobalnorm=0.01"]);
    // The learning rate times the limit; parameters of order one are rounded by up to 6e-8.
    let length = distance(&initial, &clipped);
    assert!((length - 0.001).abs() < 1e-6, "{length}");
    let unlimited = parameters(folder.path(), &["trainer.gradient_clipping.clipglobalnorm=1e6"]);
    assert_eq!(unlimited, parameters(folder.path(), &[]));
}

#[test]
fn training_stops_after_the_patience_without_improvement() {
    let (folder, _dataset) = dataset();
    let n_epochs = |early_stop: &str| {
        // Without a change of the parameters, the first epoch stays the best.
        let results = trained(folder.path(), &["trainer.epochs=7", "trainer.learning_rate=0", early_stop]);
        let statistics = std::fs::read(results.join("training_statistics.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&statistics).unwrap()["epochs"].as_array().unwrap().len()
    };
    assert_eq!((n_epochs("trainer.early_stop=1"), n_epochs("trainer.early_stop=3")), (2, 4));
    assert_eq!((n_epochs("trainer.early_stop=0"), n_epochs("trainer.early_stop=-1")), (7, 7));
}

#[test]
fn the_best_or_the_last_weights_are_kept() {
    let (folder, _dataset) = dataset();
    // With a large learning rate, each epoch is worse than the one before.
    let weights =
        |settings: &[&str]| parameters(folder.path(), &[&["trainer.learning_rate=3", "trainer.early_stop=0"], settings].concat());
    let first = weights(&[]);
    assert_eq!(first, weights(&["trainer.epochs=3"]));
    let last = weights(&["trainer.epochs=3", "trainer.restore_best_weights=false"]);
    assert!(distance(&first, &last) > 0.01);
    assert_eq!(first, weights(&["trainer.restore_best_weights=false"]));
}
