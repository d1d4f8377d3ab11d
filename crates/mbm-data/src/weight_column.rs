//! The weights of rows, read from a column of the table and checked.

use crate::feature::number_of;
use crate::notation::null_values::is_null_word;
use crate::notation::number::{Decimal, DecimalVotes};
use crate::{Cause, Cell, DataError, Fault, Table};

/// Weights that rows cannot have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// A row without a weight.
    #[error("row {row}, column '{column}': the cell is empty; every row needs a weight, a number of at least 0")]
    Missing {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
    },
    /// A cell that is not a number.
    #[error("row {row}, column '{column}': {fault}; a weight is a number of at least 0")]
    NotANumber {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong.
        fault: String,
    },
    /// A weight below 0.
    #[error("row {row}, column '{column}': the weight is {weight}; a weight is a number of at least 0")]
    Negative {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
        /// The weight.
        weight: f64,
    },
    /// Rows that do not count.
    #[error("column '{column}': the weights of all {n_rows} {rows} rows are 0; at least one must be above 0")]
    AllZero {
        /// The column.
        column: String,
        /// What the rows are for, such as `training`.
        rows: &'static str,
        /// The number of rows.
        n_rows: usize,
    },
}

/// The weights of all rows of a table, as a column has them.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightColumn {
    column: String,
    weights: Vec<f64>,
}

impl WeightColumn {
    /// Reads the weights from a column; numbers are read as those of inputs, such as `1,5` where the column has decimal commas.
    ///
    /// # Errors
    /// Fails if the column does not exist, or a cell is empty, not a number or below 0.
    pub fn read(table: &Table, column: &str) -> Result<Self, DataError> {
        let at = table.require(column)?;
        let (mut read, mut votes) = (Vec::with_capacity(table.n_rows()), DecimalVotes::default());
        table.visit(0..table.n_rows(), at..at + 1, |_, cell| {
            let cell = cell.into_owned();
            let [point, comma] = [Decimal::Point, Decimal::Comma].map(|decimal| number_of(&cell, decimal).ok());
            votes.add(point, comma);
            read.push((point, comma));
        })?;
        let decimal = votes.decimal();
        let mut weights = Vec::with_capacity(read.len());
        for (row_idx, (point, comma)) in read.into_iter().enumerate() {
            let found = if decimal == Decimal::Point { point } else { comma };
            match found.filter(|weight| *weight >= 0.0) {
                Some(weight) => weights.push(weight),
                None => return Err(error(&table.cell(row_idx, at)?, row_idx + 1, column, decimal).into()),
            }
        }
        Ok(Self { column: column.to_owned(), weights })
    }

    /// Checks that one of the rows has a weight above 0, if there are rows; `of` is what they are for, such as `training`.
    ///
    /// # Errors
    /// Fails if the weights of all rows are 0.
    pub fn check_rows(&self, rows: &[usize], of: &'static str) -> Result<(), WeightError> {
        let are_zero = !rows.is_empty() && rows.iter().all(|row_idx| self.weights[*row_idx] == 0.0);
        match are_zero {
            true => Err(WeightError::AllZero { column: self.column.clone(), rows: of, n_rows: rows.len() }),
            false => Ok(()),
        }
    }

    /// Returns the weights of all rows, scaled so that the mean of some rows is 1. One of these must have a weight above 0.
    pub fn scaled_by(&self, rows: &[usize]) -> Vec<f32> {
        let mean = rows.iter().map(|row_idx| self.weights[*row_idx]).sum::<f64>() / rows.len() as f64;
        self.weights.iter().map(|weight| (weight / mean) as f32).collect()
    }
}

/// Returns what is wrong with the cell of a row, which has no weight.
fn error(cell: &Cell, row: usize, column: &str, decimal: Decimal) -> WeightError {
    let column = column.to_owned();
    match number_of(cell, decimal) {
        Ok(weight) => WeightError::Negative { row, column, weight },
        Err(Fault { cause: Cause::Empty, .. }) => WeightError::Missing { row, column },
        Err(_) if is_null_word(cell.to_text().trim()) => WeightError::Missing { row, column },
        Err(fault) => WeightError::NotANumber { row, column, fault: fault.detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: &[&str]) -> Table {
        let rows = cells.iter().map(|text| vec![Cell::text(text)]).collect();
        Table::from_rows(vec!["w".into()], rows, ".".into()).unwrap()
    }

    fn refused(cells: &[&str]) -> String {
        WeightColumn::read(&table(cells), "w").unwrap_err().to_string()
    }

    #[test]
    fn the_mean_of_the_given_rows_is_one() {
        let column = WeightColumn::read(&table(&["2", "6", "0", "100"]), "w").unwrap();
        assert_eq!(column.scaled_by(&[0, 1]), [0.5, 1.5, 0.0, 25.0]);
        let huge = WeightColumn::read(&table(&["1e30", "3e30"]), "w").unwrap();
        assert_eq!(huge.scaled_by(&[0, 1]), [0.5, 1.5]);
    }

    #[test]
    fn numbers_are_read_in_the_notation_of_the_column() {
        let column = WeightColumn::read(&table(&["1,5", "0,5", "1"]), "w").unwrap();
        assert_eq!(column.scaled_by(&[0, 1, 2]), [1.5, 0.5, 1.0]);
    }

    #[test]
    fn errors_name_the_row_and_what_was_found() {
        assert_eq!(
            refused(&["1", "-2"]),
            "preprocessing.sample_weight: row 2, column 'w': the weight is -2; a weight is a number of at least 0"
        );
        assert!(refused(&["1", "heavy"]).contains("row 2, column 'w': 'heavy' is not a number; a weight is"));
        assert!(refused(&["1", "inf"]).contains("'inf' is not a number"));
        for empty in ["", "NA", "nan"] {
            assert!(refused(&[empty, "1"]).contains("row 1, column 'w': the cell is empty; every row needs"), "{empty}");
        }
        let missing = WeightColumn::read(&table(&["1"]), "v").unwrap_err().to_string();
        assert!(missing.contains("the dataset has no column 'v'"), "{missing}");
    }

    #[test]
    fn rows_that_do_not_count_are_an_error() {
        let column = WeightColumn::read(&table(&["1", "0", "0"]), "w").unwrap();
        assert_eq!((column.check_rows(&[0, 1], "training"), column.check_rows(&[], "test")), (Ok(()), Ok(())));
        assert_eq!(
            column.check_rows(&[1, 2], "validation").unwrap_err().to_string(),
            "column 'w': the weights of all 2 validation rows are 0; at least one must be above 0"
        );
    }
}
