//! Converts values of a config to JSON, in which the journal stores them.

use mbm_config::{Node, Value};
use serde_json::Value as Json;

/// Returns a value as JSON; `None` if a number in it is not finite, which JSON cannot express.
pub(crate) fn json_of(node: &Node) -> Option<Json> {
    match &node.value {
        Value::Null => Some(Json::Null),
        Value::Bool(value) => Some((*value).into()),
        Value::Int(value) => Some((*value).into()),
        Value::Float(value) => serde_json::Number::from_f64(*value).map(Json::Number),
        Value::Text(value) => Some(value.as_str().into()),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries.iter().map(|entry| Some((entry.key.clone(), json_of(&entry.node)?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use mbm_config::Format;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_types_are_converted() {
        let node = Node::parse("{a: [1, 2.5, x, true, null], b: {c: -3}}", Format::Yaml).unwrap();
        assert_eq!(json_of(&node), Some(json!({"a": [1, 2.5, "x", true, null], "b": {"c": -3}})));
        assert_eq!(json_of(&Node::parse("[{a: .inf}]", Format::Yaml).unwrap()), None);
    }
}
