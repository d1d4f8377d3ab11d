//! Writes nodes as YAML in the way a person would: one feature per line, short maps in braces.

use crate::{Entry, Node, Value};

/// The longest map or list that is written on one line, in characters.
const WIDTH: usize = 118;

/// Writes a document, indented by two spaces and ending in a line break.
pub fn to_yaml(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => write_map(entries, 0, &mut out),
        _ => {
            out.push_str(&flow(node));
            out.push('\n');
        }
    }
    out
}

fn write_map(entries: &[Entry], indent: usize, out: &mut String) {
    for entry in entries {
        out.push_str(&" ".repeat(indent));
        out.push_str(&text(&entry.key));
        out.push(':');
        write_value(&entry.node, indent, out);
    }
}

fn write_value(node: &Node, indent: usize, out: &mut String) {
    let line = flow(node);
    let holds_maps = matches!(&node.value, Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))));
    // An empty map or list has nothing to write on further lines.
    let is_empty = line == "{}" || line == "[]";
    if is_empty || !holds_maps && indent + line.len() <= WIDTH {
        out.push_str(&format!(" {line}\n"));
        return;
    }
    out.push('\n');
    match &node.value {
        Value::Map(entries) => write_map(entries, indent + 2, out),
        Value::List(items) => items.iter().for_each(|item| write_item(item, indent + 2, out)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            out.push_str(&format!("{}{line}\n", " ".repeat(indent + 2)));
        }
    }
}

fn write_item(item: &Node, indent: usize, out: &mut String) {
    let line = flow(item);
    let start = format!("{}- ", " ".repeat(indent));
    match &item.value {
        Value::Map(entries) if indent + line.len() > WIDTH => {
            let mut block = String::new();
            write_map(entries, indent + 2, &mut block);
            out.push_str(&start);
            out.push_str(block.trim_start());
        }
        _ => out.push_str(&format!("{start}{line}\n")),
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => text(value),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let pairs: Vec<String> = entries.iter().map(|entry| format!("{}: {}", text(&entry.key), flow(&entry.node))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// Writes text plainly if every YAML parser agrees that it is text, otherwise quoted.
fn text(value: &str) -> String {
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !matches!(value.to_ascii_lowercase().as_str(), "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n")
        && value.parse::<f64>().is_err();
    if plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

impl From<&serde_json::Value> for Node {
    fn from(json: &serde_json::Value) -> Self {
        Node::bare(match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            serde_json::Value::String(value) => Value::Text(value.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Node::from).collect()),
            serde_json::Value::Object(pairs) => Value::Map(
                pairs.iter().map(|(key, value)| Entry { key: key.clone(), line: 0, node: Node::from(value) }).collect(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    fn without_lines(node: &Node) -> serde_json::Value {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(without_lines).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), without_lines(&entry.node))).collect(),
        }
    }

    #[test]
    fn deepest_json_converts_to_yaml_on_a_small_stack() {
        // serde_json reads 127 levels.
        let json = format!("{}1{}", "{\"a\": [".repeat(63), "]}".repeat(63));
        let work = move || {
            let node = Node::from(&serde_json::from_str::<serde_json::Value>(&json).unwrap());
            assert_eq!(to_yaml(&node.clone()).matches('a').count(), 63);
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
    }

    proptest::proptest! {
        #[test]
        fn written_yaml_round_trips(key in "\\PC{1,12}", value in "\\PC{0,12}", number in -1e9f64..1e9) {
            let map = Value::Map(vec![
                Entry { key, line: 0, node: Node::bare(Value::Text(value)) },
                Entry { key: "\u{0}number".into(), line: 0, node: Node::bare(Value::List(vec![Node::bare(Value::Float(number))])) },
            ]);
            let node = Node::bare(map);
            let back = Node::parse(&to_yaml(&node), Format::Yaml).unwrap();
            proptest::prop_assert_eq!(without_lines(&back), without_lines(&node));
        }
    }
}
