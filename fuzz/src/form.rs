//! Any bytes as a form, as they are and put together as parts of one, many times over: rows or what is wrong, in a time that grows with
//! the form's length.

use std::time::{Duration, Instant};

use mbm_serve::rows_of_body;
use tokio::runtime::{Builder, Runtime};

const MULTIPART: &str = "multipart/form-data; boundary=edge";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// Parts of a form that is repeated, at most; a comparison of each with each would be seen.
const MAX_PARTS: usize = 9_000;

/// Far more than such a form takes, with the sanitizer and on a busy machine.
const LIMIT: Duration = Duration::from_secs(2);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

/// Parts divided by `0xff`, each a name, a file's name and a content divided by `0xfe`, repeated; the first is the dataset.
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

/// Reads the bytes.
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
