//! The leaf-wise boosted trees of mbm-algo.

use mbm_algo::Matrix;
use mbm_algo::tree::{Binned, BoostedTrees, BoostingSettings, ColumnKind, Examples, Objective};

use crate::table::Table;

/// One fit on all training rows with the settings of LightGBM.
pub fn hundred_rounds(table: &Table) -> Vec<f32> {
    let rows: Vec<u32> = (0..table.n_training as u32).collect();
    fit(table, &rows, &[], &BoostingSettings::default())
}

/// The mean of fits on four fifths of the rows, where the others tell when to stop: the first learner of `mbm train`.
pub fn five_folds(table: &Table) -> Vec<f32> {
    let settings = BoostingSettings {
        max_rounds: 300,
        patience: 20,
        learning_rate: 0.08,
        max_depth: 12,
        min_rows: (table.n_training * 4 / 5 / 50).clamp(3, 20),
        min_hessian: 1e-7,
        l2: 1.0,
        row_share: 0.8,
        column_share: 0.8,
        ..BoostingSettings::default()
    };
    let mut sums = vec![0f32; table.test_rows().len() * table.n_values()];
    for fold in 0..5 {
        let (validation, rows): (Vec<u32>, Vec<u32>) = (0..table.n_training as u32).partition(|row| row * 7919 % 5 == fold);
        sums.iter_mut().zip(fit(table, &rows, &validation, &settings)).for_each(|(sum, predicted)| *sum += predicted / 5.0);
    }
    sums
}

fn fit(table: &Table, rows: &[u32], validation: &[u32], settings: &BoostingSettings) -> Vec<f32> {
    let kind = |is_category: &bool| if *is_category { ColumnKind::Category } else { ColumnKind::Number };
    let kinds: Vec<ColumnKind> = table.is_category.iter().map(kind).collect();
    let training = Matrix { data: &table.x[..table.n_training * table.n_cols], n_cols: table.n_cols };
    let (binned, weights) = (Binned::new(training, &kinds), vec![1.0; table.n_training]);
    let (objective, n_outputs) = match table.n_classes {
        0 => (Objective::Squared, 1),
        2 => (Objective::Logistic, 1),
        n => (Objective::Softmax, n),
    };
    let targets = targets(table, n_outputs);
    let examples = Examples { binned: &binned, targets: &targets, n_outputs, weights: &weights, rows, validation };
    let trees = BoostedTrees::fit(&examples, objective, settings, 0, &mut |_| true);
    let predict = |row: usize| {
        let predicted = trees.predict(&table.x[row * table.n_cols..(row + 1) * table.n_cols]);
        if table.n_classes == 2 { vec![1.0 - predicted[0], predicted[0]] } else { predicted }
    };
    table.test_rows().flat_map(predict).collect()
}

/// Returns numbers, labels of 0 and 1, or an indicator per class.
fn targets(table: &Table, n_outputs: usize) -> Vec<f32> {
    let y = &table.y[..table.n_training];
    let indicators = |y: &f32| (0..n_outputs).map(|class| f32::from(u8::from(class as f32 == *y))).collect::<Vec<_>>();
    if n_outputs == 1 { y.to_vec() } else { y.iter().flat_map(indicators).collect() }
}
