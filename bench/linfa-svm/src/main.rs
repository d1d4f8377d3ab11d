//! `linfa-svm`, one class against the rest, on the vectors that the example `svm_on_fused` writes.
//!
//! usage: cargo run --release -- FOLDER        the folder holds train.csv and test.csv: class, then the vector

use std::time::Instant;

use linfa::prelude::*;
use linfa_svm::Svm;
use ndarray::{Array1, Array2};

type Failure = Box<dyn std::error::Error>;

fn read(path: &str) -> Result<(Array2<f64>, Vec<usize>), Failure> {
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(path)?.lines() {
        let (class, row) = line.split_once(',').ok_or("a row without a vector")?;
        classes.push(class.parse()?);
        for value in row.split(',') {
            values.push(value.parse()?);
        }
    }
    let width = values.len() / classes.len();
    Ok((Array2::from_shape_vec((classes.len(), width), values)?, classes))
}

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: linfa-svm-bench FOLDER")?;
    let (x, classes) = read(&format!("{folder}/train.csv"))?;
    let (probe, truth) = read(&format!("{folder}/test.csv"))?;
    let gamma = 1.0 / (x.ncols() as f64 * x.var(0.0));
    let n_classes = classes.iter().max().map_or(0, |top| top + 1);
    for name in ["linear", "rbf"] {
        let started = Instant::now();
        let mut scores: Vec<Array1<f32>> = Vec::new();
        for class in 0..n_classes {
            let is_class: Array1<bool> = classes.iter().map(|it| *it == class).collect();
            let params = Svm::<_, Pr>::params().pos_neg_weights(1.0, 1.0);
            let params = if name == "rbf" { params.gaussian_kernel(1.0 / gamma) } else { params.linear_kernel() };
            let machine = params.fit(&Dataset::new(x.clone(), is_class))?;
            scores.push(machine.predict(&probe).mapv(|p| *p));
        }
        let best = |row: usize| (0..n_classes).max_by(|a, b| scores[*a][row].total_cmp(&scores[*b][row]));
        let hits = (0..truth.len()).filter(|row| best(*row) == Some(truth[*row])).count();
        println!("{name}: accuracy {:.4}, {:.2} s", hits as f64 / truth.len() as f64, started.elapsed().as_secs_f64());
    }
    Ok(())
}
