//! Reads nodes into values: scalars, lists, options, and sections whose keys must all be known.

use std::fmt::Display;

use crate::schema::{self, Schema};
use crate::{Diagnostics, Node, Value, closest, excerpt, ludwig};

/// A type that can be read from a config value.
pub trait Setting: Sized {
    /// Reads the value at `path`; problems are added to `diagnostics` and give `None`.
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// Describes the values that can be read.
    fn schema() -> Schema;
}

/// A map of known keys, declared by [`crate::settings!`].
pub trait Section: Sized {
    /// Reads every key or its default.
    fn read_fields(fields: &mut Fields) -> Option<Self>;

    /// Describes the keys.
    fn section_schema() -> schema::Section;
}

/// Returns the section in which every key has its default, or of a choice that of its default `type`.
///
/// # Panics
/// Panics if the section has a required key, or the choice no default, which is a bug of the caller.
#[allow(clippy::expect_used)]
pub fn defaults<T: Setting>() -> T {
    let empty = Node::bare(Value::Map(Vec::new()));
    T::read(&empty, "", &mut Diagnostics::default()).expect("every key of this section has a default")
}

/// A map that is being read: keys that are read become known, and [`Fields::finish`] reports all others.
pub struct Fields<'a> {
    node: &'a Node,
    path: &'a str,
    diagnostics: &'a mut Diagnostics,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Starts reading a map; reports a problem if the node is not a map.
    pub fn of(node: &'a Node, path: &'a str, diagnostics: &'a mut Diagnostics) -> Option<Self> {
        match node.value {
            Value::Map(_) => Some(Self { node, path, diagnostics, known: Vec::new() }),
            _ => {
                diagnostics.add(node.line, path, format!("expected a map of keys, found {}", node.value.name()));
                None
            }
        }
    }

    /// Reads a required key.
    pub fn required<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        let Some(node) = self.node.at(key) else {
            self.diagnostics.add(self.node.line, self.path, format!("the key '{key}' is missing"));
            return None;
        };
        T::read(node, &join(self.path, key), self.diagnostics)
    }

    /// Reads the key `type`: one of `types`, or `default` if the key is absent.
    pub fn tag(&mut self, types: &[&'static str], default: Option<&'static str>) -> Option<&'static str> {
        self.known.push("type");
        match self.node.at("type") {
            Some(node) => read_word(node, &join(self.path, "type"), self.diagnostics, "type", types, &[]),
            None if default.is_some() => default,
            None => {
                let message = format!("the key 'type' is missing; allowed: {}", types.join(", "));
                self.diagnostics.add(self.node.line, self.path, message);
                None
            }
        }
    }

    /// Reads a key that has a default.
    pub fn optional<T: Setting>(&mut self, key: &'static str, default: impl FnOnce() -> T) -> Option<T> {
        self.known.push(key);
        match self.node.at(key) {
            Some(node) => T::read(node, &join(self.path, key), self.diagnostics),
            None => Some(default()),
        }
    }

    /// Checks that a value is in the allowed range.
    pub fn within<T: Range<N>, N: PartialOrd + Display>(
        &mut self,
        key: &'static str,
        value: T,
        allowed: std::ops::RangeInclusive<N>,
    ) -> Option<T> {
        let Some(outside) = value.outside(&allowed) else { return Some(value) };
        let line = self.node.at(key).map_or(self.node.line, |node| node.line);
        let message = format!("{outside} is out of range; allowed: {} to {}", allowed.start(), allowed.end());
        self.diagnostics.add(line, &join(self.path, key), message);
        None
    }

    /// Reports every key that was not read.
    pub fn finish(self) -> Option<()> {
        let Value::Map(entries) = &self.node.value else { return Some(()) };
        let n_before = self.diagnostics.0.len();
        for entry in entries.iter().filter(|entry| !self.known.contains(&entry.key.as_str())) {
            if self.diagnostics.is_full() {
                return None;
            }
            let message = unknown(&entry.key, "key", &self.known);
            self.diagnostics.add(entry.line, &join(self.path, &excerpt(&entry.key)), message);
        }
        (self.diagnostics.0.len() == n_before).then_some(())
    }
}

