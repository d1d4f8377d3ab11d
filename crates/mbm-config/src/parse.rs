//! YAML, JSON and TOML text to [`Node`]s.

use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Entry, Node, Problem, Value};

/// The language of a config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, which JSON is a subset of.
    Yaml,
    /// TOML 1.1.
    Toml,
}

/// Deeper nesting than any config has; a bound on recursion.
const DEPTH: usize = 64;

impl Format {
    /// The format that a file's name says: `.toml` is TOML, everything else YAML or JSON.
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") { Format::Toml } else { Format::Yaml }
    }
}

impl Node {
    /// Reads one document.
    ///
    /// # Errors
    /// A syntax error, a duplicate key or nesting deeper than 64, with its line.
    pub fn parse(text: &str, format: Format) -> Result<Node, Problem> {
        match format {
            Format::Yaml => parse_yaml(text),
            Format::Toml => parse_toml(text),
        }
    }
}

fn parse_yaml(text: &str) -> Result<Node, Problem> {
    check_depth(text)?;
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| Problem::at(error.marker().line(), "", format!("not valid YAML: {}", error.info())))?;
    match documents.as_slice() {
        [] => Ok(Node { value: Value::Map(Vec::new()), line: 1 }),
        [document] => yaml_node(document),
        [_, second, ..] => Err(Problem::at(second.span.start.line(), "", "a config file holds one document, this is a second")),
    }
}

/// Refuses nesting that a recursive reader could not survive, before the parser sees it.
fn check_depth(text: &str) -> Result<(), Problem> {
    let mut depth = 0usize;
    for (line_idx, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start_matches([' ', '-', '?']).len();
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if depth > DEPTH || indent > 8 * DEPTH {
            return Err(Problem::at(line_idx + 1, "", format!("nested deeper than {DEPTH} levels")));
        }
    }
    Ok(())
}

fn yaml_node(yaml: &MarkedYaml) -> Result<Node, Problem> {
    let line = yaml.span.start.line();
    let value = match &yaml.data {
        YamlData::Value(scalar) => yaml_scalar(scalar),
        YamlData::Sequence(items) => Value::List(items.iter().map(yaml_node).collect::<Result<_, _>>()?),
        YamlData::Mapping(pairs) => Value::Map(pairs.iter().map(|(key, node)| yaml_entry(key, node)).collect::<Result<_, _>>()?),
        YamlData::Tagged(_, inner) => return yaml_node(inner),
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(Problem::at(line, "", "a value that cannot be read (an alias or a bad tag)"));
        }
    };
    Ok(Node { value, line })
}

fn yaml_scalar(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(value) => Value::Bool(*value),
        Scalar::Integer(value) => Value::Int(*value),
        Scalar::FloatingPoint(value) => Value::Float(value.into_inner()),
        Scalar::String(value) => Value::Text(value.to_string()),
    }
}

fn yaml_entry(key: &MarkedYaml, node: &MarkedYaml) -> Result<Entry, Problem> {
    let line = key.span.start.line();
    let key = match yaml_node(key)?.value {
        Value::Text(text) => text,
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        other => return Err(Problem::at(line, "", format!("a key must be text, found {}", other.name()))),
    };
    Ok(Entry { key, line, node: yaml_node(node)? })
}

fn parse_toml(text: &str) -> Result<Node, Problem> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        Problem::at(line, "", format!("not valid TOML: {}", error.message()))
    })?;
    Ok(Node { value: toml_map(table.get_ref(), &lines), line: 1 })
}

fn toml_map(table: &DeTable, lines: &Lines) -> Value {
    let mut entries: Vec<(usize, Entry)> = table
        .iter()
        .map(|(key, value)| {
            let start = key.span().start;
            let entry = Entry { key: key.get_ref().to_string(), line: lines.at(start), node: toml_node(value, lines) };
            (start, entry)
        })
        .collect();
    entries.sort_by_key(|(start, _)| *start);
    Value::Map(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn toml_node(spanned: &Spanned<DeValue>, lines: &Lines) -> Node {
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| Value::Text(number.to_string()), Value::Int)
        }
        DeValue::Float(number) => number.as_str().parse().map_or_else(|_| Value::Text(number.to_string()), Value::Float),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| toml_node(item, lines)).collect()),
        DeValue::Table(table) => toml_map(table, lines),
    };
    Node { value, line: lines.at(spanned.span().start) }
}

/// Byte offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(breaks).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "a: 1\nb:\n  - {c: x, d: 2.5}\n  - null\ne: true\n";

    #[test]
    fn the_three_languages_give_the_same_values() {
        let json = "{\"a\": 1,\n \"b\": [{\"c\": \"x\", \"d\": 2.5}, null],\n \"e\": true}";
        let toml = "a = 1\ne = true\n[[b]]\nc = 'x'\nd = 2.5\n";
        let yaml = Node::parse(YAML, Format::Yaml).unwrap();
        assert_eq!(crate::to_yaml(&yaml), crate::to_yaml(&Node::parse(json, Format::Yaml).unwrap()));
        let toml = Node::parse(toml, Format::Toml).unwrap();
        assert_eq!(toml.at("a").unwrap().value, Value::Int(1));
        assert_eq!(toml.at("e").unwrap().line, 2);
        let Value::List(items) = &toml.at("b").unwrap().value else { panic!("a list") };
        assert_eq!(items[0].at("d").unwrap().value, Value::Float(2.5));
    }

    #[test]
    fn lines_are_counted_from_one() {
        let node = Node::parse(YAML, Format::Yaml).unwrap();
        let Value::Map(entries) = &node.value else { panic!("a map") };
        assert_eq!(entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn a_duplicate_key_is_an_error_with_its_line() {
        let problem = Node::parse("a: 1\nb: 2\na: 3\n", Format::Yaml).unwrap_err();
        assert_eq!(problem.line, 3);
        assert!(problem.message.contains("duplicated key"), "{}", problem.message);
        assert_eq!(Node::parse("a = 1\na = 2\n", Format::Toml).unwrap_err().line, 2);
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let problem = Node::parse(&"[".repeat(100_000), Format::Yaml).unwrap_err();
        assert!(problem.message.contains("nested deeper"), "{}", problem.message);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[\\[\\]{}:,a-c \\n\"'#&*!|>%@`0-9.-]{0,80}") {
            let _ = Node::parse(&text, Format::Yaml);
            let _ = Node::parse(&text, Format::Toml);
        }
    }
}
