//! Columns that give a class away.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::column::Column;
use super::is_learned;

/// Least accuracy of a column that gives the classes away, and least number of rows that it must get right although they are not of
/// the most frequent class, for each one that it gets wrong.
const ACCURACY: f64 = 0.99;
const N_RIGHT_PER_WRONG: usize = 20;

/// Distinct numbers that are compared one by one rather than with the nearest.
const N_VALUES: usize = 50;

/// Returns how a column gives the classes of `target` away.
pub(super) fn evidence(column: &Column, target: &Column, rows: &[usize]) -> Option<String> {
    let n_distinct = column.n_distinct(rows);
    if n_distinct < 2 {
        return None;
    }
    if let Some(n_classes) = renamed(column, target, rows) {
        return Some(format!(
            "is the target under other names: in all {} rows that were compared, each of its {n_classes} values goes with one value of the target",
            rows.len()
        ));
    }
    let numbers = if n_distinct > N_VALUES { column.numbers(rows) } else { None };
    let classes: Vec<u64> = rows.iter().map(|row| target.value(*row)).collect();
    let guesses = match numbers {
        Some(numbers) => nearest(&numbers, &classes),
        None if n_distinct * 4 > rows.len() => return None,
        None => most_frequent(&rows.iter().map(|row| column.value(*row)).collect::<Vec<_>>(), &classes),
    };
    predicted(&guesses, &classes)
}

/// Returns the number of classes if the values of both columns go with each other one to one.
fn renamed(column: &Column, target: &Column, rows: &[usize]) -> Option<usize> {
    let pairs: HashSet<(u64, u64)> = rows.iter().map(|row| (column.value(*row), target.value(*row))).collect();
    let n_classes = target.n_distinct(rows);
    // In few rows, two columns that are nearly unique seem to go with each other.
    (pairs.len() == n_classes && column.n_distinct(rows) == n_classes && n_classes * 2 <= rows.len()).then_some(n_classes)
}

/// Returns the class of the nearest number in the learned rows, for each number; for a missing one, the most frequent class of those.
fn nearest(numbers: &[Option<f64>], classes: &[u64]) -> Vec<Option<u64>> {
    let learned = || (0..numbers.len()).filter(|at| is_learned(*at));
    let mut known: Vec<(f64, u64)> = learned().filter_map(|at| Some((numbers[at]?, classes[at]))).collect();
    let missing = largest(&counts(learned().filter(|at| numbers[*at].is_none()).map(|at| classes[at])));
    known.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let nearest = |number: f64| {
        let above = known.partition_point(|(other, _)| *other < number);
        let neighbours = [above.checked_sub(1), Some(above)].into_iter().flatten().filter_map(|at| known.get(at));
        neighbours.min_by(|a, b| (a.0 - number).abs().total_cmp(&(b.0 - number).abs())).map(|(_, class)| *class)
    };
    numbers.iter().map(|number| number.map_or(missing, nearest)).collect()
}

/// Returns the most frequent class of each value in the learned rows.
fn most_frequent(values: &[u64], classes: &[u64]) -> Vec<Option<u64>> {
    let mut counts: HashMap<u64, BTreeMap<u64, usize>> = HashMap::new();
    for at in (0..values.len()).filter(|at| is_learned(*at)) {
        *counts.entry(values[at]).or_default().entry(classes[at]).or_default() += 1;
    }
    values.iter().map(|value| counts.get(value).and_then(largest)).collect()
}

fn counts(classes: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    classes.for_each(|class| *counts.entry(class).or_default() += 1);
    counts
}

/// Returns the class with the most rows.
fn largest(counts: &BTreeMap<u64, usize>) -> Option<u64> {
    counts.iter().max_by_key(|(_, count)| **count).map(|(class, _)| *class)
}

/// Compares guesses with the classes of the other rows; a row without a guess counts as one of the most frequent class.
fn predicted(guesses: &[Option<u64>], classes: &[u64]) -> Option<String> {
    let usual = largest(&counts((0..classes.len()).filter(|at| is_learned(*at)).map(|at| classes[at])))?;
    let tested = || (0..classes.len()).filter(|at| !is_learned(*at));
    let n = tested().count();
    let n_right = tested().filter(|at| guesses[*at].unwrap_or(usual) == classes[*at]).count();
    let n_usual = tested().filter(|at| classes[*at] == usual).count();
    let accuracy = n_right as f64 / n.max(1) as f64;
    let n_gained = n_right.saturating_sub(n_usual);
    let is_leak = accuracy >= ACCURACY && n_gained >= N_RIGHT_PER_WRONG.max(N_RIGHT_PER_WRONG * (n - n_right));
    is_leak.then(|| {
        let (accuracy, usual) = (100.0 * accuracy, 100.0 * n_usual as f64 / n as f64);
        format!("alone predicts {accuracy:.1} % of {n} rows, in which the most frequent class is {usual:.1} %")
    })
}
