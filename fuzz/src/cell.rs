//! Any lines of text as the cells of a column, read as every type that people write in many notations.

use mbm_data::feature::{
    BinaryPreprocessing, CategoryPreprocessing, DatePreprocessing, Fitter, NumberPreprocessing, SetPreprocessing,
};
use mbm_data::{Cell, Dataset, MissingValueStrategy, Table, Unfitted, fit, infer_types, leaks};

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let cells: Vec<Cell> = bytes.split(|byte| *byte == b'\n').map(Cell::field).collect();
    let n = cells.len();
    let rows = (0..n).map(|row| vec![cells[row].clone(), cells[n - 1 - row].clone()]).collect();
    let columns = vec!["a".to_owned(), "created_at".to_owned()];
    let Ok(table) = Table::from_rows(columns, rows, ".".into()) else { return };
    prepare(table);
}

fn fitters() -> [Box<dyn Fitter>; 5] {
    [
        mbm_config::defaults::<NumberPreprocessing>().fitter(),
        mbm_config::defaults::<DatePreprocessing>().fitter(),
        mbm_config::defaults::<SetPreprocessing>().fitter(),
        mbm_config::defaults::<CategoryPreprocessing>().fitter(),
        mbm_config::defaults::<BinaryPreprocessing>().fitter(),
    ]
}

/// Infers the types, looks for columns that give one away, and fits and reads the first column as each type.
fn prepare(table: Table) {
    infer_types(&table, &["a".to_owned()]).expect("a table in memory has types");
    let rows: Vec<usize> = (0..table.n_rows()).collect();
    for kind in ["number", "category"] {
        leaks(&table, &rows, "a", kind).expect("a table in memory can be read");
    }
    let features = fitters().map(|fitter| Unfitted {
        name: "a".to_owned(),
        column: "a".to_owned(),
        fitter,
        missing_value_strategy: MissingValueStrategy::Absent,
        shares_with: None,
    });
    let fields: Vec<_> = features.into_iter().filter_map(|feature| fit(&table, &rows, vec![feature]).ok()).flatten().collect();
    fields.iter().for_each(|field| field.preprocessor.get().check().expect("a fitted reader is within its bounds"));
    let mut dataset = Dataset::new(table, fields, Vec::new());
    dataset.prepare(&rows, 1 << 20, &mut [], &mut |_| ()).expect("rows in memory can be prepared");
}
