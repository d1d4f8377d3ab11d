//! Text outputs with every combiner: a model trains, is saved, and gives the same results after its bundle is opened.

use std::path::{Path, PathBuf};

use mbm::{Cell, ConfigFormat, Experiment, Model, Plan, Table, combiner_names};
use tempfile::TempDir;

use crate::run;

const CONFIG: &str = "
input_features:
  - name: source
    type: text
    preprocessing: {tokenizer: characters, max_sequence_length: 8}
    encoder: {type: embed, embedding_size: 8}
  - {name: size, type: number}
output_features:
  - name: target
    type: text
    preprocessing: {tokenizer: characters, max_sequence_length: 8}
    decoder:
      type: generator
      network: {type: transformer, num_layers: 1, hidden_size: 8, num_heads: 2, transformer_output_size: 8}
      decoding: {beam_width: 2, num_return_sequences: 2}
preprocessing: {split: {type: fixed, column: split}}
trainer: {epochs: 1, batch_size: 4, learning_rate: 0.01}
";

/// Writes a table of twelve words and the same words reversed, with a row without each input.
fn dataset() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("source,size,target,split\n");
    for row in 0..12usize {
        let word: String = (0..1 + row % 4).map(|at| char::from(b'a' + ((row + at) % 5) as u8)).collect();
        let target: String = word.chars().rev().collect();
        let source = if row == 5 { "" } else { &word };
        let size = if row == 7 { String::new() } else { row.to_string() };
        table.push_str(&format!("{source},{size},{target},train\n"));
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

/// Returns small settings of every combiner. A text output attends to the inputs alone after a concatenation without layers, and
/// to the fused vector, too, after one with layers.
fn combiners() -> Vec<String> {
    let settings = |name: &&str| {
        let sizes = match *name {
            "cross_attention" | "transformer" | "bottleneck" => "hidden_size: 8, num_heads: 2",
            "bilinear" | "tensor" => "projection_size: 4, output_size: 8",
            "concat" => "num_fc_layers: 1, output_size: 8",
            _ => "output_size: 8",
        };
        format!("{{type: {name}, {sizes}}}")
    };
    combiner_names().iter().map(settings).chain(["{type: concat}".to_owned()]).collect()
}

/// Predicts the rows of a table into a file, and reads it.
fn predictions(model: &Model, dataset: &Path, path: &Path) -> Table {
    model.predict_to(dataset, path).unwrap();
    Table::read(path).unwrap()
}

fn cells(table: &Table, column: &str) -> Vec<Cell> {
    let at = table.require(column).unwrap();
    (0..table.n_rows()).map(|row| table.row(row).unwrap().swap_remove(at)).collect()
}

#[test]
fn text_outputs_train_and_survive_saving_with_every_combiner() {
    let (folder, dataset) = dataset();
    for (at, combiner) in combiners().into_iter().enumerate() {
        let plan = Plan::read(&format!("{CONFIG}combiner: {combiner}\n"), ConfigFormat::Yaml, &[], "config.yaml").unwrap();
        let results = folder.path().join(at.to_string());
        let outcome = run(&Experiment::new(plan, dataset.clone(), results.clone()));
        // There are no rows for validation or test, so the run predicted the training rows with the model in memory.
        let before = Table::read(&results.join("predictions.parquet")).unwrap();
        let model = Model::open(&results).unwrap();
        let after = predictions(&model, &dataset, &folder.path().join("after.parquet"));
        assert_eq!((before.n_rows(), after.n_rows()), (12, 12), "{combiner}");
        for column in model.columns() {
            assert_eq!(cells(&before, &column.name), cells(&after, &column.name), "{combiner}: {}", column.name);
        }
        let is_finite = |cell: &Cell| matches!(cell, Cell::Number(score) if score.is_finite());
        assert!(cells(&after, "target_score").iter().all(is_finite), "{combiner}");
        let evaluation = model.evaluate(&dataset).unwrap();
        assert_eq!((evaluation.n_rows, evaluation.metrics), (12, outcome.test_statistics), "{combiner}");
    }
}
