//! Times the reading of a table: `cargo run --release -p mbm-data --example read_table -- rows.csv`.

use std::fs;
use std::path::Path;
use std::time::Instant;

use mbm_data::{Cell, Table};
use rand::RngExt;

/// Rows that are read in random order.
const N_RANDOM_ROWS: usize = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read_table FILE")?;
    let start = Instant::now();
    let table = Table::read(Path::new(&path))?;
    println!("{} rows, {} columns, hash {}", table.n_rows(), table.columns.len(), &table.hash[..16]);
    println!("read in {:.2} s, peak memory {}, temporary file {} MB", start.elapsed().as_secs_f64(), peak(), n_temporary() >> 20);
    if table.n_rows() == 0 {
        return Ok(());
    }
    let mut rng = mbm_data::random::rng(7);
    let start = Instant::now();
    let mut n_filled = 0;
    for _ in 0..N_RANDOM_ROWS {
        let row = table.row(rng.random_range(0..table.n_rows()))?;
        n_filled += row.iter().filter(|cell| **cell != Cell::Empty).count();
    }
    println!("{N_RANDOM_ROWS} random rows in {:.2} s, {n_filled} cells with a value", start.elapsed().as_secs_f64());
    Ok(())
}

/// Returns the peak of the resident memory, as Linux prints it.
fn peak() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("unknown").trim().to_owned()
}

/// Returns the size of the unnamed temporary files that are mapped into memory.
fn n_temporary() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let size = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    maps.lines().filter(|line| line.ends_with(" (deleted)")).filter_map(size).sum()
}
