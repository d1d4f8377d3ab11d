//! Fits support vector machines to a model's fused vectors and times them; `bench/svm.py` compares it with scikit-learn.
//!
//! usage: svm_on_fused RUN_FOLDER DATASET OUTPUT_FOLDER        the dataset needs the columns `label` and `split`

use std::path::Path;
use std::time::Instant;

use mbm::{Model, Table};
use mbm_algo::Matrix;
use mbm_algo::svm::{Gamma, Svc, SvcOptions};

type Failure = Box<dyn std::error::Error>;

/// Vectors and classes of one split.
#[derive(Default)]
struct Part {
    vectors: Vec<f32>,
    width: usize,
    classes: Vec<usize>,
}

impl Part {
    fn of(model: &Model, dataset: &str, split: &str) -> Result<Self, Failure> {
        let vectors = model.fused(dataset)?;
        let table = Table::read(dataset.as_ref())?;
        let (split_column, label_column) = (table.require("split")?, table.require("label")?);
        let classes = model.outputs().next().map(|output| output.classes()).unwrap_or_default();
        let mut part = Self { width: vectors.first().map_or(0, Vec::len), ..Self::default() };
        for (row_idx, vector) in vectors.iter().enumerate() {
            if table.cell(row_idx, split_column)?.to_text() == split {
                let label = table.cell(row_idx, label_column)?.to_text();
                part.classes.push(classes.iter().position(|class| *class == label).ok_or("a row without a label")?);
                part.vectors.extend(vector);
            }
        }
        Ok(part)
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix { data: &self.vectors, n_cols: self.width }
    }

    fn write(&self, path: &Path) -> Result<(), Failure> {
        let line = |(row, class): (&[f32], &usize)| {
            format!("{class},{}\n", row.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
        };
        let text: String = self.vectors.chunks(self.width).zip(&self.classes).map(line).collect();
        Ok(std::fs::write(path, text)?)
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, run, table, output] = args.as_slice() else {
        return Err("usage: svm_on_fused RUN_FOLDER DATASET OUTPUT_FOLDER".into());
    };
    let model = Model::open(run)?;
    let (train, test) = (Part::of(&model, table, "train")?, Part::of(&model, table, "test")?);
    train.write(&Path::new(output).join("train.csv"))?;
    test.write(&Path::new(output).join("test.csv"))?;
    let n_classes = train.classes.iter().max().map_or(0, |top| top + 1);
    for (name, rbf) in [("linear", None), ("rbf", Some(Gamma::Scale))] {
        let started = Instant::now();
        let svc = Svc::fit(train.matrix(), &train.classes, n_classes, SvcOptions { rbf, ..SvcOptions::default() })?;
        let seconds = started.elapsed().as_secs_f64();
        let hits = test.classes.iter().enumerate().filter(|(row, class)| svc.predict(test.matrix().row(*row)) == **class).count();
        println!("{name},{},{seconds}", hits as f64 / test.classes.len() as f64);
    }
    Ok(())
}
