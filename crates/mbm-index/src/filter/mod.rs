//! Filter conditions on columns, in the syntax of an SQL `WHERE` clause:
//! `split = 'train' AND (year >= 2010 OR name LIKE '%dog%') AND note IS NOT NULL`.

mod parse;
mod pattern;
mod sql;

pub use sql::{quoted_name, quoted_text};

use std::cmp::Ordering;

use rayon::prelude::*;

use self::pattern::Pattern;
use crate::columns::{ColumnFile, IndexColumn, IndexValue};
use crate::{Cancellation, IndexError};

/// Maximum length of a condition in bytes: enough for an IN list of 100,000 numbers. Linux limits a command-line argument to 128
/// KiB, so only programs come near it.
const MAX_BYTES: usize = 1 << 20;

/// Rows that a thread tests at a time.
const CHUNK: usize = 1024;

/// A parsed condition that still refers to columns by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Condition);

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test(Named, Test),
}

/// A column name and its position in the text.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    name: String,
    at: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Compare(Comparison, IndexValue),
    In(Vec<IndexValue>),
    Like(String),
    IsNull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Parses a condition of up to 1 MiB, with up to 1,000 tests nested up to 64 deep in parentheses and NOTs.
    ///
    /// # Errors
    /// [`IndexError::Filter`] with the position and what is wrong.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        Self::parse_within(text, MAX_BYTES)
    }

    /// Parses a condition of up to `max_bytes`, for example one from an untrusted client.
    ///
    /// # Errors
    /// As for [`Filter::parse`].
    pub fn parse_within(text: &str, max_bytes: usize) -> Result<Self, IndexError> {
        if text.len() > max_bytes {
            let message = format!("{} bytes, at most {max_bytes} are allowed; shorten lists or split the search", text.len());
            return Err(wrong(1, message));
        }
        parse::condition(text).map(Self)
    }

    /// Returns, for each row, whether the condition holds.
    ///
    /// # Errors
    /// If a column does not exist or has the wrong kind, or [`IndexError::Cancelled`].
    pub(crate) fn rows(&self, columns: &ColumnFile, cancellation: &Cancellation) -> Result<Vec<bool>, IndexError> {
        let bound = self.0.bind(&columns.schema().cloned().collect::<Vec<_>>())?;
        let mut rows = vec![false; columns.n_rows()];
        rows.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk, rows)| {
            for (at, holds) in rows.iter_mut().enumerate() {
                // A long text may take a while, so the flag is checked for every row; reading the clock costs more than testing a
                // short text.
                if cancellation.is_cancelled() || at.is_multiple_of(64) {
                    cancellation.check()?;
                }
                *holds = bound.holds(columns, chunk * CHUNK + at);
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// Checks that the columns exist and have the right kinds.
    ///
    /// # Errors
    /// As for [`Filter::parse`]; the message lists the existing columns.
    pub fn check(&self, columns: &[IndexColumn]) -> Result<(), IndexError> {
        self.0.bind(columns).map(|_| ())
    }
}

/// A condition with its columns resolved to positions. A test takes time proportional to the length of its cell, times the words
/// of a pattern or the logarithm of a list's length.
enum Bound {
    All(Vec<Bound>),
    Any(Vec<Bound>),
    Not(Box<Bound>),
    Number(usize, Comparison, f64),
    Text(usize, Comparison, String),
    /// Sorted.
    NumberIn(usize, Vec<f64>),
    /// Sorted by their bytes.
    TextIn(usize, Vec<String>),
    Like(usize, Box<Pattern>),
    IsNull(usize, bool),
}

impl Condition {
    fn bind(&self, columns: &[IndexColumn]) -> Result<Bound, IndexError> {
        let each = |conditions: &[Condition]| conditions.iter().map(|it| it.bind(columns)).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::All(conditions) => Bound::All(each(conditions)?),
            Self::Any(conditions) => Bound::Any(each(conditions)?),
            Self::Not(condition) => Bound::Not(Box::new(condition.bind(columns)?)),
            Self::Test(named, test) => {
                let position = columns.iter().position(|column| column.name == named.name);
                let position = position.ok_or_else(|| {
                    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                    wrong(named.at, format!("no column '{}'; available columns: {}", shortened(&named.name), names.join(", ")))
                })?;
                test.bind(position, &columns[position], named.at)?
            }
        })
    }
}

