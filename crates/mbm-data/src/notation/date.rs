//! Dates as people write them: ISO 8601, `31.12.2024`, `12/31/2024`, `Jun 12 1998`, `12 June 1998`, `1998-06`, seconds since 1970.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime};
use mbm_config::choices;

use super::date_words::{Part, Value, parts};
use super::time::split_time;

choices! {
    /// The order of day and month in dates of numbers whose year comes last.
    pub enum DateOrder {
        /// `31/12/2024`
        DayFirst = "day_first",
        /// `12/31/2024`
        MonthFirst = "month_first",
    }
}

choices! {
    /// The unit of dates that are numbers, counted since 1970.
    pub enum EpochUnit {
        /// Seconds.
        Seconds = "seconds",
        /// Milliseconds.
        Milliseconds = "milliseconds",
    }
}

/// Longest text that may be a date, in bytes.
const MAX_BYTES: usize = 64;

/// A date whose day and month may be in either order, with its time of day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WrittenDate {
    day: Day,
    time: NaiveTime,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Day {
    Known(NaiveDate),
    /// Two numbers in front of a year.
    Ordered {
        first: u32,
        second: u32,
        year: i32,
        with_points: bool,
    },
}

/// Parses a date, with a time of day or without; the time zone is ignored.
pub(crate) fn parse(text: &str) -> Option<WrittenDate> {
    let text = text.trim();
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Some(compact) = compact(text) {
        return Some(compact);
    }
    let (date, time, year) = split_time(text)?;
    let mut parts = parts(date)?;
    if let Some(year) = year {
        parts.push(Part { before: "", value: Value::Number(year.parse().ok()?, 4) });
    }
    Some(WrittenDate { day: day(&parts)?, time })
}

/// Parses `20241231T235959`, with `Z` behind it or without.
fn compact(text: &str) -> Option<WrittenDate> {
    let (date, time) = text.split_once('T').filter(|(date, time)| date.len() == 8 && !time.contains(':'))?;
    let day = day(&parts(date)?)?;
    let time = NaiveTime::parse_from_str(time.strip_suffix('Z').unwrap_or(time), "%H%M%S").ok()?;
    Some(WrittenDate { day, time })
}

/// Returns the day that numbers and months stand for.
fn day(parts: &[Part]) -> Option<Day> {
    use Value::{Month, Number};
    let values: Vec<Value> = parts.iter().map(|part| part.value).collect();
    let separators: Vec<&str> = parts.iter().skip(1).map(|part| part.before).collect();
    let known = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).map(Day::Known);
    match (values.as_slice(), separators.as_slice()) {
        ([Number(day, 8)], _) => known((day / 10_000) as i32, day / 100 % 100, day % 100),
        ([Number(year, 4), Number(month, 1..=2), Number(day, 1..=2)], [a @ ("-" | "/" | "."), b]) if a == b => {
            known(*year as i32, *month, *day)
        }
        ([Number(first, 1..=2), Number(second, 1..=2), year], [a @ ("-" | "/" | "."), b]) if a == b => {
            ordered(*first, *second, year_of(*year)?, *a == ".")
        }
        ([Number(year, 4), Number(month, 1..=2)] | [Number(month, 1..=2), Number(year, 4)], ["-" | "/"]) => {
            known(*year as i32, *month, 1)
        }
        ([Month(month), Number(day, 1..=2), year] | [Number(day, 1..=2), Month(month), year], between) if are_loose(between) => {
            known(year_of(*year)?, *month, *day)
        }
        ([Number(year, 4), Month(month), Number(day, 1..=2)], between) if are_loose(between) => known(*year as i32, *month, *day),
        ([Month(month), Number(year, 4)] | [Number(year, 4), Month(month)], between) if are_loose(between) => {
            known(*year as i32, *month, 1)
        }
        // `Jun-98`; in `Jun 12`, the number is a day.
        ([Month(month), year @ Number(_, 2)], ["-" | "'" | "-'"]) => known(year_of(*year)?, *month, 1),
        _ => None,
    }
}

