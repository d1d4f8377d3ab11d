//! The rows of a worksheet, with the cells that it stores.

use quick_xml::events::{BytesStart, Event};

use super::ExcelError;
use super::xml::{Xml, attribute, is};

/// Number of columns of a worksheet: the last one is XFD.
pub(super) const MAX_COLUMNS: usize = 16_384;

/// The value of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A text of the workbook, by its number.
    Shared(usize),
    /// A text of its own.
    Text(String),
    /// A number in a format, which may be that of a date.
    Number { value: f64, style: usize },
    /// A boolean.
    Bool(bool),
    /// An error such as `#DIV/0!`.
    Error,
}

/// Reads the rows of a sheet.
pub(super) struct Rows(pub Xml);

/// What a cell declares about itself.
struct Declared {
    column: Option<usize>,
    style: usize,
    /// The type of its value; `n` for a number.
    kind: String,
}

impl Rows {
    /// Reads the next row that has a value into `row`, as columns with values, and returns whether there is one.
    pub fn next_into(&mut self, row: &mut Vec<(usize, Value)>) -> Result<bool, ExcelError> {
        row.clear();
        let mut next_column = 0;
        loop {
            let declared = match self.0.event()? {
                Event::Start(element) if is(&element, "c") => Declared::of(&element)?,
                Event::End(element) if element.local_name().as_ref() == "row" => {
                    if !row.is_empty() {
                        return Ok(true);
                    }
                    next_column = 0;
                    continue;
                }
                Event::End(element) if element.local_name().as_ref() == "sheetData" => return Ok(false),
                Event::Eof => return Err(ExcelError::EndsEarly),
                _ => continue,
            };
            let column = declared.column.unwrap_or(next_column);
            if column >= MAX_COLUMNS || row.len() >= MAX_COLUMNS {
                return Err(ExcelError::TooManyColumns);
            }
            row.extend(self.value(&declared)?.map(|value| (column, value)));
            next_column = column + 1;
        }
    }

    /// Reads the value of the open cell; `None` if it is empty.
    fn value(&mut self, declared: &Declared) -> Result<Option<Value>, ExcelError> {
        let (mut text, mut is_inline) = (String::new(), false);
        loop {
            match self.0.event()? {
                Event::Start(element) if is(&element, "v") && !is_inline => self.0.text_into(&mut text)?,
                Event::Start(element) if is(&element, "is") => {
                    is_inline = true;
                    text.clear();
                    self.0.runs_into(&mut text)?;
                }
                Event::Start(_) => self.0.text_into(&mut String::new())?,
                Event::End(_) => break,
                Event::Eof => return Err(ExcelError::EndsEarly),
                _ => {}
            }
        }
        match is_inline {
            true => Ok((!text.trim().is_empty()).then_some(Value::Text(text))),
            false => declared.value(text),
        }
    }
}

impl Declared {
    fn of(element: &BytesStart) -> Result<Self, ExcelError> {
        let column = attribute(element, "r")?.map(|reference| column(&reference).ok_or(ExcelError::Reference(reference)));
        let style = attribute(element, "s")?.and_then(|style| style.parse().ok()).unwrap_or(0);
        Ok(Self { column: column.transpose()?, style, kind: attribute(element, "t")?.unwrap_or_else(|| "n".to_owned()) })
    }

    fn value(&self, text: String) -> Result<Option<Value>, ExcelError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let value = match self.kind.as_str() {
            "s" => Value::Shared(text.trim().parse().map_err(|_| ExcelError::NoText(mbm_config::excerpt(&text)))?),
            "b" => Value::Bool(matches!(text.trim(), "1" | "true")),
            "e" => Value::Error,
            "n" => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => Value::Number { value, style: self.style },
                Ok(_) | Err(_) => Value::Text(text),
            },
            _ => Value::Text(text),
        };
        Ok(Some(value))
    }
}

/// Returns the column of a reference such as `AB12`, from 0.
fn column(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_alphabetic);
    let number = letters.take(4).fold(0, |number, letter| 26 * number + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1).filter(|column| *column < MAX_COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(xml: &str) -> Result<Vec<Vec<(usize, Value)>>, ExcelError> {
        let mut rows = Rows(Xml::new(Box::new(std::io::Cursor::new(xml.to_owned()))));
        let (mut found, mut row) = (Vec::new(), Vec::new());
        while rows.next_into(&mut row)? {
            found.push(row.clone());
        }
        Ok(found)
    }

    #[test]
    fn values_of_every_type_are_read() {
        let xml = r#"<worksheet><dimension ref="A1:XFD1048576"/><sheetData>
            <row r="1"><c r="A1" t="s"><v>3</v></c><c r="C1"><v>1.5</v></c><c t="b"><v>1</v></c><c r="E1" t="e"><v>#DIV/0!</v></c></row>
            <row r="2"/><row><c r="A3" s="1"/></row>
            <row><c t="str"><f>A1&amp;"x"</f><v>a&lt;b</v></c><c t="inlineStr"><is><t>in</t></is></c><c s="2"><v>7</v></c><c t="d"><v>2024-01-31</v></c></row>
            </sheetData><extLst/></worksheet>"#;
        let text = |text: &str| Value::Text(text.to_owned());
        let want = [
            vec![(0, Value::Shared(3)), (2, Value::Number { value: 1.5, style: 0 }), (3, Value::Bool(true)), (4, Value::Error)],
            vec![(0, text("a<b")), (1, text("in")), (2, Value::Number { value: 7.0, style: 2 }), (3, text("2024-01-31"))],
        ];
        assert_eq!(rows(xml).unwrap(), want);
    }

    #[test]
    fn references_name_columns_up_to_the_last_one() {
        assert_eq!(["A1", "z", "AA10", "XFD1"].map(column), [Some(0), Some(25), Some(26), Some(16_383)]);
        assert_eq!(["XFE1", "AAAA1", "AAAAAAAAAAAAAAAAAAAAAAAA1", "12", ""].map(column), [None; 5]);
    }

    #[test]
    fn sheets_that_end_early_or_are_too_wide_are_errors() {
        assert!(matches!(rows("<sheetData><row><c><v>1</v></c></row>"), Err(ExcelError::EndsEarly)));
        assert!(matches!(rows("<sheetData><row><c r=\"7\"><v>1</v></c></row></sheetData>"), Err(ExcelError::Reference(_))));
        let wide = format!("<sheetData><row>{}</row></sheetData>", "<c><v>1</v></c>".repeat(MAX_COLUMNS + 1));
        assert!(matches!(rows(&wide), Err(ExcelError::TooManyColumns)));
    }
}