/// A number, or an option or list of numbers, that can be checked against a range.
pub trait Range<N> {
    /// Returns the first value outside the range, if any.
    fn outside(&self, allowed: &std::ops::RangeInclusive<N>) -> Option<String>;
}

impl Range<usize> for usize {
    fn outside(&self, allowed: &std::ops::RangeInclusive<usize>) -> Option<String> {
        (!allowed.contains(self)).then(|| self.to_string())
    }
}

impl Range<f64> for f64 {
    fn outside(&self, allowed: &std::ops::RangeInclusive<f64>) -> Option<String> {
        (!allowed.contains(self)).then(|| self.to_string())
    }
}

impl<N, T: Range<N>> Range<N> for Option<T> {
    fn outside(&self, allowed: &std::ops::RangeInclusive<N>) -> Option<String> {
        self.as_ref().and_then(|value| value.outside(allowed))
    }
}

impl<N, T: Range<N>> Range<N> for Vec<T> {
    fn outside(&self, allowed: &std::ops::RangeInclusive<N>) -> Option<String> {
        self.iter().find_map(|value| value.outside(allowed))
    }
}

/// Describes an unknown word: the word that was probably meant, what is allowed, and whether Ludwig has it.
pub(crate) fn unknown(found: &str, noun: &str, known: &[&str]) -> String {
    let known = known.iter().copied().filter(|key| *key != found);
    let meant = closest(found, known.clone()).map(|key| format!(", did you mean '{key}'?")).unwrap_or_default();
    let ludwig = if ludwig::knows(found) { " (Ludwig has it, mbm does not yet)" } else { "" };
    let allowed: Vec<&str> = known.collect();
    format!("unknown {noun} '{}'{ludwig}{meant}; allowed: {}", excerpt(found), allowed.join(", "))
}

/// Reads one of the given words, or an earlier spelling of one: pairs of the earlier and the current word.
#[doc(hidden)]
pub fn read_word(
    node: &Node,
    path: &str,
    diagnostics: &mut Diagnostics,
    noun: &str,
    words: &[&'static str],
    earlier: &[(&str, &'static str)],
) -> Option<&'static str> {
    let found = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Bool(value) => value.to_string(),
        other => {
            diagnostics.add(node.line, path, format!("expected one of {}, found {}", words.join(", "), other.name()));
            return None;
        }
    };
    let current = earlier.iter().find(|(word, _)| *word == found).map(|(_, word)| *word);
    let word = words.iter().find(|word| **word == found).copied().or(current);
    if word.is_none() {
        diagnostics.add(node.line, path, unknown(&found, noun, words));
    }
    word
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { excerpt(key) } else { format!("{path}.{}", excerpt(key)) }
}

fn mismatch<T>(node: &Node, path: &str, diagnostics: &mut Diagnostics, expected: &str) -> Option<T> {
    diagnostics.add(node.line, path, format!("expected {expected}, found {}", node.value.name()));
    None
}

impl Setting for bool {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Bool(value) = node.value else { return mismatch(node, path, diagnostics, "true or false") };
        Some(value)
    }

    fn schema() -> Schema {
        Schema::Bool
    }
}

impl Setting for usize {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::Int(value) = node.value else { return mismatch(node, path, diagnostics, "a whole number") };
        usize::try_from(value).ok().or_else(|| mismatch(node, path, diagnostics, "a non-negative whole number"))
    }

    fn schema() -> Schema {
        Schema::Integer { least: 0 }
    }
}

impl Setting for u64 {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        usize::read(node, path, diagnostics).map(|value| value as u64)
    }

    fn schema() -> Schema {
        Schema::Integer { least: 0 }
    }
}

