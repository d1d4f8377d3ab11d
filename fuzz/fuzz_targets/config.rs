//! Any text as YAML or TOML: a tree or a problem, never a panic; and what is written reads back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbm_config::{Format, Node, to_yaml};

fuzz_target!(|text: &str| {
    for format in [Format::Yaml, Format::Toml] {
        if let Ok(node) = Node::parse(text, format) {
            assert!(Node::parse(&to_yaml(&node), Format::Yaml).is_ok(), "{}", to_yaml(&node));
        }
    }
});
