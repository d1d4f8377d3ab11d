//! Access control: API key, file paths, URLs, hosts and origins, and hostile input.

use std::io::{Read, Write};
use std::net::TcpListener;

use mbm_serve::Settings;
use serde_json::json;

use crate::fixture::{fixture, image};
use crate::{get, post, send_with, settings, shared, start};

#[test]
fn only_health_and_pages_are_open_without_the_key() {
    let server = start(Settings { api_key: Some("secret".into()), ..settings() });
    let address = server.address;
    for path in ["/predict", "/batch_predict", "/embed", "/v1/embeddings", "/search", "/admin/reload"] {
        let refused = post(address, path, &json!({}));
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.head.contains("www-authenticate: bearer"));
        let wrong = [("authorization", "Bearer Secret"), ("content-type", "application/json")];
        assert_eq!(send_with(address, &format!("POST {path}"), &wrong, b"{}").status, 401, "{path}");
    }
    assert_eq!(["/info", "/metrics"].map(|path| get(address, path).status), [401, 401]);
    assert_eq!(["/", "/docs", "/openapi.json", "/health", "/ready"].map(|path| get(address, path).status), [200; 5]);
    let right = [("authorization", "Bearer secret"), ("content-type", "application/json")];
    assert_eq!(send_with(address, "POST /predict", &right, b"{\"size\": 1}").status, 200);
    server.stop();
}

#[test]
fn reload_is_forbidden_without_an_api_key() {
    assert_eq!(post(shared(), "/admin/reload", &json!({})).status, 403);
}

#[test]
fn paths_are_confined_to_the_media_root() {
    let path = fixture().images().join("0.pgm");
    let (status, message) = post(shared(), "/predict?strict=true", &json!({ "photo": path })).api_error();
    assert!(status == 400 && message.contains("does not read paths"), "{message}");
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("inner")).unwrap();
    std::fs::write(root.path().join("inner/in.pgm"), image(20)).unwrap();
    std::fs::write(root.path().join("big.pgm"), vec![0; 2000]).unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("out.pgm"), image(20)).unwrap();
    std::os::unix::fs::symlink(outside.path().join("out.pgm"), root.path().join("link.pgm")).unwrap();
    let server = start(Settings { media_root: Some(root.path().to_path_buf()), max_body_size: 1000, ..settings() });
    let ask = |path: &str| post(server.address, "/predict", &json!({ "photo": path }));
    let status = |path: &str| ask(path).status;
    let from_base64 = post(shared(), "/predict", &json!({ "photo": crate::base64(&image(20)) })).json();
    assert_eq!(post(server.address, "/predict", &json!({ "photo": "inner/in.pgm" })).json(), from_base64);
    let up = format!("../{}/out.pgm", outside.path().file_name().unwrap().display());
    let absolute = outside.path().join("out.pgm").display().to_string();
    // A path outside the folder is refused lexically, whether or not the file exists.
    assert_eq!([&up, &absolute, "/etc/passwd", "/no/such/file", "inner/../../x.pgm"].map(status), [403; 5]);
    let absent = |path: &str| ask(path).json()["status"].as_str().unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(["link.pgm", "inner", "no.pgm"].map(absent), ["absent: photo (file_not_found)"; 3]);
    assert_eq!(absent("big.pgm"), "absent: photo (too_large)");
    assert_eq!(absent("inner/../inner/in.pgm"), "absent: caption (empty)");
    server.stop();
}

#[test]
fn existing_file_takes_precedence_over_base64() {
    let root = tempfile::tempdir().unwrap();
    // Both paths are also valid base64.
    std::fs::create_dir(root.path().join("images")).unwrap();
    std::fs::write(root.path().join("images/one"), image(20)).unwrap();
    std::fs::write(root.path().join("AAAA"), image(220)).unwrap();
    let server = start(Settings { media_root: Some(root.path().to_path_buf()), ..settings() });
    let ask = |photo: &str| post(server.address, "/predict?strict=true", &json!({ "photo": photo }));
    let [dark, bright] = [20, 220].map(|level| ask(&crate::base64(&image(level))).json());
    assert_eq!(ask("images/one").json(), dark);
    assert_eq!(ask("file:images/one").json(), dark);
    assert_eq!(ask("AAAA").json(), bright);
    // A prefix makes the string unambiguous.
    assert!(ask("data:;base64,AAAA").api_error().1.starts_with("photo: unreadable"));
    assert!(ask("file:images/two").api_error().1.starts_with("photo: file_not_found"));
    assert_eq!(ask("file:../AAAA").status, 403);
    server.stop();
    let (status, message) = post(shared(), "/predict?strict=true", &json!({ "photo": "file:AAAA" })).api_error();
    assert!(status == 400 && message.contains("does not read paths"), "{message}");
}

