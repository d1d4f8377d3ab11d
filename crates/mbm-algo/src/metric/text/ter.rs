//! Translation edit rate (Snover et al. 2006): word edits and phrase shifts, found by the search of Tercom and sacrebleu.

use std::collections::HashMap;

use rayon::prelude::*;

use super::TextSamples;

/// Maximum number of words of a shifted phrase.
const MAX_SHIFT_SIZE: usize = 10;
/// Maximum number of words over which a phrase is shifted.
const MAX_SHIFT_DISTANCE: usize = 50;
/// Maximum number of shifts tried for one text.
const MAX_CANDIDATES: usize = 1000;
/// Beam width: cells of a row on either side of the diagonal.
const BEAM: usize = 25;

/// Computes the edits per hundred words of the references over all rows, lowercased; of several references, the fewest edits and
/// the mean length count.
pub fn ter(written: &TextSamples) -> Option<f64> {
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let rows: Vec<(f64, f64)> = rows.map(|(text, references)| edits_and_length(text, references)).collect();
    let (edits, length) = rows.iter().fold((0.0, 0.0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    let rate = match (edits > 0.0, length > 0.0) {
        (_, true) => edits / length,
        (true, false) => 1.0,
        (false, false) => 0.0,
    };
    (!written.hypotheses.is_empty()).then_some(100.0 * rate)
}

/// Returns the fewest edits to any of the references, and their mean length.
fn edits_and_length(text: &str, references: &[String]) -> (f64, f64) {
    let text = words(text);
    let references: Vec<Vec<String>> = references.iter().map(|reference| words(reference)).collect();
    let edits = references.iter().map(|reference| n_edits(&text, reference)).min().unwrap_or(0);
    let length = references.iter().map(Vec::len).sum::<usize>() as f64 / references.len().max(1) as f64;
    (edits as f64, length)
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase().split_whitespace().map(str::to_owned).collect()
}

/// Returns the number of shifts, applied greedily while the best one saves edits, plus the remaining edits.
fn n_edits(text: &[String], reference: &[String]) -> usize {
    if reference.is_empty() {
        return text.len();
    }
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut number = |word| {
        let next = numbers.len() as u32;
        *numbers.entry(word).or_insert(next)
    };
    let mut text: Vec<u32> = text.iter().map(|word| number(word)).collect();
    let reference: Vec<u32> = reference.iter().map(|word| number(word)).collect();
    let (mut n_shifts, mut n_candidates) = (0, 0);
    while let Some(shifted) = best_shift(&text, &reference, &mut n_candidates) {
        text = shifted;
        n_shifts += 1;
    }
    n_shifts + Alignment::new(&text, &reference).n_edits
}

/// The edits that a shift saves, the length of its phrase, and its negated source and target positions.
type Rank = (isize, usize, isize, isize);

/// Applies the shift that saves the most edits; `None` if none does or the limit on candidates is reached. Ties go to the longest
/// phrase, then to the first.
fn best_shift(text: &[u32], reference: &[u32], n_candidates: &mut usize) -> Option<Vec<u32>> {
    let alignment = Alignment::new(text, reference);
    let mut best: Option<(Rank, Vec<u32>)> = None;
    'search: for from in 0..text.len() {
        for to in from.saturating_sub(MAX_SHIFT_DISTANCE)..reference.len().min(from + MAX_SHIFT_DISTANCE + 1) {
            let equal = text[from..].iter().zip(&reference[to..]).take(MAX_SHIFT_SIZE).take_while(|(a, b)| a == b).count();
            for length in 1..=equal {
                for target in alignment.targets(from, to, length) {
                    let shifted = shift(text, from, length, target);
                    let saved = alignment.n_edits as isize - Alignment::new(&shifted, reference).n_edits as isize;
                    let rank = (saved, length, -(from as isize), -(target as isize));
                    *n_candidates += 1;
                    if best.as_ref().is_none_or(|best| rank > best.0) {
                        best = Some((rank, shifted));
                    }
                }
                if *n_candidates >= MAX_CANDIDATES {
                    break 'search;
                }
            }
        }
    }
    best.filter(|(rank, _)| rank.0 > 0 && *n_candidates < MAX_CANDIDATES).map(|(_, shifted)| shifted)
}

/// Moves the phrase at `from` to `target`.
fn shift(words: &[u32], from: usize, length: usize, target: usize) -> Vec<u32> {
    let phrase = &words[from..from + length];
    if target < from {
        [&words[..target], phrase, &words[target..from], &words[from + length..]].concat()
    } else if target > from + length {
        [&words[..from], &words[from + length..target], phrase, &words[target..]].concat()
    } else {
        let end = (length + target).min(words.len());
        [&words[..from], &words[from + length..end], phrase, &words[end..]].concat()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Edit {
    Keep,
    Replace,
    Delete,
    Insert,
}

/// The edits that turn a text into its reference.
struct Alignment {
    n_edits: usize,
    /// For each word of the reference, the position of the word of the text aligned with it or before it; -1 for none.
    positions: Vec<isize>,
    wrong_in_text: Vec<bool>,
    wrong_in_reference: Vec<bool>,
}

impl Alignment {
    /// Finds the cheapest edits within the beam; in ties, replacing comes before deleting and deleting before inserting.
    fn new(text: &[u32], reference: &[u32]) -> Self {
        let (n, m) = (text.len(), reference.len());
        let ratio = if n == 0 { 1.0 } else { m as f64 / n as f64 };
        let beam = if (BEAM as f64) < ratio / 2.0 { (ratio / 2.0 + BEAM as f64).ceil() as usize } else { BEAM };
        let unreached = (usize::MAX / 2, Edit::Insert);
        let mut cells = vec![unreached; (n + 1) * (m + 1)];
        let at = |i: usize, j: usize| i * (m + 1) + j;
        (0..=m).for_each(|j| cells[at(0, j)] = (j, Edit::Insert));
        for i in 1..=n {
            let diagonal = (i as f64 * ratio).floor() as usize;
            let end = if i == n { m + 1 } else { (m + 1).min(diagonal + beam) };
            for j in diagonal.saturating_sub(beam)..end {
                let deleted = (cells[at(i - 1, j)].0 + 1, Edit::Delete);
                cells[at(i, j)] = if j == 0 {
                    deleted
                } else {
                    let is_equal = text[i - 1] == reference[j - 1];
                    let before = cells[at(i - 1, j - 1)].0;
                    let replaced = if is_equal { (before, Edit::Keep) } else { (before + 1, Edit::Replace) };
                    let inserted = (cells[at(i, j - 1)].0 + 1, Edit::Insert);
                    [deleted, inserted].into_iter().fold(replaced, |best, other| if other.0 < best.0 { other } else { best })
                };
            }
        }
        Self::traced(&cells, n, m)
    }

    fn traced(cells: &[(usize, Edit)], n: usize, m: usize) -> Self {
        let mut alignment = Self {
            n_edits: cells[cells.len() - 1].0,
            positions: vec![-1; m],
            wrong_in_text: vec![false; n],
            wrong_in_reference: vec![false; m],
        };
        let (mut i, mut j) = (n, m);
        while i > 0 || j > 0 {
            let edit = cells[i * (m + 1) + j].1;
            if edit != Edit::Insert {
                i -= 1;
                alignment.wrong_in_text[i] = edit != Edit::Keep;
            }
            if edit != Edit::Delete {
                j -= 1;
                alignment.wrong_in_reference[j] = edit != Edit::Keep;
                alignment.positions[j] = if edit == Edit::Insert { i as isize - 1 } else { i as isize };
            }
        }
        alignment
    }

    /// Returns the positions to which a phrase of the text that matches the reference at `to` may move: only if it is misaligned
    /// in the text and the reference at `to` is misaligned, too.
    fn targets(&self, from: usize, to: usize, length: usize) -> Vec<usize> {
        let is_wrong = |flags: &[bool], at: usize| flags[at..at + length].iter().any(|is| *is);
        let is_within = (from as isize..(from + length) as isize).contains(&self.positions[to]);
        if !is_wrong(&self.wrong_in_text, from) || !is_wrong(&self.wrong_in_reference, to) || is_within {
            return Vec::new();
        }
        let before = if to == 0 { 0 } else { (self.positions[to - 1] + 1) as usize };
        let behind = (to..to + length).map(|at| (self.positions[at] + 1) as usize);
        let mut targets: Vec<usize> = std::iter::once(before).chain(behind).collect();
        targets.dedup();
        targets
    }
}
