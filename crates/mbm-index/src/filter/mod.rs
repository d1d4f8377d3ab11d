//! Conditions on columns, as in the `WHERE` of SQL: `split = 'train' AND (year >= 2010 OR name LIKE '%dog%') AND note IS NOT NULL`.

mod parse;
mod sql;

pub use sql::{quoted_name, quoted_text};

use rayon::prelude::*;

use crate::IndexError;
use crate::columns::{Column, Columns, Value};

/// A condition, its columns still by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Condition);

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Test(Named, Test),
}

/// A column's name, and where it stands in the text.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    name: String,
    at: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Compare(Comparison, Value),
    In(Vec<Value>),
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
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        parse::condition(text).map(Self)
    }

    /// For each row whether the condition holds.
    ///
    /// # Errors
    /// A column that is not there, or whose kind does not fit.
    pub(crate) fn rows(&self, columns: &Columns) -> Result<Vec<bool>, IndexError> {
        let bound = self.0.bind(&columns.schema().cloned().collect::<Vec<_>>())?;
        Ok((0..columns.n_rows()).into_par_iter().with_min_len(1024).map(|row| bound.holds(columns, row)).collect())
    }

    /// Looks whether the columns are there.
    ///
    /// # Errors
    /// As [`Filter::parse`], with the columns there are.
    pub fn check(&self, columns: &[Column]) -> Result<(), IndexError> {
        self.0.bind(columns).map(|_| ())
    }
}

/// A condition on columns by number.
enum Bound {
    All(Vec<Bound>),
    Any(Vec<Bound>),
    Not(Box<Bound>),
    Number(usize, Vec<f64>, Option<Comparison>),
    Text(usize, Vec<String>, Option<Comparison>),
    Like(usize, String),
    IsNull(usize, bool),
}

impl Condition {
    fn bind(&self, columns: &[Column]) -> Result<Bound, IndexError> {
        let each = |conditions: &[Condition]| conditions.iter().map(|it| it.bind(columns)).collect::<Result<Vec<_>, _>>();
        Ok(match self {
            Self::All(conditions) => Bound::All(each(conditions)?),
            Self::Any(conditions) => Bound::Any(each(conditions)?),
            Self::Not(condition) => Bound::Not(Box::new(condition.bind(columns)?)),
            Self::Test(named, test) => {
                let position = columns.iter().position(|column| column.name == named.name);
                let position = position.ok_or_else(|| {
                    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                    wrong(named.at, format!("no column '{}'; there are: {}", named.name, names.join(", ")))
                })?;
                test.bind(position, &columns[position], named.at)?
            }
        })
    }
}

impl Test {
    fn bind(&self, position: usize, column: &Column, at: usize) -> Result<Bound, IndexError> {
        let number = |value: &Value| match value {
            Value::Number(number) => Ok(*number),
            other => Err(wrong(at, format!("'{}' holds numbers, and {other:?} is none", column.name))),
        };
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null => String::new(),
        };
        Ok(match self {
            Self::IsNull => Bound::IsNull(position, column.is_number),
            Self::Like(_) if column.is_number => {
                return Err(wrong(at, format!("'{}' holds numbers; LIKE is for texts", column.name)));
            }
            Self::Like(pattern) => Bound::Like(position, pattern.clone()),
            Self::In(values) if column.is_number => {
                Bound::Number(position, values.iter().map(number).collect::<Result<_, _>>()?, None)
            }
            Self::In(values) => Bound::Text(position, values.iter().map(text).collect(), None),
            Self::Compare(how, value) if column.is_number => Bound::Number(position, vec![number(value)?], Some(*how)),
            Self::Compare(how, value) => Bound::Text(position, vec![text(value)], Some(*how)),
        })
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
    /// A cell that is nothing passes no test but IS NULL.
    fn holds(&self, columns: &Columns, row: usize) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|it| it.holds(columns, row)),
            Self::Any(conditions) => conditions.iter().any(|it| it.holds(columns, row)),
            Self::Not(condition) => !condition.holds(columns, row),
            Self::IsNull(column, true) => columns.number(*column, row).is_nan(),
            Self::IsNull(column, false) => columns.text(*column, row).is_empty(),
            Self::Number(column, values, how) => {
                let number = columns.number(*column, row);
                !number.is_nan() && values.iter().any(|value| how.unwrap_or(Comparison::Equal).holds(&number, value))
            }
            Self::Text(column, values, how) => {
                let text = columns.text(*column, row);
                !text.is_empty() && values.iter().any(|value| how.unwrap_or(Comparison::Equal).holds(text, value.as_bytes()))
            }
            Self::Like(column, pattern) => {
                let text = String::from_utf8_lossy(columns.text(*column, row)).to_lowercase();
                !text.is_empty() && like(&text, &pattern.to_lowercase())
            }
        }
    }
}