/// Sends a raw request head and returns the status.
fn raw(head: &str) -> u16 {
    let mut stream = std::net::TcpStream::connect(shared()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    crate::receive(stream).status
}

#[test]
fn requests_for_other_hosts_are_rejected() {
    let get = |line: &str, headers: &str| raw(&format!("{line}\r\n{headers}connection: close\r\n\r\n"));
    let address = shared();
    assert_eq!(get("GET /info HTTP/1.1", "host: localhost\r\n"), 200);
    assert_eq!(get("GET /info HTTP/1.1", &format!("host: {address}\r\n")), 200);
    assert_eq!(get("GET / HTTP/1.1", "host: evil.example\r\n"), 403);
    assert_eq!(get("GET /health HTTP/1.1", "host: evil.example:8000\r\n"), 403);
    assert_eq!(get("GET /nowhere HTTP/1.1", "host: evil.example\r\n"), 403);
    assert_eq!(get("OPTIONS /predict HTTP/1.1", "host: evil.example\r\n"), 403);
    assert_eq!(get("GET http://evil.example/info HTTP/1.1", "host: localhost\r\n"), 403);
    assert_eq!(get("GET /info HTTP/1.1", ""), 400);
    assert_eq!(get("GET /info HTTP/1.1", "host: localhost\r\nhost: localhost\r\n"), 400);
    assert_eq!(get("GET /info HTTP/1.0", ""), 200);
}

#[test]
fn cross_site_forms_are_rejected() {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let post = |headers: &[(&str, &str)]| send_with(shared(), "POST /predict", &[&[form], headers].concat(), b"size=3").status;
    assert_eq!(post(&[]), 200);
    assert_eq!(post(&[("origin", "http://localhost")]), 200);
    assert_eq!(post(&[("origin", "https://evil.example")]), 403);
    assert_eq!(post(&[("origin", "null")]), 403);
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]), 403);
    let server = start(Settings { cors_origins: vec!["https://friend.example".into()], ..settings() });
    let from_friend = [form, ("origin", "https://friend.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(send_with(server.address, "POST /predict", &from_friend, b"size=3").status, 200);
    server.stop();
}

/// Starts a server that sends the given response to one request, and returns its host and port.
fn site(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 2000]).unwrap();
        stream.write_all(&answer).unwrap();
    });
    host
}

#[test]
fn urls_are_fetched_only_from_allowed_hosts() {
    let image = image(20);
    let found = [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", image.len()).into_bytes(), image.clone()].concat();
    let host = site(found);
    let elsewhere = site(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec());
    let hosts = vec![host.clone(), elsewhere.clone()];
    let server = start(Settings { url_hosts: hosts, ..settings() });
    let ask = |url: &str| post(server.address, "/predict", &json!({ "photo": url }));
    for url in ["http://127.0.0.1:1/x.png", &format!("http://{host}@127.0.0.1:1/"), "https://example.com/x.png", "http://["] {
        assert_eq!(ask(url).status, 403, "{url}");
    }
    assert_eq!(ask(&format!("http://{host}/x.pgm")).status, 200);
    let row = json!({ "photo": format!("http://{elsewhere}/x.pgm") });
    let api_error = post(server.address, "/predict?strict=true", &row).api_error();
    assert_eq!(api_error, (400, "photo: unreadable: the host responded with 302".to_owned()));
    let gone = ask(&format!("http://{elsewhere}/x.pgm")).json();
    assert_eq!(gone["status"], "absent: photo (unreadable), caption (empty), size (empty)");
    server.stop();
}

#[test]
fn cors_headers_are_sent_only_to_allowed_origins() {
    let server = start(Settings { cors_origins: vec!["https://friend.example".into()], ..settings() });
    let head = |address, origin| send_with(address, "GET /health", &[("origin", origin)], b"").head;
    assert!(head(server.address, "https://friend.example").contains("access-control-allow-origin: https://friend.example"));
    assert!(!head(server.address, "https://stranger.example").contains("access-control-allow-origin: https://stranger"));
    assert!(!head(shared(), "https://friend.example").contains("access-control"));
    server.stop();
}

#[test]
fn oversized_bodies_are_rejected() {
    let server = start(Settings { max_body_size: 1000, ..settings() });
    let json = [("content-type", "application/json")];
    let body = format!("{{\"caption\": \"{}\"}}", "x".repeat(2000));
    assert_eq!(send_with(server.address, "POST /predict", &json, body.as_bytes()).status, 413);
    let form = [("content-type", "multipart/form-data; boundary=edge")];
    let body = crate::form(&[("caption", None, &[b'x'; 2000])]);
    assert_eq!(send_with(server.address, "POST /predict", &form, &body).status, 413);
    server.stop();
}

#[test]
fn total_size_of_files_referenced_by_rows_is_bounded() {
    let server = start(Settings { max_body_size: 20_000, ..settings() });
    let rows: Vec<_> = (0..100).map(|_| json!({ "photo": "one.pgm" })).collect();
    let (dataset, file) = (serde_json::to_vec(&rows).unwrap(), vec![0; 10_000]);
    let fields: [(&str, Option<&str>, &[u8]); 2] = [("dataset", None, &dataset), ("f", Some("one.pgm"), &file)];
    let answer = crate::post_form(server.address, "/batch_predict", &fields).json();
    let rows = answer["rows"].as_array().unwrap();
    // Eight times the maximum body size is enough for sixteen such files.
    assert!(rows[..16].iter().all(|row| row["status"].as_str().unwrap().starts_with("absent: photo (unreadable)")), "{answer}");
    assert!(rows[16..].iter().all(|row| row["error_type"] == "too_large"));
    server.stop();
}

#[test]
fn image_with_too_many_pixels_is_not_decoded() {
    let bomb = [b"P5 60000 60000 255\n".to_vec(), vec![0; 100]].concat();
    let (status, message) = post(shared(), "/predict?strict=true", &json!({ "photo": crate::base64(&bomb) })).api_error();
    assert!(status == 400 && message.starts_with("photo: too_large"), "{message}");
}
