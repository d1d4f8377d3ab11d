//! The fused vector of each row of a table, one JSON array a line: `cargo run --release -p mbm --example embed RUN TABLE`.

use std::error::Error;
use std::path::PathBuf;

use mbm::Predictor;
use mbm_data::{Dataset, Table};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [run, table] = paths.as_slice() else { return Err("usage: embed RUN TABLE".into()) };
    let predictor = Predictor::open(run)?;
    let dataset = Dataset::new(Table::read(table)?, predictor.inputs.clone(), Vec::new());
    let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
    let (vectors, width) = predictor.fused(&dataset, &rows)?;
    for vector in vectors.chunks(width) {
        println!("{vector:?}");
    }
    Ok(())
}
