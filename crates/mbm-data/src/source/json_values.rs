//! Divides JSON text into the items of a list, or into objects that follow each other, without parsing what is in them.

use std::io::{self, BufRead, BufReader, Read};

/// What the values are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A list, whose items are separated by commas.
    List,
    /// Objects one after the other, over any number of lines.
    Sequence,
}

/// Text that cannot be divided into values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonValuesError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A value that exceeds the size limit.
    #[error("the value has more than {limit} bytes")]
    LongValue {
        /// The limit.
        limit: u64,
    },
    /// A list, object or text without an end.
    #[error("the file ends early: a bracket or a quote is not closed")]
    NotClosed,
    /// Text after a list.
    #[error("there is text after the end of the list")]
    AfterList,
}

/// Reads value by value.
pub(super) struct JsonValues<R> {
    reader: BufReader<R>,
    limit: u64,
    state: State,
}

/// The place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the bracket that opens the list.
    Start,
    Values,
    /// After the bracket that closes the list.
    End,
}

/// What a byte means for the value that it belongs to.
enum Step {
    /// It is a part of the value.
    Part,
    /// It is the last part of the value.
    LastPart,
    /// The value ends before it.
    AfterValue,
    /// It belongs to no value.
    Outside,
}

/// What the bytes up to here mean for the next one.
struct State {
    layout: Layout,
    at: At,
    /// Number of open brackets within the value.
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    follows_comma: bool,
}

impl<R: Read> JsonValues<R> {
    /// Divides text into values of at most `limit` bytes.
    pub fn new(reader: R, layout: Layout, limit: u64) -> Self {
        let at = if layout == Layout::List { At::Start } else { At::Values };
        let state = State { layout, at, depth: 0, in_text: false, is_escaped: false, follows_comma: false };
        Self { reader: BufReader::new(reader), limit, state }
    }

    /// Reads the next value, and returns whether there is one.
    ///
    /// # Errors
    /// Fails if the file ends early, goes on after the list, or cannot be read.
    pub fn next_into(&mut self, value: &mut Vec<u8>) -> Result<bool, JsonValuesError> {
        value.clear();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return self.state.at_end_of_file(value);
            }
            let (n_bytes, is_value) = self.state.pass(buffer, value)?;
            self.reader.consume(n_bytes);
            if value.len() as u64 > self.limit {
                return Err(JsonValuesError::LongValue { limit: self.limit });
            }
            if is_value {
                return Ok(true);
            }
        }
    }
}

impl State {
    /// Appends the bytes of a value, up to its end if that lies in the buffer, and returns their number and whether it does.
    fn pass(&mut self, buffer: &[u8], value: &mut Vec<u8>) -> Result<(usize, bool), JsonValuesError> {
        let mut at = 0;
        while let Some(byte) = buffer.get(at).copied() {
            if self.in_text && !self.is_escaped {
                let n_bytes = n_before_quote(&buffer[at..]);
                value.extend(&buffer[at..at + n_bytes]);
                at += n_bytes;
                if n_bytes > 0 {
                    continue;
                }
            }
            at += 1;
            let follows_comma = self.follows_comma;
            match self.step(byte)? {
                Step::Part => value.push(byte),
                Step::LastPart => {
                    value.push(byte);
                    return Ok((at, true));
                }
                // An empty list has no values, but a comma is followed by one.
                Step::AfterValue if self.at == At::End && !follows_comma && value.trim_ascii().is_empty() => value.clear(),
                Step::AfterValue => return Ok((at, true)),
                Step::Outside => {}
            }
        }
        Ok((at, false))
    }

    fn step(&mut self, byte: u8) -> Result<Step, JsonValuesError> {
        match self.at {
            At::Start => {
                self.at = if byte == b'[' { At::Values } else { At::Start };
                Ok(Step::Outside)
            }
            At::End if byte.is_ascii_whitespace() => Ok(Step::Outside),
            At::End => Err(JsonValuesError::AfterList),
            At::Values if self.in_text => Ok(self.in_text(byte)),
            At::Values => Ok(self.outside_text(byte)),
        }
    }

    fn in_text(&mut self, byte: u8) -> Step {
        self.in_text = self.is_escaped || byte != b'"';
        self.is_escaped = !self.is_escaped && byte == b'\\';
        Step::Part
    }

