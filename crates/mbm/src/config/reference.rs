//! The JSON Schema of configs and the reference pages of their keys, both made from the declarations of the settings.

use mbm_config::Section as _;
use mbm_config::schema::{Choice, Key, Page, Schema, Section, Words, json_schema};

use crate::config::features::Config;

/// Returns the JSON Schema (draft 2020-12) of configs, by which editors complete and check them.
///
/// ```
/// let schema = mbm::config_schema();
/// assert_eq!(schema["required"], serde_json::json!(["input_features", "output_features"]));
/// ```
pub fn config_schema() -> serde_json::Value {
    let mut schema = json_schema("Config of mbm", Config::section_schema());
    mbm_tune::complete_schema(&mut schema);
    schema
}

/// A page of the config reference.
pub struct ReferencePage {
    /// The file's name, such as `input-image.md`.
    pub name: String,
    /// The page in Markdown.
    pub text: String,
}

/// Returns the pages of the config reference: an index, and a page for each type of feature and each of the other sections.
pub fn reference_pages() -> Vec<ReferencePage> {
    let config = Config::section_schema();
    let inputs = variants(&config, "input_features").into_iter().map(|(word, section)| input_page(word, section));
    let outputs = variants(&config, "output_features").into_iter().map(|(word, section)| output_page(word, section));
    let mut pages: Vec<ReferencePage> = inputs.chain(outputs).collect();
    let schema_of = |key: &str| config.keys.iter().find(|it| it.name == key).map(|it| &it.schema);
    for (key, title) in [
        ("combiner", "Combiners"),
        ("preprocessing", "Split, weights and cache"),
        ("trainer", "Trainer"),
        ("learners", "Learners"),
        ("ensemble", "Ensemble"),
    ] {
        pages.extend(schema_of(key).map(|schema| page(key, title, TWO_INPUTS, key, schema)));
    }
    pages.extend(schema_of("hyperopt").map(hyperopt_page));
    pages.insert(0, index(&pages));
    pages
}

/// A config with two inputs, as the frame of examples.
const TWO_INPUTS: &str = "
input_features: [{name: image, type: image}, {name: notes, type: text}]
output_features: [{name: label, type: category}]
";

/// Values of keys without a default in the examples.
const SAMPLES: [(&str, &str); 2] = [("column", "visit"), ("align", "[image, caption]")];

/// Returns the types of the features in a list, with their keys.
fn variants(config: &Section, list: &str) -> Vec<(&'static str, Section)> {
    let key = config.keys.iter().find(|key| key.name == list);
    let Some(Schema::List(feature)) = key.map(|key| key.schema.clone()) else { return Vec::new() };
    if let Schema::Choice(Choice { variants, .. }) = *feature { variants } else { Vec::new() }
}

fn input_page(word: &'static str, section: Section) -> ReferencePage {
    // CLIP reads at most 77 tokens.
    let more = if word == "text" { ", preprocessing: {max_sequence_length: 77}" } else { "" };
    let config =
        format!("input_features: [{{name: {word}, type: {word}{more}}}]\noutput_features: [{{name: label, type: category}}]\n");
    let schema = Schema::Section(with_type(word, section));
    page(&format!("input-{word}"), &format!("Input: {word}"), &config, "input_features.0", &schema)
}

fn output_page(word: &'static str, section: Section) -> ReferencePage {
    let config = match word {
        "text" => "input_features: [{name: speech, type: audio}]\noutput_features: [{name: transcript, type: text}]".to_owned(),
        "embedding" => "input_features: [{name: image, type: image}, {name: caption, type: text}]\n\
                        output_features: [{name: match, type: embedding, align: [image, caption]}]"
            .to_owned(),
        _ => format!("input_features: [{{name: image, type: image}}]\noutput_features: [{{name: target, type: {word}}}]"),
    };
    let schema = Schema::Section(with_type(word, section));
    page(&format!("output-{word}"), &format!("Output: {word}"), &config, "output_features.0", &schema)
}

