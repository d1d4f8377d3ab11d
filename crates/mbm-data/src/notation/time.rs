//! Times of day: `10:30`, `10:30:15.25`, `3:05 PM`, each with a zone behind it or without.

use chrono::NaiveTime;

/// Splits a text into a date, the time behind it, and the year that C's `ctime` writes last. Without a colon, all of it is a date.
pub(super) fn split_time(text: &str) -> Option<(&str, NaiveTime, Option<&str>)> {
    let Some(colon) = text.find(':') else { return Some((text, NaiveTime::MIN, None)) };
    let hour = text[..colon].rfind(|found: char| !found.is_ascii_digit()).map_or(0, |at| at + 1);
    // The byte in front of the hour may be the last of a longer character.
    let (date, time) = text.split_at_checked(hour).or_else(|| text.split_at_checked(colon))?;
    let (time, rest) = clock(time)?;
    let year = year_behind_zone(rest.trim_start())?;
    Some((date.trim_end_matches([' ', ',', 'T', 't']), time, year))
}

/// Reads a time at the start of a text, and returns the text behind it.
fn clock(text: &str) -> Option<(NaiveTime, &str)> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => number(rest, 2)?,
        None => (0, rest),
    };
    let (nanoseconds, rest) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let (hour, rest) = half_of_day(hour, rest)?;
    // A leap second counts as the second before it.
    let second = if second == 60 { 59 } else { second };
    Some((NaiveTime::from_hms_nano_opt(hour, minute, second, nanoseconds)?, rest))
}

/// Reads a number of at most `n_digits` digits.
fn number(text: &str, n_digits: usize) -> Option<(u32, &str)> {
    let n = text.bytes().take(n_digits).take_while(u8::is_ascii_digit).count();
    Some((text[..n].parse().ok()?, &text[n..]))
}

/// Reads the digits of a fraction as nanoseconds; those behind the ninth are ignored.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let n = text.bytes().take_while(u8::is_ascii_digit).count();
    let digits: String = text[..n.min(9)].chars().chain(std::iter::repeat('0')).take(9).collect();
    (n > 0).then(|| Some((digits.parse().ok()?, &text[n..])))?
}

/// Applies `AM` or `PM`, if one of them follows.
fn half_of_day(hour: u32, text: &str) -> Option<(u32, &str)> {
    let rest = text.trim_start();
    let Some(half) = rest.get(..2).map(str::to_ascii_lowercase).filter(|half| half == "am" || half == "pm") else {
        return Some((hour, text));
    };
    let hour = (1..=12).contains(&hour).then(|| hour % 12 + if half == "pm" { 12 } else { 0 })?;
    Some((hour, &rest[2..]))
}

/// Reads `Z`, `+01:00`, `+0100`, `+01` or a name such as `UTC`, and a year behind it. The outer `None` stands for anything else.
fn year_behind_zone(text: &str) -> Option<Option<&str>> {
    let rest = match text.strip_prefix(['+', '-', '−']) {
        Some(offset) => {
            let (_, rest) = number(offset, 2)?;
            let rest = rest.strip_prefix(':').unwrap_or(rest);
            number(rest, 2).map_or(rest, |(_, rest)| rest)
        }
        None => {
            let n = text.bytes().take_while(u8::is_ascii_uppercase).count();
            text.strip_prefix('z').unwrap_or((n <= 5).then(|| &text[n..])?)
        }
    };
    let year = rest.trim_start();
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    (year.is_empty() || is_year).then_some(is_year.then_some(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_dates() {
        let time = |text| split_time(text).map(|(date, time, year)| (date, time.to_string(), year));
        let read = |date, time: &str, year| Some((date, time.to_owned(), year));
        assert_eq!(time("2024-12-31"), read("2024-12-31", "00:00:00", None));
        assert_eq!(time("2024-12-31T23:59:58.5Z"), read("2024-12-31", "23:59:58.500", None));
        assert_eq!(time("d 1:02"), read("d", "01:02:00", None));
        assert_eq!(time("d 3:05 PM"), read("d", "15:05:00", None));
        assert_eq!(time("d, 12:00am"), read("d", "00:00:00", None));
        assert_eq!(time("d 23:59:60 +01:00"), read("d", "23:59:59", None));
        assert_eq!(time("d 10:00:00.1234567891 -0530"), read("d", "10:00:00.123456789", None));
        assert_eq!(time("Mon Jun 12 10:00:00 UTC 1998"), read("Mon Jun 12", "10:00:00", Some("1998")));
        for text in ["d 24:00", "d 1:60", "d 10:00 later", "d 13:00 PM", "d :30", "d 10:", "d 10:00:61", "d 10:00 UTC 98"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
