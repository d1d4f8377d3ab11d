//! Columns as linear models and support vector machines read them: numbers on common scales, a column per category, no missing values.

use mbm_algo::scaling::{MedianImputer, QuantileNormal, RobustClip};
use mbm_algo::tree::ColumnKind;
use mbm_algo::{AlgoError, Matrix};
use serde::{Deserialize, Serialize};

use crate::learn::columns::Block;

/// The fitted transformation. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaling {
    /// The columns that hold numbers.
    numbers: Vec<usize>,
    /// The median in place of a missing number.
    imputer: MedianImputer,
    /// Robust scales with smooth clipping (Holzmueller et al. 2024).
    robust: RobustClip,
    /// Quantiles of a normal distribution; `None` for very wide tables.
    quantiles: Option<QuantileNormal>,
    /// The positions, among the numbers, of those that are missing in some rows; each gets an indicator.
    with_missing: Vec<usize>,
    /// The columns that hold categories, with the codes that get a column.
    categories: Vec<(usize, Vec<u32>)>,
}

/// Maximum number of numbers that get a second column with quantiles.
const MAX_WITH_QUANTILES: usize = 256;

/// Maximum number of codes of a category that get a column; rarer ones have none.
const MAX_CODES: usize = 256;

/// Minimum number of rows of a code that gets a column.
const MIN_ROWS_OF_CODE: usize = 2;

/// Maximum number of rows that scales are fitted to: a sample spread over the rows.
const MAX_FITTED: usize = 100_000;

impl Scaling {
    /// Fits the transformation to the columns of training rows.
    ///
    /// # Errors
    /// Fails if there are no rows.
    pub fn fit(block: &Block, kinds: &[ColumnKind]) -> Result<Self, AlgoError> {
        let sample = block.strided(block.n_rows.div_ceil(MAX_FITTED).max(1));
        let block = sample.as_ref().unwrap_or(block);
        let of_kind = |kind| (0..kinds.len()).filter(move |at| kinds[*at] == kind);
        let numbers: Vec<usize> = of_kind(ColumnKind::Number).collect();
        let values = numbers_of(block, &numbers);
        let x = Matrix { data: &values, n_cols: numbers.len().max(1) };
        let imputer = MedianImputer::fit(x)?;
        let robust = RobustClip::fit(x)?;
        let quantiles = (numbers.len() <= MAX_WITH_QUANTILES).then(|| QuantileNormal::fit(x)).transpose()?;
        let is_missing = |at: &usize| values.iter().skip(*at).step_by(x.n_cols).any(|value| value.is_nan());
        let with_missing = (0..numbers.len()).filter(is_missing).collect();
        let categories = of_kind(ColumnKind::Category).map(|at| (at, codes(block, at))).collect();
        Ok(Self { numbers, imputer, robust, quantiles, with_missing, categories })
    }

    /// Returns the number of columns that it yields.
    pub fn n_cols(&self) -> usize {
        self.n_of_numbers() + self.with_missing.len() + self.categories.iter().map(|(_, codes)| codes.len()).sum::<usize>()
    }

    /// Returns the number of columns before the indicators of missing numbers.
    fn n_of_numbers(&self) -> usize {
        self.numbers.len() * if self.quantiles.is_some() { 2 } else { 1 }
    }

    /// Returns the positions that the numbers among some columns are scaled to, those of the indicators of missing ones among them;
    /// ascending.
    pub fn positions(&self, is_chosen: impl Fn(usize) -> bool) -> Vec<usize> {
        let of_range = || (0..self.numbers.len()).filter(|at| is_chosen(self.numbers[*at]));
        let of_quantiles = of_range().filter(|_| self.quantiles.is_some()).map(|at| self.numbers.len() + at);
        let is_indicated = |at: &usize| is_chosen(self.numbers[self.with_missing[*at]]);
        let of_indicators = (0..self.with_missing.len()).filter(is_indicated).map(|at| self.n_of_numbers() + at);
        of_range().chain(of_quantiles).chain(of_indicators).collect()
    }

