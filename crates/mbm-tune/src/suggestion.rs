//! The parameters of a trial: what it changes in the config.

use std::collections::BTreeMap;
use std::fmt;

use mbm_config::{Node, to_yaml};
use serde_json::Value;

/// Values by dotted path, as `--set` takes them. A path comes before those below it.
///
/// ```
/// use mbm_tune::Suggestion;
///
/// let suggestion: Suggestion = serde_json::from_str(r#"{"trainer.learning_rate": 0.01, "combiner": {"type": "gated"}}"#)?;
/// assert_eq!(suggestion.to_string(), r#"--set 'combiner={"type":"gated"}' --set trainer.learning_rate=0.01"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Suggestion(pub BTreeMap<String, Value>);

impl Suggestion {
    /// Returns `path=value` pairs, with the values in YAML.
    pub fn overrides(&self) -> Vec<String> {
        self.0.iter().map(|(path, value)| format!("{path}={}", yaml(value))).collect()
    }

    /// Returns the paths and values as nodes of a config.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Node)> {
        self.0.iter().map(|(path, value)| (path.as_str(), Node::from(value)))
    }
}

/// Writes the arguments of a command for a shell.
impl fmt::Display for Suggestion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments: Vec<String> = self.overrides().iter().map(|pair| format!("--set {}", quoted(pair))).collect();
        out.write_str(&arguments.join(" "))
    }
}

/// Writes a value on one line; JSON is YAML.
pub(crate) fn yaml(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => to_yaml(&Node::from(value)).trim_end().to_owned(),
    }
}

/// Quotes an argument, if a shell would not take it as it is.
fn quoted(argument: &str) -> String {
    let is_plain = argument.chars().all(|c| c.is_ascii_alphanumeric() || "_-.=/+".contains(c));
    if is_plain { argument.to_owned() } else { format!("'{}'", argument.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use mbm_config::Format;
    use serde_json::json;

    use super::*;

    fn suggestion(value: Value) -> Suggestion {
        Suggestion(BTreeMap::from([("a.b".to_owned(), value)]))
    }

    #[test]
    fn overrides_are_read_as_the_same_values() {
        for value in [
            json!(0.01),
            json!(1e-7),
            json!(3),
            json!(true),
            json!(null),
            json!("gated"),
            json!("yes"),
            json!("1"),
            json!("it's a=b"),
            json!([1, "x"]),
            json!({"type": "rnn", "sizes": [1, 2]}),
        ] {
            let suggestion = suggestion(value.clone());
            let overrides = suggestion.overrides();
            let (path, text) = overrides[0].split_once('=').unwrap();
            let read = crate::node_json::json_of(&Node::parse(text, Format::Yaml).unwrap()).unwrap();
            // The parser of YAML reads 1e-7 as text, which numeric settings accept.
            let is_same = read == value || read.as_str().is_some_and(|it| it.parse::<f64>().ok() == value.as_f64());
            assert!(path == "a.b" && is_same, "{value}: {text}");
        }
    }

    #[test]
    fn values_are_quoted_for_a_shell_where_needed() {
        assert_eq!(suggestion(json!("gated")).to_string(), "--set a.b=gated");
        assert_eq!(suggestion(json!([1, 2])).to_string(), "--set 'a.b=[1,2]'");
        assert_eq!(suggestion(json!("it's")).to_string(), r#"--set 'a.b="it'\''s"'"#);
        assert_eq!(Suggestion::default().to_string(), "");
    }
}
