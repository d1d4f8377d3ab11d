//! Values of a config file together with their lines.

use crate::excerpt;
use crate::limits::{LongKey, MAX_DEPTH, check_key};

/// One value and its line (starting at 1; 0 for a value that is not from a file).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value itself.
    pub value: Value,
    /// The line on which it starts.
    pub line: usize,
}

/// A value in a config file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing after the colon.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number with a decimal point or an exponent.
    Float(f64),
    /// Text, quoted or plain.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in file order.
    Map(Vec<Entry>),
}

/// A key of a map, with its line and value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The key's line.
    pub line: usize,
    /// The value of the key.
    pub node: Node,
}

/// A value that cannot be set; texts of the path are abridged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// The path leads too deep.
    #[error("'{path}' would be nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// A part of the path is too long.
    #[error(transparent)]
    LongKey(#[from] LongKey),
    /// A list has no such item.
    #[error("'{key}' is neither a position below {n_items} nor the name of a feature")]
    NoItem {
        /// The part of the path.
        key: String,
        /// Number of items of the list.
        n_items: usize,
    },
    /// A value without keys stands where the path goes on.
    #[error("cannot set '{key}' below {found}, which has no keys")]
    NoKeys {
        /// The part of the path.
        key: String,
        /// The value, as [`Value::name`] describes it.
        found: String,
    },
}

impl Node {
    /// Creates a node for a value that is not from a file.
    pub fn bare(value: Value) -> Self {
        Self { value, line: 0 }
    }

    /// Returns the value of `key`, if this is a map that has it.
    pub fn at(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Sets the value at a dotted path (`trainer.epochs`, `input_features.0.encoder`), creating maps along the way.
    ///
    /// # Errors
    /// Fails if a part of the path is neither a map key nor a list position or is longer than a key may be, or if the path leads
    /// deeper than [`MAX_DEPTH`].
    pub fn set(&mut self, path: &str, node: Node) -> Result<(), SetError> {
        if path.split('.').count() + node.depth() > MAX_DEPTH {
            return Err(SetError::TooDeep { path: excerpt(path) });
        }
        path.split('.').try_for_each(check_key)?;
        let mut slot = self;
        for key in path.split('.') {
            slot = slot.slot(key)?;
        }
        *slot = node;
        Ok(())
    }

    /// Returns a dotted path as diagnostics write it: `input_features[0].type` for `input_features.image.type`.
    pub fn diagnostic_path(&self, path: &str) -> String {
        let (mut node, mut shown) = (Some(self), String::new());
        for key in path.split('.') {
            if let Some(Value::List(items)) = node.map(|node| &node.value) {
                let at = position(items, key);
                shown.push_str(&at.map_or(format!("[{key}]"), |at| format!("[{at}]")));
                node = at.and_then(|at| items.get(at));
            } else {
                shown.push_str(if shown.is_empty() { "" } else { "." });
                shown.push_str(key);
                node = node.and_then(|node| node.at(key));
            }
        }
        shown
    }

    /// Returns the value without its lines, as one that is not from a file.
    pub fn without_lines(self) -> Self {
        Self::bare(match self.value {
            Value::List(items) => Value::List(items.into_iter().map(Self::without_lines).collect()),
            Value::Map(entries) => {
                let bare = |Entry { key, node, .. }| Entry { key, line: 0, node: Self::without_lines(node) };
                Value::Map(entries.into_iter().map(bare).collect())
            }
            scalar @ (Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) => scalar,
        })
    }

    /// Returns the number of levels below this one.
    fn depth(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(|item| item.depth() + 1).max().unwrap_or(1),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.depth() + 1).max().unwrap_or(1),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 0,
        }
    }

    fn slot(&mut self, key: &str) -> Result<&mut Node, SetError> {
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
                let at = position(items, key);
                at.and_then(|at| items.get_mut(at)).ok_or_else(|| SetError::NoItem { key: excerpt(key), n_items })
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                Err(SetError::NoKeys { key: excerpt(key), found })
            }
        }
    }

    fn is_named(&self, name: &str) -> bool {
        matches!(self.at("name"), Some(Node { value: Value::Text(own), .. }) if own == name)
    }
}

