//! The cell that makes a loss infinite, where one does.

use mbm_data::{Cell, DataError, Dataset, Payload, Preprocessor};
use mbm_train::TrainError;

use crate::error::Error;

/// A value that is further from the others than this, in their standard deviations, is looked at. Values of a normal distribution lie within ten
/// whatever their number, and a million squared is far from what 32 bits hold, so nothing nearer makes a loss infinite.
const FAR: f32 = 1e6;

/// A cell that does not lie where the others do.
#[derive(Debug, Clone, PartialEq)]
struct Suspect {
    /// The field.
    field: usize,
    /// The row.
    row_idx: usize,
    /// What the model reads of it.
    read: f32,
    /// The number that stands there; what the model reads where the cell is no single number.
    size: f64,
}

/// The error of training; of a loss that is no number any more with the cell that may be why.
pub(crate) fn explained(error: TrainError, dataset: &Dataset, rows: &[usize]) -> Error {
    let TrainError::Diverged { loss, epoch, step } = error else { return error.into() };
    match suspects(dataset, rows) {
        Ok(found) if !found.is_empty() => {
            let message = described(&found, dataset).unwrap_or_default();
            Error::Incompatible(format!("the loss is {loss} at epoch {epoch}, step {step}: {message}"))
        }
        _ => error.into(),
    }
}

/// The largest value of each field that has one out of reach, the most striking first.
fn suspects(dataset: &Dataset, rows: &[usize]) -> Result<Vec<Suspect>, DataError> {
    let columns: Vec<Option<usize>> = dataset.fields.iter().map(|field| dataset.table.position(&field.column)).collect();
    let mut found: Vec<Option<Suspect>> = vec![None; dataset.fields.len()];
    for row_idx in rows {
        let sample = dataset.sample(*row_idx)?;
        let far = sample.payloads.iter().enumerate().filter_map(|(field, payload)| Some((field, farthest(payload)?)));
        let far: Vec<(usize, f32)> = far.collect();
        // The cells are read only where something is found.
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

/// The value of a payload that is out of reach, if one is.
fn farthest(payload: &Payload) -> Option<f32> {
    let values = match payload {
        Payload::Vector(values) => values,
        Payload::Frames(frames) | Payload::Encoded(frames) => &frames.data,
        Payload::Image(_) | Payload::Tokens(_) | Payload::Class(_) | Payload::ContentIds(_) | Payload::Missing => return None,
    };
    values.iter().copied().filter(|value| !value.is_finite() || value.abs() > FAR).max_by(|a, b| a.abs().total_cmp(&b.abs()))
}

fn number_of(cell: &Cell) -> Option<f64> {
    cell.to_text().trim().parse().ok()
}

/// The first suspect with its cell, and how many other columns have one.
fn described(found: &[Suspect], dataset: &Dataset) -> Result<String, DataError> {
    let Suspect { field, row_idx, read, .. } = &found[0];
    let field = &dataset.fields[*field];
    let cell = dataset.table.position(&field.column).map(|at| Ok::<_, DataError>(dataset.table.row(*row_idx)?.swap_remove(at)));
    let text = cell.transpose()?.map(|cell| mbm_config::excerpt(&cell.to_text())).unwrap_or_default();
    let others = match found.len() - 1 {
        0 => String::new(),
        n => format!(" ({n} more columns have such cells)"),
    };
    let remedy = match &field.preprocessor {
        Preprocessor::Number(_) => "correct or empty the cell, or set preprocessing.normalization: robust for it",
        _ => "correct or empty the cell, or bring its values to a range around 0",
    };
    Ok(format!(
        "column '{}', row {}, holds '{text}', which the model reads as {read:e}, further than a million standard deviations from the \
         others{others}; {remedy}",
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
    fn a_loss_that_is_no_number_names_the_column_the_row_and_the_cell() {
        let found = message(&[["1 2", "3 4"], ["1 -1e15", "3 4"], ["1 1e7", "1 2e9"], ["", "x"]]);
        assert_eq!(
            found,
            "the loss is NaN at epoch 1, step 2: column 'a', row 2, holds '1 -1e15', which the model reads as -1e15, further than a \
             million standard deviations from the others (1 more columns have such cells); correct or empty the cell, or bring its values to a \
             range around 0"
        );
    }

    #[test]
    fn where_no_cell_is_out_of_reach_the_learning_rate_is_named() {
        let found = message(&[["1 2", "3 4"], ["1 999999", "3 4"]]);
        assert!(found.contains("try a smaller trainer.learning_rate"), "{found}");
    }
}