    fn outside_text(&mut self, byte: u8) -> Step {
        match (byte, self.depth, self.layout) {
            (b',' | b']', 0, Layout::List) => {
                self.follows_comma = byte == b',';
                self.at = if byte == b']' { At::End } else { At::Values };
                Step::AfterValue
            }
            (b'"', ..) => {
                self.in_text = true;
                Step::Part
            }
            (b'{' | b'[', ..) => {
                self.depth += 1;
                Step::Part
            }
            (b'}' | b']', 0 | 1, Layout::Sequence) => {
                self.depth = 0;
                Step::LastPart
            }
            (b'}' | b']', depth, _) => {
                self.depth = depth.saturating_sub(1);
                Step::Part
            }
            _ => Step::Part,
        }
    }

    fn at_end_of_file(&self, value: &[u8]) -> Result<bool, JsonValuesError> {
        let is_blank = value.trim_ascii().is_empty();
        match self.at {
            At::Start | At::End => Ok(false),
            At::Values if self.layout == Layout::Sequence && is_blank => Ok(false),
            At::Values if self.layout == Layout::Sequence && self.depth == 0 && !self.in_text => Ok(true),
            At::Values => Err(JsonValuesError::NotClosed),
        }
    }
}

/// Returns the number of bytes before the next quote or backslash.
fn n_before_quote(buffer: &[u8]) -> usize {
    buffer.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(buffer.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn values(text: &str, layout: Layout) -> Result<Vec<String>, String> {
        let mut values = JsonValues::new(text.as_bytes(), layout, 100);
        let (mut found, mut value) = (Vec::new(), Vec::new());
        while values.next_into(&mut value).map_err(|error| error.to_string())? {
            found.push(String::from_utf8_lossy(value.trim_ascii()).into_owned());
        }
        Ok(found)
    }

    fn owned(values: &[&str]) -> Result<Vec<String>, String> {
        Ok(values.iter().map(|value| value.to_string()).collect())
    }

    #[test]
    fn lists_are_divided_at_their_own_commas() {
        let text = r#" [ {"a": "x, \"]\\", "b": [1, {}]} , 2,"y" ] "#;
        assert_eq!(values(text, Layout::List), owned(&[r#"{"a": "x, \"]\\", "b": [1, {}]}"#, "2", "\"y\""]));
        for blank in ["[]", " [ ] ", "", "  "] {
            assert_eq!(values(blank, Layout::List), owned(&[]), "{blank}");
        }
        assert_eq!(values("[1,]", Layout::List), owned(&["1", ""]));
    }

    #[test]
    fn sequences_are_divided_at_the_ends_of_objects() {
        assert_eq!(values("{\"a\":\n \"}\"}{}\n\n[[1]]\n", Layout::Sequence), owned(&["{\"a\":\n \"}\"}", "{}", "[[1]]"]));
        assert_eq!(values("{} nul", Layout::Sequence), owned(&["{}", "nul"]));
    }

    #[test]
    fn text_that_ends_early_or_goes_on_is_an_error() {
        for (text, layout) in [("[1", Layout::List), ("[", Layout::List), ("[1,", Layout::List), ("{", Layout::Sequence)] {
            assert!(values(text, layout).unwrap_err().contains("ends early"), "{text}");
        }
        assert!(values("[1] 2", Layout::List).unwrap_err().contains("after the end of the list"));
        let long = format!("[\"{}\"]", "x".repeat(100));
        assert_eq!(values(&long, Layout::List).unwrap_err(), "the value has more than 100 bytes");
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_the_end(text in "[\\[\\]{},\"\\\\ a1\n]{0,30}") {
            let _ = values(&text, Layout::List);
            let _ = values(&text, Layout::Sequence);
        }

        #[test]
        fn items_of_a_list_are_those_that_a_parser_finds(texts in prop::collection::vec("[\"\\\\,\\[\\]{}x]{0,4}", 0..6)) {
            let items: Vec<Value> = texts.iter().map(|text| serde_json::json!({"a": [text, {"b": text}], "c": 1})).collect();
            let text = Value::from(items.clone()).to_string();
            let found: Vec<Value> = values(&text, Layout::List).unwrap().iter().map(|item| serde_json::from_str(item).unwrap()).collect();
            prop_assert_eq!(found, items);
        }
    }
}
