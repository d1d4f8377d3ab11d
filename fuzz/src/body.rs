//! Any bytes as a request body, in each supported content type: rows or an error, never a panic.

use mbm_serve::rows_of_body;
use tokio::runtime::{Builder, Runtime};

const KINDS: [&str; 4] = [
    "application/json",
    "multipart/form-data; boundary=edge",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=\"--a b\"",
];

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let _ = RUNTIME.with(|runtime| runtime.block_on(rows_of_body(kind, content.to_vec())));
}
