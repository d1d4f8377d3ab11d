//! Cross-modal retrieval: images of four brightness levels and their captions in a shared embedding space.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mbm::{
    Cell, ConfigFormat, Embedding, Event, Experiment, Filter, Index, IndexRows, IndexSettings, IndexValue, Model, Plan,
    QueryPart, Retriever, RunEvent, Search, Start, Table,
};
use tempfile::TempDir;

use crate::{bytes, run};

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

/// 60 images, two captions each.
pub fn dataset() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("photo,caption\n");
    for row in 0..60usize {
        let name = format!("{row}.png");
        let level = [10, 80, 160, 240][row % 4] + (row % 5) as u8;
        image::GrayImage::from_pixel(10, 10, image::Luma([level])).save(folder.path().join(&name)).unwrap();
        let word = WORDS[row % 4];
        table.push_str(&format!("{name},a {word} image {row}\n{name},number {row} is {word}\n"));
    }
    let path = folder.path().join("rows.csv");
    std::fs::write(&path, table).unwrap();
    (folder, path)
}

pub fn experiment(dataset: &Path, folder: &Path, overrides: &[&str]) -> Experiment {
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap();
    Experiment::new(plan, dataset.to_path_buf(), folder.to_path_buf())
}

#[test]
fn retrieval_beats_the_random_baseline() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    let outcome = run(&experiment(&dataset, &results, &[]));
    let metrics = &outcome.test_statistics["space"];
    for way in ["photo_to_caption", "caption_to_photo"] {
        let [found, random] = ["recall_at_5", "random_recall_at_5"].map(|name| metrics[&format!("{way}.{name}")]);
        assert!(found > 1.5 * random, "{way}: {found}, random baseline {random}");
    }
    let report = std::fs::read_to_string(results.join("report.html")).unwrap();
    assert!(report.contains("Recall at k"));
    assert_eq!(report.matches("true matching pair").count(), 12, "the report shows the worst pairs");
    let model = Model::open(&results).unwrap();
    assert_eq!(model.columns()[0].name, "space_similarity_photo_caption");
    let evaluation = model.evaluate(&dataset).unwrap();
    assert_eq!(evaluation.metrics["space"]["caption_to_photo.candidates"], 60.0);
    let path = results.join("similar.csv");
    model.predict_to(mbm::table_from_json("{\"caption\": \"white\"}").unwrap(), &path).unwrap();
    let row = Table::read(&path).unwrap().row(0).unwrap();
    assert_eq!(row[0], Cell::Empty, "a caption alone has no similarity");
}

/// Returns the training loss of each epoch.
fn losses(folder: &Path) -> Vec<f64> {
    let text = std::fs::read(folder.join("training_statistics.json")).unwrap();
    let statistics: serde_json::Value = serde_json::from_slice(&text).unwrap();
    statistics["epochs"].as_array().unwrap().iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect()
}

#[test]
fn chunked_batches_train_like_whole_batches() {
    let (folder, dataset) = dataset();
    // Batch norm would compute other statistics per chunk.
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
fn mistakes_in_an_embedding_are_reported() {
    let overrides =
        ["output_features.space.align=[photo, captoin, photo]", "output_features.space.column=x", "trainer.mixup=0.2"];
    let overrides: Vec<String> = overrides.iter().map(|pair| pair.to_string()).collect();
    let diagnostics = Plan::read(CONFIG, ConfigFormat::Yaml, &overrides, "config.yaml").unwrap_err().to_string();
    for want in [
        "--set output_features.space.align[1]: 'captoin' is not an input, did you mean 'caption'?",
        "--set output_features.space.align[2]: 'photo' is listed twice",
        "--set output_features.space.column: an embedding has no column of its own",
        "--set trainer.mixup: rows cannot be mixed",
    ] {
        assert!(diagnostics.contains(want), "{want}\n{diagnostics}");
    }
}

#[test]
fn stopped_embedding_of_a_table_can_be_restarted() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &["trainer.epochs=1"]));
    let model = Model::open(&results).unwrap();
    let output = folder.path().join("vectors.parquet");
    let embedding = Embedding::new(&model, &output);
    let stopped = embedding.run(&dataset, &AtomicBool::new(true), &mut |_, _| ()).unwrap();
    assert!(stopped.is_none() && !output.exists());
    let embedded = embedding.run(&dataset, &AtomicBool::new(false), &mut |_, _| ()).unwrap().unwrap();
    assert_eq!((embedded.n_rows, embedded.n_found, embedded.faults.lines().len()), (120, 0, 0));
    let written = Table::read(&output).unwrap();
    assert_eq!(written.columns, ["photo", "caption", "photo_embedding", "caption_embedding"]);
    let vector = |row: usize, column: usize| match &written.row(row).unwrap()[column] {
        Cell::Numbers(values) => values.clone(),
        other => panic!("{other:?}"),
    };
    assert!((vector(0, 2).iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    assert_eq!(vector(0, 2), vector(1, 2), "the same image");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".parts") || name.to_string_lossy().contains(".tmp")));
    let output = folder.path().join("captions.npy");
    let captions = Embedding::new(&model, &output).inputs(["caption"]);
    let embedded = captions.run(&dataset, &AtomicBool::new(false), &mut |_, _| ()).unwrap().unwrap();
    assert!(embedded.faults.lines().is_empty(), "inputs that are not requested do not count as missing");
    assert_eq!(std::fs::metadata(&output).unwrap().len(), 128 + 120 * 8 * 4);
}

