//! Any bytes as a file of a checkpoint, with matching hashes: an error or a state to resume from, never a panic.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use mbm::{Event, Experiment, Model, Plan, RunEvent};
use mbm_data::Manifest;
use mbm_train::Checkpoints;

const CONFIG: &str = "
input_features: [{name: size, type: number}]
output_features: [{name: kind, type: category}]
combiner: {type: concat, num_fc_layers: 1, output_size: 4}
trainer: {epochs: 3, batch_size: 8, average_epochs: 2, steps_per_checkpoint: 1}
";

/// Returns the folder of a run that was stopped in its second epoch.
fn template() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER.get_or_init(train_and_stop).path()
}

fn train_and_stop() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows: String = (0..40).map(|at| format!("{at},{}\n", ["a", "b"][at % 2])).collect();
    let dataset = folder.path().join("rows.csv");
    std::fs::write(&dataset, format!("size,kind\n{rows}")).expect("a table");
    let plan = Plan::read(CONFIG, mbm::ConfigFormat::Yaml, &[], "config.yaml").expect("a config");
    let experiment = Experiment::new(plan, dataset, folder.path().join("run"));
    let stop = AtomicBool::new(false);
    let mut observe = |event: RunEvent| {
        if let RunEvent::Training(Event::Step { epoch: 1, .. }) = event {
            stop.store(true, Ordering::Relaxed);
        }
    };
    experiment.run(&stop, &mut observe).expect("a run");
    folder
}

const FILES: [&str; 6] =
    ["model.safetensors", "optimizer.bpk", "progress.json", "best.safetensors", "recent-0.safetensors", "manifest.json"];

/// Returns the files of the template as inputs of [`run`].
pub fn seeds() -> Vec<Vec<u8>> {
    let seeds = FILES.iter().enumerate().filter_map(|(kind, name)| {
        Some([&[kind as u8], &*std::fs::read(template().join("run/checkpoints/last").join(name)).ok()?].concat())
    });
    seeds.collect()
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let trained = MODEL.get_or_init(|| Model::open(template().join("run")).expect("a model"));
    let Some((kind, content)) = bytes.split_first() else { return };
    let name = FILES[usize::from(*kind) % FILES.len()];
    let Ok(folder) = tempfile::tempdir() else { return };
    let last = folder.path().join("last");
    let _ = std::fs::create_dir(&last);
    for file in FILES {
        let _ = std::fs::copy(template().join("run/checkpoints/last").join(file), last.join(file));
    }
    let _ = std::fs::write(last.join(name), content);
    if name != "manifest.json" && Manifest::seal(&last).is_err() {
        return;
    }
    let Ok((spec, optimizer)) = trained.network() else { return };
    let checkpoints = Checkpoints { folder: folder.path().to_path_buf() };
    let device = mbm_model::device();
    let model = spec.init(&device.clone().autodiff(), 0);
    let optimizer = optimizer.init(&model);
    let _ = checkpoints.load(model, optimizer);
    let _ = checkpoints.load_best(|| spec.init(&device, 0));
    let _ = checkpoints.load_recent(|| spec.init(&device, 0));
    forget_gradients();
}

/// Runs a backward pass, because Burn keeps a record of every parameter that requires gradients until the next one. Otherwise the
/// memory of thousands of models that are never trained would add up.
fn forget_gradients() {
    Tensor::<1>::zeros([1], &mbm_model::device().autodiff()).require_grad().backward();
}
