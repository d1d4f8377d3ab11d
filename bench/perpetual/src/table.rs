//! A table with its training and test rows.

use std::ops::Range;

use crate::columns::{self, Column};

/// A target of numbers with at most this many different ones is a class.
const MAX_NUMERIC_CLASSES: usize = 10;

/// A table whose first rows are for training.
pub struct Table {
    pub n_rows: usize,
    pub n_cols: usize,
    pub n_training: usize,
    /// 0 for numbers.
    pub n_classes: usize,
    pub is_category: Vec<bool>,
    /// `[rows, columns]`; categories are codes from 0, and NaN is a missing value.
    pub x: Vec<f32>,
    /// Numbers scaled by the training rows, or classes; -1 for a class that no training row has.
    pub y: Vec<f32>,
}

impl Table {
    pub fn read(path: &str, target: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let mut reader = csv::Reader::from_path(path)?;
        let header = reader.headers()?.clone();
        let place = |name: &str| header.iter().position(|it| it == name).ok_or(format!("no column {name}"));
        let (target, split) = (place(target)?, place("split")?);
        let mut rows = reader.records().collect::<Result<Vec<_>, _>>()?;
        rows.retain(|row| !row[target].is_empty() && &row[target] != "NA");
        rows.sort_by_key(|row| &row[split] == "test");
        let n_training = rows.iter().filter(|row| &row[split] != "test").count();
        let cells = |at: usize| rows.iter().map(|row| &row[at]).collect::<Vec<&str>>();
        let inputs = (0..header.len()).filter(|at| *at != target && *at != split);
        let columns: Vec<Column> = inputs.filter_map(|at| columns::read(&cells(at), n_training)).collect();
        let (n_classes, y) = targets(&cells(target), n_training);
        Ok(Self {
            n_rows: rows.len(),
            n_cols: columns.len(),
            n_training,
            n_classes,
            is_category: columns.iter().map(|column| column.is_category).collect(),
            x: (0..rows.len()).flat_map(|row| columns.iter().map(move |column| column.values[row])).collect(),
            y,
        })
    }

    /// Returns the columns of some rows one after the other, as 64-bit numbers; `first_code` is added to the codes of categories.
    #[cfg(any(feature = "perpetual", feature = "forust"))]
    pub fn columns(&self, rows: Range<usize>, first_code: u8) -> Vec<f64> {
        let offset = |at: usize| if self.is_category[at] { f64::from(first_code) } else { 0.0 };
        let column = |at: usize| rows.clone().map(move |row| f64::from(self.x[row * self.n_cols + at]) + offset(at));
        (0..self.n_cols).flat_map(column).collect()
    }

    pub fn test_rows(&self) -> Range<usize> {
        self.n_training..self.n_rows
    }

    /// Returns the number of values that are predicted per row.
    pub fn n_values(&self) -> usize {
        self.n_classes.max(1)
    }

    /// Returns the accuracy or R2 of predictions for the test rows: `[rows, n_values]` numbers or probabilities.
    pub fn score(&self, predicted: &[f32]) -> f64 {
        let truth = &self.y[self.test_rows()];
        if self.n_classes == 0 {
            let (mean, _) = moments(truth);
            let total: f64 = truth.iter().map(|y| f64::from(y - mean).powi(2)).sum();
            return 1.0 - self.loss(predicted) * truth.len() as f64 / total;
        }
        let largest = |p: &[f32]| (0..p.len()).fold(0, |best, at| if p[at] > p[best] { at } else { best });
        let hits = predicted.chunks(self.n_classes).zip(truth).filter(|(p, y)| largest(p) as f32 == **y).count();
        hits as f64 / truth.len() as f64
    }

    /// Returns the mean squared error or cross-entropy for the test rows.
    pub fn loss(&self, predicted: &[f32]) -> f64 {
        let rows = predicted.chunks(self.n_values()).zip(&self.y[self.test_rows()]);
        let loss = |(p, y): (&[f32], &f32)| match self.n_classes {
            0 => f64::from(p[0] - y).powi(2),
            _ => -f64::from(if *y < 0.0 { 0.0 } else { p[*y as usize] }).clamp(1e-4, 1.0 - 1e-4).ln(),
        };
        rows.map(loss).sum::<f64>() / self.test_rows().len() as f64
    }
}

/// Returns the number of classes and the targets.
fn targets(cells: &[&str], n_training: usize) -> (usize, Vec<f32>) {
    let codes = columns::codes(&cells[..n_training]);
    let numbers: Result<Vec<f32>, _> = cells.iter().map(|cell| cell.parse()).collect();
    match numbers {
        Ok(numbers) if codes.len() > MAX_NUMERIC_CLASSES => {
            let (mean, deviation) = moments(&numbers[..n_training]);
            (0, numbers.iter().map(|y| (y - mean) / deviation).collect())
        }
        _ => (codes.len(), cells.iter().map(|cell| codes.get(cell).map_or(-1.0, |code| *code as f32)).collect()),
    }
}

fn moments(values: &[f32]) -> (f32, f32) {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt())
}
