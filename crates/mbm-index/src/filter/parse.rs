//! Parses the text of a condition into its tree.

use super::{Comparison, Condition, Named, Test, shortened, wrong};
use crate::IndexError;
use crate::columns::IndexValue;

/// Maximum nesting of parentheses and NOTs: three stack frames per level, which fits a thread with a stack of 256 KiB.
const MAX_DEPTH: usize = 64;

/// Maximum number of tests in a condition; each runs for every row. SQLite, whose expressions are also trees, has the same limit.
const MAX_TESTS: usize = 1000;

/// Maximum length of a pattern in characters: its table then takes at most 128 KiB, and each character of a text at most 16
/// steps.
const MAX_PATTERN: usize = 1000;

/// Parses a whole condition.
pub(super) fn condition(text: &str) -> Result<Condition, IndexError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.chars().count() + 1, n_tests: 0 };
    let condition = parser.any(0)?;
    match parser.peek() {
        None => Ok(condition),
        Some((at, token)) => Err(wrong(at, format!("expected AND, OR or the end, found {}", token.shown()))),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    /// A name in double quotes, so never a keyword.
    Quoted(String),
    Value(IndexValue),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Name(name) | Self::Quoted(name) => format!("'{}'", shortened(name)),
            Self::Value(IndexValue::Text(text)) => format!("the text '{}'", shortened(text)),
            Self::Value(value) => format!("{value:?}"),
            Self::Sign(sign) => format!("'{sign}'"),
        }
    }
}

/// Operators and punctuation, longer ones first.
const SIGNS: [&str; 10] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", ","];

/// Splits a condition into tokens, each with the position of its first character, from 1.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, IndexError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        let start = at;
        let token = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '\'' => Token::Value(IndexValue::Text(quoted(&chars, &mut at)?)),
            '"' => Token::Quoted(quoted(&chars, &mut at)?),
            '0'..='9' | '-' | '.' => Token::Value(IndexValue::Number(number(&chars, &mut at)?)),
            c if c.is_alphabetic() || *c == '_' => Token::Name(name(&chars, &mut at)),
            _ => Token::Sign(sign(&chars, &mut at)?),
        };
        tokens.push((start + 1, token));
    }
    Ok(tokens)
}

/// Reads a text in quotes; a quote within it is written twice.
fn quoted(chars: &[char], at: &mut usize) -> Result<String, IndexError> {
    let (start, quote) = (*at, chars[*at]);
    let mut word = String::new();
    loop {
        *at += 1;
        match chars.get(*at) {
            None => return Err(wrong(start + 1, format!("the quote {quote} is not closed"))),
            Some(c) if *c == quote && chars.get(*at + 1) != Some(&quote) => break,
            Some(c) if *c == quote => *at += 1,
            Some(_) => {}
        }
        word.push(chars[*at]);
    }
    *at += 1;
    Ok(word)
}

fn number(chars: &[char], at: &mut usize) -> Result<f64, IndexError> {
    let start = *at;
    *at += 1;
    while chars.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '.' || is_sign_of_exponent(chars, *at)) {
        *at += 1;
    }
    let word: String = chars[start..*at].iter().collect();
    let number = word.parse().ok().filter(|number: &f64| !number.is_nan());
    number.ok_or_else(|| wrong(start + 1, format!("'{}' is not a number", shortened(&word))))
}

fn is_sign_of_exponent(chars: &[char], at: usize) -> bool {
    matches!(chars[at], '-' | '+') && matches!(chars[at - 1], 'e' | 'E')
}

fn name(chars: &[char], at: &mut usize) -> String {
    let start = *at;
    while chars.get(*at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
        *at += 1;
    }
    chars[start..*at].iter().collect()
}