#[test]
fn image_index_is_searched_by_text_by_image_and_by_both() {
    let (folder, dataset) = dataset();
    let results = folder.path().join("run");
    run(&experiment(&dataset, &results, &[]));
    let model = Model::open(&results).unwrap();
    let index = folder.path().join("photos.index");
    let rows = || IndexRows::embedded_by(&model, &dataset).unwrap();
    let settings = IndexSettings::default();
    let indexed = mbm::build_index(&index, rows().input("photo"), settings, &|_| ()).unwrap();
    assert_eq!((indexed.n_rows, indexed.n_repeated, indexed.n_absent), (60, 60, 0));
    let image = |name: &str| Cell::Bytes(std::fs::read(dataset.with_file_name(name)).unwrap());
    let cells = [image("0.png"), image("4.png"), image("0.png"), Cell::Empty];
    assert_eq!(cells[0].to_text(), cells[1].to_text(), "two images of equal size in bytes");
    let table = Table::from_rows(vec!["photo".into()], cells.map(|cell| vec![cell]).to_vec(), ".".into()).unwrap();
    let bytes = IndexRows::embedded_by(&model, table).unwrap().input("photo");
    let indexed = mbm::build_index(folder.path().join("bytes.index"), bytes, settings, &|_| ()).unwrap();
    assert_eq!((indexed.n_rows, indexed.n_repeated, indexed.n_absent), (2, 1, 1));
    let retriever = Retriever::open(&index, None).unwrap();
    assert_eq!(retriever.model().embedded_inputs(), [("photo", "image"), ("caption", "text")]);
    let asked = |input: &str, text: &str, weight| QueryPart::from((input, text)).weight(weight);
    let find = |asked: &[QueryPart], filter: Option<&str>| {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        retriever.search(asked.to_vec(), Search::nearest(5).width(Some(64)).filter(filter.as_ref())).unwrap()
    };
    let level = |hit: &mbm::Hit| match &hit.values[0] {
        IndexValue::Text(name) => name.trim_end_matches(".png").parse::<usize>().unwrap() % 4,
        other => panic!("{other:?}"),
    };
    let bright = find(&[asked("caption", "white", 1.0)], None);
    assert!(bright.iter().filter(|hit| level(hit) >= 2).count() >= 4, "{bright:?}");
    let path = dataset.with_file_name("8.png").display().to_string();
    let same = find(&[asked("photo", &path, 1.0)], None);
    assert!((same[0].similarity - 1.0).abs() < 1e-5 && level(&same[0]) == 0);
    let both = find(&[asked("photo", &path, 1.0), asked("caption", "black", 0.5)], Some("photo != '8.png'"));
    assert!(both.len() == 5 && both.iter().all(|hit| hit.values[0] != IndexValue::Text("8.png".into())));
    let page = retriever.gallery("a <search>", &bright).unwrap();
    assert!(page.contains("a &lt;search&gt;") && page.contains("data:image/png;base64,"));
    let missing = retriever.search([("photo", "nowhere.png")], Search::nearest(1)).unwrap_err().to_string();
    assert!(missing.contains("photo: file_not_found"), "{missing}");
    assert!(retriever.model().input_of_type("audio").unwrap_err().to_string().contains("photo (image), caption (text)"));
    let other = folder.path().join("other");
    run(&experiment(&dataset, &other, &["trainer.epochs=1"]));
    let error = Retriever::open(&index, Some(&other)).err().unwrap().to_string();
    assert!(error.contains("is not the model that"), "{error}");
    let others = IndexRows::embedded_by(&Model::open(&other).unwrap(), &dataset).unwrap();
    let error = mbm::add_to_index(&index, others, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("built with another model"), "{error}");
    mbm::add_to_index(&index, rows(), &|_| ()).unwrap();
    assert_eq!(Index::open(&index).unwrap().info().unwrap().n_rows, 120);
    // Images of a table in another folder are still found from the index.
    let (elsewhere, moved) = self::dataset();
    mbm::add_to_index(&index, IndexRows::embedded_by(&model, &moved).unwrap(), &|_| ()).unwrap();
    let filter = Filter::parse(&format!("photo = '{}'", elsewhere.path().join("3.png").display())).unwrap();
    assert_eq!(mbm::remove_from_index(&index, &filter).unwrap(), 1);
}

#[test]
fn resumed_chunked_run_is_bitwise_identical() {
    let (folder, dataset) = dataset();
    let dropout = "output_features.space.decoder={type: projector, num_fc_layers: 1, output_size: 8, dropout: 0.3}";
    let settings = ["trainer.epochs=3", "trainer.batch_size=32", "trainer.gradient_cache_chunk_size=8", dropout];
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    run(&experiment(&dataset, &whole, &settings));
    let mut experiment = experiment(&dataset, &stopped, &settings);
    let stop = AtomicBool::new(false);
    let mut in_mid_epoch = |happening| {
        if let RunEvent::Training(Event::Step { epoch: 1, step: 1, .. }) = happening {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let outcome = experiment.run(&stop, &mut in_mid_epoch).unwrap();
    assert!(outcome.test_statistics.is_empty(), "it was stopped");
    experiment.start = Start::Resume;
    run(&experiment);
    assert!(bytes(&whole) == bytes(&stopped));
}
