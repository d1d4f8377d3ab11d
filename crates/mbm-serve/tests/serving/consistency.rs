//! A row gets the same prediction through every interface: a table, JSON, a form, a batch, or a stream.

use std::path::Path;

use mbm::Model;
use serde_json::{Map, Value, json};

use crate::fixture::{fixture, image};
use crate::{Response, base64, form, post, post_form, send_with, shared};

/// A table with every kind of fault.
const ROWS: &str = "photo,caption,size,kind
good.pgm,a dark image,3,dark
,a dark image,3,dark
bad.pgm,a dark image,3,dark
empty.pgm,a dark image,3,dark
cut.png,a dark image,3,dark
bomb.pgm,a dark image,3,dark
good.pgm,,3,dark
good.pgm,a dark image,many,dark
good.pgm,a dark image,inf,dark
good.pgm,a dark image,,dark
";

const STATUSES: [&str; 10] = [
    "ok",
    "absent: photo (empty)",
    "absent: photo (unreadable)",
    "absent: photo (unreadable)",
    "absent: photo (unreadable)",
    "absent: photo (too_large)",
    "absent: caption (empty)",
    "absent: size (malformed)",
    "absent: size (malformed)",
    "absent: size (empty)",
];

fn files() -> [(&'static str, Vec<u8>); 5] {
    [
        ("good.pgm", image(20)),
        ("bad.pgm", b"not an image".to_vec()),
        ("empty.pgm", Vec::new()),
        ("cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0".to_vec()),
        ("bomb.pgm", [b"P5 60000 60000 255\n".to_vec(), vec![0; 100]].concat()),
    ]
}

/// Predicts the rows from a table, without the server.
fn by_table(folder: &Path) -> Vec<Value> {
    files().iter().for_each(|(name, content)| std::fs::write(folder.join(name), content).unwrap());
    let (dataset, output) = (folder.join("rows.csv"), folder.join("out.jsonl"));
    std::fs::write(&dataset, ROWS).unwrap();
    Model::open(fixture().model()).unwrap().predict_to(&dataset, &output).unwrap();
    std::fs::read_to_string(&output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the rows as a client sends them, with file content instead of file names.
fn rows() -> Vec<Map<String, Value>> {
    let row = |line: &str| {
        let [photo, caption, size] = line.splitn(4, ',').take(3).collect::<Vec<_>>().try_into().unwrap();
        let content = files().into_iter().find(|(name, _)| *name == photo).map(|(_, content)| content);
        let photo = content.map_or(Value::Null, |content| format!("data:;base64,{}", base64(&content)).into());
        let row = json!({ "photo": photo, "caption": caption, "size": size });
        row.as_object().unwrap().clone()
    };
    ROWS.lines().skip(1).map(row).collect()
}

fn last_event(response: &Response) -> Value {
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    serde_json::from_str(data).unwrap()
}

/// Whether two predictions agree up to rounding: 32-bit sums in a batch are in a different order than for a single row.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a.as_object(), b.as_object(), a.as_f64(), b.as_f64()) {
        (Some(a), Some(b), ..) => a.len() == b.len() && a.iter().all(|(name, value)| is_same(value, &b[name])),
        (.., Some(a), Some(b)) => (a - b).abs() < 1e-5,
        (..) => a == b,
    }
}

#[test]
fn unreadable_cells_are_absent_with_a_cause_in_all_interfaces() {
    let folder = tempfile::tempdir().unwrap();
    let expected = by_table(folder.path());
    let statuses: Vec<&str> = expected.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, STATUSES);
    let batch = post(shared(), "/batch_predict", &json!(rows())).json();
    for (at, row) in rows().into_iter().enumerate() {
        let one = post(shared(), "/predict", &row.clone().into());
        assert_eq!(one.status, 200, "row {at}: {}", one.json());
        let streamed = last_event(&post(shared(), "/predict/stream", &row.into()));
        for answer in [&batch["rows"][at], &streamed, &one.json()] {
            assert!(is_same(answer, &expected[at]), "row {at}: {answer} and {}", expected[at]);
        }
    }
}

#[test]
fn strict_rejects_unreadable_cells_but_not_empty_ones() {
    let batch = post(shared(), "/batch_predict?strict=true", &json!(rows())).json();
    for ((at, row), status) in rows().into_iter().enumerate().zip(STATUSES) {
        let answer = post(shared(), "/predict?strict=true", &row.clone().into());
        let streamed = post(shared(), "/predict/stream?strict=true", &row.into());
        if status == "ok" || status.ends_with("(empty)") {
            assert_eq!((answer.status, streamed.status, &batch["rows"][at]["status"]), (200, 200, &json!(status)), "row {at}");
            continue;
        }
        let (input, cause) = status["absent: ".len()..status.len() - 1].split_once(" (").unwrap();
        let (code, message) = answer.api_error();
        assert!(code == 400 && message.starts_with(&format!("{input}: {cause}: ")), "row {at}: {message}");
        assert_eq!((streamed.api_error(), &batch["rows"][at]["error"]), ((400, message.clone()), &json!(message)), "row {at}");
        // Our own wording, without decoder internals.
        assert!(["Format", "header", "IHDR", "decod", "I/O"].iter().all(|it| !message.contains(it)), "row {at}: {message}");
    }
}

#[test]
fn values_that_are_not_files_are_absent_or_explained_if_strict() {
    for (photo, expected) in [
        (json!("not base64!"), "photo: unreadable: not base64, and this server does not read paths; send the file itself"),
        (json!("data:image/png,x"), "photo: unreadable: a data URI without base64 content"),
        (json!(7), "photo: malformed: a number is not a string; send files as base64"),
    ] {
        let row = json!({ "photo": photo, "size": 3 });
        assert_eq!(post(shared(), "/predict?strict=true", &row).api_error(), (400, expected.to_owned()));
        let status = post(shared(), "/predict", &row).json()["status"].as_str().unwrap().to_owned();
        let cause = expected.split(": ").nth(1).unwrap();
        assert_eq!(status, format!("absent: photo ({cause}), caption (empty)"));
    }
    let fields: [(&str, Option<&str>, &[u8]); 2] = [("photo", Some("x.pgm"), b"not an image"), ("size", None, b"3")];
    let headers = [("content-type", "multipart/form-data; boundary=edge")];
    let answer = |path: &str| send_with(shared(), path, &headers, &form(&fields));
    assert_eq!(answer("POST /predict").json()["status"], "absent: photo (unreadable), caption (empty)");
    assert_eq!(answer("POST /predict?strict=true").status, 400);
    let fields: [(&str, Option<&str>, &[u8]); 2] = [("caption", None, b"\xff\xfe"), ("size", None, b"3")];
    assert_eq!(post_form(shared(), "/predict", &fields).json()["status"], "absent: photo (empty), caption (not_utf8)");
}

#[test]
fn search_and_embed_reject_unreadable_cells() {
    for (path, body) in [
        ("/search", json!({ "image": base64(b"not an image") })),
        ("/search", json!({ "image": "not base64!" })),
        ("/embed", json!({ "inputs": [base64(b"not an image")], "input": "photo" })),
        ("/embed", json!({ "inputs": { "photo": "not base64!" } })),
    ] {
        let (status, message) = post(shared(), path, &body).api_error();
        assert!(status == 400 && message.starts_with("photo: unreadable: "), "{path} {body}: {message}");
    }
}
