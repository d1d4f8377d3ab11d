//! Feature types guessed from a table, for a run without a config.

use std::collections::HashSet;

use crate::feature::{as_bool, parse_date};
use crate::{Cell, DataError, Table};

/// What a column seems to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inferred {
    /// A feature of this type.
    Feature(&'static str),
    /// Whole numbers of few values: a number as an input, classes as a target.
    Codes,
    /// Says `train`, `validation` or `test`.
    Split,
    /// Nothing that helps: empty, constant, or another value in every row.
    Ignored(&'static str),
}

/// Rows that are looked at.
const N_LOOKED_AT: usize = 2000;

/// Whole numbers that may be the codes of classes, at most.
const N_CODES: usize = 20;

/// The type of every column, in order.
///
/// # Errors
/// A temporary file that fails.
pub fn infer_types(table: &Table) -> Result<Vec<Inferred>, DataError> {
    let n_rows = table.n_rows().min(N_LOOKED_AT);
    let mut columns: Vec<Vec<Cell>> = vec![Vec::with_capacity(n_rows); table.columns.len()];
    for row_idx in 0..n_rows {
        columns.iter_mut().zip(table.row(row_idx)?).for_each(|(column, cell)| column.push(cell));
    }
    Ok(columns.iter().zip(&table.columns).map(|(cells, name)| infer(name, cells)).collect())
}

fn infer(name: &str, cells: &[Cell]) -> Inferred {
    let filled: Vec<&Cell> = cells.iter().filter(|cell| **cell != Cell::Empty).collect();
    let mostly = |test: &dyn Fn(&Cell) -> bool| filled.iter().filter(|cell| test(cell)).count() * 20 >= filled.len() * 19;
    if filled.is_empty() {
        return Inferred::Ignored("it is empty");
    }
    if mostly(&|cell| matches!(cell, Cell::Bytes(bytes) if image::guess_format(bytes).is_ok())) {
        return Inferred::Feature("image");
    }
    if mostly(&|cell| matches!(cell, Cell::Bytes(_))) {
        return Inferred::Feature("audio");
    }
    if mostly(&|cell| matches!(cell, Cell::Words(_))) {
        return Inferred::Feature("set");
    }
    let texts: Vec<String> = filled.iter().map(|cell| cell.to_text().trim().to_owned()).collect();
    let distinct: HashSet<&String> = texts.iter().collect();
    let all = |test: &dyn Fn(&str) -> bool| texts.iter().filter(|text| test(text)).count() * 20 >= texts.len() * 19;
    let is_split = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "train" | "val" | "validation" | "test");
    let n_words = texts.iter().map(|text| text.split_whitespace().count()).sum::<usize>() as f64 / texts.len() as f64;
    match () {
        () if name.to_ascii_lowercase().contains("split") && all(&is_split) => Inferred::Split,
        () if all(&|text| has_extension(text, &["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"])) => {
            Inferred::Feature("image")
        }
        () if all(&|text| extension(text).is_some_and(crate::audio::is_sound)) => Inferred::Feature("audio"),
        () if distinct.len() < 2 => Inferred::Ignored("it has one value only"),
        () if distinct.len() == 2 && all(&|text| as_bool(text).is_some()) => Inferred::Feature("binary"),
        () if distinct.len() <= N_CODES.min(texts.len() / 2) && distinct.iter().all(|text| text.parse::<i64>().is_ok()) => {
            Inferred::Codes
        }
        () if all(&|text| text.parse::<f64>().is_ok()) => Inferred::Feature("number"),
        () if all(&|text| parse_date(text, None).is_some()) => Inferred::Feature("date"),
        () if all(&is_numbers) => Inferred::Feature(if n_words >= 8.0 { "timeseries" } else { "vector" }),
        () if distinct.len() <= 20.max(texts.len() / 20) => Inferred::Feature("category"),
        () if n_words >= 2.0 => Inferred::Feature("text"),
        () if distinct.len() * 10 >= texts.len() * 9 && texts.len() > 20 => {
            Inferred::Ignored("nearly every row has another value, as names and numbers of rows do")
        }
        () => Inferred::Feature("category"),
    }
}

fn extension(text: &str) -> Option<&str> {
    text.rsplit_once('.').map(|(_, extension)| extension)
}

fn has_extension(text: &str, extensions: &[&str]) -> bool {
    extension(text).is_some_and(|found| extensions.contains(&found.to_ascii_lowercase().as_str()))
}

fn is_numbers(text: &str) -> bool {
    let mut words = text.trim_matches(['[', ']']).split([' ', ',', ';']).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| word.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_the_cells() {
        let cases: [(&str, &[&str], Inferred); 10] = [
            ("photo", &["a/x.png", "b.JPG", ""], Inferred::Feature("image")),
            ("sound", &["x.wav", "y.wav"], Inferred::Feature("audio")),
            ("price", &["1", "2.5", "1e3"], Inferred::Feature("number")),
            ("digit", &["7", "0", "3", "7", "0", "3"], Inferred::Codes),
            ("ok", &["yes", "no", "yes"], Inferred::Feature("binary")),
            ("day", &["2024-01-01", "2024-01-02"], Inferred::Feature("date")),
            ("curve", &["1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 9"], Inferred::Feature("timeseries")),
            ("colour", &["red", "blue", "red"], Inferred::Feature("category")),
            ("split", &["train", "test"], Inferred::Split),
            ("nothing", &["", ""], Inferred::Ignored("it is empty")),
        ];
        for (name, texts, want) in cases {
            let cells: Vec<Cell> = texts.iter().map(|text| Cell::text(text)).collect();
            assert_eq!(infer(name, &cells), want, "{name}");
        }
        let notes: Vec<Cell> = (0..50).map(|i| Cell::text(&format!("a note about row {i}"))).collect();
        assert_eq!(infer("notes", &notes), Inferred::Feature("text"));
        let ids: Vec<Cell> = (0..50).map(|i| Cell::text(&format!("id{i}"))).collect();
        assert!(matches!(infer("id", &ids), Inferred::Ignored(_)));
    }
}
