//! Diagnosis of a diverged loss: finds the cell whose extreme value may have caused it.

use mbm_data::{Cell, DataError, Dataset, Payload, Preprocessor};
use mbm_train::TrainError;

use crate::error::Error;

/// Values further from the mean than this many standard deviations are suspect. Values of a normal distribution lie within ten at
/// any sample size, and a million squared is far below the maximum of 32-bit floats, so nothing nearer makes a loss infinite.
const FAR: f32 = 1e6;

/// A cell with an extreme value.
#[derive(Debug, Clone, PartialEq)]
struct Suspect {
    /// Index of the field.
    field: usize,
    /// Index of the row.
    row_idx: usize,
    /// The value that the model reads from it.
    read: f32,
    /// The magnitude of the number in the cell, or of `read` if the cell is not a single number.
    size: f64,
}

/// Converts a training error; the error of a diverged loss names the cell that may have caused it.
pub(crate) fn explained(error: TrainError, dataset: &Dataset, rows: &[usize]) -> Error {
    let TrainError::Diverged { loss, epoch, step } = error else { return error.into() };
    match suspects(dataset, rows) {
        Ok(found) if !found.is_empty() => {
            Error::Diverged { loss, epoch, step, suspect: described(&found, dataset).unwrap_or_default() }
        }
        _ => error.into(),
    }
}

/// Returns the most extreme value of each field that has a suspect one, largest first.
fn suspects(dataset: &Dataset, rows: &[usize]) -> Result<Vec<Suspect>, DataError> {
    let columns: Vec<Option<usize>> = dataset.fields.iter().map(|field| dataset.table.position(&field.column)).collect();
    let mut found: Vec<Option<Suspect>> = vec![None; dataset.fields.len()];
    for row_idx in rows {
        let sample = dataset.sample(*row_idx)?;
        let far = sample.payloads.iter().enumerate().filter_map(|(field, payload)| Some((field, farthest(payload)?)));
        let far: Vec<(usize, f32)> = far.collect();
        // Cells are read only if a suspect value was found.
        let cells = if far.is_empty() { Vec::new() } else { dataset.table.row(*row_idx)? };
        for (field, read) in far {
            let is_number = matches!(dataset.fields[field].preprocessor, Preprocessor::Number(_));
            let cell = columns[field].filter(|_| is_number).and_then(|at| cells.get(at));
            let size = cell.and_then(number_of).unwrap_or(f64::from(read)).abs();
            if found[field].as_ref().is_none_or(|worst| size > worst.size) {
                found[field] = Some(Suspect { field, row_idx: *row_idx, read, size });
            }
        }
    }
    let mut found: Vec<Suspect> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| b.size.total_cmp(&a.size).then(a.field.cmp(&b.field)));
    Ok(found)
}

/// Returns the most extreme suspect value of a payload, if it has one.
fn farthest(payload: &Payload) -> Option<f32> {
    let values = match payload {
        Payload::Vector(values) => values,
        Payload::Frames(frames) | Payload::Encoded(frames) => &frames.data,
        Payload::Image(_)
        | Payload::Tokens(_)
        | Payload::Text { .. }
        | Payload::Class(_)
        | Payload::ContentIds(_)
        | Payload::Missing => return None,
    };
    values.iter().copied().filter(|value| !value.is_finite() || value.abs() > FAR).max_by(|a, b| a.abs().total_cmp(&b.abs()))
}

fn number_of(cell: &Cell) -> Option<f64> {
    cell.to_text().trim().parse().ok()
}

/// Describes the first suspect with its cell, and counts the other columns that have one.
fn described(found: &[Suspect], dataset: &Dataset) -> Result<String, DataError> {
    let Suspect { field, row_idx, read, .. } = &found[0];
    let field = &dataset.fields[*field];
    let cell = dataset.table.position(&field.column).map(|at| Ok::<_, DataError>(dataset.table.row(*row_idx)?.swap_remove(at)));
    let text = cell.transpose()?.map(|cell| mbm_config::excerpt(&cell.to_text())).unwrap_or_default();
    let others = match found.len() - 1 {
        0 => String::new(),
        n => format!(" ({n} more column(s) with such cells)"),
    };
    let remedy = match &field.preprocessor {
        Preprocessor::Number(_) => "correct or clear the cell, or set preprocessing.normalization: robust",
        _ => "correct or clear the cell, or rescale the column to a range around 0",
    };
    Ok(format!(
        "column '{}', row {}, holds '{text}', which the model reads as {read:e}, more than a million standard deviations from \
         the mean{others}; {remedy}",
        field.column,
        row_idx + 1
    ))
}

#[cfg(test)]
mod tests {
    use mbm_data::feature::FittedVector;
    use mbm_data::{Field, MissingValueStrategy, Table};

    use super::*;

    fn dataset(cells: &[[&str; 2]]) -> Dataset {
        let rows = cells.iter().map(|row| row.iter().map(|text| Cell::text(text)).collect()).collect();
        let table = Table::from_rows(vec!["a".into(), "b".into()], rows, ".".into()).unwrap();
        let field = |name: &str| Field {
            name: name.into(),
            column: name.into(),
            preprocessor: Preprocessor::Vector(FittedVector { width: 2 }),
            missing_value_strategy: MissingValueStrategy::Absent,
        };
        Dataset::new(table, vec![field("a")], vec![field("b")])
    }

    fn message(cells: &[[&str; 2]]) -> String {
        let rows: Vec<usize> = (0..cells.len()).collect();
        explained(TrainError::Diverged { loss: f64::NAN, epoch: 1, step: 2 }, &dataset(cells), &rows).to_string()
    }

    #[test]
    fn nan_loss_names_the_column_row_and_cell() {
        let found = message(&[["1 2", "3 4"], ["1 -1e15", "3 4"], ["1 1e7", "1 2e9"], ["", "x"]]);
        assert_eq!(
            found,
            "the loss is NaN at epoch 1, step 2: column 'a', row 2, holds '1 -1e15', which the model reads as -1e15, more than a \
             million standard deviations from the mean (1 more column(s) with such cells); correct or clear the cell, or \
             rescale the column to a range around 0"
        );
    }

    #[test]
    fn without_extreme_cells_the_learning_rate_is_named() {
        let found = message(&[["1 2", "3 4"], ["1 999999", "3 4"]]);
        assert!(found.contains("try a smaller trainer.learning_rate"), "{found}");
    }
}
