//! The JSON Schema and the reference pages agree with what configs accept, and both are current.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mbm_config::{Format, Node};
use serde_json::{Value, json};

use super::*;
use crate::Plan;

/// Returns what the schema rejects about a value; understands exactly the keywords that the schema uses.
fn errors(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let keywords = match schema {
        Value::Object(keywords) => keywords,
        Value::Bool(true) => return vec![],
        other => panic!("{other} is not a schema"),
    };
    keywords.iter().flat_map(|(keyword, wanted)| keyword_errors(root, schema, keyword, wanted, value, path)).collect()
}

fn keyword_errors(root: &Value, schema: &Value, keyword: &str, wanted: &Value, value: &Value, path: &str) -> Vec<String> {
    let unless = |holds: bool| if holds { vec![] } else { vec![format!("{path}: {value} is not {keyword} {wanted}")] };
    let is_valid = |schema: &Value| errors(root, schema, value, path).is_empty();
    let is_type = |word: &Value| match word.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "default" => vec![],
        "$ref" => {
            let definition = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            errors(root, &root["$defs"][definition], value, path)
        }
        "type" => unless(wanted.as_array().map_or_else(|| is_type(wanted), |words| words.iter().any(is_type))),
        "enum" => unless(wanted.as_array().unwrap().contains(value)),
        "const" => unless(wanted == value),
        "minimum" => unless(value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap())),
        "maximum" => unless(value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap())),
        "oneOf" => unless(wanted.as_array().unwrap().iter().filter(|schema| is_valid(schema)).count() == 1),
        "anyOf" => unless(wanted.as_array().unwrap().iter().any(is_valid)),
        "required" => unless(
            value
                .as_object()
                .is_none_or(|map| wanted.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))),
        ),
        "additionalProperties" => {
            let known = schema["properties"].as_object().unwrap();
            let others = value.as_object().into_iter().flatten().filter(|(key, _)| !known.contains_key(*key));
            match wanted {
                Value::Bool(false) => unless(others.count() == 0),
                wanted => others.flat_map(|(key, value)| errors(root, wanted, value, &format!("{path}.{key}"))).collect(),
            }
        }
        "minProperties" => unless(value.as_object().is_none_or(|map| map.len() as u64 >= wanted.as_u64().unwrap())),
        "minItems" => unless(value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap())),
        "properties" => {
            let Value::Object(map) = value else { return vec![] };
            let known = map.iter().filter_map(|(key, value)| Some((key, value, wanted.get(key)?)));
            known.flat_map(|(key, value, schema)| errors(root, schema, value, &format!("{path}.{key}"))).collect()
        }
        "items" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            items.flat_map(|(at, item)| errors(root, wanted, item, &format!("{path}[{at}]"))).collect()
        }
        other => panic!("the test does not know the keyword {other}"),
    }
}

/// Returns what the schema rejects about a config.
fn rejected(config: &Value) -> Vec<String> {
    let schema = config_schema();
    errors(&schema, &schema, config, "config")
}

fn json_of(node: &Node) -> Value {
    use mbm_config::Value as Of;
    match &node.value {
        Of::Null => Value::Null,
        Of::Bool(value) => json!(value),
        Of::Int(value) => json!(value),
        Of::Float(value) => json!(value),
        // A number in YAML 1.2, which the parser reads as text and the settings as a number.
        Of::Text(value) if value.starts_with(|c: char| c.is_ascii_digit()) && value.parse::<f64>().is_ok() => {
            value.parse::<i64>().map_or_else(|_| json!(value.parse::<f64>().unwrap()), |value| json!(value))
        }
        Of::Text(value) => json!(value),
        Of::List(items) => items.iter().map(json_of).collect(),
        Of::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.node))).collect(),
    }
}

fn parse(yaml: &str) -> Value {
    json_of(&Node::parse(yaml, Format::Yaml).unwrap())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the blocks of YAML in a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).filter(|it| !it.starts_with('#')).collect()
}

#[test]
fn checked_in_schema_is_current() {
    let found = std::fs::read_to_string(repository().join("mbm.schema.json")).unwrap_or_default();
    let wanted = format!("{:#}\n", config_schema());
    assert!(found == wanted, "mbm.schema.json is not current; renew it by `mbm schema > mbm.schema.json`");
}

#[test]
fn checked_in_reference_pages_are_current() {
    let folder = repository().join("docs/config");
    let files = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let read =
        |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap());
    let found: BTreeMap<String, String> = files.map(read).collect();
    let wanted: BTreeMap<String, String> = reference_pages().into_iter().map(|page| (page.name, page.text)).collect();
    let differ: Vec<&String> = found.keys().chain(wanted.keys()).filter(|name| found.get(*name) != wanted.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?} are not current; renew them by `mbm schema --markdown docs/config`");
}

