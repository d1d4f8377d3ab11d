//! Human-readable summaries of datasets, bundles and weight files.

use std::path::Path;

use burn::module::Module;
use mbm_data::feature::is_null_word;
use mbm_data::{CellRef, Inferred, InferredColumn, infer_types};
use mbm_weights::{TensorInfo, WeightFile};

use crate::error::Error;
use crate::into_table::IntoTable;
use crate::predict::predictor::Predictor;

/// Describes a weight file: its tensors with types and shapes, and the encoders it fits.
///
/// # Errors
/// Fails if the file cannot be read or is rejected.
pub fn inspect_weights(path: &Path) -> Result<Vec<String>, Error> {
    let file = WeightFile::open(path)?;
    let n_values: usize = file.tensors().values().map(TensorInfo::n_values).sum();
    let mut lines =
        vec![format!("{}, {} tensors, {n_values} values, sha256 {}", file.format(), file.tensors().len(), file.hash()?)];
    let width = file.tensors().keys().map(|name| name.chars().count()).max().unwrap_or(0);
    for (name, TensorInfo { element, shape }) in file.tensors() {
        lines.push(format!("{name:width$}  {:<4}  {shape:?}", element.name()));
    }
    match mbm_model::fitting_encoders(&file).as_slice() {
        [] => lines.push("fits no encoder".to_owned()),
        fitting => lines.extend(fitting.iter().map(|settings| format!("fits encoder: {settings}"))),
    }
    Ok(lines)
}

/// Converts a weight file to safetensors.
///
/// # Errors
/// Fails if the source cannot be read or is rejected, or if the target exists or cannot be written.
pub fn convert_weights(source: &Path, target: &Path) -> Result<(), Error> {
    if target.exists() {
        return Err(Error::damaged(target, "it already exists; choose another name"));
    }
    Ok(WeightFile::open(source)?.write_safetensors(target)?)
}

/// Describes a dataset: its columns with inferred types, the share of cells that hold neither nothing nor a word such as `NA`, and a
/// first value; then what was assumed about the file, and what may surprise about the types, with reasons.
///
/// # Errors
/// Fails if the dataset cannot be read.
pub fn inspect_dataset(data: impl IntoTable) -> Result<Vec<String>, Error> {
    let table = data.into_table()?;
    let mut filled = vec![0usize; table.columns.len()];
    let mut first = vec![String::new(); table.columns.len()];
    table.visit(0..table.n_rows(), 0..table.columns.len(), |at, cell| {
        if !is_missing(&cell) {
            filled[at] += 1;
            if first[at].is_empty() {
                first[at] = cell.to_text().chars().take(48).collect();
            }
        }
    })?;
    let width = table.columns.iter().map(|column| column.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!("{} rows, {} columns, sha256 {}", table.n_rows(), table.columns.len(), table.hash)];
    let mut notes = table.notes.clone();
    for (at, InferredColumn { role, notes: reasons }) in infer_types(&table, &[])?.into_iter().enumerate() {
        let (name, share) = (&table.columns[at], percentage(filled[at], table.n_rows()));
        notes.extend(reasons);
        let kind = match role {
            Inferred::Feature(kind) => kind,
            Inferred::Split => "split",
            Inferred::Ignored(reason) => {
                notes.push(format!("the column '{name}' is ignored without a config: {reason}"));
                "-"
            }
        };
        lines.push(format!("{name:width$}  {kind:<10}  {share:>4} % filled  {}", first[at]));
    }
    lines.extend(notes);
    Ok(lines)
}

fn is_missing(cell: &CellRef) -> bool {
    match cell {
        CellRef::Empty => true,
        CellRef::Text(text) => is_null_word(text.trim()),
        _ => false,
    }
}

/// Returns a share in percent, rounded down, with a decimal above 99 %: only a column without empty cells has 100 %.
fn percentage(n: usize, n_all: usize) -> String {
    let per_mille = 1000 * n / n_all.max(1);
    match per_mille {
        0 if n > 0 => "<0.1".to_owned(),
        1..10 | 991..1000 => format!("{}.{}", per_mille / 10, per_mille % 10),
        _ => (per_mille / 10).to_string(),
    }
}

/// Describes a bundle: its size, features and config.
///
/// # Errors
/// Fails if the folder is not a bundle.
pub fn inspect_bundle(path: &Path) -> Result<Vec<String>, Error> {
    let predictor = Predictor::open(path)?;
    let mut lines = vec![format!("{} parameters, seed {}", predictor.model.num_params(), predictor.plan.config.random_seed)];
    for field in &predictor.inputs {
        lines.push(format!(
            "input   {} ({}) from column '{}': {}",
            field.name,
            field.preprocessor.type_name(),
            field.column,
            field.preprocessor.get().shape()
        ));
    }
    lines.push(format!("combiner {}", predictor.plan.config.combiner.type_name()));
    for field in &predictor.outputs {
        let classes = crate::predict::prediction::class_names(&field.preprocessor);
        let shown = classes.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
        let more = if classes.len() > 20 { format!(", ... ({} in total)", classes.len()) } else { String::new() };
        lines.push(format!("output  {} ({}) {shown}{more}", field.name, field.preprocessor.type_name()));
    }
    lines.push(String::new());
    lines.extend(predictor.plan.to_yaml().lines().map(str::to_owned));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_column_without_empty_cells_is_filled_to_100_percent() {
        let cases = [(1000, "100"), (999, "99.9"), (990, "99"), (500, "50"), (5, "0.5"), (0, "0")];
        for (n, want) in cases {
            assert_eq!(percentage(n, 1000), want);
        }
        assert_eq!(
            (percentage(99_999, 100_000), percentage(1, 100_000), percentage(0, 0)),
            ("99.9".into(), "<0.1".into(), "0".into())
        );
    }
}
