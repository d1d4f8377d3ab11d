//! Transformations of dense columns, fitted on rows in which NaN stands for a missing value.
//!
//! [`QuantileNormal`] and [`RobustClip`] leave missing values missing; [`MedianImputer`] fills them. Each is fitted column by
//! column, and columns in which all present values are equal become 0.

mod imputer;
mod normal;
mod quantile;
mod robust;

pub use imputer::MedianImputer;
pub use quantile::QuantileNormal;
pub use robust::RobustClip;

use rayon::prelude::*;

use crate::{AlgoError, Matrix};

/// Calls a function with the present values of each column, in ascending order.
///
/// # Errors
/// If there are no rows, or a value is infinite.
fn map_columns<T: Send>(x: Matrix, fit: impl Fn(&[f32]) -> T + Sync) -> Result<Vec<T>, AlgoError> {
    let rows = x.n_rows();
    if rows == 0 {
        return Err(AlgoError::Shape { rows, targets: rows });
    }
    if let Some(row) = (0..rows).find(|&row| x.row(row).iter().any(|value| value.is_infinite())) {
        return Err(AlgoError::NotFinite { row });
    }
    let present = |column: usize| {
        let values = x.data[column..].iter().step_by(x.n_cols);
        let mut values: Vec<f32> = values.copied().filter(|value| !value.is_nan()).collect();
        values.sort_unstable_by(f32::total_cmp);
        values
    };
    Ok((0..x.n_cols).into_par_iter().map(|column| fit(&present(column))).collect())
}

/// Returns the quantile of ascending values at a share from 0 to 1, interpolated linearly; 0 for no values.
fn quantile(values: &[f32], share: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let position = share * last as f64;
    let below = position as usize;
    let (low, high) = (f64::from(values[below]), f64::from(values[(below + 1).min(last)]));
    low + (high - low) * (position - below as f64)
}

/// Transforms each value by its column.
fn map_values(x: Matrix, transform: impl Fn(usize, f32) -> f32 + Sync) -> Vec<f32> {
    let row = |row: &[f32]| row.iter().enumerate().map(|(column, value)| transform(column, *value)).collect::<Vec<f32>>();
    x.data.par_chunks(x.n_cols).with_min_len(64).flat_map_iter(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let values = [1.0, 2.0, 4.0];
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|share| quantile(&values, share)), [1.0, 1.5, 2.0, 3.0, 4.0]);
        assert_eq!((quantile(&[3.0], 0.7), quantile(&[], 0.5)), (3.0, 0.0));
    }

    #[test]
    fn missing_values_are_left_out_and_infinite_ones_are_errors() {
        let x = Matrix { data: &[3.0, f32::NAN, 1.0, f32::NAN], n_cols: 2 };
        assert_eq!(map_columns(x, <[f32]>::to_vec), Ok(vec![vec![1.0, 3.0], vec![]]));
        let infinite = Matrix { data: &[3.0, f32::INFINITY], n_cols: 1 };
        assert_eq!(map_columns(infinite, <[f32]>::len), Err(AlgoError::NotFinite { row: 1 }));
        let none = Matrix { data: &[], n_cols: 1 };
        assert_eq!(map_columns(none, <[f32]>::len), Err(AlgoError::Shape { rows: 0, targets: 0 }));
    }
}
