//! Formats of datasets, as the endings of file names declare them.

use std::path::Path;
use std::str::FromStr;

use super::options::OptionError;
use super::{Input, KINDS, Source, packing};
use crate::DataError;

/// A format of datasets, named by the ending of its files: `"csv".parse()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFormat {
    /// Its position in the list of sources.
    kind: usize,
}

impl TableFormat {
    /// Returns the format that the name of a file declares, whether compressed or not.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = packing::without_ending(&name);
        let kind = KINDS.iter().position(|(endings, _)| endings.iter().any(|ending| name.ends_with(ending)))?;
        Some(Self { kind })
    }

    /// Recognizes the format of a stream without a name by its first bytes; text without a bracket at its beginning is CSV.
    pub(super) fn of_content(input: &Input) -> Result<Self, DataError> {
        let start = input.start()?;
        let name = match start.as_slice() {
            [b'P', b'A', b'R', b'1', ..] => "parquet",
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [255, 255, 255, 255, ..] => "arrow",
            start => match start.trim_ascii_start() {
                [b'{' | b'[', ..] => "json",
                _ => "csv",
            },
        };
        Ok(Self::named(name))
    }

    fn named(name: &str) -> Self {
        name.parse().expect("the list of sources has this format")
    }

    /// The format of Excel workbooks.
    pub(super) fn workbook() -> Self {
        Self::named("xlsx")
    }

    /// Whether a folder of such files may be one table; not of those that often lie next to a table, such as notes and settings.
    pub(super) fn is_divisible(self) -> bool {
        ["csv", "tsv", "psv", "jsonl", "parquet", "arrow"].into_iter().any(|name| self == Self::named(name))
    }

    pub(super) fn open(self, input: &Input) -> Result<Box<dyn Source>, DataError> {
        let (_, open) = KINDS[self.kind];
        open(input)
    }

    /// The first of its endings, without the dot.
    pub(super) fn name(self) -> &'static str {
        let (endings, _) = KINDS[self.kind];
        endings[0].trim_start_matches(['.', '-'])
    }
}

impl FromStr for TableFormat {
    type Err = OptionError;

    fn from_str(name: &str) -> Result<Self, OptionError> {
        let is_named = |ending: &&str| ending.trim_start_matches(['.', '-']) == name;
        let kind = KINDS.iter().position(|(endings, _)| endings.iter().any(is_named));
        kind.map(|kind| Self { kind }).ok_or_else(|| {
            let names: Vec<&str> = (0..KINDS.len()).map(|kind| Self { kind }.name()).collect();
            OptionError::Word { found: name.to_owned(), available: names.join(", ") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_declare_their_format() {
        let of = |name: &str| TableFormat::of_name(Path::new(name)).map(TableFormat::name);
        assert_eq!(of("a/b.CSV"), Some("csv"));
        assert_eq!(of("b.csv.gz"), Some("csv"));
        assert_eq!(of("b.ndjson.zst"), Some("jsonl"));
        assert_eq!(of("t10k-images-idx3-ubyte.gz"), Some("ubyte"));
        assert_eq!(of("b.gz"), None);
        assert_eq!(of("b.xyz"), None);
    }

    #[test]
    fn formats_are_named_by_the_endings_of_their_files() {
        assert_eq!("feather".parse().map(TableFormat::name), Ok("arrow"));
        let error = "xls".parse::<TableFormat>().unwrap_err().to_string();
        assert!(error.starts_with("'xls' is not one of csv, txt, tsv, psv, jsonl, json, arrow, parquet, xlsx"), "{error}");
    }
}
