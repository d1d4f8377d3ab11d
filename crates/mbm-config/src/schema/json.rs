//! The JSON Schema of a config (draft 2020-12), by which editors complete and check files.

use serde_json::{Map, Value, json};

use super::{Choice, Key, Schema, Section, Words};

/// Returns the JSON Schema of a config with the given keys. Sections and choices that occur in several places are definitions.
///
/// ```
/// use mbm_config::{Section, schema::json_schema, settings};
/// settings! {
///     /// How the model is trained.
///     pub struct Trainer {
///         /// Rows per batch.
///         batch_size: usize = 64 => 1..=65536;
///     }
/// }
/// let schema = json_schema("trainer", Trainer::section_schema());
/// assert_eq!(schema["properties"]["batch_size"]["maximum"], 65536);
/// ```
pub fn json_schema(title: &str, config: Section) -> Value {
    let mut definitions = Definitions::default();
    let mut schema = definitions.section(&config);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(title));
    if !definitions.0.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(definitions.0));
    }
    Value::Object(schema)
}

/// The shared parts of a schema, by name.
#[derive(Default)]
struct Definitions(Map<String, Value>);

impl Definitions {
    /// Returns a reference to a definition, which is made if it does not exist.
    fn reference(&mut self, name: &str, define: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            let definition = define(self);
            self.0.insert(name.to_owned(), definition);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    fn value(&mut self, schema: &Schema, bounds: Option<&[Value; 2]>) -> Value {
        match schema {
            Schema::Bool => json!({"type": "boolean"}),
            Schema::Integer { least } => bounded(json!({"type": "integer", "minimum": least}), bounds),
            Schema::Number => bounded(json!({"type": "number"}), bounds),
            // Numbers and booleans are read as the text that they are written as.
            Schema::Text => json!({"type": ["string", "number", "boolean"]}),
            Schema::Words(words) => self.reference(words.name, |_| one_of_words(words)),
            Schema::Optional(value) => or_null(self.value(value, bounds)),
            Schema::WordsOr(words, value) => {
                let word = self.reference(words.name, |_| one_of_words(words));
                json!({"anyOf": [word, self.value(value, bounds)]})
            }
            Schema::List(items) => json!({"type": "array", "items": self.value(items, bounds)}),
            Schema::Section(section) => self.reference(section.name, |it| Value::Object(it.section(section))),
            Schema::Choice(choice) => self.reference(choice.name, |it| it.choice(choice)),
        }
    }

    fn section(&mut self, section: &Section) -> Map<String, Value> {
        let properties: Map<String, Value> = section.keys.iter().map(|key| (key.name.to_owned(), self.key(key))).collect();
        let required: Vec<&str> = section.keys.iter().filter(|key| key.default.is_none()).map(|key| key.name).collect();
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!("object"));
        schema.insert("description".to_owned(), json!(section.doc));
        schema.insert("properties".to_owned(), Value::Object(properties));
        schema.insert("additionalProperties".to_owned(), json!(false));
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        schema
    }

    fn key(&mut self, key: &Key) -> Value {
        let mut schema = self.value(&key.schema, key.bounds.as_ref());
        schema["description"] = json!(key.doc);
        if let Some(default) = key.short_default() {
            schema["default"] = default;
        }
        schema
    }

    /// Describes a choice: a word, or the keys that go with the `type`.
    fn choice(&mut self, choice: &Choice) -> Value {
        let mut ways = Vec::new();
        let words: Vec<&str> =
            choice.variants.iter().filter(|(_, section)| section.has_defaults()).map(|(word, _)| *word).collect();
        if !words.is_empty() {
            ways.push(json!({"enum": words}));
        }
        for (word, section) in &choice.variants {
            let mut way = self.reference(&format!("{}.{word}", section.name), |it| it.variant(word, section));
            if choice.default != Some(*word) {
                way["required"] = json!(["type"]);
            }
            ways.push(way);
        }
        json!({"description": choice.doc, "oneOf": ways})
    }

    fn variant(&mut self, word: &str, section: &Section) -> Value {
        let mut schema = self.section(section);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("type".to_owned(), json!({"const": word, "description": section.doc}));
        }
        Value::Object(schema)
    }
}

