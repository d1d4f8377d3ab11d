//! The weights of the rows that models are fitted on, as scikit-learn's `sample_weight`.

use crate::AlgoError;

/// Returns the sample weights, or 1 for each row.
///
/// # Errors
/// If their number differs from that of the rows, one is negative or not finite, or all are zero.
pub(crate) fn weights_or_ones(sample_weights: Option<&[f32]>, n_rows: usize) -> Result<Vec<f64>, AlgoError> {
    let Some(weights) = sample_weights else { return Ok(vec![1.0; n_rows]) };
    if weights.len() != n_rows {
        return Err(AlgoError::Shape { rows: n_rows, targets: weights.len() });
    }
    let wrong = weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0));
    let all_zero = weights.iter().all(|weight| *weight == 0.0);
    match wrong.or(all_zero.then_some(0)) {
        Some(row) => Err(AlgoError::SampleWeight { row, weight: weights[row] }),
        None => Ok(weights.iter().map(|weight| f64::from(*weight)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_weights_are_checked() {
        assert_eq!(weights_or_ones(None, 2), Ok(vec![1.0; 2]));
        assert_eq!(weights_or_ones(Some(&[0.5, 0.0]), 2), Ok(vec![0.5, 0.0]));
        assert_eq!(weights_or_ones(Some(&[1.0]), 2), Err(AlgoError::Shape { rows: 2, targets: 1 }));
        assert_eq!(weights_or_ones(Some(&[1.0, -1.0]), 2), Err(AlgoError::SampleWeight { row: 1, weight: -1.0 }));
        assert_eq!(weights_or_ones(Some(&[0.0, 0.0]), 2), Err(AlgoError::SampleWeight { row: 0, weight: 0.0 }));
    }
}
