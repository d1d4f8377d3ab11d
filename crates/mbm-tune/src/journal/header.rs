//! The first line of a journal: all that determines the trials and their scores.

use std::collections::BTreeMap;

use mbm_config::excerpt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Goal, Hyperopt};

/// The version of the format.
const VERSION: u32 = 1;

/// What a study is about. The number of trials is left out, as more of them continue the same study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    event: HeaderEvent,
    version: u32,
    goal: Goal,
    seed: u64,
    /// The settings in JSON.
    settings: BTreeMap<String, Value>,
    /// What else the scores depend on, by name.
    inputs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HeaderEvent {
    Study,
}

impl Header {
    pub fn new(settings: &Hyperopt, goal: Goal, seed: u64, inputs: BTreeMap<String, String>) -> Self {
        let Hyperopt { parameters, goal: _, metric, output_feature, split, executor, search_alg } = settings;
        let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
        let settings = [
            ("parameters", json(serde_json::to_value(parameters))),
            ("metric", Value::from(metric.as_str())),
            ("output_feature", Value::from(output_feature.as_str())),
            ("split", json(serde_json::to_value(split))),
            ("scheduler", json(serde_json::to_value(&executor.scheduler))),
            ("search_alg", json(serde_json::to_value(search_alg))),
        ];
        let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { event: HeaderEvent::Study, version: VERSION, goal, seed, settings, inputs }
    }

    /// Reads the first line of a journal.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        let found: Value = serde_json::from_slice(line).map_err(|_| "not a journal of 'mbm tune'".to_owned())?;
        match found.get("version").and_then(Value::as_u64) {
            Some(version) if found["event"] == "study" && version != u64::from(VERSION) => {
                Err(format!("version {version} of the journal; this version of mbm reads {VERSION}"))
            }
            _ => serde_json::from_value(found).map_err(|_| "not a journal of 'mbm tune'".to_owned()),
        }
    }

    /// Says what differs from the header of a journal.
    pub fn differences(&self, journal: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.goal != journal.goal {
            found.push(format!("its goal is {}, not {}", journal.goal.as_str(), self.goal.as_str()));
        }
        if self.seed != journal.seed {
            found.push(format!("its seed is {}, not {}", journal.seed, self.seed));
        }
        let maps = [parameters(&self.settings), parameters(&journal.settings)];
        found.extend(
            changes(&maps[0], &maps[1]).map(|(path, ours, theirs)| different(&format!("parameters.{path}"), ours, theirs)),
        );
        let is_other = |key: &str| key != "parameters";
        let settings = changes(&self.settings, &journal.settings).filter(|(key, ..)| is_other(key));
        found.extend(settings.map(|(key, ours, theirs)| different(key, ours, theirs)));
        found.extend(changes(&self.inputs, &journal.inputs).map(|(name, ..)| format!("its {} differs", excerpt(name))));
        found
    }
}

fn parameters(settings: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let map = settings.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default();
    map.into_iter().collect()
}

/// Returns the keys whose values differ, with both.
fn changes<'a, T: PartialEq>(
    ours: &'a BTreeMap<String, T>,
    theirs: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a str, Option<&'a T>, Option<&'a T>)> {
    let new = theirs.keys().filter(|key| !ours.contains_key(*key));
    let pairs = ours.keys().chain(new).map(|key| (key.as_str(), ours.get(key), theirs.get(key)));
    pairs.filter(|(_, ours, theirs)| ours != theirs)
}

fn different(key: &str, ours: Option<&Value>, theirs: Option<&Value>) -> String {
    let key = excerpt(key);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => format!("its {key} is {}, not {}", short(theirs), short(ours)),
        (Some(_), None) => format!("it has no {key}"),
        (None, _) => format!("it has {key}"),
    }
}

fn short(value: &Value) -> String {
    excerpt(&crate::suggestion::yaml(value))
}
