//! Builds an index from a file of vectors and searches it: `measure VECTORS WIDTH QUERIES FOLDER PRECISION`. Numbers in files are
//! little-endian f32. The rows found for each query are written to FOLDER/found-EF.u32, those of an exact search to
//! FOLDER/found-0.u32; timings and sizes are printed to standard output as JSON lines.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mbm_index::{GraphSettings, Hit, Index, IndexColumn, IndexSpec, IndexValue, IndexWriter, Precision, Search};

const K: usize = 10;

fn vectors(path: &str, width: usize) -> std::io::Result<Vec<Vec<f32>>> {
    let bytes = std::fs::read(path)?;
    let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(numbers.chunks_exact(width).map(<[f32]>::to_vec).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [vectors_path, width, queries_path, folder, precision] = &args[..] else { return Err("expected five arguments".into()) };
    let width: usize = width.parse()?;
    let precision = Precision::ALL.iter().find(|(name, _)| name == precision).ok_or("expected a precision: f32, f16 or i8")?.1;
    let folder = PathBuf::from(folder);
    let rows = vectors(vectors_path, width)?;
    let queries = vectors(queries_path, width)?;
    let started = Instant::now();
    let columns = vec![IndexColumn { name: "row".to_owned(), is_number: true }];
    let spec = IndexSpec { width, precision, graph: Some(GraphSettings::default()), columns, origin: serde_json::Value::Null };
    let mut writer = IndexWriter::create(&folder, spec)?;
    for (row, vector) in rows.iter().enumerate() {
        writer.push(vector, &[IndexValue::Number(row as f64)])?;
    }
    let n_rows = rows.len();
    drop(rows);
    writer.finish(&|_| ())?;
    let build = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let index = Index::open(&folder)?;
    let open = started.elapsed().as_secs_f64();
    let info = index.info();
    let bytes = (info.vector_bytes + info.graph_bytes) as f64 / n_rows as f64;
    println!("{}", serde_json::json!({ "build": build, "open": open, "bytes": bytes }));
    for width in [None, Some(10), Some(20), Some(40), Some(60), Some(80), Some(120), Some(160), Some(240), Some(400)] {
        // The first repetition brings the index into memory.
        let mut seconds = f64::INFINITY;
        for _ in 0..if width.is_none() { 1 } else { 3 } {
            let started = Instant::now();
            let found = index.search(&queries, Search::nearest(K).width(width))?;
            seconds = started.elapsed().as_secs_f64().min(seconds);
            write(&folder, width.unwrap_or(0), &found)?;
        }
        println!("{}", serde_json::json!({ "ef": width.unwrap_or(0), "queries": queries.len() as f64 / seconds }));
    }
    Ok(())
}

fn write(folder: &Path, width: usize, found: &[Vec<Hit>]) -> std::io::Result<()> {
    let row = |hit: &Hit| if let IndexValue::Number(row) = hit.values[0] { row as u32 } else { u32::MAX };
    let bytes: Vec<u8> = found.iter().flatten().flat_map(|hit| row(hit).to_le_bytes()).collect();
    std::fs::write(folder.join(format!("found-{width}.u32")), bytes)
}
