//! `forust-ml`: numbers and two classes; categories are read as numbers.

use forust_ml::objective::ObjectiveType;
use forust_ml::{GradientBooster, Matrix};

use crate::table::Table;

pub fn fit(table: &Table) -> Option<Vec<f32>> {
    let (x, probe) = (table.columns(0..table.n_training, 0), table.columns(table.test_rows(), 0));
    let (x, probe) =
        (Matrix::new(&x, table.n_training, table.n_cols), Matrix::new(&probe, table.test_rows().len(), table.n_cols));
    let y: Vec<f64> = table.y[..table.n_training].iter().map(|y| f64::from(*y)).collect();
    let objective = match table.n_classes {
        0 => ObjectiveType::SquaredLoss,
        2 => ObjectiveType::LogLoss,
        _ => return None,
    };
    let mut model = GradientBooster::default().set_objective_type(objective).set_iterations(100).set_learning_rate(0.1);
    model.fit_unweighted(&x, &y, None).ok()?;
    let scores = model.predict(&probe, true);
    Some(match table.n_classes {
        0 => scores.iter().map(|p| *p as f32).collect(),
        _ => scores.iter().map(|p| 1.0 / (1.0 + (-*p as f32).exp())).flat_map(|p| [1.0 - p, p]).collect(),
    })
}
