//! `.json` files: a list of objects, objects one after the other, an object of columns, or COCO annotations.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::coco::Coco;
use super::json_columns::JsonColumns;
use super::json_lines::{JsonLines, first_byte};
use super::json_values::Layout;
use super::{Input, Source};
use crate::DataError;

/// Opens a file, whose first object or bracket tells what it holds.
pub(super) fn open(input: &Input) -> Result<Box<dyn Source>, DataError> {
    if first_byte(input)? == Some(b'[') {
        return Ok(Box::new(JsonLines::open(input, Some(Layout::List))?));
    }
    if let Some(columns) = JsonColumns::open(input)? {
        return Ok(Box::new(columns));
    }
    match is_coco(input)? {
        true => Ok(Box::new(Coco::open(input)?)),
        false => Ok(Box::new(JsonLines::open(input, Some(Layout::Sequence))?)),
    }
}

/// Whether the first object has images and annotations, or is damaged after one of these keys.
fn is_coco(input: &Input) -> Result<bool, DataError> {
    let reader = std::io::BufReader::new(input.text()?.reader);
    let mut keys = CocoKeys::default();
    let result = serde_json::Deserializer::from_reader(reader).deserialize_map(&mut keys);
    let n_found = usize::from(keys.images) + usize::from(keys.annotations);
    Ok(n_found == 2 || n_found == 1 && result.is_err())
}

/// Which keys of COCO annotations an object has.
#[derive(Default)]
struct CocoKeys {
    images: bool,
    annotations: bool,
}

impl<'de> Visitor<'de> for &mut CocoKeys {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            self.images |= key == "images";
            self.annotations |= key == "annotations";
            if self.images && self.annotations {
                return Err(A::Error::custom("both keys were found"));
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cell, Table};

    fn table(content: &str) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.json");
        std::fs::write(&path, content).unwrap();
        Table::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_sequences_and_lines_are_the_same_table() {
        let objects = [r#"{"a": 1, "b": "x"}"#, r#"{"b": null, "c": [1]}"#];
        let list = table(&format!("[{}]", objects.join(","))).unwrap();
        assert_eq!((list.columns.clone(), list.n_rows()), (["a", "b", "c"].map(str::to_owned).to_vec(), 2));
        assert_eq!(list.row(1).unwrap(), [Cell::Empty, Cell::Empty, Cell::Numbers(vec![1.0])]);
        for text in [objects.join("\n"), objects.join(""), format!("\u{feff}\n{}", objects.join("\n\n").replace(',', ",\n"))] {
            assert_eq!(table(&text).unwrap().hash, list.hash, "{text}");
        }
    }

    #[test]
    fn objects_with_images_and_annotations_are_coco() {
        let error = table(r#"{"images": [], "annotations": 3}"#).unwrap_err();
        assert!(error.contains("not COCO annotations"), "{error}");
        assert_eq!(table(r#"{"images": ["a.png"], "label": "x"}"#).unwrap().columns, ["images", "label"]);
    }

    #[test]
    fn errors_name_the_row() {
        for (content, want) in [
            (r#"[{"a": 1}, 2]"#, "row 2: not a JSON object: invalid type: integer `2`, expected an object"),
            (r#"[{"a": 1},]"#, "row 2: not a JSON object: EOF"),
            (r#"[{"a": 1}"#, "row 1: the file ends early"),
            (r#"{"a": 1} x"#, "row 2: not a JSON object"),
            ("[]", "no rows"),
            ("", "no rows"),
        ] {
            let error = table(content).unwrap_err();
            assert!(error.contains(want), "{content}: {error}");
        }
    }
}
