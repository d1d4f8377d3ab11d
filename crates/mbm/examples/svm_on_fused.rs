//! Fits support vector machines to a model's fused vectors and times them; `bench/svm.py` compares it with scikit-learn.
//!
//! usage: svm_on_fused RUN_FOLDER DATASET OUTPUT_FOLDER        the dataset needs the columns `label` and `split`

use std::path::Path;
use std::time::Instant;

use mbm::{Predictor, Table};
use mbm_algo::Matrix;
use mbm_algo::svm::{Gamma, Svc, SvcOptions};
use mbm_data::{Dataset, Payload};

type Failure = Box<dyn std::error::Error>;

/// Vectors and classes of one split.
struct Part {
    vectors: Vec<f32>,
    width: usize,
    classes: Vec<usize>,
}

impl Part {
    fn of(predictor: &Predictor, dataset: &Dataset, split: &str) -> Result<Self, Failure> {
        let at = dataset.table.require("split")?;
        let mut rows = Vec::new();
        for row_idx in 0..dataset.table.n_rows() {
            if dataset.table.row(row_idx)?[at].to_text() == split {
                rows.push(row_idx);
            }
        }
        let class = |row_idx: &usize| match dataset.sample(*row_idx)?.payloads[dataset.n_inputs] {
            Payload::Class(class) => Ok(class as usize),
            _ => Err(Failure::from("a row without a label")),
        };
        let classes = rows.iter().map(class).collect::<Result<_, _>>()?;
        let (vectors, width) = predictor.fused(dataset, &rows)?;
        Ok(Self { vectors, width, classes })
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
    let predictor = Predictor::open(run.as_ref())?;
    let dataset = Dataset::new(Table::read(table.as_ref())?, predictor.inputs.clone(), predictor.outputs.clone());
    let (train, test) = (Part::of(&predictor, &dataset, "train")?, Part::of(&predictor, &dataset, "test")?);
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
