//! Folds of cross-validation, which follow the split: groups stay together, and dates stay in order.

use std::collections::HashMap;

use rand::seq::SliceRandom;

use crate::random::{rng, seed};
use crate::split::{SplitSettings, column, dates};
use crate::{DataError, Table};

/// Returns the fold of each of the given rows, below `n_folds`.
///
/// Rows are shuffled; with `classes`, one per row, every fold has the same share of each class. If the split keeps groups together, so do
/// the folds; if it is by date, folds are periods of equally many rows.
///
/// # Errors
/// Fails if the column of the split cannot be read.
pub fn folds(
    table: &Table,
    split: &SplitSettings,
    rows: &[usize],
    classes: Option<&[u32]>,
    n_folds: usize,
    run_seed: u64,
) -> Result<Vec<usize>, DataError> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    match split {
        SplitSettings::Datetime(by) => {
            let dates = dates(table, by)?;
            order.sort_by_key(|at| dates[rows[*at]]);
            Ok(assigned(&order, |position| position * n_folds / rows.len().max(1)))
        }
        SplitSettings::Group(by) => {
            let names = column(table, &by.column)?;
            Ok(by_group(rows.iter().map(|row_idx| names[*row_idx].clone()).collect(), n_folds, run_seed))
        }
        _ => {
            order.shuffle(&mut rng(seed(run_seed, "folds", 0, 0)));
            if let Some(classes) = classes {
                order.sort_by_key(|at| classes[*at]);
            }
            Ok(assigned(&order, |position| position % n_folds))
        }
    }
}

/// Assigns whole groups, the largest first, each to the fold with the fewest rows; rows without a group are groups of their own.
fn by_group(names: Vec<String>, n_folds: usize, run_seed: u64) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (at, name) in names.into_iter().enumerate() {
        let group = if name.is_empty() { groups.len() } else { *known.entry(name).or_insert(groups.len()) };
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(at);
    }
    groups.shuffle(&mut rng(seed(run_seed, "folds", 0, 0)));
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let (mut sizes, mut folds) = (vec![0; n_folds], vec![0; groups.iter().map(Vec::len).sum()]);
    for group in groups {
        let fold = (0..n_folds).min_by_key(|fold| sizes[*fold]).unwrap_or(0);
        sizes[fold] += group.len();
        group.into_iter().for_each(|at| folds[at] = fold);
    }
    folds
}

fn assigned(order: &[usize], fold: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut folds = vec![0; order.len()];
    order.iter().enumerate().for_each(|(position, at)| folds[*at] = fold(position));
    folds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;
    use crate::split::{Datetime, Group, Random};

    fn table(name: &str, texts: &[&str]) -> Table {
        let rows = texts.iter().map(|text| vec![Cell::text(text)]).collect();
        Table::from_rows(vec![name.to_owned()], rows, ".".into()).unwrap()
    }

    #[test]
    fn every_fold_has_the_same_share_of_each_class() {
        let rows: Vec<usize> = (0..50).collect();
        let classes: Vec<u32> = (0..50).map(|row| u32::from(row % 5 == 0)).collect();
        let split = SplitSettings::Random(mbm_config::defaults::<Random>());
        let folds = folds(&table("x", &["1"; 50]), &split, &rows, Some(&classes), 5, 7).unwrap();
        for fold in 0..5 {
            let own: Vec<usize> = (0..50).filter(|at| folds[*at] == fold).collect();
            assert_eq!((own.len(), own.iter().filter(|at| classes[**at] == 1).count()), (10, 2));
        }
    }

    #[test]
    fn groups_stay_together() {
        let names: Vec<String> = (0..40).map(|row| format!("p{}", row / 4)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let rows: Vec<usize> = (0..40).collect();
        let split = SplitSettings::Group(Group { column: "x".into(), probabilities: vec![0.7, 0.1, 0.2] });
        let folds = folds(&table("x", &names), &split, &rows, None, 5, 7).unwrap();
        assert!(folds.chunks(4).all(|group| group.iter().all(|fold| *fold == group[0])));
        assert!((0..5).all(|fold| folds.iter().filter(|own| **own == fold).count() == 8));
    }

    #[test]
    fn folds_by_date_are_periods() {
        let dates: Vec<String> = (0..20).map(|row| format!("2024-01-{:02}", 20 - row)).collect();
        let dates: Vec<&str> = dates.iter().map(String::as_str).collect();
        let rows: Vec<usize> = (0..20).collect();
        let by = Datetime { column: "x".into(), probabilities: vec![0.7, 0.1, 0.2], datetime_format: None, date_order: None };
        let split = SplitSettings::Datetime(by);
        let folds = folds(&table("x", &dates), &split, &rows, None, 4, 7).unwrap();
        assert_eq!(folds, [[3; 5], [2; 5], [1; 5], [0; 5]].concat());
    }
}
