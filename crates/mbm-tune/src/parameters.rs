//! The settings that are searched: dotted paths of the config, each with its [`Space`].

use std::collections::BTreeMap;

use mbm_config::schema::{Schema, Section, json_schema};
use mbm_config::{Diagnostics, Node, Setting, Value, excerpt};
use serde_json::json;

use crate::Space;

/// The searched settings by dotted path, such as `trainer.learning_rate` or `input_features.notes.encoder.type`.
///
/// They are sorted by path, so that their order in the file does not matter, and the setting of a path comes before those below it.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Parameters(pub BTreeMap<String, Space>);

/// Maximum number of combinations of the values of grids; nobody trains as many models.
const MAX_COMBINATIONS: usize = 10_000;

impl Parameters {
    /// Returns whether every value is on a grid, so that sampling a combination again would repeat a trial.
    pub(crate) fn are_all_grids(&self) -> bool {
        self.0.values().all(|space| matches!(space, Space::GridSearch(_)))
    }

    /// Returns the number of combinations of the values of grids; 1 without grids.
    pub(crate) fn n_combinations(&self) -> usize {
        let n_values = |space: &Space| match space {
            Space::GridSearch(grid) => grid.values.len(),
            Space::Uniform(_)
            | Space::LogUniform(_)
            | Space::QUniform(_)
            | Space::Int(_)
            | Space::LogInt(_)
            | Space::Choice(_) => 1,
        };
        self.0.values().map(n_values).fold(1, usize::saturating_mul)
    }
}

impl Setting for Parameters {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            diagnostics.add(node.line, path, format!("expected a map of paths and spaces, found {}", node.value.name()));
            return None;
        };
        let n_before = diagnostics.0.len();
        let mut parameters = Self::default();
        for entry in entries {
            if let Some(message) = mistake_in(&entry.key) {
                diagnostics.add(entry.line, path, message);
            }
            let space = Space::read(&entry.node, &format!("{path}.{}", excerpt(&entry.key)), diagnostics);
            parameters.0.extend(space.map(|space| (entry.key.clone(), space)));
        }
        if let Some(message) = parameters.mistake() {
            diagnostics.add(node.line, path, message);
        }
        (diagnostics.0.len() == n_before).then_some(parameters)
    }

    /// Describes a map without keys, as there is no schema of maps with any keys; [`complete_schema`] corrects this.
    fn schema() -> Schema {
        let doc = "The settings that are searched, by dotted path, such as `trainer.learning_rate`.";
        Schema::Section(Section::new("Parameters", &[doc]))
    }
}

impl Parameters {
    fn mistake(&self) -> Option<String> {
        let n_combinations = self.n_combinations();
        if self.0.is_empty() {
            Some(
                "at least one path is needed, such as trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 0.1}"
                    .to_owned(),
            )
        } else if n_combinations > MAX_COMBINATIONS {
            Some(format!("the grids have {n_combinations} combinations; the limit is {MAX_COMBINATIONS}"))
        } else {
            None
        }
    }
}

/// Returns what is wrong with a path.
fn mistake_in(path: &str) -> Option<String> {
    let shown = excerpt(path);
    if path.split('.').any(str::is_empty) {
        Some(format!("'{shown}' is not a path of the config, such as trainer.learning_rate"))
    } else if path.contains('=') {
        Some(format!("'{shown}' contains '=', which ends a path in --set"))
    } else if path.split('.').next() == Some("hyperopt") {
        Some(format!("'{shown}' is a setting of the search itself"))
    } else {
        None
    }
}

/// Corrects the JSON Schema of a config that contains [`Hyperopt`](crate::Hyperopt): `parameters` accepts any paths, each with a
/// space. Does nothing to other schemas.
///
/// ```
/// use mbm_config::{Section, schema::json_schema};
///
/// let mut schema = json_schema("hyperopt", mbm_tune::Hyperopt::section_schema());
/// mbm_tune::complete_schema(&mut schema);
/// let spaces = &schema["$defs"]["Parameters"]["additionalProperties"]["oneOf"];
/// assert_eq!(spaces[0]["required"], serde_json::json!(["space", "lower", "upper"]));
/// ```
pub fn complete_schema(schema: &mut serde_json::Value) {
    if let Some(parameters) = schema.pointer_mut("/$defs/Parameters") {
        let spaces: Vec<serde_json::Value> = Space::sections().into_iter().map(|(name, keys)| space_schema(name, keys)).collect();
        parameters["additionalProperties"] = json!({"oneOf": spaces});
        parameters["minProperties"] = json!(1);
    }
}

