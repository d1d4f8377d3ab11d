//! Any text as a filter, which is applied to a small index and converted to SQL: an error or rows, never a panic, in time
//! proportional to its length.

use std::sync::OnceLock;

use mbm_index::{Filter, Index, IndexColumn, IndexSpec, IndexValue, IndexWriter, Precision, Search};

/// Returns an index of rows with short, long, empty and unusual texts, which is built once.
fn index() -> &'static (tempfile::TempDir, Index) {
    static INDEX: OnceLock<(tempfile::TempDir, Index)> = OnceLock::new();
    INDEX.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
        let columns = vec![column("t", false), column("n", true), column("a b", false)];
        let spec = IndexSpec { width: 1, precision: Precision::F32, graph: None, columns, origin: serde_json::Value::Null };
        let mut writer = IndexWriter::create(folder.path(), spec).expect("an index");
        let texts = ["a dog", "", "It's", "İSTANBUL ß ﬁ", "_%'\"", &"ab".repeat(5000), &"a".repeat(10_000)].map(str::to_owned);
        for (row, text) in texts.into_iter().enumerate() {
            let number = if row == 1 { f64::NAN } else { row as f64 - 2.5 };
            writer
                .push(&[1.0], &[IndexValue::Text(text.clone()), IndexValue::Number(number), IndexValue::Text(text)])
                .expect("a row");
        }
        writer.finish(&|_| ()).expect("an index");
        let index = Index::open(folder.path()).expect("an index");
        (folder, index)
    })
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (_, index) = index();
    for limit in [8 << 10, 1 << 20] {
        let Ok(filter) = Filter::parse_within(text, limit) else { continue };
        let search = Search::nearest(9).width(None).filter(&filter);
        let found = index.search(&[vec![1.0]], search);
        assert_eq!(found.is_ok(), filter.to_sql(&index.spec.columns).is_ok());
    }
}