fn one_of_words(words: &Words) -> Value {
    let mut values: Vec<Value> = words.words.iter().map(|(word, _)| json!(word)).collect();
    if words.are_numbers {
        values.extend(words.words.iter().filter_map(|(word, _)| word.parse::<i64>().ok()).map(Value::from));
    }
    // YAML reads a plain `null` as nothing, which is the word `none`.
    values.extend(words.words.iter().any(|(word, _)| *word == "none").then_some(Value::Null));
    json!({"description": words.doc, "enum": values})
}

fn bounded(mut schema: Value, bounds: Option<&[Value; 2]>) -> Value {
    if let Some([least, most]) = bounds {
        (schema["minimum"], schema["maximum"]) = (least.clone(), most.clone());
    }
    schema
}

/// Also accepts `null`.
fn or_null(mut schema: Value) -> Value {
    match &schema["type"] {
        Value::String(word) => {
            schema["type"] = json!([word, "null"]);
            schema
        }
        Value::Array(words) => {
            schema["type"] = words.iter().cloned().chain([json!("null")]).collect();
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

impl Section {
    /// Whether every key has a default.
    pub(super) fn has_defaults(&self) -> bool {
        self.keys.iter().all(|key| key.default.is_some())
    }
}

impl Key {
    /// Returns the default as a person would write it: of a choice only its `type`, and nothing for a section, whose keys have
    /// defaults of their own.
    pub(super) fn short_default(&self) -> Option<Value> {
        let default = self.default.as_ref()?;
        match &self.schema {
            Schema::Section(_) => None,
            Schema::Choice(_) => default.get("type").cloned(),
            Schema::WordsOr(..)
            | Schema::Bool
            | Schema::Integer { .. }
            | Schema::Number
            | Schema::Text
            | Schema::Words(_)
            | Schema::Optional(_)
            | Schema::List(_) => Some(default.clone()),
        }
    }
}

#[cfg(test)]
#[allow(dead_code)] // methods that the macros declare
mod tests {
    use super::*;
    use crate::{Section as _, choices, settings, tagged};

    choices! {
        /// A cell.
        pub enum Cell { Lstm = "lstm", None = "none" }
    }
    settings! {
        /// Recurrent layers.
        pub struct Rnn {
            /// The cell.
            cell_type: Cell = Cell::Lstm;
        }
        /// Rows by a column.
        pub struct By {
            /// The column.
            column: String;
        }
        /// Everything.
        pub struct All {
            /// Sizes.
            sizes: Vec<usize> = vec![3] => 1..=9;
            /// A share.
            share: Option<f64> = None => 0.0..=0.5;
            /// A choice.
            of: Of = crate::defaults();
        }
    }
    tagged! {
        /// A choice.
        pub enum Of: Rnn { Rnn(Rnn) = "rnn", By(By) = "by" }
    }

    #[test]
    fn schema_has_types_ranges_defaults_and_descriptions() {
        let schema = json_schema("all", All::section_schema());
        let properties = json!({
            "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "default": [3], "description": "Sizes."},
            "share": {"type": ["number", "null"], "minimum": 0.0, "maximum": 0.5, "default": null, "description": "A share."},
            "of": {"$ref": "#/$defs/Of", "default": "rnn", "description": "A choice."},
        });
        assert_eq!(schema["properties"], properties);
        assert_eq!((&schema["additionalProperties"], &schema["title"]), (&json!(false), &json!("all")));
        assert_eq!(schema["$defs"]["Cell"]["enum"], json!(["lstm", "none", null]));
    }

    #[test]
    fn choice_is_a_word_or_the_keys_of_a_type() {
        let schema = json_schema("all", All::section_schema());
        let ways = json!([{"enum": ["rnn"]}, {"$ref": "#/$defs/Rnn.rnn"}, {"$ref": "#/$defs/By.by", "required": ["type"]}]);
        assert_eq!(schema["$defs"]["Of"]["oneOf"], ways);
        assert_eq!(schema["$defs"]["By.by"]["properties"]["type"]["const"], "by");
        assert_eq!(schema["$defs"]["By.by"]["required"], json!(["column"]));
    }
}
