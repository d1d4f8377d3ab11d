//! What a dataset or a bundle holds, in lines for people.

use std::path::Path;

use burn::module::Module;
use mbm_data::{Cell, Inferred, Table, infer_types};

use crate::error::Error;
use crate::predictor::Predictor;

/// Columns, the types they seem to have, how many cells are filled, and a first value.
///
/// # Errors
/// A dataset that cannot be read.
pub fn inspect_dataset(path: &Path) -> Result<Vec<String>, Error> {
    let table = Table::read(path)?;
    let n_looked_at = table.n_rows().min(1000);
    let mut filled = vec![0usize; table.columns.len()];
    let mut first = vec![String::new(); table.columns.len()];
    for row_idx in 0..n_looked_at {
        for (at, cell) in table.row(row_idx)?.iter().enumerate().filter(|(_, cell)| **cell != Cell::Empty) {
            filled[at] += 1;
            if first[at].is_empty() {
                first[at] = cell.to_text().chars().take(48).collect();
            }
        }
    }
    let width = table.columns.iter().map(|column| column.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!("{} rows, {} columns, sha256 {}", table.n_rows(), table.columns.len(), table.hash)];
    for (at, inferred) in infer_types(&table)?.into_iter().enumerate() {
        let kind = match inferred {
            Inferred::Feature(kind) => kind,
            Inferred::Codes => "number",
            Inferred::Split => "split",
            Inferred::Ignored(_) => "-",
        };
        let share = 100 * filled[at] / n_looked_at.max(1);
        lines.push(format!("{:width$}  {kind:<10}  {share:>3} % filled  {}", table.columns[at], first[at]));
    }
    Ok(lines)
}

/// What a bundle was made from and what it is made of.
///
/// # Errors
/// A folder that is no bundle.
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
        let classes = crate::prediction::class_names(&field.preprocessor);
        let shown = classes.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
        let more = if classes.len() > 20 { format!(", ... ({} in all)", classes.len()) } else { String::new() };
        lines.push(format!("output  {} ({}) {shown}{more}", field.name, field.preprocessor.type_name()));
    }
    lines.push(String::new());
    lines.extend(predictor.plan.to_yaml().lines().map(str::to_owned));
    Ok(lines)
}
