//! Four models that train within seconds, each with an additional frozen encoder so that every run fills the feature cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mbm::{Cell, Table};

/// The kind of model.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Image,
    Sound,
    Lora,
}

/// A model to train, with the folder of its config, data and weights.
pub struct Case {
    pub kind: Kind,
    folder: PathBuf,
}

/// Number of rows, spread over the ten digits.
const N_ROWS: usize = 60;

impl Case {
    /// Writes data, weights and config into a folder.
    pub fn new(kind: Kind, folder: &Path) -> Self {
        publish(&folder.join("weights"));
        write_digits(folder);
        let case = Self { kind, folder: folder.to_path_buf() };
        std::fs::write(case.config(), case.text(&folder.join("weights"))).unwrap();
        case
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.yaml")
    }

    pub fn dataset(&self) -> PathBuf {
        self.folder.join("digits.csv")
    }

    fn text(&self, weights: &Path) -> String {
        let bert = |more: &str| format!("{{type: bert, use_pretrained: true, weights: {}, {more}}}", weights.display());
        let input = match self.kind {
            Kind::Text => "{name: words, type: text, encoder: {type: embed, embedding_size: 8}}".to_owned(),
            Kind::Image => "{name: image, type: image, preprocessing: {height: 8, width: 8, num_channels: 1}, encoder: {type: stacked_cnn, num_filters: 4, output_size: 8}}".to_owned(),
            Kind::Sound => "{name: audio, type: audio, preprocessing: {type: fbank, num_filter_bands: 8}, encoder: {type: parallel_cnn, num_filters: 4, output_size: 8}}".to_owned(),
            Kind::Lora => format!("{{name: words, type: text, encoder: {}}}", bert("fine_tuning: {lora: {r: 2}}")),
        };
        format!(
            "
input_features:
  - {input}
  - {{name: speaker, type: text, encoder: {}}}
output_features: [{{name: label, type: category}}]
combiner: {{type: concat, num_fc_layers: 1, output_size: 8, dropout: 0.2}}
preprocessing: {{split: {{probabilities: [0.6, 0.2, 0.2]}}}}
trainer: {{epochs: 3, batch_size: 12, learning_rate: 0.01, early_stop: 0, steps_per_checkpoint: 2, average_epochs: 2}}
",
            bert("trainable: false")
        )
    }
}

/// Writes images and audio clips of the example to files, and a table that names them, with a text for each digit.
fn write_digits(folder: &Path) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/spoken-and-written-digits/digits.parquet");
    let table = Table::read(&example).unwrap();
    let column = |name: &str| table.position(name).unwrap();
    let mut text = String::from("image,audio,words,speaker,label\n");
    for at in 0..N_ROWS {
        let row = table.row(at * table.n_rows() / N_ROWS).unwrap();
        let file = |name: &str, ending: &str| {
            let Cell::Bytes(bytes) = &row[column(name)] else { panic!("{name} holds files") };
            let name = format!("{at}.{ending}");
            std::fs::write(folder.join(&name), bytes).unwrap();
            name
        };
        let label = row[column("label")].to_text();
        let (image, audio, speaker) = (file("image", "png"), file("audio", "wav"), row[column("speaker")].to_text());
        text.push_str(&format!("{image},{audio},the digit {label},{speaker} row {at},{label}\n"));
    }
    std::fs::write(folder.join("digits.csv"), text).unwrap();
}

/// Writes the weights of a small BERT to a folder, in the layout of published models.
fn publish(folder: &Path) {
    const WIDTH: usize = 16;
    let (mut header, mut values) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors(WIDTH) {
        let start = values.len();
        for at in 0..shape.iter().product::<usize>() {
            let wave = ((0.7 * at as f64 + name.len() as f64).sin() * 0.3) as f32;
            values.extend((if name.ends_with("LayerNorm.weight") { 1.0 + wave } else { wave }).to_le_bytes());
        }
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, values.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    std::fs::create_dir(folder).unwrap();
    let file = [(header.len() as u64).to_le_bytes().as_slice(), &header, &values].concat();
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
    let config = serde_json::json!({"model_type": "bert", "vocab_size": 16, "hidden_size": WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 2 * WIDTH, "max_position_embeddings": 8});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let words = ["[PAD]", "[UNK]", "the", "digit", "row", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let vocabulary: BTreeMap<&str, usize> = words.into_iter().enumerate().map(|(id, word)| (word, id)).collect();
    let tokenizer = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}});
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

fn tensors(width: usize) -> Vec<(String, Vec<usize>)> {
    let norm = |name: &str| [(format!("{name}.weight"), vec![width]), (format!("{name}.bias"), vec![width])];
    let linear =
        |name: &str, out: usize, from: usize| [(format!("{name}.weight"), vec![out, from]), (format!("{name}.bias"), vec![out])];
    let embedding = |name: &str, n: usize| (format!("embeddings.{name}_embeddings.weight"), vec![n, width]);
    let mut all = vec![embedding("word", 16), embedding("position", 8), embedding("token_type", 2)];
    all.extend(norm("embeddings.LayerNorm"));
    for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
        all.extend(linear(&format!("encoder.layer.0.{part}"), width, width));
    }
    all.extend(norm("encoder.layer.0.attention.output.LayerNorm"));
    all.extend(linear("encoder.layer.0.intermediate.dense", 2 * width, width));
    all.extend(linear("encoder.layer.0.output.dense", width, 2 * width));
    all.extend(norm("encoder.layer.0.output.LayerNorm"));
    all
}
