//! Settings implied by pretrained weights, merged into a config before it is read.

use std::path::Path;

use mbm_config::{Diagnostics, Entry, Node, Value};
use mbm_model::{Implied, implied};

/// Preprocessing keys that must agree with the weights; for all others, the user's value takes precedence.
const BINDING: [&str; 3] = ["tokenizer", "type", "sampling_rate"];

/// Adds the keys that the weights of each input imply and the user has not set. A key that is set and contradicts the weights is
/// a problem, as are weights that cannot be read.
pub(crate) fn pretrained_defaults(node: &mut Node, diagnostics: &mut Diagnostics) {
    let Value::Map(entries) = &mut node.value else { return };
    let Some(inputs) = entries.iter_mut().find(|entry| entry.key == "input_features") else { return };
    let Value::List(inputs) = &mut inputs.node.value else { return };
    for (at, input) in inputs.iter_mut().enumerate() {
        let Some((kind, encoder, weights, line)) = pretrained(input) else { continue };
        let path = format!("input_features[{at}]");
        match implied(&kind, &encoder, Path::new(&weights)) {
            Ok(Implied { encoder, preprocessing }) => {
                let required = |key: &str, value: &Node| format!("the weights at {weights} require {key}: {}", shown(value));
                merge(input, "encoder", &encoder, line, |key, value| {
                    diagnostics.add(line, &format!("{path}.encoder.{key}"), required(key, value));
                });
                merge(input, "preprocessing", &preprocessing, line, |key, value| {
                    if BINDING.contains(&key) {
                        diagnostics.add(line, &format!("{path}.preprocessing.{key}"), required(key, value));
                    }
                });
            }
            Err(error) => diagnostics.add(line, &format!("{path}.encoder.weights"), error.to_string()),
        }
    }
}

/// Returns the type, encoder, weights and line of an input that starts from pretrained weights.
fn pretrained(input: &Node) -> Option<(String, String, String, usize)> {
    let kind = text(input.at("type")?)?.to_owned();
    let encoder = input.at("encoder")?;
    let is_pretrained = encoder.at("use_pretrained")?.value == Value::Bool(true);
    let weights = encoder.at("weights").filter(|_| is_pretrained)?;
    Some((kind, text(encoder.at("type")?)?.to_owned(), text(weights)?.to_owned(), weights.line))
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// Adds keys to a section; `differs` is called with each key that is set to another value, and the value of the weights.
fn merge(
    input: &mut Node,
    section: &str,
    keys: &serde_json::Map<String, serde_json::Value>,
    line: usize,
    mut differs: impl FnMut(&str, &Node),
) {
    for (key, value) in keys {
        let value = Node { line, ..Node::from(value) };
        match input.at(section).and_then(|section| section.at(key)).filter(|node| node.value != Value::Null) {
            Some(written) if !is_same(written, &value) => differs(key, &value),
            Some(_) => {}
            None => add(input, section, Entry { key: key.clone(), line, node: value }),
        }
    }
}

/// Adds an entry to a section, which is created if missing. A section that is not a map is left as is; reading it fails.
fn add(input: &mut Node, section: &str, entry: Entry) {
    let Value::Map(entries) = &mut input.value else { return };
    let at = entries.iter().position(|it| it.key == section).unwrap_or_else(|| {
        let node = Node { value: Value::Map(Vec::new()), line: entry.line };
        entries.push(Entry { key: section.to_owned(), line: entry.line, node });
        entries.len() - 1
    });
    if let Value::Map(keys) = &mut entries[at].node.value {
        keys.retain(|it| it.key != entry.key);
        keys.push(entry);
    }
}

fn is_same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        _ => number(a).is_some() && number(a) == number(b),
    }
}

fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Int(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        _ => None,
    }
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use mbm_config::Format;

    use super::*;
    use crate::Plan;
    use crate::config::features::InputFeature;

    /// A folder that describes a small BERT, without the weights themselves, which are not read here.
    fn bert() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config =
            r#"{"model_type": "bert", "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 90, "num_hidden_layers": 2}"#;
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        std::fs::write(folder.path().join("sentence_bert_config.json"), r#"{"max_seq_length": 128}"#).unwrap();
        folder
    }

    fn read(folder: &Path, more: &str, preprocessing: &str) -> Result<Plan, crate::Error> {
        let weights = folder.display();
        let text = format!(
            "input_features:
  - name: notes
    type: text
    encoder: {{type: bert, use_pretrained: true, weights: {weights}{more}}}
    preprocessing: {{{preprocessing}}}
output_features: [{{name: y, type: number}}]
"
        );
        Plan::read(&text, Format::Yaml, &[], "config.yaml")
    }

    #[test]
    fn sizes_and_tokenizer_are_taken_from_the_weights() {
        let folder = bert();
        let plan = read(folder.path(), "", "").unwrap();
        let InputFeature::Text(text) = &plan.config.input_features[0] else { panic!("no text") };
        assert_eq!(text.preprocessing.max_sequence_length, 128);
        assert!(!text.preprocessing.lowercase);
        assert!(text.preprocessing.vocab_file.as_ref().unwrap().ends_with("tokenizer.json"));
        let written = plan.to_yaml();
        for want in ["hidden_size: 64", "num_attention_heads: 4", "vocab_size: 90", "type_vocab_size: 2"] {
            assert!(written.contains(want), "{want}\n{written}");
        }
        folder.close().unwrap();
        assert_eq!(Plan::from_node(&Node::from(&plan.to_json())).unwrap(), plan);
    }

    #[test]
    fn user_settings_must_not_contradict_the_weights() {
        let folder = bert();
        let plan = read(folder.path(), ", num_hidden_layers: 2", "max_sequence_length: 16").unwrap();
        let InputFeature::Text(text) = &plan.config.input_features[0] else { panic!("no text") };
        assert_eq!(text.preprocessing.max_sequence_length, 16);
        let diagnostics = read(folder.path(), ", hidden_size: 32", "tokenizer: characters").unwrap_err().to_string();
        for want in [
            "line 4: input_features[0].encoder.hidden_size: the weights at",
            "require hidden_size: 64",
            "input_features[0].preprocessing.tokenizer: the weights at",
            "require tokenizer: hf_tokenizer",
        ] {
            assert!(diagnostics.contains(want), "{want}\n{diagnostics}");
        }
        let missing = read(Path::new("no/such/folder"), "", "").unwrap_err().to_string();
        assert!(
            missing.contains("line 4: input_features[0].encoder.weights: no/such/folder: no such file or folder"),
            "{missing}"
        );
    }
}
