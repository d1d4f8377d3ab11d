//! Config trees built by the program.

use mbm_config::{Entry, Node, Value};

pub(super) fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.to_owned(), line: 0, node }
}

pub(super) fn map(entries: Vec<Entry>) -> Node {
    Node::bare(Value::Map(entries))
}

pub(super) fn list(items: Vec<Node>) -> Node {
    Node::bare(Value::List(items))
}

pub(super) fn text(value: &str) -> Node {
    Node::bare(Value::Text(value.to_owned()))
}

pub(super) fn int(value: usize) -> Node {
    Node::bare(Value::Int(value as i64))
}

pub(super) fn float(value: f64) -> Node {
    Node::bare(Value::Float(value))
}

pub(super) fn boolean(value: bool) -> Node {
    Node::bare(Value::Bool(value))
}
