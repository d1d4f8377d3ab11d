//! Tests of embeddings and search.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fixture::{fixture, image};
use crate::{base64, post, settings, shared, start};

fn vector(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn texts_are_embedded_in_both_api_formats() {
    let answer = post(shared(), "/embed", &json!({ "inputs": ["a dark image", "bright"], "truncate": true })).json();
    let vectors: Vec<Vec<f32>> = answer.as_array().unwrap().iter().map(vector).collect();
    assert!(vectors.len() == 2 && vectors[0].len() == 8);
    let one = post(shared(), "/embed", &json!({ "inputs": "bright" })).json();
    assert_eq!(vector(&one[0]), vectors[1]);
    let body = json!({ "input": ["a dark image", "bright"], "model": "any" });
    let openai = post(shared(), "/v1/embeddings", &body).json();
    assert_eq!((&openai["object"], &openai["model"], &openai["data"][1]["index"]), (&json!("list"), &json!("any"), &json!(1)));
    assert_eq!(vector(&openai["data"][1]["embedding"]), vectors[1]);
    assert_eq!(openai["usage"], json!({ "prompt_tokens": 4, "total_tokens": 4 }));
    let packed = post(shared(), "/v1/embeddings", &json!({ "input": "bright", "encoding_format": "base64" })).json();
    let bytes = STANDARD.decode(packed["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let unpacked: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it)).collect();
    assert_eq!(unpacked, vectors[1]);
}

#[test]
fn images_and_rows_are_embedded() {
    let photo = base64(&image(20));
    let as_item = post(shared(), "/embed", &json!({ "inputs": [photo], "input": "photo" })).json();
    let as_row = post(shared(), "/embed", &json!({ "inputs": { "photo": photo } })).json();
    assert_eq!(as_item, as_row);
    let length: f32 = vector(&as_item[0]).iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}

#[test]
fn invalid_embed_requests_are_explained() {
    let api_error = |body: Value| post(shared(), "/embed", &body).api_error();
    for (body, expected) in [
        (json!({ "inputs": [] }), "no inputs"),
        (json!({ "inputs": "" }), "caption: empty"),
        (json!({ "inputs": "x", "input": "size" }), "photo, caption"),
        (json!({ "inputs": { "photo": "AAAA" } }), "photo: unreadable"),
        (json!({ "inputs": { "photo": base64(&image(1)), "caption": "x" } }), "one of: photo, caption"),
        (json!({ "inputs": [7] }), "neither a string nor a row"),
        (json!({ "inputs": "x", "truncated": true }), "unknown field `truncated`"),
    ] {
        let (status, message) = api_error(body.clone());
        assert!(status == 400 && message.contains(expected), "{body}: {message}");
    }
    let openai = post(shared(), "/v1/embeddings", &json!({ "input": "x", "dimensions": 9 }));
    assert_eq!(
        (openai.status, &openai.json()["error"]["message"]),
        (400, &json!("dimensions: the model's vectors have 8 values"))
    );
}

#[test]
fn search_works_by_text_by_image_and_by_both() {
    let own = std::fs::read(fixture().images().join("7.pgm")).unwrap();
    let found = post(shared(), "/search", &json!({ "image": base64(&own), "k": 3, "thumbnails": true })).json();
    let hits = found["hits"].as_array().unwrap();
    assert_eq!((hits.len(), &found["n_rows"]), (3, &json!(60)));
    assert!((hits[0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert!(hits[0]["thumbnails"]["photo"].as_str().unwrap().starts_with("data:image/png;base64,"));
    let filtered = post(shared(), "/search", &json!({ "text": "dark", "k": 50, "filter": "size < 10 AND kind = 'dark'" })).json();
    let sizes: Vec<f64> = filtered["hits"].as_array().unwrap().iter().map(|hit| hit["row"]["size"].as_f64().unwrap()).collect();
    assert!(sizes.len() == 5 && sizes.iter().all(|size| *size < 10.0 && size % 2.0 == 0.0), "{sizes:?}");
    let both = |weight: f32| {
        let body = json!({ "text": "dark", "image": base64(&own), "weights": { "text": weight }, "k": 1 });
        post(shared(), "/search", &body).json()["hits"][0]["similarity"].as_f64().unwrap()
    };
    assert!((both(0.0) - 1.0).abs() < 1e-5 && both(1.0) < 1.0);
}

#[test]
fn invalid_searches_are_explained() {
    for (body, expected) in [
        (json!({}), "nothing to search for"),
        (json!({ "audio": "AAAA" }), "no embedded input of type audio"),
        (json!({ "text": "x", "k": 0 }), "k must be 1 to 1000"),
        (json!({ "text": "x", "filter": "size <" }), "filter"),
        (json!({ "text": "x", "filter": format!("kind {}LIKE 'x'", "NOT ".repeat(2000)) }), "expected IN or LIKE behind NOT"),
        (json!({ "text": "x", "filter": format!("{}kind = 'x'", "NOT ".repeat(2000)) }), "nested too deeply"),
        (json!({ "text": "x", "filter": format!("kind LIKE '{}'", "%a".repeat(1 << 19)) }), "at most 8192 are allowed"),
        (json!({ "text": "x", "weights": { "image": 1 } }), "'image' is not in the query"),
        (json!({ "text": "x", "weights": { "text": 1e300 } }), "number out of range"),
    ] {
        let (status, message) = post(shared(), "/search", &body).api_error();
        assert!(status == 400 && message.contains(expected), "{body}: {message}");
    }
    let server = start(settings());
    assert_eq!(post(server.address, "/search", &json!({ "text": "x" })).api_error().0, 404);
    server.stop();
}

#[test]
fn deeply_nested_json_is_refused_on_a_small_stack() {
    // A worker thread of the server has eight times this stack.
    let n_rows = |n: usize| {
        let body = format!("[{{\"x\": {}{}}}]", "[".repeat(n), "]".repeat(n)).into_bytes();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work = move || runtime.block_on(mbm_serve::rows_of_body("application/json", body));
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap()
    };
    assert_eq!(n_rows(125), Ok(1), "serde_json reads 127 levels");
    for n in [126, 1_000_000] {
        assert!(n_rows(n).unwrap_err().contains("recursion limit exceeded"));
    }
}
