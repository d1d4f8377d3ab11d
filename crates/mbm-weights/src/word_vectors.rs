//! Word vectors as text: a word and its values per line, as published by GloVe and fastText.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::{Damage, WeightFileError};

/// Maximum length of a line in bytes.
const MAX_LINE: u64 = 1 << 20;

/// Returns the width of the word vectors in a file: that of the first line, or the one that a header of two numbers declares.
///
/// # Errors
/// Fails if the file cannot be read or does not begin with a word and numbers.
pub fn word_vector_width(path: &Path) -> Result<usize, WeightFileError> {
    let mut width = None;
    each_line(path, |line| {
        // The width of a header is used only if a line has as many numbers.
        width = line.split(line.width).map(|_| line.width);
        false
    })?;
    width.filter(|width| *width > 0).ok_or_else(|| WeightFileError::damaged(path, Damage::NotWordVectors))
}

/// Returns the vectors of some words, in their order; `None` for words that the file lacks. If a word occurs twice, the first
/// vector is used.
///
/// # Errors
/// Fails if the file cannot be read, or if a line has a value that is not a number, or a different number of values than the
/// first line.
pub fn read_word_vectors(path: &Path, words: &[String]) -> Result<Vec<Option<Vec<f32>>>, WeightFileError> {
    let width = word_vector_width(path)?;
    let wanted: HashMap<&str, usize> = words.iter().enumerate().map(|(at, word)| (word.as_str(), at)).collect();
    let mut found = vec![None; words.len()];
    let mut damage = None;
    each_line(path, |line| {
        let Some((word, numbers)) = line.split(width) else {
            damage = Some(Damage::VectorWidth { line: line.number, width });
            return false;
        };
        let Some(at) = wanted.get(word).filter(|at| found[**at].is_none()) else { return true };
        let values: Option<Vec<f32>> =
            numbers.map(|number| number.parse().ok().filter(|value: &f32| value.is_finite())).collect();
        if values.is_none() {
            damage = Some(Damage::NotANumber { line: line.number, word: word.to_owned() });
        }
        found[*at] = values;
        damage.is_none()
    })?;
    damage.map_or(Ok(found), |damage| Err(WeightFileError::damaged(path, damage)))
}

struct Line<'a> {
    number: usize,
    text: &'a str,
    /// The width of the vectors.
    width: usize,
}

impl<'a> Line<'a> {
    /// Splits the line into a word, which may contain spaces, and its numbers.
    fn split(&self, width: usize) -> Option<(&'a str, impl Iterator<Item = &'a str>)> {
        let at = self.text.rmatch_indices(' ').nth(width.checked_sub(1)?)?.0;
        Some((&self.text[..at], self.text[at + 1..].split(' ')))
    }
}

/// Calls `take` with each line until it returns false or the lines end; a header is skipped.
fn each_line(path: &Path, mut take: impl FnMut(&Line) -> bool) -> Result<(), WeightFileError> {
    let mut reader = BufReader::new(File::open(path).map_err(WeightFileError::io(path))?);
    let (mut bytes, mut width) = (Vec::new(), None);
    for number in 1.. {
        bytes.clear();
        let n_read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(WeightFileError::io(path))?;
        if n_read == 0 {
            break;
        }
        if n_read as u64 == MAX_LINE {
            return Err(WeightFileError::damaged(path, Damage::LongLine { line: number, limit: MAX_LINE }));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| WeightFileError::damaged(path, Damage::NotUtf8 { line: number }))?;
        let text = text.trim_end();
        let header = text.split_once(' ').and_then(|(rows, width)| Some((rows.parse::<u64>().ok()?, width.parse().ok()?)));
        if let (1, Some((_, declared))) = (number, header) {
            width = Some(declared);
            continue;
        }
        let width = *width.get_or_insert(text.split(' ').count() - 1);
        if !take(&Line { number, text, width }) {
            break;
        }
    }
    Ok(())
}
