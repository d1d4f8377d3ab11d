//! Parses YAML, JSON and TOML text into [`Node`]s.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use saphyr_parser::{Event, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::beginning;
use crate::limits::{MAX_ALIASED_BYTES, MAX_CONFIG_BYTES, MAX_DEPTH, check_key};
use crate::{Diagnostic, Entry, Node, Value};

/// The format of a config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, of which JSON is a subset.
    Yaml,
    /// TOML 1.1.
    Toml,
}

/// Maximum number of characters of a parser's message: a sentence or two, which may contain a key of the file.
const MAX_MESSAGE: usize = 200;

impl Format {
    /// Returns the format that a file's name indicates: TOML for `.toml`, YAML or JSON for everything else.
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") { Format::Toml } else { Format::Yaml }
    }
}

impl Node {
    /// Parses one document.
    ///
    /// # Errors
    /// Fails on a syntax error, a duplicate key or nesting deeper than [`MAX_DEPTH`], with its line, and on text longer than
    /// [`MAX_CONFIG_BYTES`].
    pub fn parse(text: &str, format: Format) -> Result<Node, Diagnostic> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(Diagnostic::at(0, "", format!("{} bytes; a config has at most {MAX_CONFIG_BYTES}", text.len())));
        }
        match format {
            Format::Yaml => parse_yaml(text),
            Format::Toml => parse_toml(text),
        }
    }
}

fn parse_yaml(text: &str) -> Result<Node, Diagnostic> {
    check_yaml(text)?;
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        Diagnostic::at(error.marker().line(), "", format!("not valid YAML: {}", beginning(error.info(), MAX_MESSAGE)))
    })?;
    match documents.as_slice() {
        [] => Ok(Node { value: Value::Map(Vec::new()), line: 1 }),
        [document] => yaml_node(document),
        [_, second, ..] => {
            Err(Diagnostic::at(second.span.start.line(), "", "a config file must contain one document; this is a second one"))
        }
    }
}

/// The depth of a node, and its size where an alias repeats it.
#[derive(Default, Clone, Copy)]
struct Extent {
    depth: usize,
    n_bytes: usize,
}

impl Extent {
    /// Returns the extent of a node without children.
    fn of(text: &str) -> Self {
        Self { depth: 0, n_bytes: text.len() + 64 }
    }

    fn hold(&mut self, other: Self) {
        self.depth = self.depth.max(other.depth + 1);
        self.n_bytes = self.n_bytes.saturating_add(other.n_bytes);
    }
}

/// Rejects nesting that would overflow a recursive parser, and aliases that expand to far more than the text, before a tree is
/// built.
fn check_yaml(text: &str) -> Result<(), Diagnostic> {
    let mut open: Vec<(usize, Extent)> = Vec::new();
    let (mut anchors, mut n_aliased) = (HashMap::new(), 0usize);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) if error.info() == "recursion limit exceeded" => {
                return Err(Diagnostic::at(error.marker().line(), "", too_deep()));
            }
            // Syntax errors are reported by the loader.
            Err(_) => break,
        };
        let closed = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                open.push((anchor, Extent::of("")));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop(),
            Event::Scalar(text, _, anchor, _) => Some((anchor, Extent::of(&text))),
            Event::Alias(anchor) => {
                let extent: Extent = anchors.get(&anchor).copied().unwrap_or_default();
                n_aliased = extent.n_bytes.saturating_add(n_aliased);
                Some((0, extent))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => None,
        };
        if let Some((anchor, extent)) = closed {
            anchors.insert(anchor, extent);
            if let Some((_, parent)) = open.last_mut() {
                parent.hold(extent);
            }
        }
        if open.len() + closed.map_or(0, |(_, extent)| extent.depth) > MAX_DEPTH {
            return Err(Diagnostic::at(span.start.line(), "", too_deep()));
        }
        if n_aliased > MAX_ALIASED_BYTES {
            let message = format!("aliases repeat more than {MAX_ALIASED_BYTES} bytes");
            return Err(Diagnostic::at(span.start.line(), "", message));
        }
    }
    Ok(())
}

fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels")
}

