//! Prints the fused vector of each row of a table, one JSON array per line, and rows per second to standard error.
//!
//! usage: embed RUN TABLE

use std::error::Error;
use std::time::Instant;

/// The same allocator as in the `mbm` command.
#[global_allocator]
static ALLOCATOR: mbm_allocator::MiMalloc = mbm_allocator::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    mbm_allocator::keep_freed_memory();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [run, table] = args.as_slice() else { return Err("usage: embed RUN TABLE".into()) };
    let model = mbm::Model::open(run)?;
    let started = Instant::now();
    let vectors = model.fused(table.as_str())?;
    eprintln!("{:.3} rows/s", vectors.len() as f64 / started.elapsed().as_secs_f64());
    vectors.iter().for_each(|vector| println!("{vector:?}"));
    Ok(())
}
