//! Any bytes as a file of a bundle, with matching hashes: an error or a model that predicts, never a panic.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mbm::{Experiment, Model, Plan, table_from_json};
use mbm_data::Manifest;
use tempfile::TempDir;

const CONFIG: &str = "
input_features:
  - {name: notes, type: text, encoder: {type: embed, embedding_size: 4}}
  - {name: size, type: number}
output_features:
  - {name: kind, type: category}
  - {name: price, type: number, decoder: ridge}
combiner: {type: concat, num_fc_layers: 1, output_size: 4}
trainer: {epochs: 1, batch_size: 8}
";

/// Returns the run folder of a small model, which is trained once.
fn template() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| train(CONFIG)).path()
}

/// Returns a folder with a trained `run` of a config.
pub(crate) fn train(config: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = |at: usize| format!("{},{at},{},{},1 {at} 2\n", ["alpha", "omega"][at % 2], ["a", "b"][at % 2], at * 2);
    let rows: String = (0..40).map(row).collect();
    let dataset = folder.path().join("rows.csv");
    std::fs::write(&dataset, format!("notes,size,kind,price,pulse\n{rows}")).expect("a table");
    let plan = Plan::read(config, mbm::ConfigFormat::Yaml, &[], "config.yaml").expect("a config");
    let experiment = Experiment::new(plan, dataset, folder.path().join("run"));
    experiment.run(&AtomicBool::new(false), &mut |_| ()).expect("a run");
    folder
}

const FILES: [&str; 3] = ["bundle.json", "weights.safetensors", "manifest.json"];

/// Returns the files of the template as inputs of [`run`].
pub fn seeds() -> Vec<Vec<u8>> {
    seeds_of(template(), &FILES)
}

/// Returns files of a model as inputs, each after its position in the list.
pub(crate) fn seeds_of(template: &Path, files: &[&str]) -> Vec<Vec<u8>> {
    let seeds = files
        .iter()
        .enumerate()
        .filter_map(|(kind, name)| Some([&[kind as u8], &*std::fs::read(template.join("run/model").join(name)).ok()?].concat()));
    seeds.collect()
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    replace(template(), &FILES, bytes);
}

/// Opens a model with one of its files replaced, and predicts a row.
pub(crate) fn replace(template: &Path, files: &[&str], bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let name = files[usize::from(*kind) % files.len()];
    let Ok(folder) = tempfile::tempdir() else { return };
    for file in std::fs::read_dir(template.join("run/model")).into_iter().flatten().flatten() {
        let _ = std::fs::copy(file.path(), folder.path().join(file.file_name()));
    }
    let _ = std::fs::write(folder.path().join(name), content);
    if name != "manifest.json" && Manifest::seal(folder.path()).is_err() {
        return;
    }
    let Ok(model) = Model::open(folder.path()) else { return };
    let Ok(table) = table_from_json("{\"notes\": \"alpha omega\", \"size\": 3, \"pulse\": [1, 2, 3]}") else { return };
    let _ = model.predict_to(table, folder.path().join("out.jsonl"));
}