/// Returns two numbers in front of a year, at least one of which is a month.
fn ordered(first: u32, second: u32, year: i32, with_points: bool) -> Option<Day> {
    let day = Day::Ordered { first, second, year, with_points };
    let orders = [DateOrder::DayFirst, DateOrder::MonthFirst];
    orders.iter().any(|order| day.read(Some(*order)).is_some()).then_some(day)
}

/// Returns a year of four digits, or of two: those from 69 belong to the last century, as in POSIX.
fn year_of(value: Value) -> Option<i32> {
    match value {
        Value::Number(year, 4) => Some(year as i32),
        Value::Number(year, 2) => Some(year as i32 + if year < 69 { 2000 } else { 1900 }),
        Value::Number(..) | Value::Month(_) => None,
    }
}

/// Whether the separators are ones that stand next to the name of a month.
fn are_loose(between: &[&str]) -> bool {
    between.iter().all(|separator| matches!(*separator, "" | "," | "." | "-" | "/" | "'" | ".," | ".-" | ", '"))
}

impl Day {
    fn read(self, order: Option<DateOrder>) -> Option<NaiveDate> {
        let (first, second, year, order) = match self {
            Self::Known(date) => return Some(date),
            Self::Ordered { first, second, year, with_points: true } => {
                (first, second, year, order.unwrap_or(DateOrder::DayFirst))
            }
            Self::Ordered { first, second, year, .. } => (first, second, year, order.unwrap_or(DateOrder::MonthFirst)),
        };
        match order {
            DateOrder::DayFirst => NaiveDate::from_ymd_opt(year, second, first),
            DateOrder::MonthFirst => NaiveDate::from_ymd_opt(year, first, second),
        }
    }
}

impl WrittenDate {
    /// Returns the date; without an order, the day is first between points, and otherwise the month.
    pub fn read(self, order: Option<DateOrder>) -> Option<NaiveDateTime> {
        self.day.read(order).map(|day| day.and_time(self.time))
    }

    /// Whether the order of day and month matters.
    pub fn is_ordered(self) -> bool {
        matches!(self.day, Day::Ordered { .. })
    }
}

/// How many cells of a column only one order reads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OrderVotes {
    day_first: usize,
    month_first: usize,
}

impl OrderVotes {
    /// Counts a cell.
    pub fn add(&mut self, date: WrittenDate) {
        let reads = |order| date.read(Some(order)).is_some();
        match (reads(DateOrder::DayFirst), reads(DateOrder::MonthFirst)) {
            (true, false) => self.day_first += 1,
            (false, true) => self.month_first += 1,
            (true, true) | (false, false) => {}
        }
    }

    /// Returns the order that more cells require; none if no cell tells.
    pub fn order(&self) -> Option<DateOrder> {
        match self.day_first.cmp(&self.month_first) {
            std::cmp::Ordering::Greater => Some(DateOrder::DayFirst),
            std::cmp::Ordering::Less => Some(DateOrder::MonthFirst),
            std::cmp::Ordering::Equal => None,
        }
    }
}

/// Returns the date of a number since 1970, if it lies between 1970 and 2200.
pub(crate) fn since_1970(value: f64, unit: EpochUnit) -> Option<NaiveDateTime> {
    let milliseconds = match unit {
        EpochUnit::Seconds => value * 1000.0,
        EpochUnit::Milliseconds => value,
    };
    // The upper bound is in the range of `i64`, so that the conversion is exact.
    const END: f64 = 7_258_118_400_000.0;
    (0.0..END).contains(&milliseconds).then(|| DateTime::from_timestamp_millis(milliseconds as i64))?.map(|date| date.naive_utc())
}

/// Whether an integer is plausible as a time between 2000 and 2040 in this unit: identifiers seldom are.
pub(crate) fn is_plausible(value: f64, unit: EpochUnit) -> bool {
    since_1970(value, unit).is_some_and(|date| (2000..2040).contains(&date.year()))
}

#[cfg(test)]
mod tests;
