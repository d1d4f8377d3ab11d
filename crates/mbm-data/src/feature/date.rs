//! Dates and times, encoded as phases of their cycles.

use std::f32::consts::TAU;
use std::path::Path;

use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::{FitError, Fitter, InvalidFit, Moments, Preprocess, Preprocessor, Shape, are_moments, ensure, shown, text_of};
use crate::notation::date::{self, DateOrder, EpochUnit, OrderVotes, is_plausible, since_1970};
use crate::notation::null_values::{self, NullValues};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for dates.
    pub struct DatePreprocessing {
        /// A `strftime` pattern such as `%d.%m.%Y`. If unset, dates are read as people write them: ISO 8601 (the time zone is ignored),
        /// `2024/12/31`, `31.12.2024`, `12/31/2024`, `20241231`, `Dec 31, 2024`, `31 December 2024`, `2024-12`, each with a time of
        /// day or without, and numbers of seconds or milliseconds since 1970.
        datetime_format: Option<String> = None;
        /// The order of day and month in dates such as `01/02/2024`. If unset, the training cells decide, such as `31/12/2024`; if no
        /// cell tells, the day is first in `01.02.2024`, and the month in `01/02/2024`.
        date_order: Option<DateOrder> = None;
        /// Words that mark a cell as empty; `[]` for none. If unset, they are the same as those of numbers, such as `NA`.
        null_values: Option<Vec<String>> = None;
    }
}

/// A fitted date preprocessor: `Vector [11]`, the standardized year, then sine and cosine of the month, the day of the month,
/// the weekday, the day of the year and the time of day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedDate {
    /// How cells are read.
    #[serde(flatten)]
    pub(crate) reader: DateReader,
    /// Mean year of the training rows.
    pub mean_year: f32,
    /// Standard deviation of the year.
    #[serde(alias = "year_deviation")]
    pub year_std: f32,
    /// Words that mark a cell as empty.
    #[serde(default)]
    pub null_values: NullValues,
}

/// How the dates of a column are read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DateReader {
    /// The pattern, if one was given.
    pub format: Option<String>,
    /// The order of day and month, if it is known.
    #[serde(default)]
    pub order: Option<DateOrder>,
    /// The unit of dates that are numbers.
    #[serde(default)]
    pub epoch: Option<EpochUnit>,
}

struct DateFitter {
    settings: DatePreprocessing,
    null_values: NullValues,
    votes: OrderVotes,
    /// The years with the day first, and with the month first.
    years: [Moments; 2],
    n_dates: usize,
    numbers: EpochVotes,
}

/// The years of cells that are numbers, in either unit.
#[derive(Default)]
struct EpochVotes {
    seconds: Moments,
    milliseconds: Moments,
    n_seconds: usize,
    n_milliseconds: usize,
}

impl DatePreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        Box::new(DateFitter {
            null_values: NullValues::of(self.null_values.as_ref()),
            settings: self.clone(),
            votes: OrderVotes::default(),
            years: [Moments::default(); 2],
            n_dates: 0,
            numbers: EpochVotes::default(),
        })
    }
}

/// Parses a date as people write it, ignoring the time zone: the day is first in `01.02.2024`, and the month in `01/02/2024`. With
/// `format`, parses that pattern only.
pub fn parse_date(text: &str, format: Option<&str>) -> Option<NaiveDateTime> {
    match format {
        Some(format) => parse_pattern(text.trim(), format),
        None => date::parse(text)?.read(None),
    }
}

fn parse_pattern(text: &str, format: &str) -> Option<NaiveDateTime> {
    let day = || NaiveDate::parse_from_str(text, format).ok()?.and_hms_opt(0, 0, 0);
    NaiveDateTime::parse_from_str(text, format).ok().or_else(day)
}

impl DateReader {
    /// Returns how a column of texts is read, with the order of day and month, or the unit of numbers, that its cells require.
    pub fn of_texts(texts: &[String]) -> Self {
        let mut votes = OrderVotes::default();
        texts.iter().filter_map(|text| date::parse(text)).for_each(|date| votes.add(date));
        let epoch = [EpochUnit::Seconds, EpochUnit::Milliseconds].into_iter();
        let mut epoch = epoch.filter(|unit| texts.iter().all(|text| text.parse().is_ok_and(|value| is_plausible(value, *unit))));
        Self { order: votes.order(), epoch: epoch.next(), ..Self::default() }
    }

    /// Parses a date.
    pub fn read(&self, text: &str) -> Option<NaiveDateTime> {
        match (&self.format, self.epoch) {
            (Some(format), _) => parse_pattern(text.trim(), format),
            (None, Some(unit)) => {
                text.trim().parse().ok().and_then(|value| since_1970(value, unit)).or_else(|| self.written(text))
            }
            (None, None) => self.written(text),
        }
    }

    fn written(&self, text: &str) -> Option<NaiveDateTime> {
        date::parse(text)?.read(self.order)
    }
}

impl EpochVotes {
    /// Counts a number as a date in the unit in which it lies between 1970 and 2200. The first 84 days of 1970 in milliseconds are
    /// taken for seconds.
    fn add(&mut self, value: f64) {
        if let Some(date) = since_1970(value, EpochUnit::Seconds) {
            self.seconds.add(f64::from(date.year()));
            self.n_seconds += 1;
        } else if let Some(date) = since_1970(value, EpochUnit::Milliseconds) {
            self.milliseconds.add(f64::from(date.year()));
            self.n_milliseconds += 1;
        }
    }
}