impl Test {
    fn bind(&self, position: usize, column: &IndexColumn, at: usize) -> Result<Bound, IndexError> {
        let number = |value: &IndexValue| match value {
            IndexValue::Number(number) => Ok(*number),
            IndexValue::Text(text) => {
                Err(wrong(at, format!("column '{}' holds numbers, not '{}'", column.name, shortened(text))))
            }
            IndexValue::Null => Err(wrong(at, format!("column '{}' holds numbers, not null", column.name))),
        };
        Ok(match self {
            Self::IsNull => Bound::IsNull(position, column.is_number),
            Self::Like(_) if column.is_number => {
                return Err(wrong(at, format!("column '{}' holds numbers; LIKE needs a text column", column.name)));
            }
            Self::Like(pattern) => Bound::Like(position, Box::new(Pattern::new(pattern))),
            Self::In(values) if column.is_number => {
                let mut numbers = values.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                numbers.sort_by(f64::total_cmp);
                Bound::NumberIn(position, numbers)
            }
            Self::In(values) => {
                let mut texts: Vec<String> = values.iter().map(text_of).collect();
                texts.sort();
                Bound::TextIn(position, texts)
            }
            Self::Compare(how, value) if column.is_number => Bound::Number(position, *how, number(value)?),
            Self::Compare(how, value) => Bound::Text(position, *how, text_of(value)),
        })
    }
}

fn text_of(value: &IndexValue) -> String {
    match value {
        IndexValue::Text(text) => text.clone(),
        IndexValue::Number(number) => number.to_string(),
        IndexValue::Null => String::new(),
    }
}

impl Comparison {
    fn holds<T: PartialOrd + ?Sized>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

impl Bound {
    /// A null cell fails every test except IS NULL.
    fn holds(&self, columns: &ColumnFile, row: usize) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|it| it.holds(columns, row)),
            Self::Any(conditions) => conditions.iter().any(|it| it.holds(columns, row)),
            Self::Not(condition) => !condition.holds(columns, row),
            Self::IsNull(column, true) => columns.number(*column, row).is_nan(),
            Self::IsNull(column, false) => columns.text(*column, row).is_empty(),
            Self::Number(column, how, value) => {
                let number = columns.number(*column, row);
                !number.is_nan() && how.holds(&number, value)
            }
            Self::NumberIn(column, values) => {
                let number = columns.number(*column, row);
                values.binary_search_by(|value| value.partial_cmp(&number).unwrap_or(Ordering::Less)).is_ok()
            }
            Self::Text(column, how, value) => {
                let text = columns.text(*column, row);
                !text.is_empty() && how.holds(text, value.as_bytes())
            }
            Self::TextIn(column, values) => {
                let text = columns.text(*column, row);
                !text.is_empty() && values.binary_search_by(|value| value.as_bytes().cmp(text)).is_ok()
            }
            Self::Like(column, pattern) => {
                let text = columns.text(*column, row);
                !text.is_empty() && pattern.fits(&String::from_utf8_lossy(text).to_lowercase())
            }
        }
    }
}

/// Truncates a text that may be long, for an error message.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST { text.to_owned() } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn wrong(at: usize, message: String) -> IndexError {
    IndexError::Filter { at, message }
}

#[cfg(test)]
mod tests {
    use std::ops::Add;

    use proptest::prelude::*;

    use super::*;
    use crate::columns::ColumnFileWriter;

    fn columns() -> (tempfile::TempDir, ColumnFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("columns");
        let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
        let mut writer = ColumnFileWriter::create(&[column("name", false), column("year", true), column("new", false)]).unwrap();
        let text = |text: &str| IndexValue::Text(text.into());
        for (name, year, new) in
            [("a dog", 1999.0, "true"), ("It's a cat", 2010.0, "false"), ("Dogs", f64::NAN, ""), ("", 2020.5, "true")]
        {
            writer.push(&[text(name), IndexValue::Number(year), text(new)]).unwrap();
        }
        writer.finish(&path).unwrap();
        let columns = ColumnFile::open(&path).unwrap();
        (folder, columns)
    }

    #[test]
    fn conditions_select_the_expected_rows() {
        let (_folder, columns) = columns();
        let check = |text: &str, want: &[usize]| {
            let rows = Filter::parse(text).unwrap().rows(&columns, &Cancellation::default()).unwrap();
            let found: Vec<usize> = (0..4).filter(|row| rows[*row]).collect();
            assert_eq!(found, want, "{text}");
        };
        check("name = 'a dog'", &[0]);
        check("name != 'a dog'", &[1, 2]);
        check("name = 'It''s a cat'", &[1]);
        check("name LIKE '%dog%'", &[0, 2]);
        check("name NOT LIKE '%dog%'", &[1]);
        check("name like '_ d%g'", &[0]);
        check("year >= 2010", &[1, 3]);
        check("year < 2e3 or year=2020.5", &[0, 3]);
        check("year IN (1999, 2010)", &[0, 1]);
        check("year NOT IN (1999)", &[1, 3]);
        check("\"year\" IS NULL", &[2]);
        check("name IS NOT NULL AND NOT year > 2000", &[0, 2]);
        check("new = true and (year < 2000 or name is null)", &[0, 3]);
        check("new = 'true' and year < 2000 or name is null", &[0, 3]);
    }

