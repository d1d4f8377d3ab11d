//! Integration tests: the server as clients see it.
#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod consistency;
mod fixture;
mod limits;
mod security;
mod stream;
mod vectors;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mbm::{ConfigFormat, Experiment, Plan};
use mbm_serve::{Server, Settings};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use fixture::{fixture, image};

/// A server that runs on a thread until it is stopped.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

fn settings() -> Settings {
    Settings { model_path: Some(fixture().model()), address: ([127, 0, 0, 1], 0).into(), ..Settings::default() }
}

fn start(settings: Settings) -> Running {
    let server = Server::open(settings).unwrap();
    let (stop, stopped) = oneshot::channel();
    let address = server.address();
    let until = async move {
        let _ = stopped.await;
    };
    Running { address, stop, thread: std::thread::spawn(move || server.run(until).unwrap()) }
}

impl Running {
    fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Returns the address of a server with an index, shared by all tests that only send requests.
fn shared() -> SocketAddr {
    static SHARED: OnceLock<Running> = OnceLock::new();
    SHARED.get_or_init(|| start(Settings { index: Some(fixture().index()), ..settings() })).address
}

/// A response: status, head in lower case, and body.
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns the status and the message of an error response.
    fn api_error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap().to_owned())
    }
}

fn send(address: SocketAddr, head: &str, body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    receive(stream)
}

/// As [`send`], with additional headers.
fn send_with(address: SocketAddr, head: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut stream = TcpStream::connect(address).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    // A server that refuses a body may close the connection before all of it is sent.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    receive(stream)
}

fn receive(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Response { status, head, body: bytes[end + 4..].to_vec() }
}

fn post(address: SocketAddr, path: &str, body: &Value) -> Response {
    send_with(address, &format!("POST {path}"), &[("content-type", "application/json")], body.to_string().as_bytes())
}

fn get(address: SocketAddr, path: &str) -> Response {
    send(address, &format!("GET {path}"), b"")
}

