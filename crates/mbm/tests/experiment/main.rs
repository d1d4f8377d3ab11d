//! End-to-end runs on a small table of images, texts and numbers with every kind of bad cell.
#![allow(clippy::unwrap_used)]

mod combiners;
mod degenerate;
mod fixtures;
mod learners;
mod pretrained;
mod retrieval;
mod runs;
mod texts;
mod training;
mod wide;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mbm::{
    ConfigFormat, Error, Event, Experiment, Model, Outcome, OutputFormat, Plan, ReadOptions, RunEvent, Start, Table, Unreadable,
    table_from_json,
};
use proptest::prelude::*;
use tempfile::TempDir;

const CONFIG: &str = "
input_features:
  - {name: photo, type: image, preprocessing: {height: 8, width: 8}, encoder: {type: stacked_cnn, num_filters: 4, output_size: 8}}
  - {name: notes, type: text, encoder: {type: embed, embedding_size: 8}}
  - {name: size, type: number}
combiner: {type: concat, num_fc_layers: 1, output_size: 16}
output_features:
  - {name: kind, type: category}
  - {name: price, type: number, loss: {weight: 0.5}}
preprocessing: {split: {type: stratify, column: kind, probabilities: [0.6, 0.2, 0.2]}}
trainer: {epochs: 4, batch_size: 16, learning_rate: 0.01, early_stop: 0, steps_per_checkpoint: 2}
";

/// 80 rows: bright images with the word `alpha` are of kind a, dark ones with `omega` of kind b.
fn dataset() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("photo,notes,size,kind,price\n");
    for row in 0..80u32 {
        let is_a = row % 2 == 0;
        let name = format!("{row}.png");
        let level = if is_a { 200 } else { 50 } + (row % 7) as u8;
        image::GrayImage::from_pixel(10, 10, image::Luma([level])).save(folder.path().join(&name)).unwrap();
        let photo = match row {
            10 => "missing.png".to_owned(),
            11 => String::new(),
            12 => "truncated.jpg".to_owned(),
            _ => name,
        };
        let size = if row == 13 { "large".to_owned() } else { (row % 9).to_string() };
        let word = if is_a { "alpha" } else { "omega" };
        table.push_str(&format!("{photo},the {word} row {row},{size},{},{}\n", if is_a { "a" } else { "b" }, 100 + row % 9));
    }
    std::fs::write(folder.path().join("truncated.jpg"), [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0]).unwrap();
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

fn experiment(dataset: &Path, folder: &Path, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap();
    Experiment::new(plan, dataset.to_path_buf(), folder.to_path_buf())
}

fn run(experiment: &Experiment) -> Outcome {
    experiment.run(&AtomicBool::new(false), &mut |_| {}).unwrap()
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    ["model/bundle.json", "model/weights.safetensors", "predictions.parquet"]
        .map(|name| std::fs::read(folder.join(name)).unwrap())
        .to_vec()
}

#[test]
fn run_learns_and_writes_all_results() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    let outcome = run(&experiment(&dataset, &results, &[]));
    assert_eq!(outcome.test_statistics["kind"]["accuracy"], 1.0);
    assert!(outcome.test_statistics["price"].contains_key("r2"));
    let faults = outcome.faults.lines();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults.contains(&"photo: 1 empty (row 12)".to_owned()), "{faults:?}");
    assert!(faults.contains(&"photo: 1 file_not_found (row 11: missing.png)".to_owned()), "{faults:?}");
    assert!(faults.iter().any(|line| line.contains("photo: 1 unreadable (row 13: truncated.jpg")), "{faults:?}");
    assert!(faults.contains(&"size: 1 malformed (row 14: 'large' is not a number)".to_owned()), "{faults:?}");
    for name in ["description.json", "training_statistics.json", "test_statistics.json", "predictions.parquet", "report.html"] {
        assert!(results.join(name).is_file(), "{name}");
    }
    let report = std::fs::read_to_string(results.join("report.html")).unwrap();
    assert!(report.contains("Input ablation") && report.contains("<svg") && report.contains("data:image/png;base64,"));
    assert!(!report.contains("src='http") && !report.contains("href="), "a report loads no external resources");
}

