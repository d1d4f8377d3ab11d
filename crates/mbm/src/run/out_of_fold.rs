//! The predictions of an ensemble for the rows of each fold, by the learners that were not fitted on them.

use std::collections::BTreeMap;
use std::path::Path;

use mbm_data::sync_and_rename;

use crate::error::Error;
use crate::learn::selection::Selection;
use crate::predict::prediction::{Prediction, columns};
use crate::predict::predictor::Predictor;
use crate::predict::writer::{OutputColumn, OutputFormat, OutputValue, TableWriter};

/// A row with the fold that held it out, and its predictions by output.
struct Row {
    fold: usize,
    predictions: BTreeMap<usize, Prediction>,
}

/// Writes one line per row of the folds, in the order of the table: its number and its fold, both from 1, and what is predicted for each
/// output, as `predictions.parquet` has it; null for a row without the target, for one that all learners with a weight were fitted on, and for
/// outputs that only the network predicts.
///
/// # Errors
/// Fails on an I/O error such as a full disk.
pub(crate) fn write(path: &Path, predictor: &Predictor, selections: &[Option<Selection>]) -> Result<(), Error> {
    let outputs = || predictor.outputs.iter().zip(&predictor.postprocessors);
    let of_outputs: Vec<Vec<OutputColumn>> =
        outputs().map(|(field, postprocessor)| columns(&field.name, &field.preprocessor, postprocessor)).collect();
    let n_columns: Vec<usize> = of_outputs.iter().map(Vec::len).collect();
    let header = ["row", "fold"].map(OutputColumn::number).into_iter().chain(of_outputs.into_iter().flatten()).collect();
    let aside = path.with_added_extension("tmp");
    let mut writer = TableWriter::create_as(&aside, path, OutputFormat::Parquet, header)?;
    for (row_idx, row) in rows(predictor, selections) {
        let mut values = vec![OutputValue::Number((row_idx + 1) as f64), OutputValue::Number((row.fold + 1) as f64)];
        for (output, (field, postprocessor)) in outputs().enumerate() {
            match row.predictions.get(&output) {
                Some(prediction) => values.extend(prediction.values(&field.preprocessor, postprocessor)),
                None => values.extend(std::iter::repeat_n(OutputValue::Null, n_columns[output])),
            }
        }
        writer.write(values)?;
    }
    writer.finish()?;
    Ok(sync_and_rename(&aside, path)?)
}

fn rows(predictor: &Predictor, selections: &[Option<Selection>]) -> BTreeMap<usize, Row> {
    let mut rows = BTreeMap::new();
    for (output, selection) in selections.iter().enumerate() {
        let Some(selection) = selection else { continue };
        let preprocessor = &predictor.outputs[output].preprocessor;
        let held_out = selection.held_out();
        let in_folds = selection.rows.iter().enumerate().flat_map(|(fold, rows)| rows.iter().map(move |row| (fold, *row)));
        for ((fold, row), values) in in_folds.zip(held_out.chunks(selection.task.n_values())) {
            let row = rows.entry(row).or_insert_with(|| Row { fold, predictions: BTreeMap::new() });
            if !values[0].is_nan() {
                row.predictions.insert(output, selection.task.prediction(values, preprocessor));
            }
        }
    }
    rows
}
