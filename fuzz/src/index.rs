//! Any bytes as a file of an index, with a matching hash: an error or a search, never a panic. Also any text as a filter.

use std::path::Path;
use std::sync::OnceLock;

use mbm_index::{Filter, Index, IndexColumn, IndexSpec, IndexValue, IndexWriter, Precision, Search};
use xxhash_rust::xxh3::xxh3_64;

/// Appends the end of an index file to its body and footer.
fn sealed(content: &[u8], n_footer: usize) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend((n_footer.min(content.len()) as u64).to_le_bytes());
    let hashes: Vec<u8> = bytes.chunks(1 << 20).flat_map(|chunk| xxh3_64(chunk).to_le_bytes()).collect();
    bytes.extend(xxh3_64(&hashes).to_le_bytes());
    bytes.extend(b"MBMIDX01");
    bytes
}

/// Returns a complete index of nine rows, which is built once.
fn template() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(build).path()
}

fn build() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let columns = vec![IndexColumn { name: "t".into(), is_number: false }, IndexColumn { name: "n".into(), is_number: true }];
    let spec = IndexSpec { width: 4, precision: Precision::F32, graph: None, columns, origin: serde_json::Value::Null };
    let mut writer = IndexWriter::create(folder.path(), spec).expect("an index");
    for row in 0..9 {
        let values = [IndexValue::Text(format!("row {row}")), IndexValue::Number(f64::from(row))];
        writer.push(&[1.0, row as f32, 0.5, -1.0], &values).expect("a row");
    }
    writer.finish(&|_| ()).expect("an index");
    folder
}

const FILES: [&str; 5] = ["000001.vectors", "000001.columns", "000001.graph", "000001-000002.removed", "index.json"];

/// Returns the files of the template, and a filter, as inputs of [`run`].
pub fn seeds() -> Vec<Vec<u8>> {
    let condition = [&[FILES.len() as u8, 0], &b"n >= 2 AND (t LIKE '%ow 3%' OR NOT t IN ('row 1', 'row 2'))"[..]].concat();
    FILES.iter().enumerate().filter_map(|(kind, name)| seed(kind, name)).chain([condition]).collect()
}

fn seed(kind: usize, name: &str) -> Option<Vec<u8>> {
    /// Bytes after the footer: its length, the hash and the name of the format.
    const END: usize = 24;
    let bytes = std::fs::read(template().join(name)).ok()?;
    let is_list = kind == FILES.len() - 1;
    let (content, end) =
        if is_list { (&bytes[..], [0; END]) } else { (&bytes[..bytes.len() - END], bytes[bytes.len() - END..].try_into().ok()?) };
    Some([&[kind as u8, end[0]], content].concat())
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let [kind, n_footer, content @ ..] = bytes else { return };
    let Some(name) = FILES.get(usize::from(*kind) % 6) else {
        if let (Ok(text), Ok(index)) = (std::str::from_utf8(content), Index::open(template())) {
            let filter = Filter::parse(text);
            let filter = filter.as_ref().ok();
            let _ = index.search(&[vec![1.0, 0.0, 0.0, 0.0]], Search::nearest(3).width(None).filter(filter));
        }
        return;
    };
    let Ok(folder) = tempfile::tempdir() else { return };
    for entry in std::fs::read_dir(template()).into_iter().flatten().flatten() {
        let _ = std::fs::copy(entry.path(), folder.path().join(entry.file_name()));
    }
    let is_list = *name == "index.json";
    let content = if is_list { content.to_vec() } else { sealed(content, usize::from(*n_footer)) };
    if !is_list {
        // If the input is a graph or removed rows, the list must name them.
        let list = folder.path().join("index.json");
        let text = std::fs::read_to_string(&list).unwrap_or_default();
        let text = match *name {
            "000001.graph" => text.replace("\"has_graph\": false", "\"has_graph\": true"),
            "000001-000002.removed" => text.replace("\"removed\": null", "\"removed\": 2"),
            _ => text,
        };
        let _ = std::fs::write(&list, text);
    }
    let _ = std::fs::write(folder.path().join(name), content);
    if let Ok(index) = Index::open(folder.path()) {
        for width in [None, Some(8)] {
            let query = vec![vec![1.0; index.spec.width.min(1 << 16)]];
            let _ = index.search(&query, Search::nearest(3).width(width));
        }
    }
}
