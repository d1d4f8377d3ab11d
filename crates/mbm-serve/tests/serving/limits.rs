//! Resource limits: many clients, large bodies, and clients that do not read must not affect others.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mbm_serve::Settings;
use serde_json::{Value, json};

use crate::{form, get, post, receive, send_with, settings, shared, start};

/// Returns the value of a counter or gauge of the server.
fn metric(address: SocketAddr, name: &str) -> f64 {
    let text = String::from_utf8(get(address, "/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_else(|| panic!("{text}"));
    line.parse().unwrap()
}

/// Waits for a condition that is expected soon, or somewhat later on a loaded machine.
fn until(what: &str, is_met: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_met() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn predict(content_length: usize) -> String {
    format!(
        "POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {content_length}\r\n\r\n"
    )
}

#[test]
fn large_bodies_wait_for_memory_and_small_ones_do_not() {
    const MB: usize = 1 << 20;
    let limits = Settings { max_body_size: MB, max_memory_for_requests: 8 * MB, ..settings() };
    let server = start(limits);
    let body = format!("{{\"caption\": \"{}\"}}", "x".repeat(MB - 20));
    // Four requests take the whole budget: each body, and what is parsed from it.
    let open = |_| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&[predict(body.len()).as_bytes(), &body.as_bytes()[..MB / 2]].concat()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..4).map(open).collect();
    let taken = || metric(server.address, "mbm_request_memory_bytes") as usize;
    until("the memory is taken", || taken() > 7 * MB);
    let refused: Vec<TcpStream> = (0..8).map(open).collect();
    assert_eq!(post(server.address, "/predict", &json!({ "size": 1 })).status, 200);
    for stream in refused {
        let answer = receive(stream);
        assert_eq!(answer.api_error(), (429, "not enough memory while other requests are running; try again later".to_owned()));
        assert!(answer.head.contains("retry-after: 1"));
        assert!(taken() <= 8 * MB);
    }
    for mut stream in held {
        stream.write_all(&body.as_bytes()[MB / 2..]).unwrap();
        assert_eq!(receive(stream).status, 200);
    }
    until("the memory is given back", || taken() == 0);
    server.stop();
}

#[test]
fn chunked_body_reserves_memory_as_it_arrives() {
    let limits = Settings { max_body_size: 1 << 20, max_memory_for_requests: 2 << 20, ..settings() };
    let server = start(limits);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = predict(0).replace("content-length: 0", "transfer-encoding: chunked");
    stream.write_all(format!("{head}40000\r\n{{\"caption\": \"{}", "x".repeat(0x40000 - 13)).as_bytes()).unwrap();
    let taken = || metric(server.address, "mbm_request_memory_bytes") as usize;
    until("a chunk is counted twice", || taken() == 2 * 0x40000);
    // Another body would need the whole budget.
    let other = send_with(server.address, "POST /predict", &[("content-type", "application/json")], &vec![b' '; 1 << 20]);
    assert_eq!(other.status, 429);
    stream.write_all(b"\r\n2\r\n\"}\r\n0\r\n\r\n").unwrap();
    assert_eq!(receive(stream).status, 200);
    until("the memory is given back", || taken() == 0);
    server.stop();
}

#[test]
fn json_that_expands_beyond_the_limit_is_rejected() {
    let server = start(Settings { max_body_size: 100_000, max_memory_for_requests: 1 << 20, ..settings() });
    let body = format!("[{}]", vec!["{\"\":0}"; 10_000].join(","));
    let answer = send_with(server.address, "POST /batch_predict", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.status, 413);
    assert!(answer.api_error().1.contains("the parsed JSON takes more than 800000 bytes"), "{}", answer.api_error().1);
    server.stop();
}

/// Requests `/health` over a connection that may have to wait, and returns the status.
fn health_in_turn(address: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    receive(stream).status
}

#[test]
fn client_that_never_reads_is_disconnected() {
    let server = start(Settings { max_connections: 1, timeout: Duration::from_millis(300), ..settings() });
    let mut greedy = TcpStream::connect(server.address).unwrap();
    greedy.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let many = "GET /page.js HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(100);
    // Sends until the server accepts no more.
    let ended = (0..10_000).find_map(|_| greedy.write_all(many.as_bytes()).err());
    assert!(matches!(
        ended.unwrap().kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    ));
    assert_eq!(health_in_turn(server.address), 200);
    server.stop();
}

#[test]
fn idle_and_slow_clients_are_disconnected() {
    let server = start(Settings { max_connections: 1, timeout: Duration::from_millis(300), ..settings() });
    let mut idle = TcpStream::connect(server.address).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    assert!(idle.read(&mut [0; 1000]).unwrap() > 0);
    assert_eq!(health_in_turn(server.address), 200);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(predict(1000).as_bytes()).unwrap();
    let trickle = std::thread::spawn(move || {
        while slow.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(health_in_turn(server.address), 200);
    trickle.join().unwrap();
    server.stop();
}

#[test]
fn form_fields_and_part_headers_are_limited() {
    let too_many: Vec<(&str, Option<&str>, &[u8])> = vec![("size", None, b"1"); 10_001];
    let kind = [("content-type", "multipart/form-data; boundary=edge")];
    let answer = send_with(shared(), "POST /predict", &kind, &form(&too_many));
    assert_eq!(answer.api_error(), (413, "the form has more than 10000 fields; split it".to_owned()));
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let answer = send_with(shared(), "POST /predict", &kind, "size=1&".repeat(10_001).as_bytes());
    assert_eq!(answer.api_error(), (413, "the form has more than 10000 fields; split it".to_owned()));
    let long = "n".repeat(9000);
    let answer = crate::post_form(shared(), "/predict", &[(&long, None, b"1")]);
    assert!(answer.status == 413 && answer.api_error().1.contains("the limit is 8192"), "{}", answer.api_error().1);
}

#[test]
fn long_input_is_truncated_in_messages() {
    let long = "x".repeat(100_000);
    let (status, message) = post(shared(), "/predict", &json!({ long.as_str(): 1 })).api_error();
    assert!(status == 400 && message.len() < 300, "{}", message.len());
    let (status, message) = post(shared(), "/predict?strict=true", &json!({ "photo": vec![1; 10_000] })).api_error();
    assert_eq!((status, message.as_str()), (400, "photo: malformed: an array is not a string; send files as base64"));
    let answer = post(shared(), "/embed", &json!({ "inputs": [vec![Value::Null; 1000]] }));
    assert_eq!(answer.api_error(), (400, "an array is neither a string nor a row".to_owned()));
}

#[test]
fn oversized_request_head_is_refused() {
    let long = "x".repeat(300_000);
    assert_eq!(send_with(shared(), "GET /health", &[("x-long", &long)], b"").status, 431);
}
