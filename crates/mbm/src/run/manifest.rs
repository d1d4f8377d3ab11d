//! `description.json`: the inputs of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use mbm_data::{Dataset, MediaFiles, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::plan::Plan;
use crate::error::Error;
use crate::run::experiment::{hexadecimal, write_json};
use crate::run::folder::{DESCRIPTION, MEDIA};

/// Why a run cannot be resumed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The folder holds no checkpoint.
    #[error("it holds no checkpoint; restart with --overwrite")]
    NoCheckpoint,
    /// Another config.
    #[error("the config differs from the run's{}", listed(.0))]
    Config(Vec<ConfigDifference>),
    /// Another dataset.
    #[error("the dataset's content differs from the run's")]
    Dataset,
    /// Another version of this program.
    #[error("the run was started with another version of mbm; finish it with that version, or restart with --overwrite")]
    Version,
    /// Other weights of an input's encoder.
    #[error("the weights of input '{input}' differ from the run's")]
    Weights {
        /// The input.
        input: String,
    },
    /// Other fitted features.
    #[error("a vocabulary, a tokenizer or another auxiliary file differs from the run's")]
    Features,
    /// Another image or audio file.
    #[error("{0} has changed since the run was started; restore it, or restart with --overwrite")]
    MediaFile(String),
}

/// A key in which two configs differ; a missing value is null.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigDifference {
    /// The path of the key.
    pub key: String,
    /// Its value in the run's config.
    pub before: Value,
    /// Its value in the other config.
    pub now: Value,
}

impl fmt::Display for ConfigDifference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} was {}, is now {}", self.key, shortened(&self.before), shortened(&self.now))
    }
}

/// Lists the first differences, and how many more there are.
fn listed(differences: &[ConfigDifference]) -> String {
    const N_SHOWN: usize = 10;
    if let [difference] = differences {
        return format!(": {difference}");
    }
    let shown: String = differences.iter().take(N_SHOWN).map(|difference| format!("\n  {difference}")).collect();
    let more = match differences.len().saturating_sub(N_SHOWN) {
        0 => String::new(),
        n_more => format!("\n  and {n_more} more"),
    };
    format!(" in {} keys{shown}{more}", differences.len())
}

/// Increased whenever a run that was stopped cannot be resumed to the same bytes by the changed program.
const CHECKPOINT_FORM: u32 = 1;

/// The inputs of a run; a resumed run must have the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunManifest {
    /// The version of mbm.
    pub version: String,
    /// The form of checkpoints and of what they are compared with; 0 before forms were counted.
    #[serde(default)]
    pub checkpoint_form: u32,
    /// The seed.
    pub seed: u64,
    /// The complete config.
    pub config: Value,
    /// The path of the dataset, as given.
    pub dataset: String,
    /// SHA-256 of its columns and cells.
    pub dataset_hash: String,
    /// Number of its rows.
    pub n_rows: usize,
    /// Hashes of what was read in addition to the table.
    pub sources: Option<Sources>,
    /// The machine the run was started on.
    pub machine: Machine,
}

/// Hashes of the inputs other than the table: fitted features (with vocabularies and tokenizers), weights of encoders that are
/// not trained, and media files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// SHA-256 of the fitted features.
    pub features: String,
    /// For each input that is encoded before training, SHA-256 of its encoder.
    pub encoders: BTreeMap<String, String>,
    /// XXH3 of the media files that cells name; `media.hashes` holds a hash per file.
    pub media: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The operating system and processor family.
    pub system: String,
    /// The processor.
    pub processor: String,
    /// Number of cores available to the process.
    pub cores: usize,
}

impl RunManifest {
    pub fn new(plan: &Plan, dataset: &Path, table: &Table) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            checkpoint_form: CHECKPOINT_FORM,
            seed: plan.config.random_seed,
            config: plan.to_json(),
            dataset: dataset.display().to_string(),
            dataset_hash: table.hash.clone(),
            n_rows: table.n_rows(),
            sources: None,
            machine: Machine::here(),
        }
    }

    /// Reads the manifest of the run in a folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(DESCRIPTION);
        let text = std::fs::read(&path).map_err(Error::io(&path))?;
        serde_json::from_slice(&text).map_err(|error| Error::damaged(path, error))
    }

    /// Checks that a run can be resumed with this config and table.
    pub fn check(&self, before: &Self, folder: &Path) -> Result<(), Error> {
        let differences = differences(&before.config, &self.config);
        match () {
            () if (&before.version, before.checkpoint_form) != (&self.version, self.checkpoint_form) => {
                Err(differs(folder, ResumeError::Version))
            }
            () if !differences.is_empty() => Err(differs(folder, ResumeError::Config(differences))),
            () if before.dataset_hash != self.dataset_hash => Err(differs(folder, ResumeError::Dataset)),
            () => Ok(()),
        }
    }

    /// Writes the manifest of a new run and the list of its media files.
    pub fn write(&self, folder: &Path, media: &MediaFiles) -> Result<(), Error> {
        if !media.is_empty() {
            media.write(&folder.join(MEDIA))?;
        }
        write_json(&folder.join(DESCRIPTION), &serde_json::to_value(self).unwrap_or_default())
    }
}

