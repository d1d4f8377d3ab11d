//! Classifies time series: `series TRAIN TEST SEED [SUMMARY]`, files with one JSON object per row,
//! `{"label": "..", "steps": [[channels], ..]}`. Prints one JSON object per learner with its accuracy on the test rows, and writes
//! summary statistics to `SUMMARY.train` and `SUMMARY.test`, one line of comma-separated values per row.

mod ridge;

use std::error::Error;
use std::time::Instant;

use mbm_algo::Matrix;
use mbm_algo::series::{Hydra, HydraOptions, MiniRocket, MiniRocketOptions, Series, SparseScaler, summarize, summary_names};
use serde_json::{Value, json};

use ridge::RidgeClassifier;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, train, test, seed, rest @ ..] = &arguments[..] else { return Err("usage: series TRAIN TEST SEED [SUMMARY]".into()) };
    let (train, test, seed) = (Rows::read(train)?, Rows::read(test)?, seed.parse()?);
    let started = Instant::now();
    let minirocket = minirocket(&train, &test, seed)?;
    print("minirocket", minirocket.accuracy(&train, &test), started);
    let started = Instant::now();
    let hydra = hydra(&train, &test, seed)?;
    print("hydra", hydra.accuracy(&train, &test), started);
    print("minirocket + hydra", minirocket.concatenated(&hydra).accuracy(&train, &test), started);
    if let [summary] = rest {
        let started = Instant::now();
        write_summary(&train, &format!("{summary}.train"))?;
        write_summary(&test, &format!("{summary}.test"))?;
        // Trees are not part of this example.
        print("summary", f64::NAN, started);
    }
    Ok(())
}

fn print(learner: &str, accuracy: f64, started: Instant) {
    println!("{}", json!({ "learner": learner, "accuracy": accuracy, "seconds": started.elapsed().as_secs_f64() }));
}

fn write_summary(rows: &Rows, path: &str) -> std::io::Result<()> {
    let features = summarize(&rows.series(), rows.n_channels);
    let width = summary_names(rows.n_channels).len();
    let line = |row: &[f32]| row.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    std::fs::write(path, features.chunks(width).map(line).collect::<Vec<_>>().join("\n"))
}

/// Labelled series.
struct Rows {
    labels: Vec<String>,
    n_channels: usize,
    values: Vec<Vec<f32>>,
}

impl Rows {
    fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let mut rows = Self { labels: Vec::new(), n_channels: 1, values: Vec::new() };
        for line in std::fs::read_to_string(path)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let steps: Vec<Vec<Option<f32>>> = serde_json::from_value(row["steps"].clone())?;
            rows.labels.push(row["label"].as_str().ok_or("a label is not a text")?.to_owned());
            rows.n_channels = steps.first().map_or(rows.n_channels, Vec::len);
            rows.values.push(steps.into_iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect());
        }
        Ok(rows)
    }

    fn series(&self) -> Vec<Series<'_>> {
        self.values.iter().map(|values| Series { values, n_channels: self.n_channels }).collect()
    }
}

/// Features of training and test rows.
struct Features {
    n_cols: usize,
    train: Vec<f32>,
    test: Vec<f32>,
}

impl Features {
    fn accuracy(&self, train: &Rows, test: &Rows) -> f64 {
        let model = RidgeClassifier::fit(Matrix { data: &self.train, n_cols: self.n_cols }, &train.labels);
        let predicted = model.predict(Matrix { data: &self.test, n_cols: self.n_cols });
        let n_correct = predicted.iter().zip(&test.labels).filter(|(predicted, label)| *predicted == label).count();
        n_correct as f64 / test.labels.len() as f64
    }

    fn concatenated(&self, other: &Self) -> Self {
        let join =
            |a: &[f32], b: &[f32]| a.chunks(self.n_cols).zip(b.chunks(other.n_cols)).flat_map(|(a, b)| [a, b].concat()).collect();
        Self { n_cols: self.n_cols + other.n_cols, train: join(&self.train, &other.train), test: join(&self.test, &other.test) }
    }
}

fn minirocket(train: &Rows, test: &Rows, seed: u64) -> Result<Features, Box<dyn Error>> {
    let (train, test) = (train.series(), test.series());
    let transform = MiniRocket::fit(&train, MiniRocketOptions::default(), seed)?;
    let mut features =
        Features { n_cols: transform.n_features(), train: transform.transform(&train), test: transform.transform(&test) };
    ridge::standardize(&mut features.train, &mut features.test, features.n_cols);
    Ok(features)
}

fn hydra(train: &Rows, test: &Rows, seed: u64) -> Result<Features, Box<dyn Error>> {
    let (train, test) = (train.series(), test.series());
    let transform = Hydra::fit(&train, HydraOptions::default(), seed)?;
    let mut features =
        Features { n_cols: transform.n_features(), train: transform.transform(&train), test: transform.transform(&test) };
    let scaler = SparseScaler::fit(Matrix { data: &features.train, n_cols: features.n_cols })?;
    scaler.apply(&mut features.train);
    scaler.apply(&mut features.test);
    Ok(features)
}
