//! Columns mapped to a normal distribution by their quantiles.

use serde::{Deserialize, Serialize};

use super::normal::normal_quantile;
use super::{map_columns, map_values, quantile};
use crate::{AlgoError, Matrix};

/// A fitted transformation, `QuantileTransformer(output_distribution="normal")` of scikit-learn: a value becomes the quantile
/// of the standard normal distribution at its share among the values of its column. Values beyond those of the fitted rows
/// become about -5.2 or 5.2.
///
/// In contrast to scikit-learn, all rows count (not a sample of 10,000), and a column in which all values are equal becomes 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantileNormal {
    /// Number of columns.
    pub n_cols: usize,
    /// Quantiles of each column at equal distances of their shares, ascending, `[n_cols, n_quantiles]`.
    pub quantiles: Vec<f32>,
}

/// Most quantiles per column.
const MAX_QUANTILES: usize = 200;
/// Values that are less inside the range are taken for its ends, and shares are kept so far from 0 and 1.
const BOUND: f64 = 1e-7;

impl QuantileNormal {
    /// Computes up to 200 quantiles of the present values of each column, at most one per row.
    ///
    /// # Errors
    /// If there are no rows, or a value is infinite.
    pub fn fit(x: Matrix) -> Result<Self, AlgoError> {
        let n_quantiles = x.n_rows().min(MAX_QUANTILES);
        let last = n_quantiles.saturating_sub(1).max(1) as f64;
        let of_column =
            |values: &[f32]| -> Vec<f32> { (0..n_quantiles).map(|at| quantile(values, at as f64 / last) as f32).collect() };
        Ok(Self { n_cols: x.n_cols, quantiles: map_columns(x, of_column)?.concat() })
    }

    /// Whether the transformation is consistent with rows of `n_cols` columns, as one fitted on such rows is; checks
    /// deserialized ones.
    pub fn suits(&self, n_cols: usize) -> bool {
        let n_quantiles = self.quantiles.len() / n_cols.max(1);
        (self.n_cols, self.quantiles.len()) == (n_cols, n_quantiles * n_cols)
            && (1..=MAX_QUANTILES).contains(&n_quantiles)
            && self.quantiles.iter().all(|value| value.is_finite())
            && self.quantiles.chunks_exact(n_quantiles).all(|of_column| of_column.is_sorted())
    }

    /// Transforms rows `[n_rows, n_cols]`; NaN remains NaN.
    pub fn transform(&self, x: Matrix) -> Vec<f32> {
        let n_quantiles = self.quantiles.len() / self.n_cols;
        map_values(x, |column, value| transform(value, &self.quantiles[column * n_quantiles..(column + 1) * n_quantiles]))
    }
}

fn transform(value: f32, quantiles: &[f32]) -> f32 {
    let (lowest, highest) = (quantiles[0], quantiles[quantiles.len() - 1]);
    if value.is_nan() {
        return value;
    }
    if lowest == highest {
        return 0.0;
    }
    let share = if f64::from(value) - BOUND < f64::from(lowest) {
        0.0
    } else if f64::from(value) + BOUND > f64::from(highest) {
        1.0
    } else {
        share(value, quantiles)
    };
    normal_quantile(share.clamp(BOUND, 1.0 - BOUND)) as f32
}

/// Returns the share of a value between the lowest and the highest quantile; among equal quantiles, the middle of theirs.
fn share(value: f32, quantiles: &[f32]) -> f64 {
    let last = quantiles.len() - 1;
    let (first_not_below, first_above) =
        (quantiles.partition_point(|it| *it < value), quantiles.partition_point(|it| *it <= value));
    let between = |above: usize| {
        let (low, high) = (f64::from(quantiles[above - 1]), f64::from(quantiles[above]));
        (above - 1) as f64 + (f64::from(value) - low) / (high - low)
    };
    let position =
        if first_not_below < first_above { (first_not_below + first_above - 1) as f64 / 2.0 } else { between(first_above) };
    position / last as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_median_becomes_zero_and_the_ends_are_bounded() {
        let x = Matrix { data: &[1.0, 2.0, 3.0, 10.0, 100.0], n_cols: 1 };
        let fitted = QuantileNormal::fit(x).unwrap();
        let found = fitted.transform(Matrix { data: &[-9.0, 1.0, 3.0, 100.0, 1e9, f32::NAN], n_cols: 1 });
        assert!((found[0] + 5.1993).abs() < 1e-3 && found[0] == found[1] && found[3] == -found[0] && found[3] == found[4]);
        assert!(found[2] == 0.0 && found[5].is_nan());
    }

    #[test]
    fn equal_values_share_the_middle_of_their_quantiles() {
        // Shares 0, 1/4, 2/4, 3/4, 1; the value 2 has the shares 1/4 to 3/4.
        let fitted = QuantileNormal::fit(Matrix { data: &[1.0, 2.0, 2.0, 2.0, 3.0], n_cols: 1 }).unwrap();
        assert_eq!(fitted.transform(Matrix { data: &[2.0], n_cols: 1 }), [0.0]);
    }

    #[test]
    fn columns_without_different_values_become_zero() {
        let fitted = QuantileNormal::fit(Matrix { data: &[7.0, f32::NAN, 7.0, f32::NAN], n_cols: 2 }).unwrap();
        assert_eq!(fitted.transform(Matrix { data: &[7.0, 1.0, 9.0, 2.0], n_cols: 2 }), [0.0; 4]);
    }

    #[test]
    fn a_stored_transformation_is_checked() {
        let fitted = QuantileNormal::fit(Matrix { data: &[1.0, 5.0, 2.0, 4.0], n_cols: 2 }).unwrap();
        let stored: QuantileNormal = serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap();
        assert!(stored == fitted && stored.suits(2) && !stored.suits(4) && !stored.suits(0));
        assert!(!QuantileNormal { n_cols: 1, quantiles: vec![2.0, 1.0] }.suits(1));
        assert!(!QuantileNormal { n_cols: 1, quantiles: Vec::new() }.suits(1));
        assert!(!QuantileNormal { n_cols: 1, quantiles: vec![0.0; 201] }.suits(1));
    }

    proptest! {
        #[test]
        fn transformed_values_keep_their_order(mut values in prop::collection::vec(-100f32..100.0, 2..300)) {
            let fitted = QuantileNormal::fit(Matrix { data: &values, n_cols: 1 }).unwrap();
            values.sort_unstable_by(f32::total_cmp);
            let found = fitted.transform(Matrix { data: &values, n_cols: 1 });
            prop_assert!(found.is_sorted(), "{found:?}");
            prop_assert!(found.iter().all(|value| value.abs() < 5.3));
        }
    }
}
