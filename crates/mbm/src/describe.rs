//! `description.json`: what a run was made from.

use std::path::Path;

use mbm_data::Table;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::experiment::write_json;
use crate::plan::Plan;

/// What a run was made from; a resumed run must be made from the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The version of mbm.
    pub version: String,
    /// The seed.
    pub seed: u64,
    /// The whole config.
    pub config: serde_json::Value,
    /// The dataset as named.
    pub dataset: String,
    /// SHA-256 of its columns and cells.
    pub dataset_hash: String,
    /// Its rows.
    pub n_rows: usize,
    /// The machine.
    pub machine: Machine,
}

/// Where the run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The operating system and processor family.
    pub system: String,
    /// The processor.
    pub processor: String,
    /// Cores that the process may use.
    pub cores: usize,
}

impl Description {
    pub fn new(plan: &Plan, dataset: &Path, table: &Table) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: plan.config.random_seed,
            config: plan.to_json(),
            dataset: dataset.display().to_string(),
            dataset_hash: table.hash.clone(),
            n_rows: table.n_rows(),
            machine: Machine::here(),
        }
    }

    /// Writes the description of a new run; compares that of a run that goes on.
    pub fn check_or_write(&self, folder: &Path, holds_run: bool) -> Result<(), Error> {
        let path = folder.join("description.json");
        if holds_run {
            let text = std::fs::read(&path).map_err(Error::io(&path))?;
            let before: Self =
                serde_json::from_slice(&text).map_err(|error| Error::Damaged { path, message: error.to_string() })?;
            let differs = |reason: &str| Err(Error::CannotResume { folder: folder.to_path_buf(), reason: reason.to_owned() });
            return match () {
                () if before.config != self.config => differs("the config is not that of the run"),
                () if before.dataset_hash != self.dataset_hash => differs("the dataset's content is not that of the run"),
                () if before.version != self.version => differs("the run was begun by another version of mbm"),
                () => Ok(()),
            };
        }
        write_json(&path, &serde_json::to_value(self).unwrap_or_default())
    }
}

impl Machine {
    fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The most memory that this process has had, in bytes; `None` where the system does not tell.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Begins to count the most memory anew, where the system can.
pub(crate) fn reset_peak_memory() {
    // Where this file cannot be written the count goes on, and is still an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