#[test]
fn same_seed_gives_the_same_bytes_even_if_resumed() {
    let (folder, dataset) = dataset();
    let [first, second, stopped] = ["first", "second", "stopped"].map(|name| folder.path().join(name));
    let dropout = ["combiner.dropout=0.3", "trainer.mixup=0.2"];
    run(&experiment(&dataset, &first, &dropout));
    run(&experiment(&dataset, &second, &dropout));
    assert!(bytes(&first) == bytes(&second), "two runs differ");
    let mut experiment = experiment(&dataset, &stopped, &dropout);
    let stop = AtomicBool::new(false);
    let in_mid_epoch = |event: RunEvent| {
        if let RunEvent::Training(Event::Step { epoch: 1, step: 2, .. }) = event {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let outcome = experiment.run(&stop, &mut { in_mid_epoch }).unwrap();
    assert!(outcome.test_statistics.is_empty(), "a stopped run is not evaluated");
    assert!(stopped.join("model/bundle.json").is_file(), "but leaves a usable model");
    experiment.start = Start::Resume;
    run(&experiment);
    assert_eq!(bytes(&first), bytes(&stopped));
}

#[test]
fn run_folder_resumes_only_with_the_same_config() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &["trainer.epochs=1"]));
    let again = experiment(&dataset, &results, &["trainer.epochs=1"]);
    assert!(matches!(again.run(&AtomicBool::new(false), &mut |_| {}), Err(Error::RunExists(_))));
    let other = experiment(&dataset, &results, &["trainer.epochs=2"]).start(Start::Resume);
    let error = other.run(&AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("the config differs from the run's"), "{error}");
}

#[test]
fn predictions_keep_row_order_and_report_absent_inputs() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &["input_features.size.preprocessing.missing_value_strategy=drop_row"]));
    let model = Model::open(&results).unwrap();
    let path = folder.path().join("out.csv");
    model.predict_to(&dataset, &path).unwrap();
    let predictions = Table::read(&path).unwrap();
    let in_memory = model.predict_table(&dataset).unwrap();
    assert_eq!((in_memory.n_rows(), &in_memory.columns), (80, &predictions.columns));
    assert_eq!(in_memory.row(13).unwrap().last(), predictions.row(13).unwrap().last());
    assert_eq!(predictions.n_rows(), 80);
    let status = predictions.position("status").unwrap();
    let cell = |row: usize, at: usize| predictions.row(row).unwrap()[at].to_text();
    assert_eq!(cell(0, status), "ok");
    assert_eq!(cell(10, status), "absent: photo (file_not_found)");
    assert_eq!(cell(13, status), "skipped: size (malformed)");
    let kind = predictions.position("kind_predictions").unwrap();
    assert_eq!((cell(12, kind), cell(13, kind), cell(15, kind)), ("a".into(), String::new(), "b".into()));
}

#[test]
fn strict_mode_rejects_unreadable_but_not_empty_cells() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &[]));
    let model = Model::open(&results).unwrap();
    let strict = ReadOptions::default().unreadable(Unreadable::Error);
    let predict = |rows: &str| {
        let predicted = model.predict_rows(table_from_json(rows).unwrap(), &strict, &mut |_| Ok(()));
        predicted.map(drop).map_err(|it| it.to_string())
    };
    assert_eq!(predict("{\"size\": 3, \"notes\": null}\n{\"size\": \"\"}"), Ok(()));
    let message = "row 2, column 'size': malformed: 'large' is not a number (strict)";
    assert_eq!(predict("{\"size\": 3}\n{\"size\": \"large\"}"), Err(message.to_owned()));
    let message = model.evaluate_with(&dataset, &strict).map(|it| it.n_rows).unwrap_err().to_string();
    assert!(message.starts_with("row 11, column 'photo': file_not_found: ") && message.ends_with(" (strict)"), "{message}");
}

#[test]
fn any_column_may_be_absent_at_prediction() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &[]));
    let model = Model::open(&results).unwrap();
    let table = table_from_json("{\"notes\": \"the alpha row\"}\n{\"size\": 3, \"notes\": \"omega\"}\n{}").unwrap();
    let path = folder.path().join("out.jsonl");
    let faults = model.predict_to(table, &path).unwrap().faults;
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert!(faults.lines().contains(&"photo: 3 no_column (row 1; row 2; row 3)".to_owned()), "{:?}", faults.lines());
}

