//! Kernel functions and the Gram matrix of the training rows.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Matrix;
use crate::linear_algebra::{dot, products, squared_distance};

/// The kernel function of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// `x . y`
    Linear,
    /// `exp(-gamma |x - y|^2)`
    Rbf {
        /// The inverse squared width.
        gamma: f64,
    },
}

/// How gamma of an RBF kernel is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gamma {
    /// `1 / (columns * variance)`, scikit-learn's `scale`.
    Scale,
    /// A fixed value.
    Value(f64),
}

impl Gamma {
    /// Returns the value for these rows.
    pub fn resolve(self, x: Matrix) -> f64 {
        match self {
            Gamma::Value(gamma) => gamma,
            Gamma::Scale => {
                let n = x.data.len() as f64;
                let mean = x.data.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
                let variance = x.data.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / n;
                if variance > 0.0 { 1.0 / (x.n_cols as f64 * variance) } else { 1.0 }
            }
        }
    }
}

impl Kernel {
    /// Evaluates the kernel on two rows.
    pub fn value(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Kernel::Linear => dot(a, b),
            Kernel::Rbf { gamma } => (-gamma * f64::from(squared_distance(a, b))).exp() as f32,
        }
    }
}

/// Kernel values between all rows: precomputed up to [`GRAM_BYTES`], computed row by row beyond.
pub(super) struct Gram<'a> {
    x: Matrix<'a>,
    kernel: Kernel,
    whole: Option<Vec<f32>>,
    diagonal: Vec<f32>,
}

/// Size of the largest kernel matrix that is held in memory.
const GRAM_BYTES: usize = 1 << 30;

impl<'a> Gram<'a> {
    pub fn new(x: Matrix<'a>, kernel: Kernel) -> Self {
        let n = x.n_rows();
        let diagonal = (0..n).map(|i| kernel.value(x.row(i), x.row(i))).collect();
        let whole = (n * n * size_of::<f32>() <= GRAM_BYTES).then(|| whole(x, kernel));
        Self { x, kernel, whole, diagonal }
    }

    /// Returns row `i` of the matrix, `[rows]`; computed into `scratch` if the matrix is not held in memory.
    pub fn row<'b>(&'b self, i: usize, scratch: &'b mut Vec<f32>) -> &'b [f32] {
        let n = self.x.n_rows();
        if let Some(whole) = &self.whole {
            return &whole[i * n..(i + 1) * n];
        }
        scratch.resize(n, 0.0);
        let a = self.x.row(i);
        scratch.par_iter_mut().enumerate().for_each(|(j, value)| *value = self.kernel.value(a, self.x.row(j)));
        scratch
    }

    pub fn diagonal(&self, i: usize) -> f32 {
        self.diagonal[i]
    }

    /// Returns the values of all rows with themselves.
    pub fn diagonals(&self) -> &[f32] {
        &self.diagonal
    }

    pub fn n_rows(&self) -> usize {
        self.diagonal.len()
    }
}

fn whole(x: Matrix, kernel: Kernel) -> Vec<f32> {
    let n = x.n_rows();
    let mut values = products(x, x);
    let Kernel::Rbf { gamma } = kernel else { return values };
    let squares: Vec<f32> = (0..n).map(|i| values[i * n + i]).collect();
    values.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
        for (j, value) in row.iter_mut().enumerate() {
            let squared = (squares[i] + squares[j] - 2.0 * *value).max(0.0);
            *value = (-gamma as f32 * squared).exp();
        }
        row[i] = 1.0;
    });
    values
}
