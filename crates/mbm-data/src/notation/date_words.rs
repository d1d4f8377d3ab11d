//! The parts of a date: numbers, English names of months and weekdays, and what stands between them.

/// A number or a month, and the text in front of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part<'a> {
    pub before: &'a str,
    pub value: Value,
}

/// What a part stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A number with its number of digits.
    Number(u32, usize),
    /// A month, starting at 1.
    Month(u32),
}

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Longest number of a date, such as `20241231`.
const MAX_DIGITS: usize = 8;

/// Splits a date into at most four parts; `None` if it has anything else in it, such as another word. Weekdays and the endings of
/// `1st`, `2nd`, `3rd` and `4th` are left out.
pub(super) fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let (before, after) = rest.split_at(rest.find(char::is_alphanumeric).unwrap_or(rest.len()));
        if after.is_empty() {
            return matches!(before, "" | ".").then_some(parts);
        }
        let is_digits = after.starts_with(|found: char| found.is_ascii_digit());
        let end = after.find(|found: char| !found.is_alphanumeric() || found.is_ascii_digit() != is_digits);
        let (word, behind) = after.split_at(end.unwrap_or(after.len()));
        rest = behind;
        if is_digits {
            let value = (word.len() <= MAX_DIGITS).then(|| word.parse().ok())??;
            parts.push(Part { before: before.trim(), value: Value::Number(value, word.len()) });
        } else if let Some(month) = position(&MONTHS, word) {
            parts.push(Part { before: before.trim(), value: Value::Month(month + 1) });
        } else if !is_left_out(word, before, parts.last()) {
            return None;
        }
        if parts.len() > 4 {
            return None;
        }
    }
}

/// Returns the position of a name, which may be shortened to three letters or more.
fn position(names: &[&str], word: &str) -> Option<u32> {
    let word = word.to_ascii_lowercase();
    (word.len() >= 3).then(|| names.iter().position(|name| name.starts_with(&word)).map(|at| at as u32))?
}

fn is_left_out(word: &str, before: &str, last: Option<&Part>) -> bool {
    let is_ending = ["st", "nd", "rd", "th"].iter().any(|ending| ending.eq_ignore_ascii_case(word));
    let follows_number = before.is_empty() && matches!(last, Some(Part { value: Value::Number(..), .. }));
    (is_ending && follows_number) || (last.is_none() && before.is_empty() && position(&WEEKDAYS, word).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_split_into_numbers_and_months() {
        let values = |text| parts(text).map(|parts| parts.iter().map(|part| (part.before, part.value)).collect::<Vec<_>>());
        assert_eq!(
            values("Fri, June 12th, 1998"),
            Some(vec![(",", Value::Month(6)), ("", Value::Number(12, 2)), (",", Value::Number(1998, 4))])
        );
        assert_eq!(
            values("12-Sept.-98"),
            Some(vec![("", Value::Number(12, 2)), ("-", Value::Month(9)), (".-", Value::Number(98, 2))])
        );
        for text in ["soon", "12 apples", "123456789", "1 2 3 4 5", "june friday 1", "1/2/3!", "th 12"] {
            assert_eq!(values(text), None, "{text}");
        }
    }
}
