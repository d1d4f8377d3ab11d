//! Compares boosted trees: those of mbm-algo, `perpetual` and `forust-ml`, fitted in turn on the training and validation rows of a table.
//!
//! usage: perpetual-bench FILE.csv TARGET [LEARNER]     prints a line of JSON per learner; without one, all of them
//!
//! The file has a header and a column `split` of `train`, `validation` and `test`; `table.rs` says how its cells are read.

mod columns;
mod learners;
mod table;

use std::time::Instant;

use cpu_time::ProcessTime;
use learners::LEARNERS;
use table::Table;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, target, only @ ..] = arguments.as_slice() else {
        return Err("usage: perpetual-bench FILE.csv TARGET [LEARNER]".into());
    };
    let table = Table::read(path, target)?;
    for (name, fit) in LEARNERS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|it| it == name)) {
        let (started, cpu) = (Instant::now(), ProcessTime::now());
        let Some(predicted) = fit(&table) else { continue };
        let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        let (score, loss) = (table.score(&predicted), table.loss(&predicted));
        println!(r#"{{"learner": "{name}", "score": {score}, "loss": {loss}, "seconds": {seconds}, "cpu": {cpu}}}"#);
    }
    Ok(())
}
