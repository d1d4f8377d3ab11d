//! The XML parts of a workbook, element by element.

use std::io::{BufReader, Read};

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion, escape};

use super::ExcelError;

/// A part that is being read.
pub(super) struct Xml {
    reader: Reader<BufReader<Box<dyn Read>>>,
    buffer: Vec<u8>,
}

impl Xml {
    pub fn new(part: Box<dyn Read>) -> Self {
        let mut reader = Reader::from_reader(BufReader::new(part));
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new() }
    }

    /// Reads the next event; an element without content is opened and closed.
    pub fn event(&mut self) -> Result<Event<'_>, ExcelError> {
        self.buffer.clear();
        Ok(self.reader.read_event_into(&mut self.buffer)?)
    }

    /// Appends the text up to the end of the open element, whose own elements count as text, too.
    pub fn text_into(&mut self, out: &mut String) -> Result<(), ExcelError> {
        let mut depth = 0;
        loop {
            match self.event()? {
                Event::Text(text) => out.push_str(&text.xml10_content()),
                Event::CData(text) => out.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => out.push_str(&character(&reference)?),
                Event::Start(_) => depth += 1,
                Event::End(_) if depth == 0 => return Ok(()),
                Event::End(_) => depth -= 1,
                Event::Eof => return Err(ExcelError::EndsEarly),
                _ => {}
            }
        }
    }

    /// Appends the text of a cell up to the end of the open element: that of all its runs, without the readings of Japanese words.
    pub fn runs_into(&mut self, out: &mut String) -> Result<(), ExcelError> {
        let (mut depth, mut reading) = (0usize, None);
        let mut text = String::new();
        loop {
            let is_text = match self.event()? {
                Event::Start(element) => {
                    depth += 1;
                    if reading.is_none() && is(&element, "rPh") {
                        reading = Some(depth);
                    }
                    reading.is_none() && is(&element, "t")
                }
                Event::End(_) if depth == 0 => break,
                Event::End(_) => {
                    reading = reading.filter(|reading| *reading != depth);
                    depth -= 1;
                    false
                }
                Event::Eof => return Err(ExcelError::EndsEarly),
                _ => false,
            };
            if is_text {
                self.text_into(&mut text)?;
                depth -= 1;
            }
        }
        unescape_into(&text, out);
        Ok(())
    }
}

/// Whether an element has a name, whatever its namespace.
pub(super) fn is(element: &BytesStart, name: &str) -> bool {
    element.local_name().as_ref() == name
}

/// Returns an attribute, whatever its namespace.
pub(super) fn attribute(element: &BytesStart, name: &str) -> Result<Option<String>, ExcelError> {
    // Checks for duplicates take time proportional to the square of the number of attributes.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(quick_xml::Error::from)?;
        if attribute.key.local_name().as_ref() == name {
            return Ok(Some(attribute.normalized_value(XmlVersion::Implicit1_0)?.into_owned()));
        }
    }
    Ok(None)
}

/// Returns the text of a reference such as `&amp;` or `&#228;`.
fn character(reference: &BytesRef) -> Result<String, ExcelError> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    escape::resolve_xml_entity(name).map(str::to_owned).ok_or_else(|| ExcelError::Entity(mbm_config::excerpt(name)))
}

/// Appends a text in which Excel writes characters that XML cannot hold as `_x000D_`.
fn unescape_into(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let number = found.get(2..6).filter(|_| found.as_bytes().get(6) == Some(&b'_'));
        let number = number.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let character = number.and_then(|digits| char::from_u32(u32::from_str_radix(digits, 16).ok()?));
        out.push_str(character.map(String::from).as_deref().unwrap_or("_x"));
        rest = &found[if character.is_some() { 7 } else { 2 }..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(xml: &str) -> Result<String, ExcelError> {
        let mut xml = Xml::new(Box::new(std::io::Cursor::new(xml.as_bytes().to_vec())));
        let mut out = String::new();
        while !matches!(xml.event()?, Event::Start(_)) {}
        xml.runs_into(&mut out)?;
        Ok(out)
    }

    #[test]
    fn text_of_all_runs_is_joined_without_readings() {
        assert_eq!(runs("<si><t> a &amp; b&#228; </t></si>").unwrap(), " a & bä ");
        let rich = "<x:si><x:r><x:rPr><x:b/></x:rPr><x:t>東</x:t></x:r><x:r><x:t>京</x:t></x:r><x:rPh><x:t>とう</x:t></x:rPh><x:t>!</x:t></x:si>";
        assert_eq!(runs(rich).unwrap(), "東京!");
        assert_eq!(runs("<si/>").unwrap(), "");
    }

    #[test]
    fn escaped_characters_are_read_and_other_underscores_kept() {
        let unescaped = |text: &str| {
            let mut out = String::new();
            unescape_into(text, &mut out);
            out
        };
        assert_eq!(unescaped("a_x000D_b_x005F_x000D_"), "a\rb_x000D_");
        for text in ["_x", "a_x00", "_x00äz_", "_xD800_", "_x+00D_", "x_y_x_1_"] {
            assert_eq!(unescaped(text), text);
        }
    }

    #[test]
    fn unknown_entities_and_open_elements_are_errors() {
        assert!(matches!(runs("<si><t>&lol;</t></si>"), Err(ExcelError::Entity(name)) if name == "lol"));
        assert!(runs("<si><t>a").is_err());
    }
}
