//! Robustness of run folders: tied scores, replaced files, flipped bits, concurrent processes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mbm::{ConfigFormat, Error, Event, Experiment, Model, Plan, RunEvent, Start};
use mbm_data::Manifest;

use crate::{bytes, dataset, experiment, run};

/// Runs an experiment, and stops it at a step of an epoch.
fn stop_at(experiment: &Experiment, at: (usize, usize)) {
    let stop = AtomicBool::new(false);
    let mut observe = |event: RunEvent| {
        if let RunEvent::Training(Event::Step { epoch, step, .. }) = event {
            stop.store((epoch, step) >= at, Ordering::Relaxed);
        }
    };
    experiment.run(&stop, &mut observe).unwrap();
}

fn error_of(experiment: &Experiment) -> String {
    experiment.run(&AtomicBool::new(false), &mut |_| {}).err().map_or("it resumed".to_owned(), |error| error.to_string())
}

#[test]
fn tied_validation_scores_resume_to_the_same_best_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    // One of the 15 validation rows has the opposite label, so accuracy stays at 14/15 however long the model trains.
    let row = |at: usize| {
        let (split, is_odd) = (["train", "validation", "test"][at % 3], at / 3 % 2 == 1);
        let kind = if is_odd != (at == 1) { "a" } else { "b" };
        format!("{},{kind},{split}\n", if is_odd { "alpha" } else { "omega" })
    };
    std::fs::write(&path, format!("notes,kind,split\n{}", (0..45).map(row).collect::<String>())).unwrap();
    let text = "
input_features: [{name: notes, type: text, encoder: {type: embed, embedding_size: 8}}]
output_features: [{name: kind, type: category}]
preprocessing: {split: {type: fixed, column: split}}
trainer: {epochs: 12, batch_size: 4, learning_rate: 0.05, early_stop: 0, steps_per_checkpoint: 1, validation_metric: accuracy}
";
    let plan = Plan::read(text, ConfigFormat::Yaml, &[], "config.yaml").unwrap();
    let whole = Experiment::new(plan, path, folder.path().join("whole"));
    run(&whole);
    let statistics = std::fs::read_to_string(whole.folder.join("training_statistics.json")).unwrap();
    let epochs = serde_json::from_str::<serde_json::Value>(&statistics).unwrap()["epochs"].as_array().unwrap().clone();
    let ties = epochs.iter().map(|epoch| epoch["validation"]["kind.accuracy"].as_f64() == Some(14.0 / 15.0));
    let ties: Vec<usize> = ties.enumerate().filter(|(_, is)| *is).map(|(at, _)| at).collect();
    assert!(ties.len() > 3, "{statistics}");
    let stopped = whole.clone().folder(folder.path().join("stopped"));
    stop_at(&stopped, (ties[1], 1));
    run(&stopped.clone().start(Start::Resume));
    assert!(bytes(&whole.folder) == bytes(&stopped.folder));
    assert_eq!(statistics, std::fs::read_to_string(stopped.folder.join("training_statistics.json")).unwrap());
}

#[test]
fn resuming_rejects_replaced_images_but_accepts_copies() {
    let (folder, dataset) = dataset();
    let stopped = experiment(&dataset, &folder.path().join("run"), &[]);
    stop_at(&stopped, (1, 1));
    let resumed = stopped.start(Start::Resume);
    let [small, other] = ["3.png", "40.png"].map(|name| folder.path().join(name));
    let original = std::fs::read(&small).unwrap();
    // The same size, but other content.
    let mut changed = original.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(&small, &changed).unwrap();
    let error = error_of(&resumed);
    assert!(error.contains("row 4: 3.png has changed since the run was started"), "{error}");
    std::fs::write(&small, &original).unwrap();
    let of_other = std::fs::read(&other).unwrap();
    std::fs::write(&other, b"").unwrap();
    let error = error_of(&resumed);
    assert!(error.contains("row 41: 40.png has changed"), "{error}");
    std::fs::write(&other, of_other).unwrap();
    // A file that did not exist before counts as changed, too.
    std::fs::copy(&small, folder.path().join("missing.png")).unwrap();
    let error = error_of(&resumed);
    assert!(error.contains("row 11: missing.png has changed"), "{error}");
    std::fs::remove_file(folder.path().join("missing.png")).unwrap();
    // Rewritten with another modification time: the same content is the same file.
    run(&resumed);
}