/// Encodes a multipart form of fields: name, file name, content.
fn form(fields: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in fields {
        let file_name = file_name.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        body.extend(format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n").bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    body
}

fn post_form(address: SocketAddr, path: &str, fields: &[(&str, Option<&str>, &[u8])]) -> Response {
    send_with(address, &format!("POST {path}"), &[("content-type", "multipart/form-data; boundary=edge")], &form(fields))
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[test]
fn json_and_form_give_the_same_prediction() {
    let row = json!({ "photo": base64(&image(20)), "caption": "a dark image", "size": 3 });
    let from_json = post(shared(), "/predict", &row);
    assert_eq!(from_json.status, 200, "{}", from_json.json());
    let prediction = from_json.json();
    assert_eq!(prediction["kind_predictions"], "dark");
    assert_eq!(prediction["status"], "ok");
    let [dark, bright] = ["dark", "bright"].map(|it| prediction[format!("kind_probabilities_{it}")].as_f64().unwrap());
    assert!((dark + bright - 1.0).abs() < 1e-6 && prediction["kind_probability"].as_f64() == Some(dark));
    let image = image(20);
    let fields: [(&str, Option<&str>, &[u8]); 3] =
        [("photo", Some("x.pgm"), &image), ("caption", None, b"a dark image"), ("size", None, b"3")];
    assert_eq!(post_form(shared(), "/predict", &fields).json(), prediction);
}

#[test]
fn contributions_add_up_to_the_difference_from_no_inputs() {
    let row = json!({ "photo": base64(&image(20)), "size": 3 });
    let answer = post(shared(), "/predict?explain=true", &row).json();
    assert_eq!(answer["status"], "absent: caption (empty)");
    let contributions = answer["contributions"]["kind"].as_object().unwrap();
    assert_eq!(contributions.keys().collect::<Vec<_>>(), ["photo", "size"]);
    let nothing = post(shared(), "/predict", &json!({})).json();
    let key = format!("kind_probabilities_{}", answer["kind_predictions"].as_str().unwrap());
    let total = answer[&key].as_f64().unwrap() - nothing[&key].as_f64().unwrap();
    let shares: f64 = contributions.values().map(|share| share.as_f64().unwrap()).sum();
    // The tolerance allows for sums of differences of 32-bit probabilities.
    assert!((shares - total).abs() < 1e-5, "{shares} of {total}");
}

#[test]
fn invalid_rows_fail_individually_in_a_batch() {
    let rows = json!({ "rows": [{ "size": 1 }, { "photo": "AAAA" }, { "colour": "red" }, { "size": "many" }, { "size": 2 }] });
    let answer = post(shared(), "/batch_predict?strict=true", &rows);
    assert_eq!(answer.status, 200);
    let rows = answer.json()["rows"].as_array().unwrap().clone();
    assert_eq!(rows[0], post(shared(), "/predict", &json!({ "size": 1 })).json());
    assert_eq!(rows[4], post(shared(), "/predict", &json!({ "size": 2 })).json());
    let error = |at: usize| rows[at]["error"].as_str().unwrap();
    let formats = "PNG, JPEG, WebP, GIF, BMP, TIFF and PNM";
    assert_eq!(error(1), format!("photo: unreadable: in an unsupported format; supported are {formats}"));
    assert_eq!(error(2), "'colour' is not an input of the model; the inputs are: photo, caption, size");
    assert_eq!(error(3), "size: malformed: 'many' is not a number");
}

#[test]
fn ludwig_batch_is_answered_in_split_format() {
    let dataset =
        br#"{"columns": ["photo", "size", "kind"], "index": ["a", "b"], "data": [["one.pgm", 5, "dark"], ["two.pgm", 6, null]]}"#;
    let [one, two] = [20, 220].map(image);
    let fields: [(&str, Option<&str>, &[u8]); 3] =
        [("dataset", None, dataset), ("f", Some("one.pgm"), &one), ("f", Some("two.pgm"), &two)];
    let answer = post_form(shared(), "/batch_predict", &fields).json();
    assert_eq!(answer["index"], json!(["a", "b"]));
    assert_eq!(answer["columns"][0], "kind_predictions");
    assert_eq!([&answer["data"][0][0], &answer["data"][1][0]], ["dark", "bright"]);
    let missing = post_form(shared(), "/batch_predict", &fields[..2]).json();
    let status = missing["columns"].as_array().unwrap().iter().position(|column| column == "status").unwrap();
    assert_eq!(missing["data"][1][status], "absent: photo (unreadable), caption (empty)");
}

#[test]
fn malformed_requests_are_explained() {
    let json = [("content-type", "application/json")];
    let api_error = |head: &str, headers: &[(&str, &str)], body: &[u8]| send_with(shared(), head, headers, body).api_error();
    let (status, message) = api_error("POST /predict", &json, b"{\"size\": ");
    assert!(status == 400 && message.contains("line 1 column"), "{message}");
    assert_eq!(api_error("POST /predict", &json, b"[1]").0, 400);
    let (status, message) = api_error("POST /predict", &[], b"{}");
    assert!(status == 415 && message.contains("multipart/form-data"), "{message}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (status, message) = api_error("POST /predict", &form, b"{\"size\": 3}");
    assert!(status == 400 && message.contains("content-type: application/json"), "{message}");
    assert_eq!(send_with(shared(), "POST /predict", &form, b"size=3&caption=a+dark+one").status, 200);
    assert_eq!(
        api_error("POST /predict", &[("content-type", "multipart/form-data; boundary=edge")], b"--edge\r\nnonsense").0,
        400
    );
    assert_eq!(api_error("POST /predict?explain=perhaps", &json, b"{}").0, 400);
    for path in ["/predict", "/batch_predict", "/predict/stream"] {
        assert_eq!(api_error(&format!("POST {path}?strikt=true"), &json, b"{}").0, 400, "{path}");
    }
    assert_eq!(api_error("POST /batch_predict", &json, b"{\"rows\": 3}").0, 400);
    assert_eq!(api_error("POST /batch_predict", &json, b"{\"columns\": [\"size\"], \"data\": [[1, 2]]}").0, 400);
    assert_eq!(api_error("GET /predict", &[], b"").0, 405);
    assert_eq!(api_error("GET /nowhere", &[], b"").0, 404);
    let twice = post_form(shared(), "/predict", &[("size", None, b"1"), ("size", None, b"2")]);
    assert_eq!(twice.api_error(), (400, "'size' is given twice".to_owned()));
}

#[test]
fn a_column_is_read_by_all_inputs_that_are_not_given_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..40).map(|row| if row % 2 == 0 { "dark one,1\n" } else { "light one,2\n" }).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("note,kind\n{rows}")).unwrap();
    let config = "
        input_features:
          - {name: words, column: note, type: text, encoder: {type: embed, embedding_size: 4}}
          - {name: whole, column: note, type: category}
        output_features: [{name: kind, type: category}]
        trainer: {epochs: 1}";
    let plan = Plan::read(config, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let run = folder.path().join("run");
    Experiment::new(plan, folder.path().join("rows.csv"), run.clone()).run(&AtomicBool::new(false), &mut |_| {}).unwrap();
    let running = start(Settings { model_path: Some(run), ..settings() });
    let status = |row: Value| post(running.address, "/predict", &row).json()["status"].clone();
    assert_eq!(status(json!({ "note": "dark one" })), "ok");
    assert_eq!(status(json!({ "words": "dark one" })), "absent: whole (empty)");
    assert_eq!(status(json!({ "note": "dark one", "words": null })), "absent: words (empty)");
    running.stop();
}

#[test]
fn openapi_lists_every_endpoint_and_the_models_inputs() {
    let document = get(shared(), "/openapi.json").json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let expected = [
        "/admin/reload",
        "/batch_predict",
        "/embed",
        "/health",
        "/info",
        "/metrics",
        "/predict",
        "/predict/stream",
        "/ready",
        "/search",
        "/v1/embeddings",
    ];
    assert_eq!(paths, expected);
    let row = &document["components"]["schemas"]["RowBody"]["properties"];
    assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["caption", "photo", "size"]);
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some_and(Value::is_object), "{reference}");
    }
    let info = get(shared(), "/info").json();
    assert_eq!(info["outputs"][0], json!({ "name": "kind", "type": "category", "classes": ["bright", "dark"] }));
    assert_eq!(info["index"]["n_rows"], 60);
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| collect_references(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, references)),
        _ => {}
    }
}

