//! Any bytes as a table in any format: rows, types and features, or an error, never a panic.

use mbm_data::feature::{NumberPreprocessing, TimeseriesPreprocessing};
use mbm_data::source::{RaggedRows, TableOptions};
use mbm_data::{Dataset, MissingValueStrategy, Table, Unfitted, fit, infer_types};

use crate::zip::zip;

/// Names of files; after these, a stream without a name, and the parts of a workbook.
const NAMES: [&str; 11] =
    ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.json", "t-ubyte", "t-ubyte.gz", "t.arrow", "t.csv.zst", "t.zip", "t.xlsx"];
const STREAM: usize = NAMES.len();
const WORKBOOK: usize = STREAM + 1;

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    match usize::from(*kind) % (WORKBOOK + 1) {
        STREAM => read_stream(content),
        WORKBOOK => read_file("t.xlsx", &workbook(content)),
        name => read_file(NAMES[name], content),
    }
}

fn read_file(name: &str, content: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(name);
    if std::fs::write(&path, content).is_ok()
        && let Ok(table) = Table::read(&path)
    {
        prepare(table);
    }
}

fn read_stream(content: &[u8]) {
    let options = TableOptions { ragged: RaggedRows::Pad, ..TableOptions::default() };
    if let Ok(table) = Table::read_stream(content, "stream", &options) {
        prepare(table);
    }
}

/// Makes a workbook of a sheet, texts and styles, which zeros separate; the checksums of an archive would reject any mutation.
fn workbook(content: &[u8]) -> Vec<u8> {
    let mut parts = content.split(|byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default().to_vec();
    let relationship = |id: &str, target: &str| format!(r#"<Relationship Id="{id}" Type="/{id}" Target="{target}"/>"#);
    let main = format!("<r>{}</r>", relationship("officeDocument", "w.xml"));
    let parts =
        [("worksheet", "s.xml"), ("sharedStrings", "t.xml"), ("styles", "f.xml")].map(|(id, target)| relationship(id, target));
    zip(&[
        ("_rels/.rels", main.into_bytes()),
        ("_rels/w.xml.rels", format!("<r>{}</r>", parts.concat()).into_bytes()),
        ("w.xml", br#"<w><sheet name="a" id="worksheet"/></w>"#.to_vec()),
        ("s.xml", part()),
        ("t.xml", part()),
        ("f.xml", part()),
    ])
}

/// Preprocesses each column as numbers and as time series.
fn prepare(table: Table) {
    infer_types(&table, &[]).expect("a table that was read has types");
    let rows: Vec<usize> = (0..table.n_rows()).collect();
    let columns = table.columns.iter().flat_map(|column| {
        [
            (column, mbm_config::defaults::<NumberPreprocessing>().fitter()),
            (column, mbm_config::defaults::<TimeseriesPreprocessing>().fitter()),
        ]
    });
    let features: Vec<Unfitted> = columns
        .map(|(column, fitter)| Unfitted {
            name: column.clone(),
            column: column.clone(),
            fitter,
            missing_value_strategy: MissingValueStrategy::Absent,
            shares_with: None,
        })
        .collect();
    let fields: Vec<_> = features.into_iter().filter_map(|feature| fit(&table, &rows, vec![feature]).ok()).flatten().collect();
    fields.iter().for_each(|field| field.preprocessor.get().check().expect("a fitted reader is within its bounds"));
    let mut dataset = Dataset::new(table, fields, Vec::new());
    dataset.prepare(&rows, 1 << 20, &mut [], &mut |_| ()).expect("rows that were read can be prepared");
}