#[test]
fn flipped_bit_in_a_checkpoint_names_the_file() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    let stopped = experiment(&dataset, &results, &["trainer.average_epochs=2"]);
    stop_at(&stopped, (2, 1));
    let last = results.join("checkpoints/last");
    let names: Vec<PathBuf> = std::fs::read_dir(&last).unwrap().map(|entry| entry.unwrap().path()).collect();
    let expected =
        ["best.safetensors", "manifest.json", "model.safetensors", "optimizer.bpk", "progress.json", "recent-0.safetensors"];
    assert!(expected.iter().all(|name| names.contains(&last.join(name))), "{names:?}");
    for path in names {
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 16;
        std::fs::write(&path, bytes).unwrap();
        let error = error_of(&stopped.clone().start(Start::Resume));
        assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{}: {error}", path.display());
        std::fs::write(&path, whole).unwrap();
    }
    std::fs::remove_file(last.join("manifest.json")).unwrap();
    let error = error_of(&stopped.clone().start(Start::Resume));
    assert!(error.contains("manifest.json: there are no hashes of its files") && error.contains("--overwrite"), "{error}");
    run(&stopped.start(Start::Overwrite));
}

#[test]
fn flipped_bit_in_a_bundle_names_the_file() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &["trainer.epochs=1"]));
    let model = results.join("model");
    for name in ["bundle.json", "weights.safetensors", "manifest.json"] {
        let path = model.join(name);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 10) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            let error = Model::open(&results).err().map_or("it opened".to_owned(), |error| error.to_string());
            assert!(error.contains(name), "{name}, byte {at}: {error}");
        }
        std::fs::write(&path, whole).unwrap();
    }
    let mode = |name: &str| std::fs::metadata(results.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("model/weights.safetensors"), mode("description.json"), "as readable as any other file");
    std::fs::remove_file(model.join("manifest.json")).unwrap();
    let error = Model::open(&results).err().unwrap().to_string();
    assert!(error.contains("manifest.json: it is missing"), "{error}");
    // As earlier versions wrote it.
    let text = std::fs::read_to_string(model.join("bundle.json")).unwrap();
    std::fs::write(model.join("bundle.json"), text.replacen("\"form\": 2", "\"form\": 1", 1)).unwrap();
    Model::open(&results).unwrap();
}

#[test]
fn model_of_another_run_never_becomes_the_best_one() {
    let (folder, dataset) = dataset();
    let (results, other) = (folder.path().join("run"), folder.path().join("other"));
    let fresh = experiment(&dataset, &results, &["trainer.epochs=1"]);
    run(&fresh.clone().folder(other.clone()));
    run(&experiment(&dataset, &results, &["random_seed=7"]));
    // What remains if checkpoints are removed by hand, in the layout of earlier versions.
    let checkpoints = results.join("checkpoints");
    std::fs::copy(results.join("model/weights.safetensors"), checkpoints.join("best.safetensors")).unwrap();
    std::fs::remove_dir_all(checkpoints.join("last")).unwrap();
    std::fs::remove_dir_all(results.join("model")).unwrap();
    assert!(matches!(fresh.run(&AtomicBool::new(false), &mut |_| {}), Err(Error::RunExists(_))));
    run(&fresh.start(Start::Overwrite));
    assert_eq!(bytes(&results), bytes(&other));
}

#[test]
fn folder_of_a_running_experiment_is_locked() {
    let (folder, dataset) = dataset();
    let experiment = experiment(&dataset, &folder.path().join("run"), &["trainer.epochs=1"]);
    let mut message = String::new();
    let mut observe = |event: RunEvent| {
        if let RunEvent::Training(Event::Epoch { .. }) = event {
            message = error_of(&experiment.clone().start(Start::Overwrite));
        }
    };
    experiment.run(&AtomicBool::new(false), &mut observe).unwrap();
    assert!(message.contains("run: another process is writing here"), "{message}");
}

/// Updates the manifest of a run's bundle after its files were changed on purpose.
pub fn seal(results: &Path) {
    Manifest::seal(&results.join("model")).unwrap();
}
