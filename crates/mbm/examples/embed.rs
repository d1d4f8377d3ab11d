//! Prints the fused vector of each row of a table, one JSON array per line, and rows per second to standard error.
//!
//! usage: embed RUN TABLE

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use mbm::Predictor;
use mbm_data::{Dataset, Table};

/// The same allocator as in the `mbm` command.
#[global_allocator]
static ALLOCATOR: mbm_allocator::MiMalloc = mbm_allocator::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    mbm_allocator::keep_freed_memory();
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [run, table] = paths.as_slice() else { return Err("usage: embed RUN TABLE".into()) };
    let predictor = Predictor::open(run)?;
    let started = Instant::now();
    let dataset = Dataset::new(Table::read(table)?, predictor.inputs.clone(), Vec::new());
    let rows: Vec<usize> = (0..dataset.table.n_rows()).collect();
    let (vectors, width) = predictor.fused(&dataset, &rows)?;
    eprintln!("{:.3} rows/s", rows.len() as f64 / started.elapsed().as_secs_f64());
    for vector in vectors.chunks(width) {
        println!("{vector:?}");
    }
    Ok(())
}
