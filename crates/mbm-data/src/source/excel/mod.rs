//! Excel workbooks (`.xlsx`): one sheet as a table, whose first row with a value names the columns.
//!
//! ```text
//! zip archive --Workbook--> sheets, shared strings, styles --Rows--> cells --Excel--> TableBuilder
//! ```
//!
//! The `calamine` crate reads more formats, but reserves memory for as many strings as a file declares (version 0.38) and copies
//! fonts and formats into every style; here, memory is bounded by the size of the file.

mod date;
mod sheet;
mod strings;
mod styles;
mod workbook;
mod xml;

use std::path::Path;

use self::sheet::{Rows, Value};
use self::strings::SharedStrings;
use self::styles::Styles;
use self::workbook::Workbook;
use super::archive::ArchiveError;
use super::header::{DuplicateColumn, Header, header};
use super::ragged::{Ragged, RaggedError};
use super::{Input, Source};
use crate::catch_panic::{DECODER_FAILED, catch_panic};
use crate::{Cell, CellRef, DataError, TableBuilder};

/// Bytes of a cell in a sheet, at least; by these, empty cells are limited.
const CELL_BYTES: usize = 16;

/// A sheet of a workbook.
pub(super) struct Excel {
    input: Input,
    columns: Vec<String>,
    rows: Rows,
    values: Values,
    notes: Vec<String>,
}

