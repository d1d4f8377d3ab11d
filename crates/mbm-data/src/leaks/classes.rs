//! Columns that give a class away.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::column::Column;
use super::is_learned;

/// Least accuracy of a column that gives the classes away, and least number of rows that it must get right although they are not of
/// the most frequent class, for each one that it gets wrong.
const ACCURACY: f64 = 0.99;
const N_RIGHT_PER_WRONG: usize = 20;

/// Number of rows in each range of numbers.
const N_PER_RANGE: usize = 4;

/// Distinct numbers that are compared one by one rather than in ranges.
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
    let keys: Vec<u64> = match numbers {
        Some(numbers) => ranges(&numbers),
        None if n_distinct * 4 > rows.len() => return None,
        None => rows.iter().map(|row| column.value(*row)).collect(),
    };
    let classes: Vec<u64> = rows.iter().map(|row| target.value(*row)).collect();
    predicted(&keys, &classes)
}

/// Returns the number of classes if the values of both columns go with each other one to one.
fn renamed(column: &Column, target: &Column, rows: &[usize]) -> Option<usize> {
    let pairs: HashSet<(u64, u64)> = rows.iter().map(|row| (column.value(*row), target.value(*row))).collect();
    let n_classes = target.n_distinct(rows);
    // In few rows, two columns that are nearly unique seem to go with each other.
    (pairs.len() == n_classes && column.n_distinct(rows) == n_classes && n_classes * 2 <= rows.len()).then_some(n_classes)
}

/// Numbers the ranges of equally many numbers; missing numbers are a range of their own.
fn ranges(numbers: &[Option<f64>]) -> Vec<u64> {
    let mut sorted: Vec<f64> = numbers.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let edges: Vec<f64> = sorted.iter().copied().step_by(N_PER_RANGE).collect();
    let range = |number: &Option<f64>| number.map_or(0, |number| 1 + edges.partition_point(|edge| *edge <= number) as u64);
    numbers.iter().map(range).collect()
}

/// Learns the most frequent class of each key from half of the rows, and tests it on the others.
fn predicted(keys: &[u64], classes: &[u64]) -> Option<String> {
    let pairs = |learned: bool| {
        let rows = keys.iter().zip(classes).enumerate().filter(move |(at, _)| is_learned(*at) == learned);
        rows.map(|(_, (key, class))| (*key, *class))
    };
    let mut counts: HashMap<u64, BTreeMap<u64, usize>> = HashMap::new();
    let mut all: BTreeMap<u64, usize> = BTreeMap::new();
    for (key, class) in pairs(true) {
        *counts.entry(key).or_default().entry(class).or_default() += 1;
        *all.entry(class).or_default() += 1;
    }
    let most_frequent = |counts: &BTreeMap<u64, usize>| counts.iter().max_by_key(|(_, count)| **count).map(|(class, _)| *class);
    let usual = most_frequent(&all)?;
    let (mut n, mut n_right, mut n_usual) = (0usize, 0usize, 0usize);
    for (key, class) in pairs(false) {
        let guess = counts.get(&key).and_then(most_frequent).unwrap_or(usual);
        n += 1;
        n_right += usize::from(guess == class);
        n_usual += usize::from(usual == class);
    }
    let accuracy = n_right as f64 / n.max(1) as f64;
    let n_gained = n_right.saturating_sub(n_usual);
    let is_leak = accuracy >= ACCURACY && n_gained >= N_RIGHT_PER_WRONG.max(N_RIGHT_PER_WRONG * (n - n_right));
    is_leak.then(|| {
        format!(
            "alone predicts {:.1} % of {n} rows, in which the most frequent class is {:.1} %",
            100.0 * accuracy,
            100.0 * n_usual as f64 / n as f64
        )
    })
}
