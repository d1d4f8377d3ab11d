//! Numbers as people write them: `1,200.50`, `1.200,50`, `1 200`, `1'200`, `$5`, `5 EUR`, `12 %`, `(5)` for -5.

use mbm_config::choices;

use super::currency;

choices! {
    /// The character between the whole part and the decimals of a number.
    pub enum Decimal {
        /// `1,234.5`; commas, spaces and apostrophes separate thousands.
        Point = "point",
        /// `1.234,5`; points, spaces and apostrophes separate thousands.
        Comma = "comma",
    }
}

#[allow(clippy::derivable_impls, reason = "the macro derives the other traits")]
impl Default for Decimal {
    fn default() -> Self {
        Self::Point
    }
}

impl Decimal {
    fn separator(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    fn separates_thousands(self, found: char) -> bool {
        let other = match self {
            Self::Point => ',',
            Self::Comma => '.',
        };
        found == other || matches!(found, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\'' | '’')
    }
}

/// Returns the number that a text stands for: a number as programs write it, or one with thousands separators, a sign, a currency or
/// a percent sign, or in parentheses, which negate it. `12 %` is 12. Other units are not numbers.
pub fn parse_number(text: &str, decimal: Decimal) -> Option<f64> {
    let text = text.trim();
    if decimal == Decimal::Point
        && let Ok(value) = text.parse()
    {
        return Some(value);
    }
    let (is_negative, body) = body(text)?;
    let value: f64 = plain(body, decimal)?.parse().ok()?;
    Some(if is_negative { -value } else { value })
}

/// Returns whether the number is negative, and its digits with separators.
fn body(text: &str) -> Option<(bool, &str)> {
    let (mut sign, mut in_parentheses, mut has_currency, mut is_percent) = (None, false, false, false);
    let mut rest = text;
    while !(rest.starts_with(is_number_part) && rest.ends_with(is_number_part)) {
        if let Some(inner) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            once(&mut in_parentheses)?;
            rest = inner.trim();
        } else if let Some(after) = rest.strip_prefix(['-', '−', '+']) {
            if sign.replace(!rest.starts_with('+')).is_some() {
                return None;
            }
            rest = after;
        } else if let Some(before) = rest.strip_suffix('%') {
            once(&mut is_percent)?;
            rest = before.trim_end();
        } else {
            once(&mut has_currency)?;
            rest = currency::strip_prefix(rest).or_else(|| currency::strip_suffix(rest))?;
        }
    }
    let contradicts = (in_parentheses && sign.is_some()) || (has_currency && is_percent);
    (!contradicts).then_some((in_parentheses || sign == Some(true), rest))
}

fn is_number_part(found: char) -> bool {
    found.is_ascii_digit() || found == '.' || found == ','
}

/// Sets a flag, unless it is set.
fn once(flag: &mut bool) -> Option<()> {
    (!std::mem::replace(flag, true)).then_some(())
}

/// Returns the number with a decimal point and without thousands separators.
fn plain(body: &str, decimal: Decimal) -> Option<String> {
    let (mantissa, exponent) =
        body.split_once(['e', 'E']).map_or((body, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once(decimal.separator()).unwrap_or((mantissa, ""));
    if !are_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let is_plain = are_digits(whole);
    if !is_plain && (exponent.is_some() || !are_groups(whole, decimal)) {
        return None;
    }
    let mut text: String = whole.chars().filter(char::is_ascii_digit).collect();
    text.push('.');
    text.push_str(fraction);
    if let Some(exponent) = exponent {
        text.push('e');
        text.push_str(exponent);
    }
    Some(text)
}

/// Whether a text has nothing but digits, or nothing at all.
fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a separator divides the digits into groups of three, such as `1,234,567`, or of two before the last three, as in India:
/// `12,34,567`. A first group with a zero in front, such as that of `0,567`, is no group of thousands.
fn are_groups(whole: &str, decimal: Decimal) -> bool {
    let Some(separator) = whole.chars().find(|found| !found.is_ascii_digit()).filter(|it| decimal.separates_thousands(*it))
    else {
        return false;
    };
    if whole.rsplit(separator).next().map(str::len) != Some(3) {
        return false;
    }
    let groups: Vec<&str> = whole.split(separator).collect();
    let [first, between @ .., _] = groups.as_slice() else { return false };
    let is_indian = separator == ',' && !between.is_empty() && between.iter().all(|group| group.len() == 2);
    let n_between = if is_indian { 2 } else { 3 };
    (1..=n_between).contains(&first.len())
        && !first.starts_with('0')
        && between.iter().all(|group| group.len() == n_between)
        && groups.iter().all(|group| are_digits(group))
}

/// How many cells of a column only one notation reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct DecimalVotes {
    point: usize,
    comma: usize,
}

impl DecimalVotes {
    /// Counts a cell, given what it reads as with a decimal point and with a decimal comma.
    pub fn add(&mut self, point: Option<f64>, comma: Option<f64>) {
        self.point += usize::from(point.is_some() && comma.is_none());
        self.comma += usize::from(comma.is_some() && point.is_none());
    }

    /// Returns the notation of the column: a point unless more cells require a comma.
    pub fn decimal(&self) -> Decimal {
        if self.comma > self.point { Decimal::Comma } else { Decimal::Point }
    }
}

#[cfg(test)]
mod tests;
