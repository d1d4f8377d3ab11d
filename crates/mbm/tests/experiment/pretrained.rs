//! Runs that start from pretrained weights of a small BERT, laid out as a published model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use mbm::{ConfigFormat, Embedding, Event, Experiment, FeatureCache, InferOptions, Model, Plan, Preset, RunEvent, Start};
use mbm_weights::WeightFile;
use tempfile::TempDir;

use crate::{bytes, dataset};

const WIDTH: usize = 16;
const LAYERS: usize = 2;

/// Returns the names and shapes of its tensors.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let norm = |name: String| [(format!("{name}.weight"), vec![WIDTH]), (format!("{name}.bias"), vec![WIDTH])];
    let linear = |name: String, out: usize, from: usize| {
        [(format!("{name}.weight"), vec![out, from]), (format!("{name}.bias"), vec![out])]
    };
    let embedding = |name: &str, n: usize| (format!("embeddings.{name}_embeddings.weight"), vec![n, WIDTH]);
    let mut all = vec![embedding("word", 12), embedding("position", 8), embedding("token_type", 2)];
    all.extend(norm("embeddings.LayerNorm".to_owned()));
    for layer in (0..LAYERS).map(|layer| format!("encoder.layer.{layer}")) {
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            all.extend(linear(format!("{layer}.attention.{part}"), WIDTH, WIDTH));
        }
        all.extend(norm(format!("{layer}.attention.output.LayerNorm")));
        all.extend(linear(format!("{layer}.intermediate.dense"), 2 * WIDTH, WIDTH));
        all.extend(linear(format!("{layer}.output.dense"), WIDTH, 2 * WIDTH));
        all.extend(norm(format!("{layer}.output.LayerNorm")));
    }
    all
}

/// Creates a folder with the weights, the config and the tokenizer.
fn publish() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut header, mut values) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors() {
        let start = values.len();
        for at in 0..shape.iter().product::<usize>() {
            let wave = ((0.7 * at as f64 + name.len() as f64).sin() * 0.3) as f32;
            values.extend((if name.ends_with("LayerNorm.weight") { 1.0 + wave } else { wave }).to_le_bytes());
        }
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, values.len()]}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [(header.len() as u64).to_le_bytes().as_slice(), &header, &values].concat();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    let config = serde_json::json!({"model_type": "bert", "vocab_size": 12, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 2, "intermediate_size": 2 * WIDTH, "max_position_embeddings": 8});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let words = ["[PAD]", "[UNK]", "the", "alpha", "omega", "row"];
    let vocabulary: BTreeMap<&str, usize> = words.into_iter().enumerate().map(|(id, word)| (word, id)).collect();
    let tokenizer = serde_json::json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}});
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

