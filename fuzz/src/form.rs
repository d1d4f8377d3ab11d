//! Any bytes as a form, both verbatim and assembled into many repeated parts: rows or an error, in time proportional to the
//! length of the form.

use std::time::{Duration, Instant};

use mbm_serve::rows_of_body;
use tokio::runtime::{Builder, Runtime};

const MULTIPART: &str = "multipart/form-data; boundary=edge";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// Maximum number of parts in an assembled form; enough for a quadratic comparison to be noticed.
const MAX_PARTS: usize = 9_000;

/// Far more than such a form needs, even with the sanitizer on a busy machine.
const LIMIT: Duration = Duration::from_secs(2);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

/// Assembles a form from parts separated by `0xff`, repeated. The first part is the dataset, each other one a name, a file name
/// and a content separated by `0xfe`.
fn form(bytes: &[u8], times: usize) -> Vec<u8> {
    let mut form = Vec::new();
    let mut parts = bytes.split(|byte| *byte == 0xff);
    let dataset = parts.next().unwrap_or_default();
    form.extend(b"--edge\r\ncontent-disposition: form-data; name=\"dataset\"\r\n\r\n[");
    for row in 0..times {
        form.extend([if row == 0 { b"".as_slice() } else { b"," }, dataset].concat());
    }
    form.extend(b"]\r\n");
    let parts: Vec<&[u8]> = parts.collect();
    for part in parts.iter().cycle().take(parts.len() * times).take(MAX_PARTS) {
        let mut pieces = part.splitn(3, |byte| *byte == 0xfe);
        let mut piece = || pieces.next().unwrap_or_default();
        form.extend(
            [
                b"--edge\r\ncontent-disposition: form-data; name=\"",
                piece(),
                b"\"; filename=\"",
                piece(),
                b"\"\r\n\r\n",
                piece(),
                b"\r\n",
            ]
            .concat(),
        );
    }
    form.extend(b"--edge--\r\n");
    form
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some(([kind, times], content)) = bytes.split_at_checked(2).map(|(head, content)| ([head[0], head[1]], content)) else {
        return;
    };
    let times = usize::from(times);
    let (kind, content) = match kind % 4 {
        0 => (MULTIPART, content.to_vec()),
        1 => (URL_ENCODED, content.repeat(times)),
        _ => (MULTIPART, form(content, times * times / content.len().clamp(1, 16))),
    };
    let started = Instant::now();
    let _ = RUNTIME.with(|runtime| runtime.block_on(rows_of_body(kind, content)));
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
}
