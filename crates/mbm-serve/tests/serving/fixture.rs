//! A small trained model with an index, shared by the tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use mbm::{ConfigFormat, Experiment, IndexRows, IndexSettings, Model, Plan, Store};
use tempfile::TempDir;

const CONFIG: &str = "
input_features:
  - {name: photo, type: image, preprocessing: {height: 8, width: 8, num_channels: 1}, encoder: {type: stacked_cnn, num_filters: 4, output_size: 8}}
  - {name: caption, type: text, encoder: {type: embed, embedding_size: 8}}
  - {name: size, type: number}
output_features:
  - {name: kind, type: category}
  - {name: space, type: embedding, align: [photo, caption], embedding_size: 8}
preprocessing: {split: {type: random, probabilities: [0.8, 0.1, 0.1]}}
trainer: {epochs: 3, batch_size: 16, learning_rate: 0.02, early_stop: 0}
";

pub struct Fixture {
    folder: TempDir,
}

/// Encodes a uniform gray image as PGM.
pub fn image(level: u8) -> Vec<u8> {
    [b"P5 10 10 255\n".to_vec(), vec![level; 100]].concat()
}

impl Fixture {
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn index(&self) -> Store {
        Store::Folder(self.folder.path().join("index"))
    }

    pub fn images(&self) -> &Path {
        self.folder.path()
    }
}

pub fn train(folder: &Path, seed: u64) -> PathBuf {
    train_with(folder, &[format!("random_seed={seed}")])
}

pub fn train_with(folder: &Path, overrides: &[String]) -> PathBuf {
    let plan = Plan::read(CONFIG, ConfigFormat::Yaml, overrides, "config.yaml").unwrap();
    let run = folder.join("run");
    let experiment = Experiment::new(plan, folder.join("rows.csv"), run.clone());
    experiment.run(&AtomicBool::new(false), &mut |_| {}).unwrap();
    run
}

pub fn write_rows(folder: &Path) {
    let mut table = String::from("photo,caption,size,kind\n");
    for row in 0..60usize {
        let level = if row % 2 == 0 { 20 } else { 220 };
        std::fs::write(folder.join(format!("{row}.pgm")), image(level + (row % 5) as u8)).unwrap();
        let word = ["dark", "bright"][row % 2];
        table.push_str(&format!("{row}.pgm,a {word} image {row},{row},{word}\n"));
    }
    std::fs::write(folder.join("rows.csv"), table).unwrap();
}

/// Returns the model and an index of its images, trained on first use.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_rows(folder.path());
        let path = train(folder.path(), 1);
        let fixture = Fixture { folder };
        let model = Model::open(&path).unwrap();
        let rows = IndexRows::embedded_by(&model, fixture.images().join("rows.csv")).unwrap().input("photo");
        mbm::build_index(fixture.index(), rows, IndexSettings::default().graph(None), &|_| ()).unwrap();
        fixture
    })
}