fn experiment(table: &Path, weights: &Path, folder: &Path, more: &str) -> Experiment {
    let weights = weights.display();
    let text = format!(
        "
input_features:
  - {{name: notes, type: text, encoder: {{type: bert, use_pretrained: true, weights: {weights}, hidden_dropout_prob: 0.0, {more}}}}}
  - {{name: size, type: number}}
output_features:
  - {{name: kind, type: category}}
preprocessing: {{split: {{type: stratify, column: kind, probabilities: [0.6, 0.2, 0.2]}}}}
trainer: {{epochs: 6, batch_size: 16, learning_rate: 0.02, early_stop: 0}}
"
    );
    let plan = Plan::read(&text, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    Experiment::new(plan, table.to_owned(), folder.to_owned())
}

/// Runs an experiment; returns the loss of each epoch, and the counts of cells encoded ahead and found in the cache.
fn run(experiment: &Experiment) -> (Vec<f64>, (usize, usize)) {
    let (mut losses, mut ahead) = (Vec::new(), (0, 0));
    let mut observe = |event: RunEvent| match event {
        RunEvent::Encoded(n_encoded, n_cached) => ahead = (n_encoded, n_cached),
        RunEvent::Training(Event::Epoch { loss, .. }) => losses.push(loss),
        _ => {}
    };
    experiment.run(&AtomicBool::new(false), &mut observe).unwrap();
    (losses, ahead)
}

/// Returns the encoder parameters in a bundle that differ from the published ones.
fn changed(run: &Path, weights: &Path) -> Vec<String> {
    const ENCODER: &str = "inputs.0.encoder.TextTransformer.";
    let (ours, theirs) = (WeightFile::open(&run.join("model/weights.safetensors")).unwrap(), WeightFile::open(weights).unwrap());
    let published: Vec<Vec<u32>> = theirs.tensors().keys().map(|name| sorted(&theirs.read(name).unwrap())).collect();
    let own = ours.tensors().keys().filter(|name| name.starts_with(ENCODER));
    // Compares the numbers bitwise, regardless of names and of transposition.
    let is_changed = |name: &&String| !published.contains(&sorted(&ours.read(name).unwrap()));
    own.filter(is_changed).map(|name| name[ENCODER.len()..].to_owned()).collect()
}

fn sorted(values: &[f32]) -> Vec<u32> {
    let mut bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    bits.sort_unstable();
    bits
}

#[test]
fn frozen_encoder_is_unchanged_and_its_features_are_cached() {
    let ((_data, table), weights, results) = (dataset(), publish(), tempfile::tempdir().unwrap());
    let cache = FeatureCache { folder: results.path().join("cache"), max_bytes: 1 << 20 };
    let mut runs = Vec::new();
    for (name, cache, n_cached) in [("none", None, 0), ("first", Some(cache.clone()), 0), ("second", Some(cache.clone()), 80)] {
        let folder = results.path().join(name);
        let (losses, ahead) = run(&experiment(&table, weights.path(), &folder, "trainable: false").cache(cache));
        assert_eq!(ahead, (80, n_cached), "{name}");
        assert!(losses[5] < losses[0], "{losses:?}");
        assert!(changed(&folder, weights.path()).is_empty(), "{:?}", changed(&folder, weights.path()));
        runs.push(bytes(&folder));
    }
    assert!(runs.iter().all(|run| *run == runs[0]), "a cache changes nothing");
    assert_eq!(cache.info().unwrap().n_rows, 80);
    // Features that training cached are not encoded again, and give the same vectors.
    let model = Model::open(results.path().join("none")).unwrap();
    let embed = |name: &str, cache: Option<&FeatureCache>| {
        let output = results.path().join(name);
        let embedding = Embedding::new(&model, &output).cache(cache.cloned());
        let embedded = embedding.run(&table, &AtomicBool::new(false), &mut |_, _| ()).unwrap().unwrap();
        (embedded.n_cached, std::fs::read(output).unwrap())
    };
    let (n_cached, vectors) = embed("cached.npy", Some(&cache));
    assert_eq!((n_cached, cache.info().unwrap().n_rows), (80, 80));
    assert_eq!(vectors.len(), 128 + 4 * 80 * model.towers()[0].width);
    let numbers = |bytes: &[u8]| bytes[128..].as_chunks::<4>().0.iter().map(|it| f32::from_le_bytes(*it)).collect::<Vec<f32>>();
    let (n_cached, fresh) = embed("fresh.npy", None);
    assert_eq!(n_cached, 0);
    // Rows were encoded in other batches, with other padding.
    assert!(numbers(&vectors).iter().zip(numbers(&fresh)).all(|(a, b)| (a - b).abs() < 1e-5));
    // The same weights in another location.
    let elsewhere = publish();
    let moved = experiment(&table, elsewhere.path(), &results.path().join("moved"), "trainable: false");
    assert_eq!(run(&moved.cache(Some(cache))).1, (80, 80));
}

#[test]
fn fine_tuning_changes_only_the_selected_parameters() {
    let ((_data, table), weights, results) = (dataset(), publish(), tempfile::tempdir().unwrap());
    let tuned = |name: &str, more: &str| {
        let folder = results.path().join(name);
        let (losses, ahead) = run(&experiment(&table, weights.path(), &folder, &format!("fine_tuning: {more}")));
        assert_eq!(ahead, (0, 0));
        assert!(losses[5] < losses[0], "{losses:?}");
        changed(&folder, weights.path())
    };
    let last = tuned("last", "{last_layers: 1, layer_decay: 0.5}");
    assert!(last.len() > 10 && last.iter().all(|path| path.starts_with("transformer.layers.1.")), "{last:?}");
    assert_eq!(
        tuned("named", "{parameters: 'narrow.bias'}"),
        [0, 1].map(|layer| format!("transformer.layers.{layer}.narrow.bias"))
    );
    let adapted = tuned("lora", "{lora: {r: 2}}");
    assert_eq!(adapted.len(), 4, "{adapted:?}");
    assert!(adapted.iter().all(|path| path.ends_with("query.weight") || path.ends_with("value.weight")), "{adapted:?}");
}

#[test]
fn resumed_lora_run_is_bitwise_identical() {
    let ((_data, table), weights, results) = (dataset(), publish(), tempfile::tempdir().unwrap());
    let whole = experiment(&table, weights.path(), &results.path().join("whole"), "fine_tuning: {lora: {r: 2}}");
    run(&whole);
    let stopped = whole.clone().folder(results.path().join("stopped"));
    let stop = AtomicBool::new(false);
    let mut n_steps = 0;
    let mut observe = |event: RunEvent| {
        n_steps += usize::from(matches!(event, RunEvent::Training(Event::Step { .. })));
        stop.store(n_steps == 4, std::sync::atomic::Ordering::Relaxed);
    };
    stopped.run(&stop, &mut observe).unwrap();
    run(&stopped.clone().start(Start::Resume));
    assert!(bytes(&whole.folder) == bytes(&stopped.folder));
}

#[test]
fn resuming_rejects_replaced_weights_of_a_frozen_encoder() {
    let ((_data, table), weights, results) = (dataset(), publish(), tempfile::tempdir().unwrap());
    let stopped = experiment(&table, weights.path(), &results.path().join("run"), "trainable: false");
    let stop = AtomicBool::new(true);
    stopped.run(&stop, &mut |_| ()).unwrap();
    let path = weights.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = stopped.start(Start::Resume).run(&AtomicBool::new(false), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("the weights of input 'notes' differ from the run's"), "{error}");
}

#[test]
fn augmentation_of_a_frozen_encoder_is_rejected() {
    let text = "
input_features:
  - name: photo
    type: image
    encoder: {type: resnet, use_pretrained: true, weights: nowhere, trainable: false}
    augmentation: [{type: random_horizontal_flip}]
output_features: [{name: kind, type: category}]
";
    let diagnostics = Plan::read(text, ConfigFormat::Yaml, &[], "config.yaml").unwrap_err().to_string();
    assert!(diagnostics.contains("line 6: input_features[0].augmentation: the encoder is not trained"), "{diagnostics}");
}

#[test]
fn without_a_config_texts_are_read_by_an_encoder_whose_weights_are_at_hand_too() {
    let (models, (folder, table)) = (tempfile::tempdir().unwrap(), dataset());
    let weights = publish();
    std::fs::rename(weights.path(), models.path().join("tiny")).unwrap();
    let table = mbm::Table::read(&table).unwrap();
    let options = InferOptions::default().preset(Preset::Fast).weights(vec![models.path().to_str().unwrap().to_owned()]);
    let (config, notes) = mbm::infer_config_with(&table, &["kind".to_owned()], &options).unwrap();
    assert!(notes.iter().any(|note| note.starts_with("the pretrained bert of ") && note.ends_with("reads notes")), "{notes:?}");
    let plan = config.resolve().unwrap();
    let inputs = plan.to_json()["input_features"].as_array().unwrap().clone();
    let further = inputs.iter().find(|input| input["name"] == "notes (bert)").unwrap();
    assert_eq!((&further["column"], &further["encoder"]["trainable"]), (&"notes".into(), &false.into()));
    let experiment = Experiment::new(plan, folder.path().join("rows.csv"), folder.path().join("run"));
    experiment.run_on(table, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let model = Model::open(folder.path().join("run")).unwrap();
    assert_eq!(model.inputs().count(), inputs.len());
}