#[test]
fn examples_of_the_reference_are_plans_and_valid() {
    for page in reference_pages() {
        let examples = blocks(&page.text);
        assert!(!examples.is_empty(), "{} has no example", page.name);
        for example in examples {
            let plan = Plan::read(example, Format::Yaml, &[], &page.name).unwrap_or_else(|error| panic!("{error}\n{example}"));
            assert_eq!(rejected(&parse(example)), Vec::<String>::new(), "{}:\n{example}", page.name);
            assert_eq!(rejected(&plan.to_json()), Vec::<String>::new(), "{}, with every default:\n{example}", page.name);
        }
    }
}

#[test]
fn example_configs_are_valid_and_name_the_schema() {
    let mut n_configs = 0;
    for folder in std::fs::read_dir(repository().join("examples")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|ending| ending == "yaml") {
                let text = std::fs::read_to_string(&file).unwrap();
                assert_eq!(rejected(&parse(&text)), Vec::<String>::new(), "{}", file.display());
                let line = "# yaml-language-server: $schema=../../mbm.schema.json";
                assert_eq!(text.lines().next(), Some(line), "{}", file.display());
                n_configs += 1;
            }
        }
    }
    assert_eq!(n_configs, 17);
}

#[test]
fn schema_accepts_short_forms() {
    let valid = "
input_features:
  - {name: 7, type: number, encoder: ple}
  - {name: a, type: image, encoder: {type: resnet, model_variant: 18}, augmentation: [random_rotate, {type: random_shift, pixels: 2}]}
  - {name: b, type: image, encoder: {num_filters: 4, reduce_output: none}, projection: null}
combiner: gated
output_features: [{name: y, type: category}]
trainer: {early_stop: -1, learning_rate: 1, validation_field: null}
";
    assert_eq!(rejected(&parse(valid)), Vec::<String>::new());
    Plan::read(valid, Format::Yaml, &[], "config.yaml").unwrap();
}

#[test]
fn schema_rejects_what_the_reader_rejects() {
    let config = |input: &str, rest: &str| {
        format!("input_features: [{{name: a, {input}}}]\noutput_features: [{{name: y, type: number}}]\n{rest}")
    };
    let wrong = [
        config("type: imgae", ""),
        config("encoder: onehot", ""),
        config("type: image, encoder: {type: resnet, model_variant: 19}", ""),
        config("type: image, encoder: {type: resnet, num_filters: 4}", ""),
        config("type: image, encoder: {num_filters: 0}", ""),
        config("type: image, encoder: {num_filters: 2.5}", ""),
        config("type: image, encoder: {activation: rleu}", ""),
        config("type: image, projection: 64", ""),
        config("type: image, augmentation: random_rotate", ""),
        config("type: number, preprocessing: {missing_value_strategy: drop}", ""),
        config("type: number", "hyperopt: {parameters: {}}"),
        config("type: number", "hyperopt: {parameters: {trainer.epochs: {space: int, lower: 1}}}"),
        config("type: number", "hyperopt: {parameters: {trainer.epochs: {space: choice, categories: []}}}"),
        config("type: number", "trainer: {batch_sise: 3}"),
        config("type: number", "trainer: {early_stop: -2}"),
        config("type: number", "trainer: {learning_rate: 1000}"),
        config("type: number", "trainer: {learning_rate: fast}"),
        config("type: number", "preprocessing: {split: stratify}"),
        config("type: number", "combiner: {type: gated, rank: 4}"),
        "output_features: [{name: y, type: number}]".to_owned(),
        "input_features: [{type: number}]\noutput_features: [{name: y, type: number}]".to_owned(),
    ];
    for config in wrong {
        assert!(Plan::read(&config, Format::Yaml, &[], "config.yaml").is_err(), "{config}");
        assert!(!rejected(&parse(&config)).is_empty(), "{config}");
    }
}

/// Collects the names of all sections, choices and words below a schema.
fn names(schema: &Schema, found: &mut BTreeMap<String, Schema>) {
    let mut visit = |name: String, schema: Schema| {
        let earlier = found.insert(name.clone(), schema.clone());
        assert!(earlier.is_none_or(|earlier| earlier == schema), "two different settings are named {name}");
    };
    match schema {
        Schema::Bool | Schema::Integer { .. } | Schema::Number | Schema::Text => {}
        Schema::Words(words) => visit(words.name.to_owned(), schema.clone()),
        Schema::Optional(inner) | Schema::List(inner) => names(inner, found),
        Schema::WordsOr(words, inner) => {
            visit(words.name.to_owned(), Schema::Words(words.clone()));
            names(inner, found);
        }
        Schema::Section(section) => {
            visit(section.name.to_owned(), schema.clone());
            section.keys.iter().for_each(|key| names(&key.schema, found));
        }
        Schema::Choice(choice) => {
            visit(choice.name.to_owned(), schema.clone());
            choice.variants.iter().for_each(|(_, section)| names(&Schema::Section(section.clone()), found));
        }
    }
}

#[test]
fn names_of_settings_are_unique() {
    let mut found = BTreeMap::new();
    names(&Schema::Section(Config::section_schema()), &mut found);
    assert!(found.len() > 100, "{}", found.len());
}
