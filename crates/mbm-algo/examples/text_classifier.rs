//! Fits and times TF-IDF with logistic regression: `text_classifier TEXTS.json`, a file of the form
//! `{"texts": [..], "classes": [..], "n_classes": N}`. The last fifth of the rows is held out. Prints one JSON object per step.

use std::error::Error;
use std::time::Instant;

use mbm_algo::linear::{ClassifiedRows, Logistic, Stopping};
use mbm_algo::text::{Ngrams, Tfidf, TfidfOptions};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: text_classifier TEXTS.json")?;
    let data: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let texts: Vec<String> = serde_json::from_value(data["texts"].clone())?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let classes: Vec<usize> = serde_json::from_value(data["classes"].clone())?;
    let n_classes = serde_json::from_value(data["n_classes"].clone())?;
    let n_train = texts.len() * 4 / 5;
    for ngrams in [Ngrams::Words { min: 1, max: 2 }, Ngrams::Characters { min: 2, max: 5 }] {
        let started = Instant::now();
        let tfidf = Tfidf::fit(&texts[..n_train], TfidfOptions { ngrams, min_df: 2, max_features: 20_000 });
        let rows = tfidf.transform(&texts[..n_train]);
        let held_out = tfidf.transform(&texts[n_train..]);
        println!(
            "{}",
            json!({ "step": ngrams, "columns": tfidf.n_cols(), "values": rows.n_values(), "seconds": seconds(started) })
        );
        let training = ClassifiedRows { rows: (&rows).into(), classes: &classes[..n_train], n_classes, sample_weights: None };
        for cs in [&[1.0][..], &[0.1, 1.0, 10.0, 100.0]] {
            let started = Instant::now();
            let models = Logistic::fit_path(training, cs, Stopping::default())?;
            let seconds = seconds(started);
            let accuracies: Vec<f64> =
                models.iter().map(|model| accuracy(&model.probabilities((&held_out).into()), &classes[n_train..])).collect();
            println!("{}", json!({ "step": "logistic", "C": cs, "accuracy": accuracies, "seconds": seconds }));
        }
    }
    Ok(())
}

fn seconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64()
}

fn accuracy(probabilities: &[f32], classes: &[usize]) -> f64 {
    let n_classes = probabilities.len() / classes.len();
    let rows = probabilities.chunks(n_classes).zip(classes);
    let n_correct = rows.filter(|(row, class)| row.iter().all(|p| *p <= row[**class])).count();
    n_correct as f64 / classes.len() as f64
}
