//! Any text as YAML or TOML: a tree or an error, never a panic, and a tree that is written can be read back. The first line also
//! serves as the path of a setting (`--set`) whose value is the rest.

use mbm_config::{Format, Node, to_yaml};

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for format in [Format::Yaml, Format::Toml] {
        if let Ok(node) = Node::parse(text, format) {
            assert!(Node::parse(&to_yaml(&node), Format::Yaml).is_ok(), "{}", to_yaml(&node));
        }
    }
    if let Some((path, value)) = text.split_once('\n') {
        let mut node = Node::bare(mbm_config::Value::Null);
        if let Ok(value) = Node::parse(value, Format::Yaml)
            && node.set(path, value).is_ok()
        {
            assert!(Node::parse(&to_yaml(&node), Format::Yaml).is_ok(), "{}", to_yaml(&node));
        }
    }
}
