//! The rows of the nodes of a tree: one list, in which the rows of a node follow each other.

use std::ops::Range;

use rayon::prelude::*;

use super::bins::BinnedColumn;
use super::split::LeftBins;

/// Rows in the order of the nodes that they reach.
#[derive(Debug, Default)]
pub(super) struct NodeRows {
    rows: Vec<u32>,
    /// Space for the rows that go right.
    spare: Vec<u32>,
}

/// For each bin, whether it goes left.
pub(super) type Sides = [bool; 256];

/// Number of rows from which parts of them are divided at the same time.
const MIN_PARALLEL: usize = 1 << 17;

/// Number of rows of such a part.
const PART: usize = 1 << 15;

impl NodeRows {
    /// Starts with all rows at the root.
    pub fn reset(&mut self, rows: &[u32]) {
        self.rows.clear();
        self.rows.extend_from_slice(rows);
        self.spare.resize(rows.len().max(self.spare.len()), 0);
    }

    /// Returns the number of all rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the rows of a node.
    pub fn of(&self, range: &Range<usize>) -> &[u32] {
        &self.rows[range.clone()]
    }

    /// Moves the rows of a node that go left before those that go right, each in their order. Returns where the right ones begin.
    pub fn divide(&mut self, range: &Range<usize>, column: &BinnedColumn, goes_left: impl Fn(usize) -> bool + Sync) -> usize {
        let (rows, spare) = (&mut self.rows[range.clone()], &mut self.spare[..range.len()]);
        let goes_left = |row: u32| goes_left(usize::from(column.bins[row as usize]));
        let n_left = if rows.len() < MIN_PARALLEL {
            let n_left = divide(rows, spare, &goes_left);
            let right = &mut rows[n_left..];
            right.copy_from_slice(&spare[..right.len()]);
            n_left
        } else {
            divide_parts(rows, spare, &goes_left)
        };
        range.start + n_left
    }
}

/// Returns which bins of a column go left; the last one is that of missing values.
pub(super) fn sides(n_bins: usize, left_bins: &LeftBins, missing_left: bool) -> Sides {
    std::array::from_fn(|bin| if bin < n_bins { left_bins.contains(bin) } else { missing_left })
}

/// Moves the rows that go left to the front, copies the others to `right`, and returns the number of those that go left.
fn divide(rows: &mut [u32], right: &mut [u32], goes_left: &impl Fn(u32) -> bool) -> usize {
    let (mut n_left, mut n_right) = (0, 0);
    for at in 0..rows.len() {
        let row = rows[at];
        let is_left = usize::from(goes_left(row));
        // Both are written, and one is written again: a branch would often be mispredicted.
        rows[n_left] = row;
        right[n_right] = row;
        n_left += is_left;
        n_right += 1 - is_left;
    }
    n_left
}

fn divide_parts(rows: &mut [u32], spare: &mut [u32], goes_left: &(impl Fn(u32) -> bool + Sync)) -> usize {
    let parts = rows.par_chunks_mut(PART).zip(spare.par_chunks_mut(PART));
    let counts: Vec<usize> = parts.map(|(rows, right)| divide(rows, right, goes_left)).collect();
    let mut end = 0;
    for (part, n_left) in counts.iter().enumerate() {
        rows.copy_within(part * PART..part * PART + n_left, end);
        end += n_left;
    }
    let n_left = end;
    for (right, of_part) in spare.chunks(PART).zip(&counts) {
        let right = &right[..right.len() - of_part];
        rows[end..end + right.len()].copy_from_slice(right);
        end += right.len();
    }
    n_left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;
    use crate::tree::{Binned, ColumnKind};

    #[test]
    fn rows_are_divided_in_their_order() {
        for n_rows in [0, 1, 10, MIN_PARALLEL + 3 * PART + 7] {
            let values: Vec<f32> = (0..n_rows + 2).map(|row| ((row * 7919) % 13) as f32).collect();
            let binned = Binned::new(Matrix { data: &values, n_cols: 1 }, &[ColumnKind::Number]);
            let rows: Vec<u32> = (0..n_rows as u32 + 2).collect();
            let mut divided = NodeRows::default();
            divided.reset(&rows);
            let (sides, range) = (sides(13, &LeftBins::UpTo(3), false), 1..n_rows + 1);
            let middle = divided.divide(&range, &binned.columns[0], |bin| sides[bin]);
            let (left, right): (Vec<u32>, Vec<u32>) = rows[range.clone()].iter().partition(|row| values[**row as usize] <= 3.0);
            assert_eq!((divided.of(&(1..middle)), divided.of(&(middle..n_rows + 1))), (&left[..], &right[..]));
            assert_eq!([divided.rows[0], divided.rows[n_rows + 1]], [0, n_rows as u32 + 1]);
        }
    }
}
