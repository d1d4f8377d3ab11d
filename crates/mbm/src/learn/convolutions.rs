//! Random convolutions of time series with ridge regression (Dempster et al. 2021, 2023).

use mbm_algo::linear::{Linear, NumberedRows, RidgePath, Rows};
use mbm_algo::metric::SampleWeights;
use mbm_algo::series::{Hydra, HydraOptions, MiniRocket, MiniRocketOptions, Series, SparseScaler};
use mbm_algo::{AlgoError, ArrayMut, Matrix, temperature};
use serde::{Deserialize, Serialize};

use crate::learn::task::Task;

/// The series of an input for some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct SeriesColumn {
    /// Number of channels.
    pub n_channels: usize,
    /// `[steps, channels]` of each row; empty where the input is absent.
    pub rows: Vec<Vec<f32>>,
}

/// Fitted convolutions of all series of a row with a linear model on them. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Convolutions {
    /// One per input that is a series.
    transforms: Vec<Transform>,
    /// The mean of each feature.
    means: Vec<f32>,
    /// The standard deviation of each feature.
    deviations: Vec<f32>,
    /// The linear model: numbers, or a score per class.
    linear: Linear,
    /// Divides the scores of classes before the softmax.
    temperature: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Transform {
    rocket: MiniRocket,
    hydra: Hydra,
    scaler: SparseScaler,
}

/// Maximum number of features times rows that are held in memory.
const MAX_VALUES: usize = 60_000_000;

/// How long a feature of a series of some hundred steps takes, in evaluations of one tree.
const COST_OF_FEATURE: usize = 4;

/// What the linear model is fitted to.
pub(crate) struct Examples<'a> {
    pub task: Task,
    pub series: &'a [SeriesColumn],
    pub rows: &'a [u32],
    /// `[rows, task.n_values()]`, of the same rows.
    pub targets: &'a [f32],
    pub weights: &'a SampleWeights,
    pub penalties: &'a [f64],
}

impl Convolutions {
    /// Fits the transforms and the linear model, whose penalty has the lowest error by leave-one-out, or is the middle one where that takes
    /// too long.
    ///
    /// # Errors
    /// Fails if there are no rows.
    pub fn fit(examples: &Examples, seed: u64) -> Result<Self, AlgoError> {
        let n_rows = examples.rows.len();
        let (mut features, mut transforms) = (vec![Vec::new(); n_rows], Vec::new());
        for (at, column) in examples.series.iter().enumerate() {
            let transform = Transform::fit(column, examples, seed.wrapping_add(at as u64))?;
            let series: Vec<Series> = examples.rows.iter().map(|row| column.series(*row as usize)).collect();
            let own = transform.features(&series);
            let width = own.len() / n_rows.max(1);
            features.iter_mut().zip(own.chunks(width.max(1))).for_each(|(features, own)| features.extend(own));
            transforms.push(transform);
        }
        let mut features = features.concat();
        let n_cols = features.len() / n_rows.max(1);
        let (means, deviations) = moments(&features, n_cols);
        standardize(&mut features, &means, &deviations);
        let (linear, scores) = fit_linear(examples, Matrix { data: &features, n_cols: n_cols.max(1) })?;
        let temperature = examples.temperature(&scores);
        Ok(Self { transforms, means, deviations, linear, temperature })
    }

    /// Predicts a row: `[task.n_values()]`.
    pub fn predict(&self, task: Task, series: &[SeriesColumn], row: usize) -> Vec<f32> {
        let own = self.transforms.iter().zip(series).map(|(transform, column)| transform.features(&[column.series(row)]));
        let mut features: Vec<f32> = own.flatten().collect();
        standardize(&mut features, &self.means, &self.deviations);
        let scores = self.linear.predict(Rows::from(Matrix { data: &features, n_cols: self.means.len().max(1) }));
        match task {
            Task::Classes(_) => softmax(&scores, self.temperature),
            Task::Labels(_) => scores.iter().map(|score| score.clamp(0.0, 1.0)).collect(),
            Task::Number | Task::Vector(_) => scores,
        }
    }

    /// Returns about how long the features of a row take, in evaluations of one tree.
    pub fn cost(&self) -> usize {
        self.means.len() * COST_OF_FEATURE
    }

    /// Returns its arrays by name.
    pub fn arrays(&mut self) -> Vec<(String, ArrayMut<'_>)> {
        let mut arrays = vec![
            ("means".to_owned(), ArrayMut::F32(&mut self.means)),
            ("deviations".to_owned(), ArrayMut::F32(&mut self.deviations)),
            ("weights".to_owned(), ArrayMut::F32(&mut self.linear.weights)),
        ];
        for (at, transform) in self.transforms.iter_mut().enumerate() {
            arrays.push((format!("biases.{at}"), ArrayMut::F32(&mut transform.rocket.biases)));
            arrays.push((format!("kernels.{at}"), ArrayMut::F32(&mut transform.hydra.weights)));
            arrays.push((format!("scaler_means.{at}"), ArrayMut::F32(&mut transform.scaler.means)));
            arrays.push((format!("scaler_deviations.{at}"), ArrayMut::F32(&mut transform.scaler.deviations)));
        }
        arrays
    }

    /// Whether it suits series of these numbers of channels; checks what was read from a file.
    pub fn suits(&self, task: Task, n_channels: &[usize]) -> bool {
        let n_features: usize = self.transforms.iter().map(|it| it.rocket.n_features() + it.hydra.n_features()).sum();
        self.transforms.len() == n_channels.len()
            && self.transforms.iter().zip(n_channels).all(|(transform, n_channels)| transform.suits(*n_channels))
            && (self.means.len(), self.deviations.len()) == (n_features, n_features)
            && self.deviations.iter().all(|deviation| *deviation > 0.0)
            && self.linear.suits(n_features.max(1), task.n_values())
            && self.temperature.is_finite()
            && self.temperature > 0.0
    }
}

