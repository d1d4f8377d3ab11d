//! Any bytes as a file of a bundle, with matching hashes: an error or a model that predicts, never a panic.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mbm::{Experiment, Model, Plan, table_from_json};
use mbm_data::Manifest;

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
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(train).path()
}

fn train() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = (0..40).map(|at| format!("{},{at},{},{}\n", ["alpha", "omega"][at % 2], ["a", "b"][at % 2], at * 2));
    let rows: String = rows.collect();
    let dataset = folder.path().join("rows.csv");
    std::fs::write(&dataset, format!("notes,size,kind,price\n{rows}")).expect("a table");
    let plan = Plan::read(CONFIG, mbm::ConfigFormat::Yaml, &[], "config.yaml").expect("a config");
    let experiment = Experiment::new(plan, dataset, folder.path().join("run"));
    experiment.run(&AtomicBool::new(false), &mut |_| ()).expect("a run");
    folder
}

const FILES: [&str; 3] = ["bundle.json", "weights.safetensors", "manifest.json"];

/// Returns the files of the template as inputs of [`run`].
pub fn seeds() -> Vec<Vec<u8>> {
    let seeds = FILES.iter().enumerate().filter_map(|(kind, name)| {
        Some([&[kind as u8], &*std::fs::read(template().join("run/model").join(name)).ok()?].concat())
    });
    seeds.collect()
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let name = FILES[usize::from(*kind) % FILES.len()];
    let Ok(folder) = tempfile::tempdir() else { return };
    for file in FILES {
        let _ = std::fs::copy(template().join("run/model").join(file), folder.path().join(file));
    }
    let _ = std::fs::write(folder.path().join(name), content);
    if name != "manifest.json" && Manifest::seal(folder.path()).is_err() {
        return;
    }
    let Ok(model) = Model::open(folder.path()) else { return };
    let Ok(table) = table_from_json("{\"notes\": \"alpha omega\", \"size\": 3}") else { return };
    let _ = model.predict_to(table, folder.path().join("out.jsonl"));
}
