//! Times the tree learners on generated tables: `trees TABLE LEARNER [ROUNDS [FILE]]` prints one line of JSON. With a file, the table is
//! written to it, too: the numbers of rows, columns and classes as u32, then the columns row by row and the targets as f32.

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use mbm_algo::Matrix;
use mbm_algo::tree::{
    Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Forest, ForestSettings, Growth, MaxFeatures, Objective,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const USAGE: &str = "usage: trees small|classes|medium|large|wide leaf_wise|symmetric|random|forest|extra [ROUNDS [FILE]]";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, learner, others @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let n_rounds = others.first().map_or(Ok(100), |it| it.parse())?;
    let table = Table::named(table).ok_or(USAGE)?;
    if let Some(path) = others.get(1) {
        table.write(path)?;
    }
    let before = peak_memory();
    let started = Instant::now();
    let binned = Binned::new(table.x(), &table.kinds);
    let binning = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let predict = table.fit(&binned, learner, n_rounds).ok_or(USAGE)?;
    let fitting = started.elapsed().as_secs_f64();
    let memory = peak_memory() - before;
    let score = table.score(&predict);
    println!("{}", json!({ "binning": binning, "fitting": fitting, "memory_mb": memory / 1024, "score": score }));
    Ok(())
}

struct Table {
    n_cols: usize,
    /// 0 for numbers.
    n_classes: usize,
    kinds: Vec<ColumnKind>,
    x: Vec<f32>,
    y: Vec<f32>,
}

type Predict = Box<dyn Fn(&[f32]) -> Vec<f32>>;

impl Table {
    fn named(name: &str) -> Option<Self> {
        match name {
            "small" => Some(Self::numbers(150, 10, 0)),
            "classes" => Some(Self::numbers(1_500, 10, 5)),
            "medium" => Some(Self::numbers(20_000, 30, 0)),
            "large" => Some(Self::cities(1_000_000)),
            "wide" => Some(Self::numbers(100, 10_000, 0)),
            _ => None,
        }
    }

    /// Normal columns; the target is `x0 * x1 + x2^2 + x3` and noise, divided at its quantiles if there are classes.
    fn numbers(n_rows: usize, n_cols: usize, n_classes: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let x: Vec<f32> = (0..n_rows * n_cols).map(|_| normal(&mut rng)).collect();
        let target = |row: &[f32]| row[0] * row[1] + row[2] * row[2] + row[3] + 0.3 * normal(&mut rng);
        let y: Vec<f32> = x.chunks(n_cols).map(target).collect();
        let y = if n_classes == 0 { y } else { classes(&y, n_classes) };
        Self { n_cols, n_classes, kinds: vec![ColumnKind::Number; n_cols], x, y }
    }

    /// Nine normal columns and a city: `x0 * x1 + x2^2 + step(city)` and noise.
    fn cities(n_rows: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut x, mut y) = (Vec::with_capacity(n_rows * 10), Vec::with_capacity(n_rows));
        for _ in 0..n_rows {
            let row: Vec<f32> = (0..9).map(|_| normal(&mut rng)).collect();
            let city = rng.random_range(0..20u8);
            let step = f32::from(city * 7 % 20) / 10.0;
            y.push(row[0] * row[1] + row[2] * row[2] + step + 0.3 * normal(&mut rng));
            x.extend(row);
            x.push(f32::from(city));
        }
        let kinds = (0..10).map(|at| if at == 9 { ColumnKind::Category } else { ColumnKind::Number }).collect();
        Self { n_cols: 10, n_classes: 0, kinds, x, y }
    }

    fn x(&self) -> Matrix<'_> {
        Matrix { data: &self.x, n_cols: self.n_cols }
    }

    /// Returns numbers, or indicators of classes.
    fn targets(&self) -> Vec<f32> {
        if self.n_classes == 0 {
            return self.y.clone();
        }
        let indicators = |y: &f32| (0..self.n_classes).map(|class| f32::from(u8::from(class == *y as usize))).collect::<Vec<_>>();
        self.y.iter().flat_map(indicators).collect()
    }

    fn fit(&self, binned: &Binned, learner: &str, n_rounds: usize) -> Option<Predict> {
        let (targets, weights) = (self.targets(), vec![1.0; self.y.len()]);
        let rows: Vec<u32> = (0..self.y.len() as u32).collect();
        let n_outputs = self.n_classes.max(1);
        let examples = Examples { binned, targets: &targets, n_outputs, weights: &weights, rows: &rows, validation: &[] };
        let boost = |settings: BoostingSettings| -> Predict {
            let objective = if self.n_classes == 0 { Objective::Squared } else { Objective::Softmax };
            let trees = BoostedTrees::fit(&examples, objective, &settings, 0, &mut |_| true);
            Box::new(move |row| trees.predict(row))
        };
        let forest = |bootstrap: bool| -> Predict {
            let max_features = if self.n_classes == 0 { MaxFeatures::Share(1.0) } else { MaxFeatures::Sqrt };
            let settings =
                ForestSettings { n_trees: n_rounds, min_rows: 1, max_features, bootstrap, random_thresholds: !bootstrap };
            let forest = Forest::fit(&examples, &settings, 0, &|| true);
            Box::new(move |row| forest.predict(row))
        };
        let settings = BoostingSettings { max_rounds: n_rounds, ..BoostingSettings::default() };
        match learner {
            "leaf_wise" => Some(boost(settings)),
            "symmetric" => {
                Some(boost(BoostingSettings { growth: Growth::Symmetric, max_depth: 6, min_rows: 1, l2: 3.0, ..settings }))
            }
            "random" => Some(boost(BoostingSettings { random_thresholds: true, ..settings })),
            "forest" => Some(forest(true)),
            "extra" => Some(forest(false)),
            _ => None,
        }
    }

    /// Returns R2 or the accuracy on up to 10,000 of the rows.
    fn score(&self, predict: &Predict) -> f64 {
        let n = self.y.len().min(10_000);
        let predicted: Vec<Vec<f32>> = self.x.chunks(self.n_cols).take(n).map(predict).collect();
        let rows = predicted.iter().zip(&self.y);
        if self.n_classes > 0 {
            let class = |p: &[f32]| (0..p.len()).fold(0, |best, at| if p[at] > p[best] { at } else { best });
            return rows.filter(|(p, y)| class(p) == **y as usize).count() as f64 / n as f64;
        }
        let mean = self.y[..n].iter().map(|y| f64::from(*y)).sum::<f64>() / n as f64;
        let total: f64 = self.y[..n].iter().map(|y| (f64::from(*y) - mean).powi(2)).sum();
        1.0 - rows.map(|(p, y)| f64::from(p[0] - y).powi(2)).sum::<f64>() / total
    }

    fn write(&self, path: &str) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for size in [self.y.len(), self.n_cols, self.n_classes] {
            file.write_all(&(size as u32).to_le_bytes())?;
        }
        self.x.iter().chain(&self.y).try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
        file.flush()
    }
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

/// Returns the quantile of each number as a class.
fn classes(y: &[f32], n_classes: usize) -> Vec<f32> {
    let mut sorted = y.to_vec();
    sorted.sort_by(f32::total_cmp);
    y.iter().map(|it| (sorted.partition_point(|other| other < it) * n_classes / y.len()) as f32).collect()
}

/// Returns the peak memory of this process in KiB, where Linux tells it.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