impl SeriesColumn {
    /// Returns the series of a row; a single missing step where it is absent.
    fn series(&self, row: usize) -> Series<'_> {
        const MISSING: [f32; 256] = [f32::NAN; 256];
        let own = &self.rows[row];
        let values = if own.is_empty() { &MISSING[..self.n_channels.min(256)] } else { own.as_slice() };
        Series { values, n_channels: self.n_channels }
    }
}

impl Transform {
    fn fit(column: &SeriesColumn, examples: &Examples, seed: u64) -> Result<Self, AlgoError> {
        let series: Vec<Series> = examples.rows.iter().map(|row| column.series(*row as usize)).collect();
        // Half of the values for each of the two transforms.
        let per_row = MAX_VALUES / (2 * series.len().max(1) * examples.series.len().max(1));
        let options = MiniRocketOptions { n_features: per_row.min(10_000), ..MiniRocketOptions::default() };
        let rocket = MiniRocket::fit(&series, options, seed)?;
        let mut hydra = Hydra::fit(&series, HydraOptions::default(), seed)?;
        if hydra.n_features() > per_row {
            let n_groups = (64 * per_row / hydra.n_features()).max(2);
            hydra = Hydra::fit(&series, HydraOptions { n_groups }, seed)?;
        }
        let counts = hydra.transform(&series);
        let scaler = SparseScaler::fit(Matrix { data: &counts, n_cols: hydra.n_features().max(1) })?;
        Ok(Self { rocket, hydra, scaler })
    }

    /// Returns the features of series, `[rows, features]`.
    fn features(&self, series: &[Series]) -> Vec<f32> {
        let shares = self.rocket.transform(series);
        let mut counts = self.hydra.transform(series);
        self.scaler.apply(&mut counts);
        let rows = shares.chunks(self.rocket.n_features().max(1)).zip(counts.chunks(self.hydra.n_features().max(1)));
        rows.flat_map(|(shares, counts)| [shares, counts].concat()).collect()
    }

    fn suits(&self, n_channels: usize) -> bool {
        self.rocket.suits(n_channels) && self.hydra.suits(n_channels) && self.scaler.suits(self.hydra.n_features())
    }
}

impl Examples<'_> {
    fn classes(&self) -> Vec<usize> {
        let rows = self.targets.chunks(self.task.n_values());
        rows.map(|row| row.iter().position(|value| *value > 0.5).unwrap_or(0)).collect()
    }

    fn temperature(&self, scores: &[f32]) -> f32 {
        match self.task {
            Task::Classes(n_classes) => temperature(scores, n_classes, &self.classes(), self.weights),
            Task::Labels(_) | Task::Number | Task::Vector(_) => 1.0,
        }
    }
}

/// Fits ridge regression, and returns it with its predictions for each row by a model fitted on the others, where they can be afforded.
fn fit_linear(examples: &Examples, x: Matrix) -> Result<(Linear, Vec<f32>), AlgoError> {
    let targets = Matrix { data: examples.targets, n_cols: examples.task.n_values() };
    let data = NumberedRows { rows: Rows::from(x), targets, sample_weights: examples.weights.as_slice() };
    let path = RidgePath::new(data, examples.penalties)?;
    let weights = examples.weights.of_values(examples.task.n_values());
    let error = |predicted: &Vec<f32>| -> f64 {
        let errors = predicted.iter().zip(examples.targets).map(|(p, t)| f64::from(p - t).powi(2));
        errors.enumerate().map(|(at, error)| weights.of(at) * error).sum()
    };
    if let Some(left_out) = &path.leave_one_out {
        let errors: Vec<f64> = left_out.iter().map(error).collect();
        let best = (0..errors.len()).fold(0, |best, at| if errors[at] < errors[best] { at } else { best });
        return Ok((path.model(examples.penalties[best]), left_out[best].clone()));
    }
    let linear = path.model(examples.penalties[examples.penalties.len() / 2]);
    let scores = linear.predict(Rows::from(x));
    Ok((linear, scores))
}

fn moments(features: &[f32], n_cols: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sums, mut squares) = (vec![0f64; n_cols], vec![0f64; n_cols]);
    let n_rows = (features.len() / n_cols.max(1)).max(1) as f64;
    for row in features.chunks(n_cols.max(1)) {
        for ((sum, square), value) in sums.iter_mut().zip(&mut squares).zip(row) {
            *sum += f64::from(*value);
            *square += f64::from(*value).powi(2);
        }
    }
    let means: Vec<f32> = sums.iter().map(|sum| (sum / n_rows) as f32).collect();
    let deviation = |(sum, square): (&f64, &f64)| {
        let deviation = (square / n_rows - (sum / n_rows).powi(2)).max(0.0).sqrt() as f32;
        if deviation > 1e-6 { deviation } else { 1.0 }
    };
    (means, sums.iter().zip(&squares).map(deviation).collect())
}

fn standardize(features: &mut [f32], means: &[f32], deviations: &[f32]) {
    for row in features.chunks_mut(means.len().max(1)) {
        for ((value, mean), deviation) in row.iter_mut().zip(means).zip(deviations) {
            *value = (*value - mean) / deviation;
        }
    }
}

fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = scores.iter().map(|score| ((score - top) / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