/// Whether a text fits a pattern in which `%` stands for any characters and `_` for one.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut next) = (0, 0);
    // Where the last % was, and how far the text had come then.
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        if pattern.get(next) == Some(&'%') {
            back = Some((next, at));
            next += 1;
        } else if pattern.get(next).is_some_and(|it| *it == '_' || *it == text[at]) {
            (at, next) = (at + 1, next + 1);
        } else if let Some((percent, start)) = back {
            back = Some((percent, start + 1));
            (at, next) = (start + 1, percent + 1);
        } else {
            return false;
        }
    }
    pattern[next..].iter().all(|it| *it == '%')
}

fn wrong(at: usize, message: String) -> IndexError {
    IndexError::Filter { at, message }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::ColumnsWriter;

    fn columns() -> (tempfile::TempDir, Columns) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("columns");
        let column = |name: &str, is_number| Column { name: name.into(), is_number };
        let mut writer = ColumnsWriter::create(&[column("name", false), column("year", true), column("new", false)]).unwrap();
        let text = |text: &str| Value::Text(text.into());
        for (name, year, new) in
            [("a dog", 1999.0, "true"), ("It's a cat", 2010.0, "false"), ("Dogs", f64::NAN, ""), ("", 2020.5, "true")]
        {
            writer.push(&[text(name), Value::Number(year), text(new)]).unwrap();
        }
        writer.finish(&path).unwrap();
        let columns = Columns::open(&path).unwrap();
        (folder, columns)
    }

    #[test]
    fn conditions_hold_where_they_say() {
        let (_folder, columns) = columns();
        let check = |text: &str, want: &[usize]| {
            let rows = Filter::parse(text).unwrap().rows(&columns).unwrap();
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
    fn mistakes_are_named_with_their_place() {
        let (_folder, columns) = columns();
        let check = |text: &str, want: &str| {
            let found = Filter::parse(text).and_then(|filter| filter.rows(&columns)).unwrap_err().to_string();
            assert_eq!(found, want, "{text}");
        };
        check("", "filter, character 1: expected a column, found the end");
        check("name = dog", "filter, character 8: expected a number or a text in 'quotes', found 'dog'");
        check("name = 'dog", "filter, character 8: the quote ' is not closed");
        check("colour = 'red'", "filter, character 1: no column 'colour'; there are: name, year, new");
        check("year = 'x'", "filter, character 1: 'year' holds numbers, and Text(\"x\") is none");
        check("year ~ 3", "filter, character 6: '~' means nothing here");
        check("(year = 3", "filter, character 10: expected ), found the end");
        check("year = 3 name", "filter, character 10: expected AND, OR or the end, found 'name'");
        check("year", "filter, character 5: expected =, !=, <, <=, >, >=, IN, LIKE or IS behind 'year', found the end");
        assert!(Filter::parse(&"(".repeat(10_000)).unwrap_err().to_string().contains("nested too deeply"));
        assert!(Filter::parse(&"NOT ".repeat(10_000)).unwrap_err().to_string().contains("nested too deeply"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9'\"()<>=!,.% _NOTANDORLIKEIS-]{0,40}") {
            let _ = Filter::parse(&text);
        }

        #[test]
        fn like_is_what_a_regular_expression_says(text in "[ab]{0,6}", pattern in "[ab%_]{0,5}") {
            // By the definition: % takes any number of characters.
            fn fits(text: &[u8], pattern: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'%', rest)) => (0..=text.len()).any(|skip| fits(&text[skip..], rest)),
                    Some((it, rest)) => text.split_first().is_some_and(|(c, tail)| (*it == b'_' || it == c) && fits(tail, rest)),
                }
            }
            prop_assert_eq!(like(&text, &pattern), fits(text.as_bytes(), pattern.as_bytes()));
        }
    }
}