    /// Whether it is consistent with these columns; checks what was read from a file.
    pub fn suits(&self, kinds: &[ColumnKind]) -> bool {
        let n = self.numbers.len();
        let is_number = |at: &usize| kinds.get(*at) == Some(&ColumnKind::Number);
        self.numbers.iter().all(is_number)
            && self.imputer.suits(n.max(1))
            && self.robust.suits(n.max(1))
            && self.quantiles.as_ref().is_none_or(|quantiles| quantiles.suits(n.max(1)))
            && self.with_missing.iter().all(|at| *at < n)
            && self.categories.iter().all(|(at, _)| kinds.get(*at) == Some(&ColumnKind::Category))
    }

    /// Transforms rows: `[rows, n_cols]`.
    pub fn transform(&self, block: &Block) -> Block {
        let values = numbers_of(block, &self.numbers);
        let n = self.numbers.len();
        let filled = self.imputer.transform(Matrix { data: &values, n_cols: n.max(1) });
        let x = Matrix { data: &filled, n_cols: n.max(1) };
        let (robust, quantiles) = (self.robust.transform(x), self.quantiles.as_ref().map(|quantiles| quantiles.transform(x)));
        let n_cols = self.n_cols();
        let mut data = Vec::with_capacity(block.n_rows * n_cols);
        for row in 0..block.n_rows {
            let own = |values: &[f32]| values[row * n..(row + 1) * n].to_vec();
            data.extend(own(&robust));
            data.extend(quantiles.iter().flat_map(|quantiles| own(quantiles)));
            data.extend(self.with_missing.iter().map(|at| f32::from(u8::from(values[row * n + at].is_nan()))));
            for (at, codes) in &self.categories {
                let value = block.row(row)[*at];
                data.extend(codes.iter().map(|code| f32::from(u8::from(value == *code as f32))));
            }
        }
        Block { n_rows: block.n_rows, n_cols, data, ..Block::default() }
    }
}

/// Returns the columns that hold numbers, `[rows, numbers]`; a column of zeros if there are none.
fn numbers_of(block: &Block, numbers: &[usize]) -> Vec<f32> {
    if numbers.is_empty() {
        return vec![0.0; block.n_rows];
    }
    (0..block.n_rows).flat_map(|row| numbers.iter().map(move |at| block.row(row)[*at])).collect()
}

/// Returns the codes of a category that get a column: the most frequent ones.
fn codes(block: &Block, at: usize) -> Vec<u32> {
    let mut counts = std::collections::BTreeMap::<u32, usize>::new();
    let values = (0..block.n_rows).map(|row| block.row(row)[at]).filter(|value| !value.is_nan());
    values.for_each(|value| *counts.entry(value as u32).or_default() += 1);
    let mut counts: Vec<(u32, usize)> = counts.into_iter().filter(|(_, count)| *count >= MIN_ROWS_OF_CODE).collect();
    counts.sort_by_key(|(code, count)| (std::cmp::Reverse(*count), *code));
    counts.truncate(MAX_CODES);
    let mut codes: Vec<u32> = counts.into_iter().map(|(code, _)| code).collect();
    codes.sort_unstable();
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_indicators_and_categories_follow_each_other() {
        let data = vec![1.0, 0.0, 2.0, 1.0, f32::NAN, 0.0, 3.0, 1.0, 9.0, 2.0];
        let block = Block { n_rows: 5, n_cols: 2, data, ..Block::default() };
        let kinds = [ColumnKind::Number, ColumnKind::Category];
        let scaling = Scaling::fit(&block, &kinds).unwrap();
        assert!(scaling.suits(&kinds) && !scaling.suits(&[ColumnKind::Category; 2]));
        assert_eq!((scaling.positions(|_| true), scaling.positions(|at| at == 1)), (vec![0, 1, 2], vec![]));
        let scaled = scaling.transform(&block);
        assert_eq!(scaled.n_cols, 2 + 1 + 2);
        let last: Vec<&[f32]> = (0..5).map(|row| &scaled.row(row)[2..]).collect();
        assert_eq!(last, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]);
        assert!((0..4).all(|row| row == 2 || row == 3 || scaled.row(row)[0] < scaled.row(row + 1)[0]));
    }
}