#[test]
fn pages_are_embedded_and_self_contained() {
    for path in ["/", "/docs", "/page.js", "/page.css", "/docs.js", "/icon.svg"] {
        let response = get(shared(), path);
        assert_eq!(response.status, 200, "{path}");
        assert!(response.head.contains("content-security-policy: default-src 'self'"), "{path}");
        let text = String::from_utf8(response.body).unwrap();
        assert!(!text.is_empty() && !text.contains("https://"), "{path} loads something from another host");
    }
}

#[test]
fn requests_are_counted_by_route_and_status() {
    let server = start(settings());
    post(server.address, "/predict", &json!({ "size": 1 }));
    post(server.address, "/predict", &json!({ "siz": 1 }));
    get(server.address, "/a/b");
    let text = String::from_utf8(get(server.address, "/metrics").body).unwrap();
    for line in [
        "mbm_requests_total{path=\"/predict\",status=\"200\"} 1",
        "mbm_requests_total{path=\"/predict\",status=\"400\"} 1",
        "mbm_requests_total{path=\"other\",status=\"404\"} 1",
        "mbm_batch_rows_count 1",
        "mbm_waiting_rows 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    server.stop();
}

#[test]
fn full_queue_refuses_immediately() {
    let server = start(Settings { queue_size: 2, max_batch_delay: Duration::from_millis(1500), ..settings() });
    let address = server.address;
    let waiting = std::thread::spawn(move || post(address, "/batch_predict", &json!([{ "size": 1 }, { "size": 2 }])).status);
    while !String::from_utf8(get(address, "/metrics").body).unwrap().contains("mbm_waiting_rows 2") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    let refused = post(address, "/predict", &json!({ "size": 3 }));
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(refused.api_error(), (429, "the queue has no capacity for 1 more rows; try again later".to_owned()));
    assert!(refused.head.contains("retry-after: 1"));
    let many = post(address, "/batch_predict", &json!([{}, {}, {}]));
    assert_eq!(many.api_error(), (413, "3 rows at once, but the queue size is 2".to_owned()));
    assert_eq!(waiting.join().unwrap(), 200);
    server.stop();
}

#[test]
fn accepted_requests_are_answered_before_shutdown() {
    let server = start(Settings { max_batch_delay: Duration::from_millis(400), ..settings() });
    let address = server.address;
    let ask = move || post(address, "/predict", &json!({ "size": 1 })).status;
    let accepted: Vec<_> = (0..8).map(|_| std::thread::spawn(ask)).collect();
    while !String::from_utf8(get(address, "/metrics").body).unwrap().contains("mbm_waiting_rows 8") {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    assert!(accepted.into_iter().all(|it| it.join().unwrap() == 200));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn slow_clients_time_out() {
    let server = start(Settings { timeout: Duration::from_millis(300), ..settings() });
    let mut slow_body = TcpStream::connect(server.address).unwrap();
    slow_body
        .write_all(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    assert_eq!(receive(slow_body).api_error(), (503, "the request timed out after 0.3 s".to_owned()));
    let mut slow_head = TcpStream::connect(server.address).unwrap();
    slow_head.write_all(b"POST /predict HT").unwrap();
    let mut rest = Vec::new();
    slow_head.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    slow_head.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    server.stop();
}

#[test]
fn reload_under_load_drops_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    fixture::write_rows(folder.path());
    let path = fixture::train(folder.path(), 1);
    let key = ("x-api-key", "secret");
    let server = start(Settings { model_path: Some(path.clone()), api_key: Some("secret".into()), ..settings() });
    let address = server.address;
    let reload = || send_with(address, "POST /admin/reload", &[key], b"");
    assert_eq!(reload().json()["changed"], false);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let asking = std::thread::spawn(move || {
        let mut statuses = Vec::new();
        let headers = [key, ("content-type", "application/json")];
        while is_done.try_recv().is_err() {
            statuses.push(send_with(address, "POST /predict", &headers, b"{\"size\": 1}").status);
        }
        statuses
    });
    std::fs::remove_dir_all(&path).unwrap();
    let (status, message) = reload().api_error();
    assert!(status == 500 && message.starts_with("the previous model stays"), "{message}");
    fixture::train(folder.path(), 2);
    assert_eq!(reload().json()["changed"], true);
    done.send(()).unwrap();
    let statuses = asking.join().unwrap();
    assert!(statuses.len() > 10 && statuses.iter().all(|status| *status == 200));
    server.stop();
}

#[test]
fn invalid_settings_are_explained() {
    let error = |settings: Settings| Server::open(settings).err().unwrap().to_string();
    assert!(error(Settings { model_path: None, ..settings() }).contains("--model-path"));
    assert!(error(Settings { model_path: Some("nowhere".into()), ..settings() }).contains("nowhere"));
    let open = error(Settings { address: ([0, 0, 0, 0], 0).into(), ..settings() });
    assert!(open.starts_with("0.0.0.0 is reachable from other machines") && open.contains("--allowed-host"), "{open}");
    let little = error(Settings { max_memory_for_requests: 1 << 20, ..settings() });
    assert!(little.contains("needs 67108864 bytes"), "{little}");
    assert!(error(Settings { cors_origins: vec!["*".into()], ..settings() }).contains("--cors-origin *"));
    assert!(error(Settings { media_root: Some("nowhere".into()), ..settings() }).contains("--media-root nowhere"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(error(Settings { address: taken.local_addr().unwrap(), ..settings() }).contains("cannot listen on"));
}
