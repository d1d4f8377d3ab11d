//! Conditions on columns, as in the `WHERE` of SQL: `split = 'train' AND (year >= 2010 OR name LIKE '%dog%') AND note IS NOT NULL`.

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

/// Parts of a condition in parentheses, at most.
const MAX_DEPTH: usize = 64;

impl Filter {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, IndexError> {
        let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.chars().count() + 1 };
        let condition = parser.any(0)?;
        match parser.peek() {
            None => Ok(Self(condition)),
            Some((at, token)) => Err(wrong(at, format!("expected AND, OR or the end, found {}", token.shown()))),
        }
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

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    /// In double quotes, so no keyword.
    Quoted(String),
    Value(Value),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) | Self::Quoted(name) => format!("'{name}'"),
            Self::Value(Value::Text(text)) => format!("the text '{text}'"),
            Self::Value(value) => format!("{value:?}"),
            Self::Sign(sign) => format!("'{sign}'"),
        }
    }
}

fn wrong(at: usize, message: String) -> IndexError {
    IndexError::Filter { at, message }
}

/// Signs, the longer ones first.
const SIGNS: [&str; 10] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, IndexError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        let token = if c.is_whitespace() {
            at += 1;
            continue;
        } else if c == '\'' || c == '"' {
            let mut word = String::new();
            at += 1;
            // A quote within is written twice.
            loop {
                match chars.get(at) {
                    None => return Err(wrong(start + 1, format!("the quote {c} is not closed"))),
                    Some(it) if *it == c && chars.get(at + 1) == Some(&c) => at += 2,
                    Some(it) if *it == c => break,
                    Some(_) => at += 1,
                }
                word.push(chars[at - 1]);
            }
            at += 1;
            if c == '"' { Token::Quoted(word) } else { Token::Value(Value::Text(word)) }
        } else if c.is_ascii_digit() || c == '-' || c == '.' {
            at += 1;
            while chars.get(at).is_some_and(|it| {
                it.is_ascii_alphanumeric() || *it == '.' || (matches!(it, '-' | '+') && matches!(chars[at - 1], 'e' | 'E'))
            }) {
                at += 1;
            }
            let word: String = chars[start..at].iter().collect();
            Token::Value(Value::Number(word.parse().map_err(|_| wrong(start + 1, format!("'{word}' is not a number")))?))
        } else if c.is_alphabetic() || c == '_' {
            while chars.get(at).is_some_and(|it| it.is_alphanumeric() || matches!(it, '_' | '.')) {
                at += 1;
            }
            Token::Name(chars[start..at].iter().collect())
        } else {
            let sign = SIGNS.iter().find(|sign| sign.chars().enumerate().all(|(n, it)| chars.get(at + n) == Some(&it)));
            let sign = sign.ok_or_else(|| wrong(start + 1, format!("'{c}' means nothing here")))?;
            at += sign.len();
            Token::Sign(sign)
        };
        tokens.push((start + 1, token));
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<(usize, &Token)> {
        self.tokens.get(self.next).map(|(at, token)| (*at, token))
    }

    fn take(&mut self, wanted: &str) -> Result<(usize, Token), IndexError> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token.ok_or_else(|| wrong(self.end, format!("expected {wanted}, found the end")))
    }

    /// Takes a keyword or a sign if it comes next.
    fn takes(&mut self, word: &str) -> bool {
        let is_next = match self.peek() {
            Some((_, Token::Name(name))) => name.eq_ignore_ascii_case(word),
            Some((_, Token::Sign(sign))) => *sign == word,
            _ => false,
        };
        self.next += usize::from(is_next);
        is_next
    }

    fn must(&mut self, word: &str) -> Result<(), IndexError> {
        if self.takes(word) {
            return Ok(());
        }
        let (at, found) = self.peek().map_or((self.end, "the end".to_owned()), |(at, token)| (at, token.shown()));
        Err(wrong(at, format!("expected {word}, found {found}")))
    }

    fn any(&mut self, depth: usize) -> Result<Condition, IndexError> {
        let mut conditions = vec![self.all(depth)?];
        while self.takes("OR") {
            conditions.push(self.all(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::Any(conditions) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, IndexError> {
        let mut conditions = vec![self.one(depth)?];
        while self.takes("AND") {
            conditions.push(self.one(depth)?);
        }
        Ok(if conditions.len() == 1 { conditions.swap_remove(0) } else { Condition::All(conditions) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, IndexError> {
        if depth > MAX_DEPTH {
            return Err(wrong(self.peek().map_or(self.end, |(at, _)| at), "nested too deeply".to_owned()));
        }
        if self.takes("NOT") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes("(") {
            let condition = self.any(depth + 1)?;
            return self.must(")").map(|()| condition);
        }
        let named = match self.take("a column")? {
            (at, Token::Name(name) | Token::Quoted(name)) => Named { name, at },
            (at, other) => return Err(wrong(at, format!("expected a column, found {}", other.shown()))),
        };
        self.test(named)
    }

    fn test(&mut self, named: Named) -> Result<Condition, IndexError> {
        if self.takes("IS") {
            let is_not = self.takes("NOT");
            self.must("NULL")?;
            let test = Condition::Test(named, Test::IsNull);
            return Ok(if is_not { Condition::Not(Box::new(test)) } else { test });
        }
        if self.takes("NOT") {
            // `a NOT IN (1)` and `a NOT LIKE 'x'` hold where there is a value.
            let is_null = Condition::Test(named.clone(), Test::IsNull);
            let test = self.test(named)?;
            return Ok(Condition::Not(Box::new(Condition::Any(vec![is_null, test]))));
        }
        let test = if self.takes("LIKE") {
            match self.take("a pattern in quotes")? {
                (_, Token::Value(Value::Text(pattern))) => Test::Like(pattern),
                (at, other) => return Err(wrong(at, format!("expected a pattern in quotes, found {}", other.shown()))),
            }
        } else if self.takes("IN") {
            self.must("(")?;
            let mut values = vec![self.value()?];
            while self.takes(",") {
                values.push(self.value()?);
            }
            self.must(")")?;
            Test::In(values)
        } else {
            let comparisons = [
                ("=", Comparison::Equal),
                ("!=", Comparison::NotEqual),
                ("<>", Comparison::NotEqual),
                ("<=", Comparison::LessOrEqual),
                (">=", Comparison::GreaterOrEqual),
                ("<", Comparison::Less),
                (">", Comparison::Greater),
            ];
            let Some((_, how)) = comparisons.into_iter().find(|(sign, _)| self.takes(sign)) else {
                let (at, found) = self.peek().map_or((self.end, "the end".to_owned()), |(at, token)| (at, token.shown()));
                return Err(wrong(
                    at,
                    format!("expected =, !=, <, <=, >, >=, IN, LIKE or IS behind '{}', found {found}", named.name),
                ));
            };
            Test::Compare(how, self.value()?)
        };
        Ok(Condition::Test(named, test))
    }

    fn value(&mut self) -> Result<Value, IndexError> {
        match self.take("a value")? {
            (_, Token::Value(value)) => Ok(value),
            (_, Token::Name(word)) if ["true", "false"].contains(&word.to_ascii_lowercase().as_str()) => {
                Ok(Value::Text(word.to_ascii_lowercase()))
            }
            (at, other) => Err(wrong(at, format!("expected a number or a text in 'quotes', found {}", other.shown()))),
        }
    }
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