impl DateFitter {
    fn add(&mut self, text: &str) {
        if let Some(format) = &self.settings.datetime_format {
            if let Some(date) = parse_pattern(text.trim(), format) {
                self.n_dates += 1;
                self.years.iter_mut().for_each(|years| years.add(f64::from(date.year())));
            }
        } else if let Some(date) = date::parse(text) {
            self.n_dates += 1;
            self.votes.add(date);
            for (years, order) in self.years.iter_mut().zip([DateOrder::DayFirst, DateOrder::MonthFirst]) {
                // Where no cell tells the order, the year of a readable cell does not depend on it.
                date.read(Some(order)).iter().for_each(|date| years.add(f64::from(date.year())));
            }
        } else if let Ok(value) = text.trim().parse() {
            self.numbers.add(value);
        }
    }
}

impl Fitter for DateFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if self.null_values.word_in(cell).is_none()
            && let Ok(text) = text_of(cell)
        {
            self.add(&text);
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let Self { settings, null_values, votes, years, n_dates, numbers } = *self;
        let order = settings.date_order.or_else(|| votes.order());
        let n_numbers = numbers.n_seconds.max(numbers.n_milliseconds);
        let (epoch, years) = match (n_numbers > n_dates, order) {
            (true, _) if numbers.n_seconds >= numbers.n_milliseconds => (Some(EpochUnit::Seconds), numbers.seconds),
            (true, _) => (Some(EpochUnit::Milliseconds), numbers.milliseconds),
            (false, Some(DateOrder::DayFirst)) => (None, years[0]),
            (false, Some(DateOrder::MonthFirst) | None) => (None, years[1]),
        };
        if n_dates.max(n_numbers) == 0 {
            return Err(FitError::NoValue("date"));
        }
        let reader = DateReader { format: settings.datetime_format, order, epoch };
        Ok(Preprocessor::Date(FittedDate { reader, mean_year: years.mean(), year_std: years.std(), null_values }))
    }
}

impl Preprocess for FittedDate {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        if let Some(word) = self.null_values.word_in(cell) {
            return Err(null_values::fault(&word));
        }
        let text = text_of(cell)?;
        let date = self.reader.read(&text);
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

    fn fitted(settings: &DatePreprocessing, texts: &[&str]) -> FittedDate {
        let mut fitter = settings.fitter();
        texts.iter().for_each(|text| fitter.observe(&Cell::text(text), Path::new("")));
        let Ok(Preprocessor::Date(fitted)) = fitter.finish() else { panic!("expected a date") };
        fitted.check().unwrap();
        fitted
    }

    fn day(fitted: &FittedDate, text: &str) -> Option<String> {
        fitted.reader.read(text).map(|date| date.date().to_string())
    }

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

    #[test]
    fn order_of_the_training_cells_is_that_of_prediction() {
        let defaults: DatePreprocessing = mbm_config::defaults();
        let european = fitted(&defaults, &["01/02/2024", "31/12/2023", "NA"]);
        assert_eq!(day(&european, "03/04/2024").as_deref(), Some("2024-04-03"));
        assert_eq!(day(&european, "04/13/2024"), None);
        assert_eq!((european.mean_year, european.year_std), (2023.5, 0.5));
        let american = fitted(&defaults, &["01/02/2024", "12/31/2023"]);
        assert_eq!(day(&american, "03/04/2024").as_deref(), Some("2024-03-04"));
        let set = DatePreprocessing { date_order: Some(DateOrder::DayFirst), ..defaults };
        assert_eq!(day(&fitted(&set, &["01/02/2024"]), "03/04/2024").as_deref(), Some("2024-04-03"));
    }

    #[test]
    fn seconds_and_milliseconds_since_1970_are_told_apart() {
        let defaults: DatePreprocessing = mbm_config::defaults();
        let seconds = fitted(&defaults, &["1735603200", "1704067200"]);
        assert_eq!(
            (seconds.reader.epoch, day(&seconds, "1735603200").as_deref()),
            (Some(EpochUnit::Seconds), Some("2024-12-31"))
        );
        let milliseconds = fitted(&defaults, &["1735603200000"]);
        assert_eq!(day(&milliseconds, "1735603200000").as_deref(), Some("2024-12-31"));
        assert_eq!(day(&fitted(&defaults, &["20241231"]), "20240101").as_deref(), Some("2024-01-01"));
        assert!(milliseconds.payload(&Cell::Number(1_735_603_200_000.0), Path::new("")).is_ok());
    }

    #[test]
    fn listed_words_are_empty_cells_and_others_malformed() {
        let fitted = fitted(&mbm_config::defaults(), &["2024-12-31"]);
        let cause = |text| fitted.payload(&Cell::text(text), Path::new("")).unwrap_err().cause;
        assert_eq!((cause("NaT"), cause("soon")), (Cause::Empty, Cause::Malformed));
    }

    #[test]
    fn date_of_an_earlier_version_is_loaded() {
        let fitted: FittedDate = serde_json::from_str(r#"{"format": "%Y", "mean_year": 2000.0, "year_deviation": 1.0}"#).unwrap();
        assert_eq!(fitted.reader, DateReader { format: Some("%Y".into()), ..DateReader::default() });
    }
}
