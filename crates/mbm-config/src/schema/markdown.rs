//! Reference pages in Markdown: a table of keys for each section, each with an example.

use std::collections::VecDeque;

use serde_json::Value as Json;

use super::{Choice, Key, Schema, Section, Words};
use crate::{Entry, Format, Node, Value, to_yaml};

/// A reference page: the keys of one part of the config and of everything below it.
pub struct Page<'a> {
    /// The page's heading.
    pub title: &'a str,
    /// A complete config in YAML, in which the examples are put.
    pub config: &'a str,
    /// The dotted path of the part in that config, such as `input_features.0`; empty for the whole config.
    pub path: &'a str,
    /// Values of keys without a default, for the examples.
    pub samples: &'a [(&'a str, &'a str)],
}

/// A part that has yet to be written.
struct Part {
    heading: String,
    path: String,
    is_list: bool,
    schema: Schema,
    /// The config in which its examples are put; the parts above it have the `type` that it belongs to.
    config: Node,
}

/// A page that is being written.
struct Writer<'a> {
    page: &'a Page<'a>,
    out: String,
    /// The types that have a heading, each with it.
    headings: Vec<(&'static str, String)>,
    parts: VecDeque<Part>,
}

/// Number of keys that an example shows.
const N_SHOWN: usize = 3;

impl Page<'_> {
    /// Writes the page of a section or choice.
    pub fn markdown(&self, schema: &Schema) -> String {
        let mut writer = Writer { page: self, out: String::new(), headings: Vec::new(), parts: VecDeque::new() };
        let config = parsed(self.config);
        writer.nested(self.title, self.path, schema, &config);
        while let Some(part) = writer.parts.pop_front() {
            writer.part(&part);
        }
        writer.out
    }
}

impl Writer<'_> {
    fn part(&mut self, part: &Part) {
        let marks = if self.out.is_empty() { "#" } else { "\n##" };
        self.out.push_str(&format!("{marks} {}\n", part.heading));
        match &part.schema {
            Schema::Section(section) => self.section(section, None, part),
            Schema::Choice(choice) => self.choice(choice, part),
            other => unreachable!("{other:?} has no keys"),
        }
    }

    fn choice(&mut self, choice: &Choice, part: &Part) {
        self.out.push_str(&format!("\n{} `type` is one of:\n\n", choice.doc));
        for (word, section) in &choice.variants {
            let default = if choice.default == Some(*word) { " (default)" } else { "" };
            self.out.push_str(&format!("- `{word}`{default}: {}\n", section.doc));
        }
        for (word, section) in &choice.variants {
            let heading =
                if part.heading == self.page.title { format!("## {word}") } else { format!("### {}: {word}", part.heading) };
            self.out.push_str(&format!("\n{heading}\n"));
            self.section(section, Some(word), part);
        }
    }

    /// Writes the description, the keys and an example of a section; `word` is its `type`, if it is one of a choice.
    fn section(&mut self, section: &Section, word: Option<&str>, part: &Part) {
        let mut config = part.config.clone();
        if let Some(word) = word.filter(|_| !part.is_list) {
            config = with(config, &joined(&part.path, "type"), Node::bare(Value::Text(word.to_owned())));
        }
        self.out.push_str(&format!("\n{}\n", section.doc));
        if !section.keys.is_empty() {
            self.out.push_str("\n| key | value | default | description |\n|---|---|---|---|\n");
        }
        for key in &section.keys {
            self.nested(key.name, &joined(&part.path, key.name), &key.schema, &config);
            let default = key.shown_default();
            let row = [format!("`{}`", key.name), self.values(&key.schema, key.bounds.as_ref()), default, described(key)];
            self.out.push_str(&format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
        }
        let example = self.page.example(section, word, part);
        self.out.push_str(&format!("\n```yaml\n{example}```\n"));
    }

    /// Remembers to write the part of a key that has keys below it, once for each type.
    fn nested(&mut self, key: &str, path: &str, schema: &Schema, config: &Node) {
        let (inner, is_list) = innermost(schema);
        let (Schema::Section(Section { name, .. }) | Schema::Choice(Choice { name, .. })) = inner else { return };
        if self.headings.iter().any(|(known, _)| known == name) {
            return;
        }
        let is_taken = self.headings.iter().any(|(_, heading)| heading == key);
        let heading = if is_taken { format!("{key} ({name})") } else { key.to_owned() };
        self.headings.push((name, heading.clone()));
        let (path, schema, config) = (path.to_owned(), inner.clone(), config.clone());
        self.parts.push_back(Part { heading, path, is_list, schema, config });
    }

    /// Returns what a key accepts, in words.
    fn values(&self, schema: &Schema, bounds: Option<&[Json; 2]>) -> String {
        let range = bounds.map_or(String::new(), |[least, most]| format!(", {} to {}", number(least), number(most)));
        match schema {
            Schema::Bool => "`true` or `false`".to_owned(),
            Schema::Integer { least: 0 } => format!("integer{range}"),
            Schema::Integer { least } => format!("integer, {least} or more"),
            Schema::Number => format!("number{range}"),
            Schema::Text => "text".to_owned(),
            Schema::Words(words) => listed(words),
            Schema::WordsOr(words, value) => format!("{} or {}", listed(words), self.values(value, bounds)),
            Schema::Optional(value) => format!("{} or `null`", self.values(value, bounds)),
            Schema::List(items) => format!("list: {}", self.values(items, bounds)),
            Schema::Section(Section { name, .. }) | Schema::Choice(Choice { name, .. }) => {
                let heading = self.headings.iter().find(|(known, _)| known == name).map_or(*name, |(_, heading)| heading);
                format!("[{heading}](#{})", anchor(heading))
            }
        }
    }
}

