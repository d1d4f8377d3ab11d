//! Pictures of four brightnesses and the words for them in one space.

use std::path::{Path, PathBuf};

use mbm::{ConfigFormat, Experiment, Plan, Predictor, Start, Table};
use tempfile::TempDir;

use crate::run;

const CONFIG: &str = "
input_features:
  - {name: photo, type: image, preprocessing: {height: 8, width: 8}, encoder: {type: stacked_cnn, num_filters: 4, output_size: 8}}
  - {name: caption, type: text, encoder: {type: embed, embedding_size: 8}}
output_features:
  - {name: space, type: embedding, align: [photo, caption], embedding_size: 8}
preprocessing: {split: {type: random, probabilities: [0.6, 0.2, 0.2]}}
trainer: {epochs: 12, batch_size: 16, learning_rate: 0.02, early_stop: 0, validation_metric: recall_at_1, modality_dropout: 0.0}
";

const WORDS: [&str; 4] = ["black", "dark", "bright", "white"];

/// 60 pictures, two captions each.
pub fn dataset() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("photo,caption\n");
    for row in 0..60usize {
        let name = format!("{row}.png");
        let level = [10, 80, 160, 240][row % 4] + (row % 5) as u8;
        image::GrayImage::from_pixel(10, 10, image::Luma([level])).save(folder.path().join(&name)).unwrap();
        let word = WORDS[row % 4];
        table.push_str(&format!("{name},a {word} picture {row}\n{name},number {row} is {word}\n"));
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

pub fn experiment(dataset: &Path, folder: &Path, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap();
    Experiment { plan, dataset: dataset.to_path_buf(), folder: folder.to_path_buf(), start: Start::New, cache: None }
}

#[test]
fn pictures_and_words_find_each_other_better_than_by_chance() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    let outcome = run(&experiment(&dataset, &results, &[]));
    let metrics = &outcome.test_statistics["space"];
    for way in ["photo_to_caption", "caption_to_photo"] {
        let [found, chance] = ["recall_at_5", "random_recall_at_5"].map(|name| metrics[&format!("{way}.{name}")]);
        assert!(found > 1.5 * chance, "{way}: {found} against {chance} by chance");
    }
    let report = std::fs::read_to_string(results.join("report.html")).unwrap();
    assert!(report.contains("Found among the first k"));
    let predictor = Predictor::open(&results).unwrap();
    assert_eq!(predictor.columns()[0].name, "space_similarity_photo_caption");
    let evaluation = predictor.evaluate(Table::read(&dataset).unwrap()).unwrap();
    assert_eq!(evaluation.metrics["space"]["caption_to_photo.candidates"], 60.0);
    let path = results.join("similar.csv");
    let mut writer = mbm::Writer::create(&path, predictor.columns()).unwrap();
    predictor.predict(mbm::table_from_json("{\"caption\": \"white\"}").unwrap(), &mut writer).unwrap();
    writer.finish().unwrap();
    let row = Table::read(&path).unwrap().row(0).unwrap();
    assert_eq!(row[0], mbm_data::Cell::Empty, "a caption alone has no similarity");
}

/// What a row costs in each epoch, however its batch went through the network.
fn losses(folder: &Path) -> Vec<f64> {
    let text = std::fs::read(folder.join("training_statistics.json")).unwrap();
    let statistics: serde_json::Value = serde_json::from_slice(&text).unwrap();
    statistics["epochs"].as_array().unwrap().iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_batch_in_chunks_is_trained_on_as_a_whole() {
    let (folder, dataset) = dataset();
    // Batch norm would see other statistics in a chunk.
    let settings = ["trainer.epochs=3", "trainer.batch_size=32", "input_features.photo.encoder.batch_norm=false"];
    let chunked = [&settings[..], &["trainer.gradient_cache_chunk_size=8"]].concat();
    let [whole, chunks] = ["whole", "chunks"].map(|name| folder.path().join(name));
    run(&experiment(&dataset, &whole, &settings));
    run(&experiment(&dataset, &chunks, &chunked));
    for (whole, chunks) in losses(&whole).iter().zip(losses(&chunks)) {
        assert!((whole - chunks).abs() < 1e-3 * whole, "{whole} and {chunks}");
    }
}

#[test]
fn mistakes_in_an_embedding_are_named() {
    let overrides =
        ["output_features.space.align=[photo, captoin, photo]", "output_features.space.column=x", "trainer.mixup=0.2"];
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let problems = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap_err().to_string();
    for want in [
        "output_features[0].align[1]: 'captoin' is no input, did you mean 'caption'?",
        "output_features[0].align[2]: 'photo' is there twice",
        "output_features[0].column: an embedding has no column of its own",
        "trainer.mixup: rows cannot be mixed",
    ] {
        assert!(problems.contains(want), "{want}\n{problems}");
    }
}
