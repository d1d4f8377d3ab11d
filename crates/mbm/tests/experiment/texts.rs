//! Text outputs: models that copy and reverse texts, and their answers to empty and unusual sources.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mbm::{Cell, ConfigFormat, Event, Experiment, Model, Plan, RunEvent, Start, Table, Unreadable, table_from_json};
use rand::RngExt;
use tempfile::TempDir;

use crate::run;

const CONFIG: &str = "
input_features:
  - name: source
    type: text
    preprocessing: {tokenizer: characters, lowercase: false, max_sequence_length: 24}
    encoder: {type: transformer, num_layers: 1, hidden_size: 48, num_heads: 4, transformer_output_size: 96, dropout: 0.0}
output_features:
  - name: target
    type: text
    preprocessing: {tokenizer: characters, max_sequence_length: 24}
    decoder:
      type: generator
      network: {type: transformer, num_layers: 1, hidden_size: 48, num_heads: 4, transformer_output_size: 96, dropout: 0.0}
preprocessing: {split: {type: fixed, column: split}}
trainer:
  epochs: 24
  batch_tokens: 256
  learning_rate: 0.002
  learning_rate_scheduler: {decay: cosine, warmup_steps: 50}
  early_stop: 0
  modality_dropout: 0.0
  validation_metric: exact_match
";