impl Sources {
    pub fn new(dataset: &Dataset, encoders: BTreeMap<String, String>, media: &MediaFiles) -> Self {
        let features = Sha256::digest(serde_json::to_vec(&dataset.fields).unwrap_or_default());
        Self { features: hexadecimal(&features), encoders, media: format!("{:016x}", media.hash()) }
    }

    /// Checks that a run can be resumed with these inputs.
    pub fn check(&self, before: &Self, folder: &Path) -> Result<(), Error> {
        if let Some(name) = self.encoders.keys().find(|name| before.encoders.get(*name) != self.encoders.get(*name)) {
            return Err(differs(folder, ResumeError::Weights { input: name.clone() }));
        }
        match self == before {
            true => Ok(()),
            false => Err(differs(folder, ResumeError::Features)),
        }
    }
}

/// Returns the media files recorded for a run; empty if it has none.
pub(crate) fn media_of(folder: &Path) -> Result<MediaFiles, Error> {
    let path = folder.join(MEDIA);
    Ok(if path.exists() { MediaFiles::read(&path)? } else { MediaFiles::default() })
}

/// Returns the error for a media file that has changed since the run was started.
pub(crate) fn replaced(folder: &Path, file: &str) -> Error {
    differs(folder, ResumeError::MediaFile(file.to_owned()))
}

/// Returns the keys in which two configs differ, in the order of their names.
fn differences(before: &Value, now: &Value) -> Vec<ConfigDifference> {
    let mut found = Vec::new();
    add_differences("", before, now, &mut found);
    found
}

fn add_differences(path: &str, before: &Value, now: &Value, found: &mut Vec<ConfigDifference>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add_differences(&path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.for_each(|(at, (a, b))| add_differences(&format!("{path}[{at}]"), a, b, found));
        }
        _ if before == now => {}
        _ => found.push(ConfigDifference { key: path.to_owned(), before: before.clone(), now: now.clone() }),
    }
}

/// Formats a value as JSON, truncated if it is long.
fn shortened(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn differs(folder: &Path, source: ResumeError) -> Error {
    Error::CannotResume { folder: folder.to_path_buf(), source }
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

/// Returns the peak memory of this process in bytes; `None` if the system does not report it.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Resets the peak memory counter, if the system supports it.
pub(crate) fn reset_peak_memory() {
    // If this file cannot be written, the counter keeps its value, which is still an upper bound.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ResumeError, differences};

    fn shown(before: &serde_json::Value, now: &serde_json::Value) -> String {
        ResumeError::Config(differences(before, now)).to_string()
    }

    #[test]
    fn differences_name_each_key_with_both_values() {
        let before = json!({"trainer": {"epochs": 3, "learning_rate": 0.001}, "inputs": [{"name": "a"}, {"name": "b"}]});
        let mut now = before.clone();
        assert_eq!(differences(&before, &now), []);
        now["trainer"]["steps"] = json!(null);
        assert_eq!(differences(&before, &now), [], "a new key with the default null makes no difference");
        now["trainer"]["learning_rate"] = json!(0.01);
        assert_eq!(shown(&before, &now), "the config differs from the run's: trainer.learning_rate was 0.001, is now 0.01");
        now["inputs"][1]["name"] = json!("c");
        let expected = "the config differs from the run's in 2 keys
  inputs[1].name was \"b\", is now \"c\"
  trainer.learning_rate was 0.001, is now 0.01";
        assert_eq!(shown(&before, &now), expected);
        now["inputs"] = json!([]);
        assert!(shown(&before, &now).contains("inputs was [{\"name\":\"a\"},{\"name\":\"b\"}], is now []"));
    }

    #[test]
    fn ten_differences_are_shown() {
        let config = |value: usize| (0..12).map(|key| (format!("k{key:02}"), json!(value))).collect::<serde_json::Value>();
        let text = shown(&config(0), &config(1));
        assert!(text.starts_with("the config differs from the run's in 12 keys\n  k00 was 0, is now 1\n"), "{text}");
        assert!(text.ends_with("  k09 was 0, is now 1\n  and 2 more"), "{text}");
    }
}
