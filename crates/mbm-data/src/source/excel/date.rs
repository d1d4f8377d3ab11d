//! Dates, which Excel stores as days since 1900 or 1904.

use chrono::{Datelike, Days, NaiveDate, TimeDelta};

/// Days from the beginning of the calendar of 1900 to that of 1904.
const DAYS_OF_1904: f64 = 1462.0;

/// The first day after the calendar ends with the year 9999.
const END: f64 = 2_958_466.0;

/// Milliseconds of a day.
const DAY: f64 = 86_400_000.0;

/// Writes a number of days as `2024-12-31`, or with a time of day as `2024-12-31 10:00:00`; `None` for a time without a date, and
/// outside the calendar.
pub(super) fn date(days: f64, is_1904: bool) -> Option<String> {
    let days = if is_1904 { days + DAYS_OF_1904 } else { days };
    if !(1.0..END).contains(&days) {
        return None;
    }
    // The calendar of 1900 has a 29th of February, day 60, which that year had not.
    let first = if days < 60.0 { 31 } else { 30 };
    let start = NaiveDate::from_ymd_opt(1899, 12, first)?.and_hms_opt(0, 0, 0)?;
    let milliseconds = (days.fract() * DAY).round() as i64;
    let time = start.checked_add_days(Days::new(days as u64))?.checked_add_signed(TimeDelta::milliseconds(milliseconds))?;
    let format = match milliseconds {
        0 => "%Y-%m-%d",
        whole if whole % 1000 == 0 => "%Y-%m-%d %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S%.3f",
    };
    (time.year() < 10_000).then(|| time.format(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_excel_does() {
        for (days, want) in [
            (1.0, Some("1900-01-01")),
            (59.0, Some("1900-02-28")),
            (61.0, Some("1900-03-01")),
            (45657.0, Some("2024-12-31")),
            (45657.4375, Some("2024-12-31 10:30:00")),
            (45657.999999999, Some("2025-01-01 00:00:00")),
            (45657.00001157, Some("2024-12-31 00:00:01")),
            (45657.0000001, Some("2024-12-31 00:00:00.009")),
            (0.5, None),
            (-3.0, None),
            (f64::NAN, None),
            (2_958_465.0, Some("9999-12-31")),
            (2_958_465.999999999999, None),
            (1e300, None),
        ] {
            assert_eq!(date(days, false).as_deref(), want, "{days}");
        }
        assert_eq!(date(0.0, true).as_deref(), Some("1904-01-01"));
    }
}
