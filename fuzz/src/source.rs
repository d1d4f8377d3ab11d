//! Any bytes as a table in any format: rows, types and features, or an error, never a panic.

use mbm_data::feature::{NumberPreprocessing, TimeseriesPreprocessing};
use mbm_data::{Dataset, MissingValueStrategy, Table, Unfitted, fit, infer_types};

const NAMES: [&str; 8] = ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.json", "t-ubyte", "t-ubyte.gz", "t.arrow"];

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join(NAMES[usize::from(*kind) % NAMES.len()]);
    if std::fs::write(&path, content).is_ok()
        && let Ok(table) = Table::read(&path)
    {
        prepare(table);
    }
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