fn yaml_node(yaml: &MarkedYaml) -> Result<Node, Diagnostic> {
    let line = yaml.span.start.line();
    let value = match &yaml.data {
        YamlData::Value(scalar) => yaml_scalar(scalar),
        YamlData::Sequence(items) => Value::List(items.iter().map(yaml_node).collect::<Result<_, _>>()?),
        YamlData::Mapping(pairs) => {
            let entries = pairs.iter().map(|(key, node)| yaml_entry(key, node)).collect::<Result<Vec<_>, _>>()?;
            check_unique(&entries)?;
            Value::Map(entries)
        }
        YamlData::Tagged(_, inner) => return yaml_node(inner),
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err(Diagnostic::at(line, "", "unsupported value (an alias or an invalid tag)"));
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

fn yaml_entry(key: &MarkedYaml, node: &MarkedYaml) -> Result<Entry, Diagnostic> {
    let line = key.span.start.line();
    let key = match yaml_node(key)?.value {
        Value::Text(text) => text,
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        other => return Err(Diagnostic::at(line, "", format!("a key must be text, found {}", other.name()))),
    };
    check_key(&key).map_err(|error| Diagnostic::at(line, "", error.to_string()))?;
    Ok(Entry { key, line, node: yaml_node(node)? })
}

/// Rejects keys that are equal as text but that the loader considers different: `1` and `"1"`, `a` and `!tag a`.
fn check_unique(entries: &[Entry]) -> Result<(), Diagnostic> {
    let mut keys = HashSet::new();
    let second = entries.iter().find(|entry| !keys.insert(entry.key.as_str()));
    second.map_or(Ok(()), |entry| {
        Err(Diagnostic::at(entry.line, "", format!("duplicated key '{}'", beginning(&entry.key, MAX_MESSAGE))))
    })
}

fn parse_toml(text: &str) -> Result<Node, Diagnostic> {
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        Diagnostic::at(line, "", format!("not valid TOML: {}", beginning(error.message(), MAX_MESSAGE)))
    })?;
    Ok(Node { value: toml_map(table.get_ref(), &lines, MAX_DEPTH)?, line: 1 })
}

/// `levels` is the number of levels that may be nested in the table.
fn toml_map(table: &DeTable, lines: &Lines, levels: usize) -> Result<Value, Diagnostic> {
    let entries = table.iter().map(|(key, value)| {
        let entry = toml_entry(key, value, lines, levels)?;
        Ok((key.span().start, entry))
    });
    let mut entries = entries.collect::<Result<Vec<(usize, Entry)>, Diagnostic>>()?;
    entries.sort_by_key(|(start, _)| *start);
    Ok(Value::Map(entries.into_iter().map(|(_, entry)| entry).collect()))
}

fn toml_entry(key: &Spanned<Cow<str>>, value: &Spanned<DeValue>, lines: &Lines, levels: usize) -> Result<Entry, Diagnostic> {
    let (name, line) = (key.get_ref(), lines.at(key.span().start));
    check_key(name).map_err(|error| Diagnostic::at(line, "", error.to_string()))?;
    Ok(Entry { key: name.to_string(), line, node: toml_node(value, lines, levels)? })
}

