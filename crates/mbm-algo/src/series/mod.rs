//! Features of time series: what linear models and trees learn from, whatever the lengths of the series.
//!
//! - [`MiniRocket`]: the share of steps at which each of about ten thousand convolutions exceeds a fitted threshold.
//! - [`Hydra`]: how often each of several hundred random kernels wins against those of its group; [`SparseScaler`] scales the counts.
//! - [`summarize`]: statistics with names, for trees.
//!
//! The first two are made for a ridge classifier on standardized features. All are computed row by row, in parallel, with the same
//! result for any number of threads.
//!
//! ```
//! use mbm_algo::series::{MiniRocket, MiniRocketOptions, Series};
//!
//! let (up, down) = ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0]);
//! let rows = [Series { values: &up, n_channels: 1 }, Series { values: &down, n_channels: 1 }];
//! let transform = MiniRocket::fit(&rows, MiniRocketOptions::default(), 42)?;
//! assert_eq!(transform.n_features(), 9996);
//! assert_eq!(transform.transform(&rows).len(), 2 * 9996);
//! # Ok::<(), mbm_algo::AlgoError>(())
//! ```

mod channels;
mod dilations;
mod hydra;
mod minirocket;
mod padded;
mod scaling;
mod sparse_scaler;
mod summary;

pub use hydra::{Hydra, HydraOptions};
pub use minirocket::{Dilation, MiniRocket, MiniRocketOptions, Padding};
pub use scaling::ChannelScaling;
pub use sparse_scaler::SparseScaler;
pub use summary::{summarize, summary_names};

use crate::AlgoError;

/// A borrowed time series, `[steps, n_channels]`.
///
/// A value that is NaN or infinite is missing: it is interpolated linearly between its neighbors in time, and is that of its nearest
/// one at either end. A channel without any values is constant.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// `steps * n_channels` values.
    pub values: &'a [f32],
    /// Number of channels; at least 1.
    pub n_channels: usize,
}

impl Series<'_> {
    /// Returns the number of steps.
    pub fn n_steps(&self) -> usize {
        self.values.len() / self.n_channels
    }
}

/// Returns the number of channels, which must be the same in all rows.
fn check(rows: &[Series]) -> Result<usize, AlgoError> {
    let first = rows.first().ok_or(AlgoError::Shape { rows: 0, targets: 0 })?;
    match rows.iter().position(|row| row.n_channels != first.n_channels) {
        Some(row) => Err(AlgoError::Channels { row, channels: rows[row].n_channels, expected: first.n_channels }),
        None => Ok(first.n_channels),
    }
}

/// Returns a quantile of sorted values, interpolated linearly; 0 without values.
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = quantile * last as f64;
    let (low, high) = (sorted[at as usize], sorted[(at as usize + 1).min(last)]);
    low + (high - low) * at.fract()
}