#[test]
fn every_decoder_trains_and_predicts() {
    let (folder, dataset) = dataset();
    let cases: [&[&str]; 8] = [
        &["output_features.kind.decoder=svm"],
        &["output_features.kind.decoder={type: svm, kernel: rbf}"],
        &["output_features.kind.decoder={type: svm, training: end_to_end}"],
        &["output_features.price.decoder=svr"],
        &["output_features.price.decoder=ridge"],
        &["output_features.price.decoder=boosted_trees"],
        &["output_features.kind.decoder={type: boosted_trees, min_rows: 1}"],
        &["output_features.kind.type=binary", "output_features.kind.decoder=classifier"],
    ];
    for (at, overrides) in cases.into_iter().enumerate() {
        let results = folder.path().join(at.to_string());
        let outcome = run(&experiment(&dataset, &results, overrides));
        let accuracy = outcome.test_statistics["kind"]["accuracy"];
        assert!(accuracy >= 0.9, "{overrides:?}: {accuracy}");
        let evaluation = Model::open(&results).unwrap().evaluate(&dataset).unwrap();
        assert!(evaluation.metrics["kind"]["accuracy"] >= 0.9, "{overrides:?}");
    }
}

#[test]
fn config_is_inferred_from_the_table() {
    let (folder, dataset) = dataset();
    let (config, notes) = mbm::infer_config(&Table::read(&dataset).unwrap(), &["kind".to_owned()]).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let plan = config.check().unwrap().to_json();
    let types: Vec<&str> = plan["input_features"].as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["image", "text", "number", "number"]);
    assert_eq!(plan["output_features"][0]["type"], "category");
    let error = mbm::infer_config(&Table::read(&dataset).unwrap(), &["kinds".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("did you mean 'kind'?"), "{error}");
    drop(folder);
}

#[test]
fn damaged_bundle_error_names_the_file() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &["trainer.epochs=1"]));
    let weights = results.join("model/weights.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    for n_bytes in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&weights, &whole[..n_bytes]).unwrap();
        let error = Model::open(&results).err().unwrap().to_string();
        assert!(error.contains("weights.safetensors"), "{n_bytes} bytes: {error}");
    }
    std::fs::write(&weights, &whole).unwrap();
    std::fs::write(results.join("model/bundle.json"), "{").unwrap();
    runs::seal(&results);
    assert!(Model::open(&results).err().unwrap().to_string().contains("bundle.json: not a bundle"));
    assert!(Model::open(folder.path()).err().unwrap().to_string().contains("specify a run folder"));
}

/// Collects JSON pointers to the values inside a tree, with the tree itself last.
fn pointers(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| pointers(item, &format!("{at}/{i}"), found))
        }
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, item)| pointers(item, &format!("{at}/{key}"), found)),
        _ => (),
    }
    found.push(at.to_string());
}

/// Returns a value of the same JSON type as `value`, as a damaged or malicious bundle might hold and a parser would accept.
fn tampered(value: &serde_json::Value, choice: usize) -> serde_json::Value {
    use serde_json::Value::{Array, Bool, Number, Object, String};
    const NUMBERS: [f64; 8] = [0.0, -1.0, 1.0, 3.0, 1e-9, 300.0, 1e12, -1e300];
    match value {
        Bool(yes) => (!yes).into(),
        Number(old) if old.is_f64() => NUMBERS[choice % NUMBERS.len()].into(),
        Number(_) => (NUMBERS[choice % NUMBERS.len()] as i64).into(),
        String(text) => ["", "alpha", "\u{10ffff}", &text.repeat(2)][choice % 4].into(),
        Array(items) if choice.is_multiple_of(2) => items.iter().skip(1).cloned().collect(),
        Array(items) => items.iter().chain(items.first()).cloned().collect(),
        Object(fields) => fields
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != choice % fields.len())
            .map(|(_, (k, v))| (k.clone(), v.clone()))
            .collect(),
        serde_json::Value::Null => choice.into(),
    }
}

