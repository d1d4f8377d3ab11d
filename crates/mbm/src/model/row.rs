//! The predictions of one row.

use std::ops::Index;
use std::sync::Arc;

use mbm_data::RowStatus;

use crate::predict::writer::OutputValue;

/// The predictions of one row: a value for each column that `mbm predict` writes. `row["label"]` is the prediction of the output
/// `label`, `row["label_probability"]` any other column.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedRow {
    pub(super) columns: Arc<[String]>,
    pub(super) values: Vec<OutputValue>,
    pub(super) status: RowStatus,
}

impl PredictedRow {
    /// Returns the prediction of an output, or the value of a column.
    pub fn get(&self, name: &str) -> Option<&OutputValue> {
        let at = self.columns.iter().position(|column| column == name || column.strip_suffix("_predictions") == Some(name))?;
        Some(&self.values[at])
    }

    /// Iterates over the columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OutputValue)> {
        self.columns.iter().map(String::as_str).zip(&self.values)
    }

    /// Returns which inputs were absent or shortened.
    pub fn status(&self) -> &RowStatus {
        &self.status
    }

    /// Returns the values, in the order of the columns, and the status.
    pub fn into_values(self) -> (Vec<OutputValue>, RowStatus) {
        (self.values, self.status)
    }
}

impl Index<&str> for PredictedRow {
    type Output = OutputValue;

    /// Returns the prediction of an output, or the value of a column.
    ///
    /// # Panics
    /// Panics if there is no such output and no such column.
    fn index(&self, name: &str) -> &OutputValue {
        self.get(name).unwrap_or_else(|| panic!("no prediction '{name}'; available columns: {}", self.columns.join(", ")))
    }
}