impl Page<'_> {
    /// Returns a complete config that shows the section at the path of the part.
    fn example(&self, section: &Section, word: Option<&str>, part: &Part) -> String {
        let mut config = part.config.clone();
        let mut entries: Vec<Entry> = word.map(|word| entry("type", Value::Text(word.to_owned()))).into_iter().collect();
        entries.extend(section.keys.iter().filter_map(|key| self.sample(key)).take(N_SHOWN));
        if part.is_list {
            let items = vec![Node::bare(Value::Map(entries))];
            config = with(config, &part.path, Node::bare(Value::List(items)));
        } else {
            for entry in entries {
                config = with(config, &joined(&part.path, &entry.key), entry.node);
            }
        }
        to_yaml(&config)
    }

    /// Returns a key with its sample or default, if it is worth showing.
    fn sample(&self, key: &Key) -> Option<Entry> {
        let sample = self.samples.iter().find(|(name, _)| key.default.is_none() && *name == key.name);
        let node = match sample {
            Some((_, text)) => parsed(text),
            None => Node::from(key.default.as_ref()?),
        };
        let is_shown = match &node.value {
            Value::Null | Value::Map(_) => false,
            Value::List(items) => !items.is_empty(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => true,
        };
        is_shown.then(|| entry(key.name, node.value))
    }
}

impl Key {
    fn shown_default(&self) -> String {
        match (&self.default, self.short_default()) {
            (None, _) => "**required**".to_owned(),
            (Some(_), None) => String::new(),
            (Some(_), Some(Json::String(word))) => format!("`{word}`"),
            (Some(_), Some(value)) => format!("`{}`", number(&value)),
        }
    }
}

fn listed(words: &Words) -> String {
    words.words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the description of a key and of the words that it accepts.
fn described(key: &Key) -> String {
    let (Schema::Words(words), _) = innermost(&key.schema) else { return key.doc.clone() };
    let each = words.words.iter().filter(|(_, doc)| !doc.is_empty()).map(|(word, doc)| format!("<br>`{word}`: {doc}"));
    format!("{}{}", key.doc, each.collect::<String>())
}

/// Returns the schema of a value, without the option or list around it, and whether it is in a list.
fn innermost(schema: &Schema) -> (&Schema, bool) {
    match schema {
        Schema::Optional(value) | Schema::WordsOr(_, value) => innermost(value),
        Schema::List(items) => (innermost(items).0, true),
        other => (other, false),
    }
}

/// Writes a number without a fraction of zero.
fn number(value: &Json) -> String {
    let text = value.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Returns the anchor that Markdown renderers give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ')).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Parses YAML that belongs to a page.
fn parsed(yaml: &str) -> Node {
    Node::parse(yaml, Format::Yaml).expect("the configs and samples of a page are YAML")
}

/// Returns the config with the value at a path, which a page declares for it.
fn with(mut config: Node, path: &str, value: Node) -> Node {
    config.set(path, value).expect("the path of a page leads to a key of its config");
    config
}

/// Returns the path of a key below a path, which may be empty.
fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn entry(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), line: 0, node: Node::bare(value) }
}

#[cfg(test)]
#[allow(dead_code)] // methods that the macros declare
mod tests {
    use super::*;
    use crate::{Setting, choices, settings, tagged};

    choices! {
        /// A cell.
        pub enum Cell {
            /// Long short-term memory.
            Lstm = "lstm",
            Gru = "gru",
        }
    }
    settings! {
        /// Settings of recurrent layers.
        pub struct Rnn {
            /// The cell.
            cell_type: Cell = Cell::Lstm;
            /// Dropout.
            dropout: Option<f64> = None => 0.0..=0.9;
        }
        /// A feature.
        pub struct Feature {
            /// Its name.
            name: String;
            /// Its encoder.
            encoder: Encoder = crate::defaults();
        }
    }
    tagged! {
        /// Encoders.
        pub enum Encoder: Rnn { Rnn(Rnn) = "rnn" }
    }

    #[test]
    fn page_lists_keys_with_examples_in_a_complete_config() {
        let page = Page { title: "A feature", config: "features: [{}]", path: "features.0", samples: &[("name", "a")] };
        let expected = "# A feature

A feature.

| key | value | default | description |
|---|---|---|---|
| `name` | text | **required** | Its name. |
| `encoder` | [encoder](#encoder) | `rnn` | Its encoder. |

```yaml
features:
  - {name: a}
```

## encoder

Encoders. `type` is one of:

- `rnn` (default): Recurrent layers.

### encoder: rnn

Recurrent layers.

| key | value | default | description |
|---|---|---|---|
| `cell_type` | `lstm`, `gru` | `lstm` | The cell.<br>`lstm`: Long short-term memory. |
| `dropout` | number, 0 to 0.9 or `null` | `null` | Dropout. |

```yaml
features:
  - {encoder: {type: rnn, cell_type: lstm}}
```
";
        assert_eq!(page.markdown(&Feature::schema()), expected);
    }
}
