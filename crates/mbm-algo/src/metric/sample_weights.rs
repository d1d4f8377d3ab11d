//! The weights of rows in metrics, as scikit-learn's `sample_weight`: a row of weight 2 counts as two rows, one of weight 0 not at all.

use std::iter::repeat_n;

/// The weights of rows, or none if all rows count the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleWeights(Option<Vec<f32>>);

impl From<Option<Vec<f32>>> for SampleWeights {
    fn from(weights: Option<Vec<f32>>) -> Self {
        Self(weights)
    }
}

impl SampleWeights {
    /// Returns the weight of a row.
    #[inline]
    pub fn of(&self, row_idx: usize) -> f64 {
        self.0.as_ref().map_or(1.0, |weights| f64::from(weights[row_idx]))
    }

    /// Returns the weights; `None` if all rows count the same.
    pub fn as_slice(&self) -> Option<&[f32]> {
        self.0.as_deref()
    }

    /// Returns the weight of each of a number of rows.
    pub fn per_row(&self, n_rows: usize) -> Vec<f32> {
        self.0.clone().unwrap_or_else(|| vec![1.0; n_rows])
    }

    /// Adds weights of further rows, which are absent for all rows or for none.
    pub fn extend(&mut self, weights: Option<impl IntoIterator<Item = f32>>) {
        if let Some(weights) = weights {
            self.0.get_or_insert_default().extend(weights);
        }
    }

    /// Returns the weights of some rows.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        Self(self.0.as_ref().map(|weights| rows.into_iter().map(|row_idx| weights[row_idx]).collect()))
    }

    /// Returns the weight of each row a number of times in a row: the weights of values, several of which belong to a row.
    pub fn of_values(&self, n_values: usize) -> Self {
        Self(self.0.as_ref().map(|weights| weights.iter().flat_map(|weight| repeat_n(*weight, n_values)).collect()))
    }

    /// Returns the sum of the weights of a number of rows.
    pub(super) fn sum(&self, n_rows: usize) -> f64 {
        self.0.as_ref().map_or(n_rows as f64, |weights| weights.iter().copied().map(f64::from).sum())
    }

    /// Returns the weighted mean of a value per row; `None` without rows, or if no row has a weight above 0.
    pub(super) fn mean(&self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let add = |(sum, total): (f64, f64), (row_idx, value): (usize, f64)| {
            let weight = self.of(row_idx);
            (sum + weight * value, total + weight)
        };
        let (sum, total) = values.into_iter().enumerate().fold((0.0, 0.0), add);
        (total > 0.0).then(|| sum / total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted() {
        let values = [1.0, 4.0, 10.0];
        assert_eq!(SampleWeights::default().mean(values), Some(5.0));
        assert_eq!(SampleWeights::from(Some(vec![2.0, 1.0, 0.0])).mean(values), Some(2.0));
        assert_eq!(SampleWeights::from(Some(vec![0.0; 3])).mean(values), None);
        assert_eq!(SampleWeights::default().mean([]), None);
        assert_eq!(SampleWeights::default().per_row(2), [1.0; 2]);
        assert_eq!(SampleWeights::from(Some(vec![2.0, 0.0])).per_row(2), [2.0, 0.0]);
    }

    #[test]
    fn batches_are_appended() {
        let mut weights = SampleWeights::default();
        weights.extend(None::<Vec<f32>>);
        assert_eq!(weights.as_slice(), None);
        weights.extend(Some([2.0]));
        weights.extend(Some([0.5, 1.0]));
        assert_eq!(weights.as_slice(), Some(&[2.0, 0.5, 1.0][..]));
        assert_eq!((weights.sum(3), weights.select([2, 0])), (3.5, SampleWeights::from(Some(vec![1.0, 2.0]))));
        assert_eq!(weights.of_values(2).as_slice(), Some(&[2.0, 2.0, 0.5, 0.5, 1.0, 1.0][..]));
    }
}