fn sign(chars: &[char], at: &mut usize) -> Result<&'static str, IndexError> {
    let sign = SIGNS.iter().find(|sign| sign.chars().enumerate().all(|(n, c)| chars.get(*at + n) == Some(&c)));
    let sign = sign.ok_or_else(|| wrong(*at + 1, format!("unexpected character '{}'", chars[*at])))?;
    *at += sign.len();
    Ok(sign)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
    n_tests: usize,
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

    /// Consumes a keyword or a sign if it comes next; returns whether it did.
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
        let (at, found) = self.found();
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
            let message = format!("nested too deeply: at most {MAX_DEPTH} levels of parentheses and NOTs are allowed");
            return Err(wrong(self.found().0, message));
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

    /// Parses the test of a column.
    fn test(&mut self, named: Named) -> Result<Condition, IndexError> {
        self.n_tests += 1;
        if self.n_tests > MAX_TESTS {
            return Err(wrong(named.at, format!("more than {MAX_TESTS} tests; IN (..) counts a list as one")));
        }
        if self.takes("IS") {
            let is_not = self.takes("NOT");
            self.must("NULL")?;
            let test = Condition::Test(named, Test::IsNull);
            return Ok(if is_not { Condition::Not(Box::new(test)) } else { test });
        }
        if self.takes("NOT") {
            // `a NOT IN (1)` and `a NOT LIKE 'x'` hold only where there is a value.
            let is_null = Condition::Test(named.clone(), Test::IsNull);
            let test = self.in_or_like()?;
            let (at, found) = self.found();
            let test = test.ok_or_else(|| wrong(at, format!("expected IN or LIKE behind NOT, found {found}")))?;
            return Ok(Condition::Not(Box::new(Condition::Any(vec![is_null, Condition::Test(named, test)]))));
        }
        let test = match self.in_or_like()? {
            Some(test) => test,
            None => Test::Compare(self.comparison(&named.name)?, self.value()?),
        };
        Ok(Condition::Test(named, test))
    }

    fn in_or_like(&mut self) -> Result<Option<Test>, IndexError> {
        Ok(if self.takes("LIKE") {
            Some(self.pattern()?)
        } else if self.takes("IN") {
            Some(self.list()?)
        } else {
            None
        })
    }

    fn pattern(&mut self) -> Result<Test, IndexError> {
        match self.take("a pattern in quotes")? {
            (at, Token::Value(IndexValue::Text(pattern))) if pattern.chars().count() > MAX_PATTERN => {
                Err(wrong(at, format!("the pattern has more than {MAX_PATTERN} characters")))
            }
            (_, Token::Value(IndexValue::Text(pattern))) => Ok(Test::Like(pattern)),
            (at, other) => Err(wrong(at, format!("expected a pattern in quotes, found {}", other.shown()))),
        }
    }

    fn list(&mut self) -> Result<Test, IndexError> {
        self.must("(")?;
        let mut values = vec![self.value()?];
        while self.takes(",") {
            values.push(self.value()?);
        }
        self.must(")")?;
        Ok(Test::In(values))
    }

    fn comparison(&mut self, name: &str) -> Result<Comparison, IndexError> {
        let comparisons = [
            ("=", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<>", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        if let Some((_, how)) = comparisons.into_iter().find(|(sign, _)| self.takes(sign)) {
            return Ok(how);
        }
        let (at, found) = self.found();
        Err(wrong(at, format!("expected =, !=, <, <=, >, >=, IN, LIKE or IS after '{}', found {found}", shortened(name))))
    }

    /// Describes the next token, with its position.
    fn found(&self) -> (usize, String) {
        self.peek().map_or((self.end, "the end".to_owned()), |(at, token)| (at, token.shown()))
    }

    fn value(&mut self) -> Result<IndexValue, IndexError> {
        match self.take("a value")? {
            (_, Token::Value(value)) => Ok(value),
            (_, Token::Name(word)) if ["true", "false"].contains(&word.to_ascii_lowercase().as_str()) => {
                Ok(IndexValue::Text(word.to_ascii_lowercase()))
            }
            (at, other) => Err(wrong(at, format!("expected a number or a text in 'quotes', found {}", other.shown()))),
        }
    }
}
