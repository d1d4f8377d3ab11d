//! Computes and times the text metrics: `texts TEXTS.json`, a file of the form
//! `{"hypotheses": [..], "references": [[..], ..]}`. Prints one JSON object per metric.

use std::error::Error;
use std::time::Instant;

use mbm_algo::metric::{TEXTS, TextSamples};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: texts TEXTS.json")?;
    let texts: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let written = TextSamples {
        hypotheses: serde_json::from_value(texts["hypotheses"].clone())?,
        references: serde_json::from_value(texts["references"].clone())?,
        ..TextSamples::default()
    };
    for metric in TEXTS {
        let started = Instant::now();
        let value = (metric.score)(&written);
        println!("{}", json!({ "name": metric.name, "value": value, "seconds": started.elapsed().as_secs_f64() }));
    }
    Ok(())
}
