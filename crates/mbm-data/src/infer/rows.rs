//! A sample of rows that is spread over the whole table: tables are often sorted by the target or by time.

use rand::RngExt;

use crate::random::{rng, seed};

/// Returns at most `n_wanted` of `n_rows` rows in ascending order, the same ones in every call: pairs of neighbours, each at a random
/// place in its part of the table. Neighbours show values that repeat only in adjacent rows.
pub(crate) fn spread(n_rows: usize, n_wanted: usize) -> Vec<usize> {
    if n_rows <= n_wanted {
        return (0..n_rows).collect();
    }
    let mut rng = rng(seed(0, "infer", 0, 0));
    let n_pairs = n_wanted / 2;
    let start_of = |pair: usize| (pair as u128 * n_rows as u128 / n_pairs as u128) as usize;
    let first = (0..n_pairs).map(|pair| rng.random_range(start_of(pair)..start_of(pair + 1) - 1));
    first.flat_map(|row_idx| [row_idx, row_idx + 1]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_is_spread_over_all_rows_and_reproducible() {
        assert_eq!(spread(3, 4), [0, 1, 2]);
        for (n_rows, n_wanted) in [(5, 4), (1001, 1000), (1_000_000, 500)] {
            let rows = spread(n_rows, n_wanted);
            assert_eq!(rows, spread(n_rows, n_wanted));
            assert!(rows.len() == n_wanted && rows.is_sorted_by(|a, b| a < b) && rows[n_wanted - 1] < n_rows);
            assert!(rows[0] <= n_rows / (n_wanted / 2) && rows[n_wanted - 1] + 2 * n_rows / (n_wanted / 2) >= n_rows);
        }
    }
}