fn space_schema(name: &str, keys: Section) -> serde_json::Value {
    let mut required = vec!["space"];
    required.extend(keys.keys.iter().map(|key| key.name));
    let lists: Vec<&str> = keys.keys.iter().filter(|key| matches!(key.schema, Schema::List(_))).map(|key| key.name).collect();
    let mut schema = json_schema(name, keys.clone());
    schema["required"] = json!(required);
    // `int` has Ludwig's name, too.
    schema["properties"]["space"] = if name == "int" { json!({"enum": ["int", "randint"]}) } else { json!({"const": name}) };
    for list in lists {
        schema["properties"][list]["items"] = json!(true);
        schema["properties"][list]["minItems"] = json!(1);
    }
    if let Some(map) = schema.as_object_mut() {
        map.remove("$schema");
    }
    schema
}

#[cfg(test)]
mod tests {
    use mbm_config::Format;

    use super::*;

    fn read(text: &str) -> Result<Parameters, String> {
        let mut diagnostics = Diagnostics::default();
        let read = Parameters::read(&Node::parse(text, Format::Yaml).unwrap(), "parameters", &mut diagnostics);
        diagnostics.unless_any(read).map_err(|found| found.to_string())
    }

    #[test]
    fn paths_are_read_in_any_order() {
        let (a, b) = ("b.c: {space: int, lower: 1, upper: 2}", "a: {space: uniform, lower: 0, upper: 1}");
        let read = |text: String| read(&text).unwrap();
        assert_eq!(read(format!("{a}\n{b}")), read(format!("{b}\n{a}")));
        assert_eq!(read(format!("{a}\n{b}")).0.keys().collect::<Vec<_>>(), ["a", "b.c"]);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_line_and_path() {
        let text = "
a..b: {space: int, lower: 1, upper: 2}
a=b: {space: int, lower: 1, upper: 2}
hyperopt.metric: {space: choice, categories: [loss]}
trainer.epochs: {space: int, lower: 2, upper: 1}";
        let expected = "4 problems in the config
  line 2: parameters: 'a..b' is not a path of the config, such as trainer.learning_rate
  line 3: parameters: 'a=b' contains '=', which ends a path in --set
  line 4: parameters: 'hyperopt.metric' is a setting of the search itself
  line 5: parameters.trainer.epochs.upper: 1 is not above 'lower', 2";
        assert_eq!(read(text).unwrap_err(), expected);
    }

    #[test]
    fn no_paths_and_too_many_combinations_are_mistakes() {
        assert!(read("{}").unwrap_err().contains("parameters: at least one path is needed"));
        assert!(read("[]").unwrap_err().contains("expected a map of paths and spaces, found a list"));
        let values = (0..101).map(|it| it.to_string()).collect::<Vec<_>>().join(", ");
        let grid = format!("{{space: grid_search, values: [{values}]}}");
        let message = "the grids have 10201 combinations; the limit is 10000";
        assert!(read(&format!("a: {grid}\nb: {grid}")).unwrap_err().contains(message));
    }

    #[test]
    fn schema_has_a_space_for_any_path() {
        let mut schema = json_schema("hyperopt", <crate::Hyperopt as mbm_config::Section>::section_schema());
        complete_schema(&mut schema);
        assert_eq!(schema["properties"]["parameters"]["$ref"], "#/$defs/Parameters");
        let spaces = &schema["$defs"]["Parameters"]["additionalProperties"]["oneOf"];
        assert_eq!(spaces[3]["properties"]["space"], json!({"enum": ["int", "randint"]}));
        assert_eq!(spaces[5]["properties"]["categories"]["items"], json!(true));
        assert_eq!(spaces[5]["additionalProperties"], json!(false));
        let mut other = json!({"$defs": {}});
        complete_schema(&mut other);
        assert_eq!(other, json!({"$defs": {}}));
    }
}
