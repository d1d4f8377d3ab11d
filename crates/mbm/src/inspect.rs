//! Human-readable summaries of datasets, bundles and weight files.

use std::path::Path;

use burn::module::Module;
use mbm_data::{CellRef, Inferred, Table, infer_types};
use mbm_weights::{TensorInfo, WeightFile};

use crate::error::Error;
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

/// Describes a dataset: its columns with inferred types, the share of filled cells, and a first value.
///
/// # Errors
/// Fails if the dataset cannot be read.
pub fn inspect_dataset(path: &Path) -> Result<Vec<String>, Error> {
    let table = Table::read(path)?;
    let n_inspected = table.n_rows().min(1000);
    let mut filled = vec![0usize; table.columns.len()];
    let mut first = vec![String::new(); table.columns.len()];
    table.visit(0..n_inspected, 0..table.columns.len(), |at, cell| {
        if cell != CellRef::Empty {
            filled[at] += 1;
            if first[at].is_empty() {
                first[at] = cell.to_text().chars().take(48).collect();
            }
        }
    })?;
    let width = table.columns.iter().map(|column| column.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!("{} rows, {} columns, sha256 {}", table.n_rows(), table.columns.len(), table.hash)];
    for (at, inferred) in infer_types(&table)?.into_iter().enumerate() {
        let kind = match inferred {
            Inferred::Feature(kind) => kind,
            Inferred::Codes => "number",
            Inferred::Split => "split",
            Inferred::Ignored(_) => "-",
        };
        let share = 100 * filled[at] / n_inspected.max(1);
        lines.push(format!("{:width$}  {kind:<10}  {share:>3} % filled  {}", table.columns[at], first[at]));
    }
    Ok(lines)
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
            "input   {} ({}) from column '{}': {:?}",
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