/// Opens the bundle of a run, damaged in many ways, and predicts one row with every bundle that opens.
fn assert_no_damage_panics(results: &Path, row: &str) {
    let [bundle, weights] = ["bundle.json", "weights.safetensors"].map(|name| results.join("model").join(name));
    let tree: serde_json::Value = serde_json::from_slice(&std::fs::read(&bundle).unwrap()).unwrap();
    let tensors = std::fs::read(&weights).unwrap();
    let mut found = Vec::new();
    pointers(&tree, "", &mut found);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<usize>()), 1..3);
    let flips = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(changes in changes, flips in flips)| {
        let (mut tree, mut bytes) = (tree.clone(), tensors.clone());
        for (at, choice) in changes {
            if let Some(value) = tree.pointer_mut(at.get::<String>(&found)) {
                *value = tampered(value, choice);
            }
        }
        for (at, byte) in flips {
            let at = at.index(bytes.len().min(2000));
            bytes[at] = byte;
        }
        std::fs::write(&bundle, tree.to_string()).unwrap();
        std::fs::write(&weights, bytes).unwrap();
        runs::seal(results);
        if let Ok(model) = Model::open(results) {
            let _ = model.predict_to(table_from_json(row).unwrap(), results.join("out.jsonl"));
        }
    });
}

#[test]
fn tampered_bundles_never_panic() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    let overrides = ["trainer.epochs=1", "output_features.kind.decoder=svm", "output_features.price.decoder=ridge"];
    run(&experiment(&dataset, &results, &overrides));
    let photo = folder.path().join("1.png");
    assert_no_damage_panics(&results, &format!("{{\"photo\": {photo:?}, \"notes\": \"the alpha row\", \"size\": 3}}"));
}

/// Returns a WAV file with a tone of a quarter of a second, at 2,000 samples per second.
fn tone(pitch: usize) -> Vec<u8> {
    let samples = (0..500).flat_map(|i| if (i * pitch / 100).is_multiple_of(2) { 9000i16 } else { -9000 }.to_le_bytes());
    let numbers = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let format = [&b"RIFF"[..], &numbers(&[1036]), b"WAVEfmt ", &numbers(&[16, 1 | 1 << 16, 2000, 4000, 2 | 16 << 16]), b"data"];
    format.concat().into_iter().chain(numbers(&[1000])).chain(samples).collect()
}

#[test]
fn mixed_feature_types_and_absent_targets_train_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::new();
    for row in 0..40 {
        std::fs::write(folder.path().join(format!("{row}.wav")), tone(1 + row % 9)).unwrap();
        let tags = if row % 2 == 0 { "[\"red\", \"round\"]" } else { "[\"blue\"]" };
        let target = if row == 5 { "null".to_owned() } else { format!("[{}, {}]", row % 3, row % 5) };
        rows.push_str(&format!(
            "{{\"tags\": {tags}, \"curve\": [{}, 2, 3], \"day\": \"2024-01-{:02}\", \"on\": {}, \"place\": [{}, 1], \"tone\": \"{row}.wav\", \"goal\": {target}, \"labels\": {tags}}}\n",
            row, 1 + row % 28, row % 2 == 0, row,
        ));
    }
    let dataset = folder.path().join("rows.jsonl");
    std::fs::write(&dataset, rows).unwrap();
    let config = "
input_features:
  - {name: tags, type: set}
  - {name: curve, type: timeseries}
  - {name: day, type: date}
  - {name: on, type: binary}
  - {name: place, type: vector}
  - {name: tone, type: audio, preprocessing: {num_filter_bands: 8}}
combiner: gated
output_features:
  - {name: goal, type: vector}
  - {name: labels, type: set}
trainer: {epochs: 40, batch_size: 8, learning_rate: 0.01, early_stop: 0, validation_field: labels, validation_metric: f1_micro, modality_dropout: 0.0}
";
    let plan = Plan::read(config, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let experiment = Experiment::new(plan, dataset, folder.path().join("run"));
    let outcome = run(&experiment);
    assert!(outcome.test_statistics["labels"]["f1_micro"] > 0.9, "{:?}", outcome.test_statistics);
    assert!(outcome.test_statistics["goal"].contains_key("mean_squared_error"));
    assert!(matches!(OutputFormat::of(Path::new("x.txt")), Err(mbm::error::OutputError::Extension(_))));
    let clip = folder.path().join("3.wav");
    let row = format!("{{\"tags\": [\"red\"], \"curve\": [1, 2], \"day\": \"2024-01-02\", \"on\": true, \"tone\": {clip:?}}}");
    assert_no_damage_panics(&outcome.folder, &row);
}
