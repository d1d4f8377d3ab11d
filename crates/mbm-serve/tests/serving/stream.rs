//! Tests of streamed text generation.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mbm::{ConfigFormat, Experiment, Plan};
use mbm_serve::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Response, Running, post, settings, shared, start};

const CONFIG: &str = "
input_features:
  - {name: word, type: text, encoder: {type: embed, embedding_size: 16}}
output_features:
  - name: answer
    type: text
    preprocessing: {tokenizer: characters}
    decoder: {type: generator, network: {type: rnn, hidden_size: 24, dropout: 0.0}}
preprocessing: {split: {type: random, probabilities: [0.8, 0.1, 0.1]}}
trainer: {epochs: 25, batch_size: 8, learning_rate: 0.02, early_stop: 0}
";

/// Returns the address of a server with a model that answers `ping` with `pong!` and `tick` with `tock`.
fn writing() -> SocketAddr {
    static WRITING: OnceLock<(TempDir, Running)> = OnceLock::new();
    let (_, running) = WRITING.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let rows: String = (0..60).map(|row| if row % 2 == 0 { "ping,pong!\n" } else { "tick,tock\n" }).collect();
        std::fs::write(folder.path().join("rows.csv"), format!("word,answer\n{rows}")).unwrap();
        let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
        let (dataset, run) = (folder.path().join("rows.csv"), folder.path().join("run"));
        let experiment = Experiment::new(plan, dataset, run.clone());
        experiment.run(&AtomicBool::new(false), &mut |_| {}).unwrap();
        (folder, start(Settings { model_path: Some(run), ..settings() }))
    });
    running.address
}

/// Parses the server-sent events of a response: name and data.
fn events(response: &Response) -> Vec<(String, Value)> {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    assert!(response.head.contains("content-type: text/event-stream"), "{}", response.head);
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let mut found: Vec<(String, Value)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("event: ") {
            found.push((name.to_owned(), Value::Null));
        } else if let Some(data) = line.strip_prefix("data: ") {
            found.last_mut().unwrap().1 = serde_json::from_str(data).unwrap();
        }
    }
    found
}

#[test]
fn stream_sends_growing_text_and_ends_with_the_prediction() {
    let row = json!({ "word": "ping" });
    let received = events(&post(writing(), "/predict/stream", &row));
    let (last, grown) = received.split_last().unwrap();
    assert_eq!((last.0.as_str(), &last.1), ("prediction", &post(writing(), "/predict", &row).json()));
    assert_eq!(last.1["answer_predictions"], "pong!");
    let texts: Vec<&str> =
        grown.iter().map(|(name, data)| (assert_eq!(name, "text"), data["answer_predictions"].as_str().unwrap()).1).collect();
    assert_eq!(texts, ["p", "po", "pon", "pong", "pong!"]);
}

#[test]
fn stream_reports_invalid_rows_and_supports_models_without_text() {
    let api_error = post(shared(), "/predict/stream?strict=true", &json!({ "size": "large" })).api_error();
    assert_eq!(api_error, (400, "size: malformed: 'large' is not a number".to_owned()));
    let received = events(&post(shared(), "/predict/stream", &json!({ "size": "large" })));
    assert_eq!(received[0].1["status"], "absent: photo (empty), caption (empty), size (malformed)");
    let received = events(&post(shared(), "/predict/stream", &json!({ "size": 3 })));
    assert_eq!((received.len(), received[0].0.as_str()), (1, "prediction"));
    let (status, message) = post(shared(), "/predict/stream", &json!({ "sizes": 3 })).api_error();
    assert!(status == 400 && message.contains("size"), "{status} {message}");
}
