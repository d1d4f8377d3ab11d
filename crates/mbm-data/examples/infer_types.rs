//! Prints the inferred role of each column of a table, and the columns that give a target away:
//! `cargo run -p mbm-data --example infer_types -- TABLE [TARGET KIND]`

use std::path::Path;
use std::time::Instant;

use mbm_data::{DataError, Table, infer_types, leaks};

fn main() -> Result<(), DataError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let table = Table::read(Path::new(&args[0]))?;
    let targets: Vec<String> = args.get(1).cloned().into_iter().collect();
    let start = Instant::now();
    let inferred = infer_types(&table, &targets)?;
    println!("{:.2?} for {} rows", start.elapsed(), table.n_rows());
    for (name, column) in table.columns.iter().zip(&inferred) {
        println!("{name:30} {:?} {}", column.role, column.notes.join(" | "));
    }
    if let [_, target, kind] = args.as_slice() {
        let rows: Vec<usize> = (0..table.n_rows()).collect();
        let start = Instant::now();
        leaks(&table, &rows, target, kind)?.iter().for_each(|leak| println!("LEAK {} {}", leak.column, leak.evidence));
        println!("{:.2?} for leaks", start.elapsed());
    }
    Ok(())
}
