//! Which formats of cells show a number as a date.

use std::collections::HashSet;

use quick_xml::events::Event;

use super::ExcelError;
use super::xml::{Xml, attribute, is};

/// Whether each format shows dates, by the number that cells give.
#[derive(Debug, Default)]
pub(super) struct Styles(Vec<bool>);

impl Styles {
    pub fn read(mut xml: Xml) -> Result<Self, ExcelError> {
        let (mut dates, mut others) = (HashSet::new(), HashSet::new());
        let (mut styles, mut in_cell_formats) = (Vec::new(), false);
        loop {
            match xml.event()? {
                Event::Start(element) if is(&element, "numFmt") => {
                    let id = attribute(&element, "numFmtId")?.unwrap_or_default();
                    let is_date = attribute(&element, "formatCode")?.is_some_and(|code| shows_date(&code));
                    if is_date {
                        dates.insert(id)
                    } else {
                        others.insert(id)
                    };
                }
                Event::Start(element) if is(&element, "cellXfs") => in_cell_formats = true,
                Event::End(element) if element.local_name().as_ref() == "cellXfs" => in_cell_formats = false,
                Event::Start(element) if in_cell_formats && is(&element, "xf") => {
                    let id = attribute(&element, "numFmtId")?.unwrap_or_default();
                    styles.push(dates.contains(&id) || !others.contains(&id) && is_built_in_date(&id));
                }
                Event::Eof => return Ok(Self(styles)),
                _ => {}
            }
        }
    }

    /// Whether cells of a format are dates.
    pub fn is_date(&self, style: usize) -> bool {
        self.0.get(style).copied().unwrap_or(false)
    }
}

/// The formats that every workbook has (ECMA-376, part 1, 18.8.30, with those of East Asian languages); 46 is a duration.
fn is_built_in_date(id: &str) -> bool {
    id.parse().is_ok_and(|id: u32| matches!(id, 14..=22 | 27..=36 | 45 | 47 | 50..=58))
}

/// Whether the first section of a format has a year, month, day, hour, minute or second outside quotes and brackets. Durations have
/// theirs in brackets, such as `[h]:mm`, and stay numbers.
fn shows_date(code: &str) -> bool {
    let mut characters = code.chars();
    let mut is_date = false;
    while let Some(character) = characters.next() {
        match character {
            ';' => break,
            '"' => _ = characters.by_ref().find(|character| *character == '"'),
            '\\' | '_' | '*' => _ = characters.next(),
            '[' => {
                let inner: String = characters.by_ref().take_while(|character| *character != ']').collect();
                if !inner.is_empty() && inner.chars().all(|it| matches!(it.to_ascii_lowercase(), 'h' | 'm' | 's')) {
                    return false;
                }
            }
            character => is_date |= matches!(character.to_ascii_lowercase(), 'y' | 'm' | 'd' | 'h' | 's'),
        }
    }
    is_date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_with_units_of_time_show_dates() {
        for code in ["yyyy-mm-dd", "DD/MM/YY", "h:mm AM/PM", "[$-409]d\\-mmm\\-yy;@", "[Red]dd.mm.yyyy", "mm:ss.0"] {
            assert!(shows_date(code), "{code}");
        }
        for code in [
            "General",
            "0.00",
            "#,##0 \"days\"",
            "#,##0\\ \\d",
            "[h]:mm:ss",
            "0_s",
            "@",
            "0;\"year\"yyyy",
            "[Red]0.00",
            "0.00E+00",
        ] {
            assert!(!shows_date(code), "{code}");
        }
    }

    #[test]
    fn styles_refer_to_own_and_to_built_in_formats() {
        let xml = r#"<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy"/><numFmt numFmtId="165" formatCode="0"/></numFmts>
            <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="14"/></cellXfs></styleSheet>"#;
        let styles = Styles::read(Xml::new(Box::new(std::io::Cursor::new(xml)))).unwrap();
        assert_eq!((0..5).map(|style| styles.is_date(style)).collect::<Vec<_>>(), [false, true, false, true, false]);
    }
}
