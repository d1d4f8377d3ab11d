//! A value of a config file together with the line that it stands on.

use crate::excerpt;
use crate::limits::{MAX_DEPTH, check_key};

/// One value and its line (from 1; 0 for a value that no file holds).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// The line on which it starts.
    pub line: usize,
}

/// What a config file can hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing after the colon.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// Text, quoted or plain.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the file's order.
    Map(Vec<Entry>),
}

/// A key of a map, its line and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The key's line.
    pub line: usize,
    /// The value behind it.
    pub node: Node,
}

impl Node {
    /// A value that no file holds.
    pub fn bare(value: Value) -> Self {
        Self { value, line: 0 }
    }

    /// The value of `key`, if this is a map that has it.
    pub fn at(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Sets the value at a dotted path (`trainer.epochs`, `input_features.0.encoder`), making maps on the way.
    ///
    /// # Errors
    /// The part of the path that names no map key and no list position; a path that leads deeper than [`MAX_DEPTH`] or has a part
    /// longer than a key may be.
    pub fn set(&mut self, path: &str, node: Node) -> Result<(), String> {
        if path.split('.').count() + node.depth() > MAX_DEPTH {
            return Err(format!("'{}' would be nested deeper than {MAX_DEPTH} levels", excerpt(path)));
        }
        path.split('.').try_for_each(check_key)?;
        let mut slot = self;
        for key in path.split('.') {
            slot = slot.slot(key)?;
        }
        *slot = node;
        Ok(())
    }

    /// Levels below this one.
    fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(|item| item.depth() + 1).max().unwrap_or(1),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.depth() + 1).max().unwrap_or(1),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
        }
    }

    fn slot(&mut self, key: &str) -> Result<&mut Node, String> {
        if self.value == Value::Null {
            self.value = Value::Map(Vec::new());
        }
        let found = self.value.name();
        match &mut self.value {
            Value::Map(entries) => {
                let at = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
                    entries.push(Entry { key: key.to_owned(), line: 0, node: Node::bare(Value::Null) });
                    entries.len() - 1
                });
                Ok(&mut entries[at].node)
            }
            Value::List(items) => {
                let n_items = items.len();
                let named = |item: &Node| matches!(item.at("name"), Some(Node { value: Value::Text(name), .. }) if name == key);
                let at = key.parse().ok().or_else(|| items.iter().position(named));
                at.and_then(|at: usize| items.get_mut(at))
                    .ok_or_else(|| format!("'{}' is neither a position below {n_items} nor a feature's name", excerpt(key)))
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                Err(format!("'{}' stands below {found}, which has no keys", excerpt(key)))
            }
        }
    }
}

impl Value {
    /// What kind of value this is, as an error names it.
    pub fn name(&self) -> String {
        match self {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("'{value}' (true or false)"),
            Value::Int(value) => format!("{value}"),
            Value::Float(value) => format!("{value}"),
            Value::Text(value) => format!("the text '{}'", excerpt(value)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn a_path_sets_a_key_a_list_position_or_a_named_item() {
        let mut node = Node::parse("input_features: [{name: image}, {name: notes}]", Format::Yaml).unwrap();
        node.set("trainer.epochs", Node::bare(Value::Int(3))).unwrap();
        node.set("input_features.notes.type", Node::bare(Value::Text("text".into()))).unwrap();
        assert_eq!(node.at("trainer").unwrap().at("epochs").unwrap().value, Value::Int(3));
        assert_eq!(
            crate::to_yaml(&node),
            "input_features:\n  - {name: image}\n  - {name: notes, type: text}\ntrainer: {epochs: 3}\n"
        );
        assert!(node.set("input_features.9.type", Node::bare(Value::Null)).unwrap_err().contains("position below 2"));
    }

    #[test]
    fn a_path_or_a_value_that_leads_too_deep_is_refused() {
        let set = |path: &str, value: &str| {
            let mut node = Node::bare(Value::Null);
            node.set(path, Node::parse(value, Format::Yaml).unwrap()).map(|()| node)
        };
        assert!(set(&"a.".repeat(100_000), "1").unwrap_err().ends_with("…' would be nested deeper than 64 levels"));
        let (path, value) = (vec!["a"; 32].join("."), format!("{}{}", "[".repeat(32), "]".repeat(32)));
        let deepest = set(&path, &value).unwrap();
        assert!(Node::parse(&crate::to_yaml(&deepest), Format::Yaml).is_ok());
        assert!(set(&format!("{path}.a"), &value).is_err());
    }

    #[test]
    fn a_key_longer_than_yaml_reads_is_refused() {
        let mut node = Node::bare(Value::Null);
        assert!(node.set(&format!("a.{}", "\0".repeat(128)), Node::bare(Value::Null)).is_ok());
        assert!(Node::parse(&crate::to_yaml(&node), Format::Yaml).is_ok());
        let message = node.set(&"ä".repeat(129), Node::bare(Value::Null)).unwrap_err();
        assert!(message.starts_with("a key of 129 characters, 'ä") && message.ends_with("; at most 128 are read"), "{message}");
        for (text, format) in
            [(format!("? {}\n: 1", "k".repeat(129)), Format::Yaml), (format!("{} = 1", "k".repeat(129)), Format::Toml)]
        {
            assert!(Node::parse(&text, format).unwrap_err().message.contains("a key of 129 characters"));
        }
    }

    #[test]
    fn an_error_names_the_beginning_of_a_long_text() {
        assert_eq!(Value::Text("x".repeat(1000)).name(), format!("the text '{}…'", "x".repeat(60)));
    }
}
