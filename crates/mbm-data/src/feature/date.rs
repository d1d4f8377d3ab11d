//! Dates and times, encoded as phases of their cycles.

use std::f32::consts::TAU;
use std::path::Path;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, shown, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for dates.
    pub struct DatePreprocessing {
        /// A `strftime` pattern such as `%d.%m.%Y`. If unset, ISO 8601, `2024/12/31`, `31.12.2024`, `12/31/2024` (month first) and `20241231` are tried.
        datetime_format: Option<String> = None;
    }
}

/// A fitted date preprocessor: `Vector [11]`, the standardized year, then sine and cosine of the month, the day of the month,
/// the weekday, the day of the year and the time of day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedDate {
    /// The pattern, if one was given.
    pub format: Option<String>,
    /// Mean year of the training rows.
    pub mean_year: f32,
    /// Standard deviation of the year.
    #[serde(alias = "year_deviation")]
    pub year_std: f32,
}

struct DateFitter {
    format: Option<String>,
    years: Moments,
    any: bool,
}

impl DatePreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(DateFitter { format: self.datetime_format.clone(), years: Moments::default(), any: false })
    }
}

const DATE_TIMES: [&str; 6] =
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M"];
const DATES: [&str; 5] = ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d"];

/// Parses ISO 8601 (ignoring the time zone), `2024/12/31`, `31.12.2024` or `12/31/2024`; with `format`, that pattern only.
pub fn parse_date(text: &str, format: Option<&str>) -> Option<NaiveDateTime> {
    let text = text.trim();
    if let Some(format) = format {
        return NaiveDateTime::parse_from_str(text, format)
            .ok()
            .or_else(|| NaiveDate::parse_from_str(text, format).ok().and_then(at_midnight));
    }
    let with_zone = chrono::DateTime::parse_from_rfc3339(text).ok().map(|date| date.naive_local());
    with_zone
        .or_else(|| DATE_TIMES.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()))
        .or_else(|| DATES.iter().find_map(|format| NaiveDate::parse_from_str(text, format).ok()).and_then(at_midnight))
}

fn at_midnight(date: NaiveDate) -> Option<NaiveDateTime> {
    date.and_hms_opt(0, 0, 0)
}

impl Fitter for DateFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if let Some(date) = text_of(cell).ok().and_then(|text| parse_date(&text, self.format.as_deref())) {
            self.years.add(f64::from(date.year()));
            self.any = true;
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        if !self.any {
            return Err(FitError::NoValue("date"));
        }
        Ok(Preprocessor::Date(FittedDate { format: self.format, mean_year: self.years.mean(), year_std: self.years.std() }))
    }
}

impl Preprocess for FittedDate {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let text = text_of(cell)?;
        let date = parse_date(&text, self.format.as_deref());
        let date = date.ok_or_else(|| Fault::new(Cause::Malformed, format!("'{}' is not a date", shown(&text))))?;
        let cycles = [
            date.month0() as f32 / 12.0,
            date.day0() as f32 / 31.0,
            date.weekday().num_days_from_monday() as f32 / 7.0,
            date.ordinal0() as f32 / 366.0,
            date.num_seconds_from_midnight() as f32 / 86_400.0,
        ];
        let year = (date.year() as f32 - self.mean_year) / self.year_std;
        let waves = cycles.into_iter().flat_map(|phase| [(TAU * phase).sin(), (TAU * phase).cos()]);
        Ok(Payload::Vector(std::iter::once(year).chain(waves).collect()))
    }

    fn shape(&self) -> Shape {
        Shape::Vector { width: 11 }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(are_moments(&[self.mean_year], &[self.year_std], 1), "the mean or standard deviation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_date_formats_are_parsed() {
        let want = NaiveDate::from_ymd_opt(2024, 12, 31).unwrap().and_hms_opt(0, 0, 0).unwrap();
        for text in
            ["2024-12-31", "2024/12/31", "31.12.2024", "12/31/2024", "20241231", "2024-12-31T00:00:00Z", "2024-12-31 00:00"]
        {
            assert_eq!(parse_date(text, None), Some(want), "{text}");
        }
        assert_eq!(parse_date("31-12-2024", Some("%d-%m-%Y")), Some(want));
        assert_eq!(parse_date("soon", None), None);
    }
}
