//! The `explain` command: what each input adds to the predictions of some rows.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use mbm::{Contribution, Feature, Model, OutputValue, PredictedRow, ReadOptions, RowStatus, Table};
use serde_json::{Map, Value};

use crate::args::{Explain, RowRange};
use crate::dataset::{self, feature_cache, in_dataset, show_cache_fault, show_misspelled, unreadable};
use crate::output::columns;

/// Number of rows that are explained if none are chosen.
const N_ROWS: usize = 10;

/// Maximum number of inputs that are shown for an output, those with the largest contributions.
const N_INPUTS: usize = 20;

/// Maximum number of characters that are shown of a cell.
const N_CHARACTERS: usize = 40;

/// Prints the predictions of some rows and the contributions of their inputs.
pub fn explain(args: &Explain) -> Result<()> {
    let input = &args.input;
    let model = Model::open(&input.model_path)?;
    let table = dataset::read(&input.dataset, &input.reading)?;
    table.require_rows().map_err(|error| in_dataset(error.into(), &input.dataset))?;
    show_misspelled(&model, &table);
    let rows = row_indices(&args.rows, table.n_rows())?;
    let cells = rows.iter().map(|row_idx| cells(&model, &table, *row_idx)).collect::<Result<Vec<_>>>()?;
    let options = ReadOptions::default().unreadable(unreadable(input.strict)).cache(feature_cache(input.cache));
    let mut remaining = rows.iter().zip(&cells);
    let mut show = |row: PredictedRow, contributions: Vec<Contribution>| {
        let Some((row_idx, cells)) = remaining.next() else { return Ok(()) };
        let explained = Explained { model: &model, number: row_idx + 1, cells, row: &row, contributions: &contributions };
        let text = if args.json { explained.json() } else { explained.text() };
        let written = writeln!(std::io::stdout().lock(), "{text}");
        written.map_err(|source| mbm::Error::Io { path: Path::new("standard output").to_owned(), source })
    };
    let predicted = model.explain_rows(table, &rows, &options, &mut show).map_err(|error| in_dataset(error, &input.dataset))?;
    show_cache_fault(predicted.cache_fault.as_deref());
    Ok(())
}

/// Returns the indices of the chosen rows; without a choice, of the first ones.
fn row_indices(ranges: &[RowRange], n_rows: usize) -> Result<Vec<usize>> {
    if let Some(beyond) = ranges.iter().find(|range| range.last > n_rows) {
        bail!("--rows: there is no row {}; the dataset has {n_rows} rows", beyond.last);
    }
    match ranges {
        [] => Ok((0..n_rows.min(N_ROWS)).collect()),
        ranges => Ok(ranges.iter().flat_map(|range| range.first - 1..range.last).collect()),
    }
}

/// Returns the beginning of the cell of each input of a row.
fn cells(model: &Model, table: &Table, row_idx: usize) -> Result<Vec<String>> {
    let cell = |column: &str| {
        let cell = table.position(column).map(|at| table.cell(row_idx, at)).transpose()?;
        Ok(cell.map_or(String::new(), |cell| beginning(&cell.to_text())))
    };
    model.inputs().map(|input| cell(input.column())).collect()
}

fn beginning(text: &str) -> String {
    let shown: String = text.chars().take(N_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(N_CHARACTERS).is_some() { format!("{shown}…") } else { shown }
}

/// A row with its prediction and the contributions of its inputs.
struct Explained<'a> {
    model: &'a Model,
    /// The number of the row, from 1.
    number: usize,
    /// The beginning of the cell of each input.
    cells: &'a [String],
    row: &'a PredictedRow,
    contributions: &'a [Contribution],
}

impl Explained<'_> {
    /// Returns the row as the server does, with its number.
    fn json(&self) -> String {
        let mut object = Map::from_iter([("row".to_owned(), self.number.into())]);
        object.extend(self.row.iter().map(|(column, value)| (column.to_owned(), value.to_json())));
        object.insert("status".to_owned(), self.row.status().to_string().into());
        object.insert("contributions".to_owned(), self.model.contributions_to_json(self.contributions));
        Value::Object(object).to_string()
    }

    /// Returns a paragraph for each output: its prediction, and its inputs with the largest contributions first.
    fn text(&self) -> String {
        let number = self.number;
        if self.row.status().is_skipped() {
            return format!("row {number}: {}", self.row.status());
        }
        let outputs = self.model.outputs().enumerate();
        let mut lines: Vec<String> = outputs.flat_map(|(at, output)| self.output(at, output)).collect();
        if *self.row.status() != RowStatus::Complete {
            lines.push(format!("  {}", self.row.status()));
        }
        lines.join("\n")
    }

    fn output(&self, at: usize, output: Feature) -> Vec<String> {
        let (name, is_explained) = (output.name(), matches!(output.type_name(), "number" | "category" | "binary"));
        let probability = match self.row.get(&format!("{name}_probability")) {
            Some(OutputValue::Number(probability)) => format!(", probability {probability:.4}"),
            _ => String::new(),
        };
        let mut lines = vec![format!("row {}: {name} {}{probability}", self.number, shown(self.row.get(name)))];
        let shares = self.contributions.iter().zip(self.cells).map(|(it, cell)| Some((it.shares[at]?, &it.input, cell)));
        let mut shares: Vec<(f64, &String, &String)> = shares.flatten().collect();
        shares.sort_by(|(a, ..), (b, ..)| b.abs().total_cmp(&a.abs()));
        let rows = shares.iter().take(N_INPUTS);
        let rows = rows.map(|(share, input, cell)| vec![format!("  {input}"), (*cell).clone(), signed(*share)]);
        let header = ["  input", "cell", "contribution"].map(str::to_owned).to_vec();
        match shares.len() {
            0 if is_explained => {}
            0 => lines.push("  no contributions: they are computed for numbers and classes".to_owned()),
            _ => lines.extend(columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>())),
        }
        if let n_more @ 1.. = shares.len().saturating_sub(N_INPUTS) {
            lines.push(format!("  and {n_more} more inputs"));
        }
        lines
    }
}

fn shown(value: Option<&OutputValue>) -> String {
    match value {
        Some(OutputValue::Number(number)) => format!("{number:.4}"),
        Some(value) => beginning(&value.to_string()),
        None => String::new(),
    }
}

/// Formats a contribution with its sign, and with fewer decimals if it is large.
fn signed(share: f64) -> String {
    if share.abs() < 1000.0 { format!("{share:+.4}") } else { format!("{share:+.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_number_and_must_exist() {
        let ranges = [RowRange { first: 3, last: 3 }, RowRange { first: 1, last: 2 }];
        assert_eq!(row_indices(&ranges, 3).unwrap(), [2, 0, 1]);
        assert_eq!(row_indices(&[], 2).unwrap(), [0, 1]);
        assert_eq!(row_indices(&[], 99).unwrap().len(), N_ROWS);
        let error = row_indices(&ranges, 2).unwrap_err().to_string();
        assert_eq!(error, "--rows: there is no row 3; the dataset has 2 rows");
    }
}