/// Returns the position in a list that a part of a path means: a number, or the name of a feature.
fn position(items: &[Node], key: &str) -> Option<usize> {
    key.parse().ok().or_else(|| items.iter().position(|item| item.is_named(key)))
}

impl Value {
    /// Returns a description of this value for errors.
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
    fn path_sets_a_key_a_list_position_or_a_named_item() {
        let mut node = Node::parse("input_features: [{name: image}, {name: notes}]", Format::Yaml).unwrap();
        node.set("trainer.epochs", Node::bare(Value::Int(3))).unwrap();
        node.set("input_features.notes.type", Node::bare(Value::Text("text".into()))).unwrap();
        assert_eq!(node.at("trainer").unwrap().at("epochs").unwrap().value, Value::Int(3));
        assert_eq!(
            crate::to_yaml(&node),
            "input_features:\n  - {name: image}\n  - {name: notes, type: text}\ntrainer: {epochs: 3}\n"
        );
        assert!(node.set("input_features.9.type", Node::bare(Value::Null)).unwrap_err().to_string().contains("position below 2"));
        let shown = ["input_features.notes.type", "input_features.0", "trainer.epochs"].map(|path| node.diagnostic_path(path));
        assert_eq!(shown, ["input_features[1].type", "input_features[0]", "trainer.epochs"]);
    }

    #[test]
    fn values_without_lines_are_the_same_values() {
        let text = "[{name: image}, 3, [null]]";
        let node = Node::parse(text, Format::Yaml).unwrap();
        let bare = node.clone().without_lines();
        assert_eq!(crate::to_yaml(&bare), crate::to_yaml(&node));
        assert_eq!(bare, bare.clone().without_lines());
        assert_ne!(bare, node);
    }

    #[test]
    fn too_deep_paths_and_values_are_rejected() {
        let set = |path: &str, value: &str| {
            let mut node = Node::bare(Value::Null);
            node.set(path, Node::parse(value, Format::Yaml).unwrap()).map(|()| node)
        };
        assert!(set(&"a.".repeat(100_000), "1").unwrap_err().to_string().ends_with("…' would be nested deeper than 64 levels"));
        let (path, value) = (vec!["a"; 32].join("."), format!("{}{}", "[".repeat(32), "]".repeat(32)));
        let deepest = set(&path, &value).unwrap();
        assert!(Node::parse(&crate::to_yaml(&deepest), Format::Yaml).is_ok());
        assert!(set(&format!("{path}.a"), &value).is_err());
    }

    #[test]
    fn keys_longer_than_yaml_allows_are_rejected() {
        let mut node = Node::bare(Value::Null);
        assert!(node.set(&format!("a.{}", "\0".repeat(128)), Node::bare(Value::Null)).is_ok());
        assert!(Node::parse(&crate::to_yaml(&node), Format::Yaml).is_ok());
        let message = node.set(&"ä".repeat(129), Node::bare(Value::Null)).unwrap_err().to_string();
        assert!(message.starts_with("a key of 129 characters, 'ä") && message.ends_with("; the limit is 128"), "{message}");
        for (text, format) in
            [(format!("? {}\n: 1", "k".repeat(129)), Format::Yaml), (format!("{} = 1", "k".repeat(129)), Format::Toml)]
        {
            assert!(Node::parse(&text, format).unwrap_err().message.contains("a key of 129 characters"));
        }
    }

    #[test]
    fn long_text_is_truncated_in_errors() {
        assert_eq!(Value::Text("x".repeat(1000)).name(), format!("the text '{}…'", "x".repeat(60)));
    }
}
