//! `perpetual`: one booster for numbers and two classes, and one per class for more.

use std::collections::HashSet;

use perpetual::objective::Objective;
use perpetual::{Matrix, MultiOutputBooster, PerpetualBooster};

use crate::table::Table;

/// What `perpetual` is told of categories.
///
/// Version 3.0.0-rc.2 partitions training rows by the numbers of bins, which start at 1, but compares values when it predicts. So
/// columns that are declared as categories have to hold the codes from 1 without a gap; other codes are accepted.
#[derive(Clone, Copy, PartialEq)]
pub enum Categories {
    FromOne,
    FromZero,
    Numbers,
}

pub fn fit(table: &Table, budget: f32, kind: Categories) -> Option<Vec<f32>> {
    let first_code = u8::from(kind == Categories::FromOne);
    let (x, probe) = (table.columns(0..table.n_training, first_code), table.columns(table.test_rows(), first_code));
    let (x, probe) =
        (Matrix::new(&x, table.n_training, table.n_cols), Matrix::new(&probe, table.test_rows().len(), table.n_cols));
    let y: Vec<f64> = table.y[..table.n_training].iter().map(|y| f64::from(*y)).collect();
    let categories: HashSet<usize> =
        (0..table.n_cols).filter(|column| kind != Categories::Numbers && table.is_category[*column]).collect();
    let objective = if table.n_classes == 0 { Objective::SquaredLoss } else { Objective::LogLoss };
    if table.n_classes <= 2 {
        let mut model = PerpetualBooster::default().set_objective(objective).set_budget(budget);
        model = model.set_categorical_features(Some(categories));
        model.fit(&x, &y, None, None).ok()?;
        return Some(match table.n_classes {
            0 => model.predict(&probe, true).iter().map(|p| *p as f32).collect(),
            _ => model.predict_proba(&probe, true, false).iter().flat_map(|p| [1.0 - *p as f32, *p as f32]).collect(),
        });
    }
    let indicators = |class: usize| y.iter().map(move |y| f64::from(u8::from(class as f64 == *y)));
    let targets: Vec<f64> = (0..table.n_classes).flat_map(indicators).collect();
    let targets = Matrix::new(&targets, table.n_training, table.n_classes);
    let mut model = MultiOutputBooster::default().set_n_boosters(table.n_classes).set_objective(objective);
    model = model.set_budget(budget).set_categorical_features(Some(categories));
    model.fit(&x, &targets, None, None).ok()?;
    Some(model.predict_proba(&probe, true).iter().map(|p| *p as f32).collect())
}