    #[test]
    fn errors_name_the_mistake_and_its_position() {
        let (_folder, columns) = columns();
        let check = |text: &str, want: &str| {
            let found =
                Filter::parse(text).and_then(|filter| filter.rows(&columns, &Cancellation::default())).unwrap_err().to_string();
            assert_eq!(found, want, "{text}");
        };
        check("", "filter, character 1: expected a column, found the end");
        check("name = dog", "filter, character 8: expected a number or a text in 'quotes', found 'dog'");
        check("name = 'dog", "filter, character 8: the quote ' is not closed");
        check("colour = 'red'", "filter, character 1: no column 'colour'; available columns: name, year, new");
        check("year = 'x'", "filter, character 1: column 'year' holds numbers, not 'x'");
        check("year ~ 3", "filter, character 6: unexpected character '~'");
        check("(year = 3", "filter, character 10: expected ), found the end");
        check("year = 3 name", "filter, character 10: expected AND, OR or the end, found 'name'");
        check("year", "filter, character 5: expected =, !=, <, <=, >, >=, IN, LIKE or IS after 'year', found the end");
        check("year NOT = 3", "filter, character 10: expected IN or LIKE behind NOT, found '='");
        check("year = -nan", "filter, character 8: '-nan' is not a number");
    }

    /// Runs on a thread with a stack of 256 KiB, an eighth of the default.
    fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn endless_nesting_is_refused_on_a_small_stack() {
        for (start, middle, end) in
            [("t ", "NOT ", "LIKE 'x'"), ("", "NOT ", "t = 1"), ("", "(", "t = 1"), ("", "NOT (", "t = 1"), ("t IN ", "(", "1")]
        {
            let text = format!("{start}{}{end}", middle.repeat(200_000));
            let message = on_a_small_stack(move || Filter::parse(&text).unwrap_err().to_string());
            assert!(message.starts_with("filter, character "), "{message}");
            assert!(message.contains("nested too deeply") || message.contains("expected "), "{message}");
        }
    }

    #[test]
    fn deepest_condition_fits_a_small_stack() {
        let (folder, columns) = columns();
        let text = format!("{}year >= 2010 AND name != ''{}", "NOT (name = 'x' OR ".repeat(32), ")".repeat(32));
        let (rows, sql) = on_a_small_stack(move || {
            let filter = Filter::parse(&text).unwrap();
            let schema: Vec<IndexColumn> = columns.schema().cloned().collect();
            (filter.clone().rows(&columns, &Cancellation::default()).unwrap(), filter.to_sql(&schema).unwrap())
        });
        assert_eq!(rows, [false, true, false, false]);
        assert_eq!(sql.matches("NOT ").count(), 32);
        drop(folder);
    }

    #[test]
    fn length_limits_are_named_in_errors() {
        let refused = |text: &str| Filter::parse(text).unwrap_err().to_string();
        assert!(Filter::parse(&"t = 1 OR ".repeat(999).add("t = 1")).is_ok());
        assert!(refused(&"t = 1 OR ".repeat(1000).add("t = 1")).contains("more than 1000 tests; IN (..) counts a list as one"));
        assert!(Filter::parse(&format!("t LIKE '{}'", "ß".repeat(1000))).is_ok());
        assert!(refused(&format!("t LIKE '{}'", "ß".repeat(1001))).contains("the pattern has more than 1000 characters"));
        assert!(refused(&format!("t = '{}'", "x".repeat(1 << 20))).contains("1048582 bytes, at most 1048576 are allowed"));
        assert!(Filter::parse_within("t = 1", 4).unwrap_err().to_string().contains("5 bytes, at most 4 are allowed"));
        assert!(refused(&format!("t = 1 {}", "x".repeat(1 << 19))).len() < 200, "errors do not repeat the whole input");
    }

    #[test]
    fn long_lists_are_matched() {
        let (_folder, columns) = columns();
        let names: Vec<String> = (0..50_000).map(|at| format!("'name {at}'")).collect();
        for (text, want) in [
            (format!("name IN ({}, 'a dog', 'Dogs')", names.join(",")), [true, false, true, false]),
            (format!("name NOT IN ({}, 'a dog')", names.join(",")), [false, true, true, false]),
            ("year IN (1e9, 2020.5, -5, 2010, 0)".to_owned(), [false, true, false, true]),
        ] {
            assert_eq!(Filter::parse(&text).unwrap().rows(&columns, &Cancellation::default()).unwrap(), want);
        }
    }

    #[test]
    fn cancelled_filter_is_an_error() {
        let (_folder, columns) = columns();
        let (filter, cancellation) = (Filter::parse("year > 3").unwrap(), Cancellation::default());
        cancellation.cancel();
        assert!(matches!(filter.rows(&columns, &cancellation), Err(IndexError::Cancelled)));
    }

    proptest! {
        #[test]
        fn parser_never_panics(text in "[a-z0-9'\"()<>=!,.% _NOTANDORLIKEIS-]{0,40}") {
            let _ = Filter::parse(&text);
        }
    }
}