/// Writes a table of words with characters of several scripts, and the same words copied or reversed.
fn dataset(reversed: bool, n_rows: usize) -> (TempDir, PathBuf) {
    const CHARS: [char; 8] = ['a', 'b', 'Z', 'ß', '狗', '🐕', 'ع', '7'];
    let folder = tempfile::tempdir().unwrap();
    let mut rng = mbm_data::random::rng(3);
    let mut table = String::from("source,target,split\n");
    for row in 0..n_rows {
        let source: String = (0..rng.random_range(3..9)).map(|_| CHARS[rng.random_range(0..CHARS.len())]).collect();
        let target: String = if reversed { source.chars().rev().collect() } else { source.clone() };
        let split = if row % 20 == 0 { "validation" } else { "train" };
        table.push_str(&format!("{source},{target},{split}\n"));
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

fn experiment(dataset: &Path, folder: &Path, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap();
    Experiment::new(plan, dataset.to_path_buf(), folder.to_path_buf())
}

/// Trains a model; returns its folder and the share of unseen texts that it copies or reverses without a mistake.
fn trained(reversed: bool, overrides: &[&str]) -> (TempDir, f64) {
    let (folder, dataset) = dataset(reversed, 4000);
    let outcome = run(&experiment(&dataset, &folder.path().join("run"), overrides));
    let exact = outcome.test_statistics["target"]["exact_match"];
    (folder, exact)
}

#[test]
fn generator_learns_to_copy_texts() {
    let (folder, exact) = trained(false, &[]);
    assert_eq!(exact, 1.0);
    let report = std::fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert_eq!(report.matches("Attention of each token").count(), 12, "six of the best and six of the worst");
    assert!(report.contains("<td style='background:rgba(") && report.contains("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp"));
    assert_any_source_is_answered(&folder.path().join("run"));
}

#[test]
fn generator_learns_to_reverse_texts() {
    assert_eq!(trained(true, &[]).1, 1.0);
}

#[test]
fn recurrent_generator_learns_to_reverse_texts() {
    let network = "output_features.target.decoder.network={type: rnn, hidden_size: 64, dropout: 0.0}";
    let exact = trained(
        true,
        &[network, "input_features.source.encoder={type: rnn, cell_type: lstm, state_size: 64, bidirectional: true}"],
    )
    .1;
    assert!(exact > 0.95, "{exact}");
}

fn assert_any_source_is_answered(run: &Path) {
    let model = Model::open(run).unwrap();
    let session = model.generation_session("text").unwrap();
    let cells = ["ab狗Z", "", "\u{200b}\u{feff}", "a\u{200b}b狗\u{2060}Z", "кошка ελληνικά", &"word ".repeat(10_000)];
    let texts = session.generate(cells);
    let text = |at: usize| texts[at].as_ref().unwrap().texts.first().map(|it| it.0.clone());
    assert_eq!(text(0).as_deref(), Some("ab狗Z"));
    assert_eq!((text(1), text(2)), (None, None), "an empty source gives no text");
    assert_eq!(text(3), text(0), "zero-width characters are ignored");
    assert!(text(4).is_some() && text(5).is_some(), "unknown characters and ten thousand words are answered");
    let shortened: Vec<_> = texts.iter().map(|written| written.as_ref().unwrap().shortened.as_deref()).collect();
    assert_eq!(shortened, [None, None, None, None, None, Some("49999 tokens, 24 of them read")]);
    let mut partial = Vec::new();
    let streamed = session.stream("ab狗Z", &mut |text| partial.push(text.to_owned())).unwrap();
    assert_eq!((streamed.texts[0].0.as_str(), partial.last().map(String::as_str)), ("ab狗Z", Some("ab狗Z")));

    let long = "word ".repeat(10_000);
    assert_eq!(session.stream(long.as_str(), &mut |_| ()).unwrap().shortened.as_deref(), shortened[5]);

    // A row whose only input is missing still gets a text, and its status names the input.
    let table = table_from_json(&format!("{{\"source\": \"bab\"}}\n{{\"source\": null}}\n{{\"source\": {long:?}}}")).unwrap();
    let lines = predicted(&model, table);
    assert_eq!(lines[2]["status"], "shortened: source");
    let long = model.prepare(&[Cell::text(&long)]);
    assert_eq!(model.check(long, Unreadable::Error).unwrap().status().to_string(), "shortened: source");
    assert_eq!(lines[0]["target_predictions"], "bab");
    assert_eq!((lines[0]["status"].as_str(), lines[1]["status"].as_str()), (Some("ok"), Some("absent: source (empty)")));
    assert!(lines[1]["target_predictions"].is_string());

    let long = model.clone().with_decoding(|it| (it.max_length, it.settings.min_length) = (1000, 1000));
    let text = long.translate("bab").unwrap();
    assert_eq!(text.chars().count(), 24, "the maximum length of the model");

    let several = model.clone().with_decoding(|decoding| decoding.settings.num_return_sequences = 2);
    let line = &predicted(&several, table_from_json("{\"source\": \"bab\"}").unwrap())[0];
    assert_eq!(line["target_predictions"], "bab");
    assert!(line["target_score"].as_f64() >= line["target_score_2"].as_f64() && line["target_predictions_2"] != "bab");
    assert_eq!(several.predict([("source", "bab")]).unwrap()["target"].to_string(), "bab");

    // How texts are generated is not part of the saved model.
    let folder = tempfile::tempdir().unwrap();
    several.save(folder.path().join("model")).unwrap();
    let saved = Model::open(folder.path().join("model")).unwrap();
    assert_eq!((saved.hash().unwrap(), saved.columns()), (model.hash().unwrap(), model.columns()));
}

fn predicted(model: &Model, table: Table) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    model.predict_to(table, &path).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn resumed_run_with_averaged_epochs_is_bitwise_identical() {
    let (folder, dataset) = dataset(false, 60);
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    let overrides = ["trainer.epochs=5", "trainer.average_epochs=3"];
    run(&experiment(&dataset, &whole, &overrides));
    let mut experiment = experiment(&dataset, &stopped, &overrides);
    let stop = AtomicBool::new(false);
    let mut n_epochs = 0;
    experiment
        .run(&stop, &mut |event| match event {
            RunEvent::Training(Event::Epoch { .. }) => n_epochs += 1,
            RunEvent::Training(Event::Step { .. }) if n_epochs == 3 => stop.store(true, Ordering::Relaxed),
            _ => {}
        })
        .unwrap();
    experiment.start = Start::Resume;
    run(&experiment);
    assert_eq!(crate::bytes(&whole), crate::bytes(&stopped));
}

#[test]
fn mistakes_in_a_text_output_are_reported() {
    let text = "
input_features:
  - {name: source, type: text}
output_features:
  - name: target
    type: text
    preprocessing: {max_sequence_length: 24, share_vocabulary_with: sources}
    decoder:
      type: generator
      network: {type: transformer, hidden_size: 45, num_heads: 9, positions: rotary}
      decoding: {max_length: 99}
  - {name: other, type: text, decoder: {type: ctc, input: target}, preprocessing: {share_vocabulary_with: source, tokenizer: hf_tokenizer}}
trainer: {mixup: 0.2}
";
    let diagnostics = Plan::read(text, ConfigFormat::Yaml, &[], "config.yaml").unwrap_err().to_string();
    for want in [
        "'sources' is not a text input, did you mean 'source'?; available: source",
        "99 exceeds the max_sequence_length of the output's preprocessing, 24",
        "trainer.mixup: cannot be combined with the text output 'target'",
        "rotary positions require heads of an even width",
        "'target' is not a sequence input (audio, timeseries, text)",
        "a text output needs a tokenizer of its own",
        "'source' has tokenizer: space_punct, lowercase: true, but this output has hf_tokenizer, false; use the same in both",
    ] {
        assert!(diagnostics.contains(want), "{want}\n{diagnostics}");
    }
}