/// Adds the key `type` after the name of a feature.
fn with_type(word: &'static str, mut section: Section) -> Section {
    let words = Words { name: "FeatureType", doc: String::new(), words: vec![(word, String::new())], are_numbers: false };
    let key =
        Key { name: "type", doc: "The feature's type.".to_owned(), schema: Schema::Words(words), default: None, bounds: None };
    section.keys.insert(1, key);
    section
}

fn page(name: &str, title: &str, config: &str, path: &str, schema: &Schema) -> ReferencePage {
    let text = Page { title, config, path, samples: &SAMPLES }.markdown(schema);
    ReferencePage { name: format!("{name}.md"), text: format!("{NOTE}\n\n{text}") }
}

/// Returns the page of the search for settings. Any path of the config is a key of its `parameters`, so the page lists the spaces instead.
fn hyperopt_page(schema: &Schema) -> ReferencePage {
    let searched = "hyperopt: {parameters: {trainer.learning_rate: {space: loguniform, lower: 1e-4, upper: 0.1}}}";
    let ReferencePage { name, text } = page("hyperopt", "Tuning", &format!("{TWO_INPUTS}{searched}\n"), "hyperopt", schema);
    let spaces: String = mbm_tune::Space::sections().into_iter().map(|(word, section)| space_row(word, &section)).collect();
    let text = format!("{text}\n## Spaces\n\n| `space` | other keys, all required | values |\n|---|---|---|\n{spaces}");
    ReferencePage { name, text }
}

fn space_row(word: &str, section: &Section) -> String {
    let keys: Vec<String> = section.keys.iter().map(|key| format!("`{}`: {}", key.name, key.doc)).collect();
    format!("| `{word}` | {} | {} |\n", keys.join("<br>"), section.doc)
}

const NOTE: &str =
    "<!-- Generated by `mbm schema --markdown docs/config` from the doc comments of the settings; do not edit. -->";

fn index(pages: &[ReferencePage]) -> ReferencePage {
    let links = |start: &str| {
        let names = pages.iter().filter_map(|page| page.name.strip_prefix(start)?.strip_suffix(".md"));
        names.map(|name| format!("[`{name}`]({start}{name}.md)")).collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "{NOTE}

# Config reference

A config is a file in YAML, JSON or TOML. Its keys are named as in Ludwig's ECD configs. Two lists are required, every other key
has a default:

```yaml
{}
```

| key | value | description |
|---|---|---|
| `input_features` | list, by `type`: {} | The inputs of the model. |
| `output_features` | list, by `type`: {} | The outputs of the model. |
| `combiner` | [`type`](combiner.md) | How the encoded inputs are fused. |
| `preprocessing` | [keys](preprocessing.md) | How rows are split and cached. |
| `trainer` | [keys](trainer.md) | How the model is trained. |
| `learners` | `network`, `auto` or [list, by `type`](learners.md) | What is fitted: the network, other learners, or an ensemble of both. |
| `ensemble` | [keys](ensemble.md) | How several learners are combined. |
| `hyperopt` | [keys](hyperopt.md) | The search of `mbm tune` for better settings. |
| `random_seed` | integer, 42 by default | The random seed. |

Where a section has a `type`, the word alone stands for the section with that type: `combiner: gated` is
`combiner: {{type: gated}}`. `mbm inspect config.yaml` prints a config with every default, and `--set trainer.epochs=3` overrides
a key on the command line.

Editors that know JSON Schema complete and check configs that begin with this line, where the path leads to `mbm.schema.json` in
the repository, or to what `mbm schema` prints:

<!-- not run: not a config -->
```yaml
# yaml-language-server: $schema=../../mbm.schema.json
```
",
        TWO_INPUTS.trim(),
        links("input-"),
        links("output-"),
    );
    ReferencePage { name: "index.md".to_owned(), text }
}

#[cfg(test)]
mod tests;
