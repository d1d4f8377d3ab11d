//! What a config may contain: every key with its type, range, default and description, as the macros declare them.
//!
//! ```text
//! settings!, tagged!, choices! --Setting::schema--> Schema --json_schema--> JSON Schema, for editors
//!                                                          \--Page-------> reference pages in Markdown
//! ```

mod json;
mod markdown;

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::Value;

pub use json::json_schema;
pub use markdown::Page;

use crate::{Range, Setting};

/// The values that a setting accepts.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The smallest number that is accepted.
        least: i64,
    },
    /// A number.
    Number,
    /// A text.
    Text,
    /// One of several words.
    Words(Words),
    /// `null` or a value.
    Optional(Box<Schema>),
    /// One of several words, or another value.
    WordsOr(Words, Box<Schema>),
    /// A list of values.
    List(Box<Schema>),
    /// A map of known keys.
    Section(Section),
    /// A map whose key `type` determines the other keys.
    Choice(Choice),
}

/// One of several words.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// Name of the type.
    pub name: &'static str,
    /// Description of the type.
    pub doc: String,
    /// The words with their descriptions.
    pub words: Vec<(&'static str, String)>,
    /// Whether the words may also be written as numbers.
    pub are_numbers: bool,
}

/// A map of known keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Name of the type.
    pub name: &'static str,
    /// Description of the section.
    pub doc: String,
    /// The keys, in the order in which they are written.
    pub keys: Vec<Key>,
}

/// A choice between sections by the key `type`.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Name of the type.
    pub name: &'static str,
    /// Description of the choice.
    pub doc: String,
    /// The `type` if none is given; without it, `type` is required.
    pub default: Option<&'static str>,
    /// The values of `type`, with the other keys of each.
    pub variants: Vec<(&'static str, Section)>,
}

/// A key of a section.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// Description of the key.
    pub doc: String,
    /// The values that it accepts.
    pub schema: Schema,
    /// The default; without it, the key is required.
    pub default: Option<Value>,
    /// The smallest and the largest number that it accepts.
    pub bounds: Option<[Value; 2]>,
}

impl Section {
    /// Creates a section without keys; `doc` has the lines of the description.
    pub fn new(name: &'static str, doc: &[&str]) -> Self {
        let doc = text(doc);
        // To a reader of the config, the settings are the thing itself.
        let doc = doc.strip_prefix("Settings of ").map_or(doc.clone(), capitalized);
        Self { name, doc, keys: Vec::new() }
    }

    /// Adds a key.
    pub fn add(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// Adds the keys of a section that is read from the same map. If it comes first, it is what the map is about, so the map takes
    /// its name and description.
    pub fn include(&mut self, other: Section) {
        if self.keys.is_empty() {
            (self.name, self.doc) = (other.name, other.doc);
        }
        self.keys.extend(other.keys);
    }
}

impl Key {
    /// Describes a required key of the given type; `doc` has the lines of the description.
    pub fn of<T: Setting>(name: &'static str, doc: &[&str]) -> Self {
        Self { name, doc: text(doc), schema: T::schema(), default: None, bounds: None }
    }

    /// Sets the default.
    pub fn with_default(self, default: impl Serialize) -> Self {
        Self { default: Some(serde_json::to_value(default).unwrap_or_default()), ..self }
    }

    /// Sets the bounds.
    pub fn within(self, bounds: [Value; 2]) -> Self {
        Self { bounds: Some(bounds), ..self }
    }
}

/// Returns the bounds of a number, or of each number of an option or list.
pub fn bounds<T: Range<N>, N: Serialize>(range: RangeInclusive<N>) -> [Value; 2] {
    [range.start(), range.end()].map(|bound| serde_json::to_value(bound).unwrap_or_default())
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// Joins the lines of a doc comment.
pub fn text(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