fn toml_node(spanned: &Spanned<DeValue>, lines: &Lines, levels: usize) -> Result<Node, Diagnostic> {
    let line = lines.at(spanned.span().start);
    let below = || levels.checked_sub(1).ok_or_else(|| Diagnostic::at(line, "", too_deep()));
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| Value::Text(number.to_string()), Value::Int)
        }
        DeValue::Float(number) => number.as_str().parse().map_or_else(|_| Value::Text(number.to_string()), Value::Float),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Text(date.to_string()),
        DeValue::Array(items) => {
            let levels = below()?;
            Value::List(items.iter().map(|item| toml_node(item, lines, levels)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => toml_map(table, lines, below()?)?,
    };
    Ok(Node { value, line })
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
    fn yaml_json_and_toml_give_the_same_values() {
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
        let diagnostic = Node::parse("a: 1\nb: 2\na: 3\n", Format::Yaml).unwrap_err();
        assert_eq!(diagnostic.line, 3);
        assert!(diagnostic.message.contains("duplicated key"), "{}", diagnostic.message);
        for text in ["1: a\n'1': b\n", "a: 1\n!tag a: 2\n", "a: 1\n!&x a: 2\n", "true: 1\n'true': 2\n"] {
            let diagnostic = Node::parse(text, Format::Yaml).unwrap_err();
            assert_eq!((diagnostic.line, diagnostic.message.contains("duplicated key")), (2, true), "{text}: {diagnostic}");
        }
        assert_eq!(Node::parse("a = 1\na = 2\n", Format::Toml).unwrap_err().line, 2);
    }

    /// Runs `work` on a thread with a stack of 256 KiB, an eighth of the default.
    fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap()
    }

    /// Returns a text, nested `n` levels deep, for each way of nesting.
    fn nested(n: usize) -> Vec<(String, Format)> {
        let indented = |key: &str| (0..n).map(|level| format!("{}{key}\n", " ".repeat(level))).collect::<String>();
        let anchored: String = (1..n).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
        let yaml = [
            format!("{}{}", "[".repeat(n), "]".repeat(n)),
            format!("{}x{}", "{a: ".repeat(n), "}".repeat(n)),
            format!("{}x", "- ".repeat(n)),
            format!("{}x", "? ".repeat(n)),
            format!("{}x", "? - ".repeat(n / 2)),
            indented("a:"),
            indented("-"),
            format!("a0: &a0 [x]\n{anchored}"),
        ];
        let toml = [
            format!("a = {}{}", "[".repeat(n), "]".repeat(n)),
            format!("a = {}{}", "{a = ".repeat(n), "1".to_owned() + &"}".repeat(n)),
            format!("{}a = 1", "a.".repeat(n)),
            format!("[{}a]", "a.".repeat(n)),
            format!(
                "[{}a]\n{}a = {}{}",
                "a.".repeat(n.min(79)),
                "a.".repeat(n.min(79)),
                "[".repeat(n.min(79)),
                "]".repeat(n.min(79))
            ),
        ];
        yaml.map(|text| (text, Format::Yaml)).into_iter().chain(toml.map(|text| (text, Format::Toml))).collect()
    }

    #[test]
    fn excessive_nesting_is_rejected_on_a_small_stack() {
        for n in [70, 1000, 3000] {
            for (text, format) in nested(n) {
                let start: String = text.chars().take(40).collect();
                let result = on_a_small_stack(move || Node::parse(&text, format).map(|_| ()));
                let diagnostic = result.expect_err(&start);
                assert!(
                    diagnostic.message.contains("nested deeper") || diagnostic.message.contains("not valid"),
                    "{start}: {diagnostic}"
                );
            }
        }
        let diagnostic = Node::parse(&"[".repeat(100_000), Format::Yaml).unwrap_err();
        assert!(diagnostic.message.contains("nested deeper"), "{}", diagnostic.message);
    }

    #[test]
    fn deepest_config_is_processed_on_a_small_stack() {
        for (text, format) in nested(62) {
            on_a_small_stack(move || {
                // 62 repetitions exceed the limit in a text that has two or three levels in each.
                let Ok(node) = Node::parse(&text, format) else { return };
                let written = crate::to_yaml(&node.clone());
                assert_eq!(crate::to_yaml(&Node::parse(&written, Format::Yaml).unwrap()), written);
            });
        }
    }

    #[test]
    fn brackets_in_strings_are_not_nesting() {
        let text = format!("a: '{}'", "[{".repeat(100));
        assert_eq!(Node::parse(&text, Format::Yaml).unwrap().at("a").unwrap().value, Value::Text("[{".repeat(100)));
    }

    #[test]
    fn alias_expansion_is_limited() {
        let node = Node::parse("a: &x {b: 1}\nc: *x\n", Format::Yaml).unwrap();
        assert_eq!(node.at("c").unwrap().at("b").unwrap().value, Value::Int(1));
        let long = format!("a: &x {}\nb: [{}]", "x".repeat(10_000), "*x, ".repeat(1000));
        let mut laughs = "a0: &a0 [x, x, x, x]\n".to_owned();
        (1..12).for_each(|at| laughs += &format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 10].join(", ")));
        for text in [long, laughs] {
            let diagnostic = Node::parse(&text, Format::Yaml).unwrap_err();
            assert!(diagnostic.message.contains("aliases repeat more than 1048576 bytes"), "{diagnostic}");
        }
    }

    #[test]
    fn too_long_files_are_rejected() {
        let diagnostic = Node::parse(&"x".repeat(MAX_CONFIG_BYTES + 1), Format::Toml).unwrap_err();
        assert_eq!(diagnostic.to_string(), "16777217 bytes; a config has at most 16777216");
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{}:,a-c \\n\"'#&*!|>%@`0-9.-]{0,80}") {
            let _ = Node::parse(&text, Format::Yaml);
            let _ = Node::parse(&text, Format::Toml);
        }
    }
}