/// What is wrong with an Excel workbook.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExcelError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not a zip archive, or a damaged one. Workbooks with a password and those of Excel 97 are not zip archives.
    #[error("not an Excel workbook that can be read; save it as .xlsx without a password: {0}")]
    Archive(#[from] ArchiveError),
    /// A part that is not XML.
    #[error("a part of the workbook is malformed: {0}")]
    Xml(#[from] quick_xml::Error),
    /// A part that ends early.
    #[error("a part of the workbook ends early")]
    EndsEarly,
    /// A reference to a character that XML does not know.
    #[error("unknown entity '&{0};'")]
    Entity(String),
    /// An archive of something else.
    #[error("not an Excel workbook: the archive holds none")]
    NoWorkbook,
    /// No worksheets.
    #[error("the workbook has no worksheets")]
    NoSheets,
    /// No sheet of the requested name.
    #[error("the workbook has no sheet '{name}'; its sheets: {available}")]
    NoSheet {
        /// The requested name.
        name: String,
        /// The available names.
        available: String,
    },
    /// A part that the archive lacks.
    #[error("the workbook lacks its part '{0}'")]
    NoPart(String),
    /// A cell whose reference has no column.
    #[error("'{0}' is not the reference of a cell")]
    Reference(String),
    /// A cell whose text does not exist.
    #[error("the workbook has no text number {0}")]
    NoText(String),
    /// More columns than a worksheet has.
    #[error("more than {} columns", sheet::MAX_COLUMNS)]
    TooManyColumns,
    /// Texts that take too much memory.
    #[error("the texts of the workbook take more than {limit} bytes; save the sheet as .csv")]
    LongTexts {
        /// The limit.
        limit: u64,
    },
    /// An empty sheet.
    #[error("no rows: the sheet '{0}' is empty")]
    NoRows(String),
    /// Two columns with the same name.
    #[error(transparent)]
    DuplicateColumn(#[from] DuplicateColumn),
    /// A row with more cells than the header.
    #[error(transparent)]
    Ragged(#[from] RaggedError),
    /// The reader panicked.
    #[error("{DECODER_FAILED}")]
    Panicked,
}

/// What values of cells refer to.
struct Values {
    strings: SharedStrings,
    styles: Styles,
    is_1904: bool,
}

impl Excel {
    pub fn open(input: &Input) -> Result<Self, DataError> {
        let file = input.random_access()?;
        let opened =
            catch_panic(|| Self::of_workbook(input, Workbook::open(file, input.n_bytes)?)).unwrap_or(Err(ExcelError::Panicked));
        opened.map_err(|error| input.malformed(None, error))
    }

    fn of_workbook(input: &Input, mut workbook: Workbook) -> Result<Self, ExcelError> {
        let values = Values { strings: workbook.shared_strings()?, styles: workbook.styles()?, is_1904: workbook.is_1904 };
        let sheet = workbook.sheet(input.options.sheet.as_deref())?.clone();
        let mut notes = Vec::new();
        if input.options.sheet.is_none() && workbook.sheet_names().len() > 1 {
            let names = mbm_config::some_of(&workbook.sheet_names());
            notes.push(format!("the sheet '{}' is read; --sheet selects another one of {names}", sheet.name));
        }
        let mut rows = Rows(workbook.rows(&sheet)?);
        let mut first = Vec::new();
        if !rows.next_into(&mut first)? {
            return Err(ExcelError::NoRows(sheet.name));
        }
        let mut names = vec![String::new(); n_cells(&first)];
        for (column, value) in &first {
            names[*column] = values.cell(value)?.to_text();
        }
        let Header { columns, note } = header(names.into_iter(), input.options.duplicate_columns)?;
        notes.extend(note);
        Ok(Self { input: input.clone(), columns, rows, values, notes })
    }

    /// Appends all rows, and returns the number of cells with errors.
    fn read_rows(&mut self, table: &mut TableBuilder, ragged: &mut Ragged) -> Result<usize, DataError> {
        let (mut row, mut n_errors) = (Vec::new(), 0);
        for number in 1.. {
            let malformed = |error: ExcelError| self.input.malformed(number, error);
            if !self.rows.next_into(&mut row).map_err(malformed)? {
                break;
            }
            self.check(number, &row, ragged).map_err(|error| malformed(error.into()))?;
            let mut cells = vec![Cell::Empty; self.columns.len()];
            for (column, value) in row.iter().filter(|(column, _)| *column < self.columns.len()) {
                n_errors += usize::from(*value == Value::Error);
                cells[*column] = self.values.cell(value).map_err(malformed)?;
            }
            table.push(&cells.iter().map(Cell::borrowed).collect::<Vec<CellRef>>())?;
        }
        Ok(n_errors)
    }

    /// Checks that a row has no cells beyond the header; cells that are not stored are empty.
    fn check(&self, number: usize, row: &[(usize, Value)], ragged: &mut Ragged) -> Result<(), RaggedError> {
        let n_columns = self.columns.len();
        let n_bytes = CELL_BYTES * row.len();
        ragged.check(number, n_cells(row).max(n_columns), n_bytes)?;
        ragged.add_missing(n_columns.saturating_sub(row.len()))
    }
}

/// Returns the number of cells up to the last one with a value.
fn n_cells(row: &[(usize, Value)]) -> usize {
    row.iter().map(|(column, _)| column + 1).max().unwrap_or(0)
}

impl Source for Excel {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        std::mem::take(&mut self.notes).into_iter().for_each(|note| table.note(note));
        let mut ragged = Ragged::new(self.input.options.ragged, self.columns.len());
        let read = catch_panic(|| self.read_rows(table, &mut ragged));
        let n_errors = read.unwrap_or_else(|| Err(self.input.malformed(None, ExcelError::Panicked)))?;
        if n_errors > 0 {
            table.note(format!("{n_errors} cells with errors such as #DIV/0! are empty"));
        }
        ragged.note().into_iter().for_each(|note| table.note(note));
        Ok(())
    }
}

impl Values {
    fn cell(&self, value: &Value) -> Result<Cell, ExcelError> {
        match value {
            Value::Shared(at) => {
                let text = self.strings.get(*at).ok_or_else(|| ExcelError::NoText(at.to_string()))?;
                Ok(Cell::text(text))
            }
            Value::Text(text) => Ok(Cell::text(text)),
            Value::Number { value, style } => {
                let date = if self.styles.is_date(*style) { date::date(*value, self.is_1904) } else { None };
                Ok(date.map_or(Cell::Number(*value), Cell::Text))
            }
            Value::Bool(value) => Ok(Cell::Bool(*value)),
            Value::Error => Ok(Cell::Empty),
        }
    }
}

#[cfg(test)]
mod tests;
