//! The texts of a workbook, which cells refer to by number.

use quick_xml::events::Event;

use super::ExcelError;
use super::xml::{Xml, is};

/// Bytes of text and numbers of texts per byte of the file that are held in memory, and the number for a file of any size.
const MAX_RATIO: u64 = 100;
const FREE: u64 = 1 << 26;

/// Texts, one after the other.
#[derive(Debug, Default)]
pub(super) struct SharedStrings {
    text: String,
    ends: Vec<usize>,
}

impl SharedStrings {
    /// Reads the texts of a workbook of `n_bytes`. The number that the file declares is not used.
    pub fn read(mut xml: Xml, n_bytes: u64) -> Result<Self, ExcelError> {
        let limit = FREE.max(n_bytes.saturating_mul(MAX_RATIO));
        let mut strings = Self::default();
        loop {
            let is_item = match xml.event()? {
                Event::Start(element) => is(&element, "si"),
                Event::Eof => return Ok(strings),
                _ => false,
            };
            if is_item {
                xml.runs_into(&mut strings.text)?;
                strings.ends.push(strings.text.len());
            }
            if (strings.text.len() + strings.ends.len() * size_of::<usize>()) as u64 > limit {
                return Err(ExcelError::LongTexts { limit });
            }
        }
    }

    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        Some(&self.text[start..end])
    }
}
