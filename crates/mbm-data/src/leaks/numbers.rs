//! Columns that give a number away.

use std::collections::HashMap;

use super::column::Column;
use super::is_learned;

/// Least share of the variance of the target, and least rank correlation with it, of a column that gives it away.
const R2: f64 = 0.995;
const RANK_CORRELATION: f64 = 0.9995;

/// Fewest distinct numbers whose ranks are compared.
const N_RANKED: usize = 20;

/// Returns how a column gives the numbers of `target` away.
pub(super) fn evidence(column: &Column, target: &Column, rows: &[usize]) -> Option<String> {
    let n_distinct = column.n_distinct(rows);
    let wanted = target.numbers(rows)?;
    let numbers = column.numbers(rows);
    if numbers.is_none() && n_distinct * 4 > rows.len() {
        return None;
    }
    let guesses = match &numbers {
        Some(numbers) => interpolated(numbers, &wanted),
        None => means(&rows.iter().map(|row| column.value(*row)).collect::<Vec<_>>(), &wanted),
    };
    let (r2, n) = r2(&guesses, &wanted)?;
    if r2 >= R2 {
        return Some(format!("alone explains {:.2} % of the variance of the target in {n} rows", 100.0 * r2));
    }
    let correlation = rank_correlation(&numbers?, &wanted)?.abs();
    (correlation >= RANK_CORRELATION)
        .then(|| format!("sorts the rows as the target does: their rank correlation is {correlation:.4} in {} rows", rows.len()))
}

/// Returns the pairs of numbers that both rows have.
fn pairs<'a>(numbers: &'a [Option<f64>], wanted: &'a [Option<f64>]) -> impl Iterator<Item = (f64, f64)> + 'a {
    numbers.iter().zip(wanted).filter_map(|(number, wanted)| Some(((*number)?, (*wanted)?)))
}

/// Interpolates the target of all rows between those of the learned ones.
fn interpolated(numbers: &[Option<f64>], wanted: &[Option<f64>]) -> Vec<Option<f64>> {
    let learned =
        |values: &[Option<f64>]| (0..values.len()).filter(|at| is_learned(*at)).map(|at| values[at]).collect::<Vec<_>>();
    let mut known: Vec<(f64, f64)> = pairs(&learned(numbers), &learned(wanted)).collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Rows with equal numbers become one, with their mean.
    let points: Vec<(f64, f64)> = known
        .chunk_by(|a, b| a.0 == b.0)
        .map(|equal| (equal[0].0, equal.iter().map(|(_, y)| y).sum::<f64>() / equal.len() as f64))
        .collect();
    numbers.iter().map(|number| at(&points, (*number)?)).collect()
}

/// Returns the value of a polyline at `x`; beyond its ends, that of the end.
fn at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let above = points.partition_point(|point| point.0 < x);
    match (above.checked_sub(1).map(|below| points[below]), points.get(above)) {
        (Some((x0, y0)), Some((x1, y1))) => Some(y0 + (y1 - y0) * ((x - x0) / (x1 - x0))),
        (Some((_, y)), None) => Some(y),
        (None, last) => last.map(|(_, y)| *y),
    }
}

/// Returns the mean target of each value, from the learned rows.
fn means(values: &[u64], wanted: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut sums: HashMap<u64, (f64, f64)> = HashMap::new();
    for at in (0..values.len()).filter(|at| is_learned(*at)) {
        let (sum, wanted) = (sums.entry(values[at]).or_default(), wanted[at]);
        wanted.iter().for_each(|wanted| *sum = (sum.0 + wanted, sum.1 + 1.0));
    }
    values.iter().map(|value| sums.get(value).filter(|(_, n)| *n > 0.0).map(|(sum, n)| sum / n)).collect()
}

/// Returns the share of the variance in the other rows that the guesses explain, and the number of these rows. A row without a guess
/// counts as one at the mean.
fn r2(guesses: &[Option<f64>], wanted: &[Option<f64>]) -> Option<(f64, usize)> {
    let tested = || (0..wanted.len()).filter(|at| !is_learned(*at)).filter_map(|at| Some((guesses[at], wanted[at]?)));
    let n = tested().count();
    let mean = tested().map(|(_, wanted)| wanted).sum::<f64>() / n as f64;
    let total: f64 = tested().map(|(_, wanted)| (wanted - mean).powi(2)).sum();
    let left: f64 = tested().map(|(guess, wanted)| (wanted - guess.unwrap_or(mean)).powi(2)).sum();
    (total > 0.0 && total.is_finite()).then_some((1.0 - left / total, n))
}

/// Returns Spearman's correlation; `None` if few numbers differ.
fn rank_correlation(numbers: &[Option<f64>], wanted: &[Option<f64>]) -> Option<f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs(numbers, wanted).unzip();
    let (x, y) = (ranks(&x)?, ranks(&y)?);
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let covariance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let correlation = covariance(&x, &y) / (covariance(&x, &x) * covariance(&y, &y)).sqrt();
    // A column that is missing in many rows does not sort them.
    (x.len() * 20 >= wanted.len() * 19).then_some(correlation)
}

/// Returns the rank of each value, the mean rank for equal ones; `None` if few values differ.
fn ranks(values: &[f64]) -> Option<Vec<f64>> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut start, mut n_distinct) = (vec![0.0; values.len()], 0, 0);
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = start as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|at| ranks[*at] = rank);
        start += equal.len();
        n_distinct += 1;
    }
    (n_distinct >= N_RANKED).then_some(ranks)
}