impl Setting for f64 {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        match node.value {
            Value::Float(value) if value.is_finite() => Some(value),
            Value::Int(value) => Some(value as f64),
            // The YAML parser reads 1e-3 (without a decimal point) as text, but learning rates are often written that way.
            Value::Text(ref text) if text.contains(['e', 'E']) && text.parse::<f64>().is_ok_and(f64::is_finite) => {
                text.parse().ok()
            }
            _ => mismatch(node, path, diagnostics, "a number"),
        }
    }

    fn schema() -> Schema {
        Schema::Number
    }
}

impl Setting for String {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => mismatch(node, path, diagnostics, "text"),
        }
    }

    fn schema() -> Schema {
        Schema::Text
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        if node.value == Value::Null {
            return Some(None);
        }
        T::read(node, path, diagnostics).map(Some)
    }

    fn schema() -> Schema {
        Schema::Optional(Box::new(T::schema()))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(node: &Node, path: &str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Value::List(items) = &node.value else { return mismatch(node, path, diagnostics, "a list") };
        let read: Vec<Option<T>> =
            items.iter().enumerate().map(|(i, item)| T::read(item, &format!("{path}[{i}]"), diagnostics)).collect();
        read.into_iter().collect()
    }

    fn schema() -> Schema {
        Schema::List(Box::new(T::schema()))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Diagnostics, Format, Node, Setting, choices, settings, tagged};

    choices! {
        /// A cell.
        pub enum Cell { Lstm = "lstm" | "long_short_term_memory", Gru = "gru" }
    }
    settings! {
        /// A recurrent encoder.
        pub struct Rnn {
            /// Cell.
            cell_type: Cell = Cell::Lstm;
            /// Dropout.
            dropout: f64 = 0.0 => 0.0..=0.9;
        }
        /// A lookup encoder.
        pub struct Embed {
            /// Width.
            embedding_size: usize = 8 => 1..=64;
        }
        /// Where weights come from.
        pub struct Weights {
            /// File.
            weights: Option<String> = None;
        }
        /// An encoder with weights.
        pub struct Pretrained {
            /// Width.
            width: usize = 8 => 1..=64;
            ..origin: Weights;
            /// Cell.
            cell_type: Cell = Cell::Lstm;
        }
        /// Any section, named.
        pub struct Named<T> {
            ..section: T;
            /// Name.
            name: Option<String> = None;
        }
        /// A feature.
        pub struct Feature {
            /// Name.
            name: String;
            /// Encoder.
            encoder: Encoder = Encoder::Rnn(crate::defaults());
        }
    }
    tagged! {
        /// Encoders.
        pub enum Encoder: Rnn { Rnn(Rnn) = "rnn", Embed(Embed) = "embed" }
    }

    fn read(text: &str) -> Result<Feature, Diagnostics> {
        let node = Node::parse(text, Format::Yaml).unwrap();
        let mut diagnostics = Diagnostics::default();
        let feature = Feature::read(&node, "", &mut diagnostics);
        diagnostics.unless_any(feature)
    }

    #[test]
    fn defaults_fill_missing_keys() {
        let feature = read("name: x").unwrap();
        assert_eq!(feature.encoder, Encoder::Rnn(Rnn { cell_type: Cell::Lstm, dropout: 0.0 }));
        assert_eq!(read("{name: x, encoder: embed}").unwrap().encoder, Encoder::Embed(Embed { embedding_size: 8 }));
        assert_eq!(
            read("{name: x, encoder: {dropout: 0.5}}").unwrap().encoder,
            Encoder::Rnn(Rnn { cell_type: Cell::Lstm, dropout: 0.5 })
        );
    }

    #[test]
    fn all_mistakes_are_reported_with_their_line_and_path() {
        let text = "encoder:\n  type: rnn\n  cell_type: lstn\n  dropout: 2\n  droput: 1\n";
        let diagnostics = read(text).unwrap_err().to_string();
        let expected = "4 problems in the config
  line 1: the key 'name' is missing
  line 3: encoder.cell_type: unknown value 'lstn', did you mean 'lstm'?; allowed: lstm, gru
  line 4: encoder.dropout: 2 is out of range; allowed: 0 to 0.9
  line 5: encoder.droput: unknown key 'droput', did you mean 'dropout'?; allowed: type, cell_type, dropout";
        assert_eq!(diagnostics, expected);
    }

    #[test]
    fn unknown_type_lists_the_types_and_recognizes_ludwig_names() {
        let diagnostics = read("{name: x, encoder: {type: stacked_transformer}}").unwrap_err().to_string();
        assert!(
            diagnostics.contains("unknown type 'stacked_transformer' (Ludwig has it, mbm does not yet); allowed: rnn, embed"),
            "{diagnostics}"
        );
    }

    #[test]
    fn at_most_a_thousand_mistakes_are_reported() {
        let text: String = (0..20_000).map(|at| format!("key{at}: 1\n")).collect();
        let diagnostics = read(&text).unwrap_err();
        assert_eq!(diagnostics.0.len(), 1000);
        let long = read(&format!("{}: 1", "x".repeat(128))).unwrap_err().to_string();
        assert!(long.len() < 600, "{long}");
    }

    #[test]
    fn values_are_named_as_in_the_config() {
        assert_eq!(Cell::Gru.as_str(), "gru");
        assert_eq!((Encoder::TYPES, Encoder::Rnn(crate::defaults()).type_name()), (&["rnn", "embed"][..], "rnn"));
    }

    #[test]
    fn earlier_spelling_of_a_word_is_read_but_not_written() {
        let feature = read("{name: x, encoder: {cell_type: long_short_term_memory}}").unwrap();
        assert_eq!(feature.encoder, Encoder::Rnn(Rnn { cell_type: Cell::Lstm, dropout: 0.0 }));
        assert_eq!(serde_json::from_str::<Cell>("\"long_short_term_memory\"").unwrap(), Cell::Lstm);
        assert_eq!(serde_json::to_string(&Cell::Lstm).unwrap(), "\"lstm\"");
    }

    #[test]
    fn serialized_settings_round_trip() {
        let feature = read("{name: x, encoder: {type: embed, embedding_size: 3}}").unwrap();
        let text = serde_json::to_string(&feature).unwrap();
        assert_eq!(read(&text).unwrap(), feature);
    }

    #[test]
    fn flattened_keys_are_read_from_and_written_to_the_same_map() {
        let read = |text: &str| {
            let mut diagnostics = Diagnostics::default();
            let read = Named::<Pretrained>::read(&Node::parse(text, Format::Yaml).unwrap(), "", &mut diagnostics);
            diagnostics.unless_any(read)
        };
        let named = read("{width: 3, weights: a.bin, name: x}").unwrap();
        let section = Pretrained { width: 3, origin: Weights { weights: Some("a.bin".into()) }, cell_type: Cell::Lstm };
        assert_eq!(named, Named { section, name: Some("x".into()) });
        let written = serde_json::json!({"width": 3, "weights": "a.bin", "cell_type": "lstm", "name": "x"});
        assert_eq!(serde_json::to_value(&named).unwrap(), written);
        let diagnostics = read("weihgts: a.bin").unwrap_err().to_string();
        assert!(diagnostics.contains("did you mean 'weights'?; allowed: width, weights, cell_type, name"), "{diagnostics}");
        let described = <Named<Pretrained> as crate::Section>::section_schema();
        let keys: Vec<&str> = described.keys.iter().map(|key| key.name).collect();
        assert_eq!((described.name, keys), ("Pretrained", vec!["width", "weights", "cell_type", "name"]));
    }

    #[test]
    fn exponent_without_a_decimal_point_is_a_number() {
        let node = Node::parse("1e-3", Format::Yaml).unwrap();
        assert_eq!(f64::read(&node, "", &mut Diagnostics::default()), Some(0.001));
    }
}
