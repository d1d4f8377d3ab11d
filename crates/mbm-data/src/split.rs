//! Splits rows into training, validation and test.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use mbm_config::{settings, tagged};
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};

use crate::feature::{DateOrder, DatePreprocessing, DateReader};
use crate::random::{rng, seed};
use crate::{DataError, Table};

/// The split of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Fits features and trains the model.
    Train,
    /// Selects the best checkpoint and decides when training stops.
    Validation,
    /// Evaluated once, at the end.
    Test,
}

/// A split that cannot be made or leaves no rows for training.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// No rows are left for training.
    #[error("no rows are left for training")]
    NoTrainingRows,
    /// A number of fractions other than three.
    #[error("probabilities has {0} values, expected three: train, validation, test")]
    Count(usize),
    /// Fractions that do not sum to 1.
    #[error("probabilities sum to {0}, they must sum to 1")]
    Sum(f64),
    /// A cell that does not name a split.
    #[error("row {row}, column '{column}': '{word}' is not one of train, validation, test (or 0, 1, 2)")]
    UnknownSplit {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
        /// The text of the cell.
        word: String,
    },
    /// A cell that does not match the pattern of dates.
    #[error("row {row}, column '{column}': '{text}' does not match datetime_format '{format}'")]
    OtherFormat {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
        /// The text of the cell.
        text: String,
        /// The pattern.
        format: String,
    },
    /// A cell that is not a date.
    #[error(
        "row {row}, column '{column}': '{text}' is not a date; write dates as 2024-12-31, 2024/12/31, 31.12.2024, 12/31/2024 or 20241231"
    )]
    NoDate {
        /// The row, starting at 1.
        row: usize,
        /// The column.
        column: String,
        /// The text of the cell.
        text: String,
    },
}

settings! {
    /// Fractions of rows, sampled at random.
    pub struct Random {
        /// Fractions of train, validation and test.
        probabilities: Vec<f64> = vec![0.7, 0.1, 0.2] => 0.0..=1.0;
    }
    /// A column with the values `train`, `validation` (or `val`) or `test`, or 0, 1, 2.
    pub struct Fixed {
        /// The column.
        column: String = "split".to_owned();
    }
    /// Fractions of the rows with each value of a column, sampled at random, so that all splits have the same distribution.
    pub struct Stratify {
        /// The column.
        column: String;
        /// Fractions of train, validation and test.
        probabilities: Vec<f64> = vec![0.7, 0.1, 0.2] => 0.0..=1.0;
    }
    /// Rows with the same value of a column, such as a patient, stay together. Each row with an empty cell is on its own.
    pub struct Group {
        /// The column.
        column: String;
        /// Fractions of train, validation and test.
        probabilities: Vec<f64> = vec![0.7, 0.1, 0.2] => 0.0..=1.0;
    }
    /// The oldest rows by a column of dates are for training, the newest for the test; rows with the same date stay together.
    pub struct Datetime {
        /// The column.
        column: String;
        /// Fractions of train, validation and test.
        probabilities: Vec<f64> = vec![0.7, 0.1, 0.2] => 0.0..=1.0;
        /// A `strftime` pattern of the dates, such as `%d.%m.%Y`; by default, that of a date input with this column. Without either, dates
        /// are read as people write them.
        datetime_format: Option<String> = None;
        /// The order of day and month in dates such as `01/02/2024`; by default, that of a date input with this column, or else the one that
        /// the cells require.
        date_order: Option<DateOrder> = None;
    }
    /// By a hash of a column, so that a row keeps its split when rows are added.
    pub struct Hash {
        /// The column.
        column: String;
        /// Fractions of train, validation and test.
        probabilities: Vec<f64> = vec![0.7, 0.1, 0.2] => 0.0..=1.0;
    }
}

tagged! {
    /// How rows are split.
    pub enum SplitSettings: Random {
        Random(Random) = "random",
        Fixed(Fixed) = "fixed",
        Stratify(Stratify) = "stratify",
        Group(Group) = "group",
        Datetime(Datetime) = "datetime",
        Hash(Hash) = "hash",
    }
}

impl SplitSettings {
    /// Returns the column that the split reads, if any.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Random(_) => None,
            Self::Fixed(fixed) => Some(&fixed.column),
            Self::Stratify(Stratify { column, .. })
            | Self::Group(Group { column, .. })
            | Self::Datetime(Datetime { column, .. })
            | Self::Hash(Hash { column, .. }) => Some(column),
        }
    }
}

impl Datetime {
    /// Returns the same split with dates read as a date input reads them, where this one does not say how.
    pub fn read_as(self, input: &DatePreprocessing) -> Self {
        let datetime_format = self.datetime_format.or_else(|| input.datetime_format.clone());
        Self { datetime_format, date_order: self.date_order.or(input.date_order), ..self }
    }
}

/// Returns the split of every row, in row order; `run_seed` seeds all random choices.
///
/// # Errors
/// Fails if a column does not exist, the fractions do not sum to 1, a value is not a split or a date, or no rows are left for
/// training.
pub fn split(table: &Table, settings: &SplitSettings, run_seed: u64) -> Result<Vec<Split>, DataError> {
    let roles = match settings {
        SplitSettings::Random(random) => along(&shuffled(0..table.n_rows(), run_seed), shares(&random.probabilities)?),
        SplitSettings::Fixed(fixed) => fixed_roles(table, &fixed.column)?,
        SplitSettings::Stratify(by) => stratified(table, &by.column, shares(&by.probabilities)?, run_seed)?,
        SplitSettings::Group(by) => grouped(table, &by.column, shares(&by.probabilities)?, run_seed)?,
        SplitSettings::Datetime(by) => by_date(table, by, shares(&by.probabilities)?)?,
        SplitSettings::Hash(by) => by_hash(table, &by.column, shares(&by.probabilities)?)?,
    };
    if roles.contains(&Split::Train) { Ok(roles) } else { Err(SplitError::NoTrainingRows.into()) }
}

fn shares(probabilities: &[f64]) -> Result<[f64; 3], SplitError> {
    let shares = <[f64; 3]>::try_from(probabilities).map_err(|_| SplitError::Count(probabilities.len()))?;
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() < 1e-6 { Ok(shares) } else { Err(SplitError::Sum(sum)) }
}

fn role(share: f64, [train, validation, _]: [f64; 3]) -> Split {
    match share {
        share if share < train => Split::Train,
        share if share < train + validation - 1e-12 => Split::Validation,
        _ => Split::Test,
    }
}

/// Assigns splits by position in an order of all rows.
fn along(order: &[usize], shares: [f64; 3]) -> Vec<Split> {
    let mut roles = vec![Split::Train; order.len()];
    order
        .iter()
        .enumerate()
        .for_each(|(position, row_idx)| roles[*row_idx] = role((position as f64 + 0.5) / order.len() as f64, shares));
    roles
}

fn shuffled(rows: impl IntoIterator<Item = usize>, run_seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = rows.into_iter().collect();
    order.shuffle(&mut rng(seed(run_seed, "split", 0, 0)));
    order
}

/// Returns the text of a column, row by row.
pub(crate) fn column(table: &Table, name: &str) -> Result<Vec<String>, DataError> {
    let at = table.require(name)?;
    let mut texts = Vec::with_capacity(table.n_rows());
    table.visit(0..table.n_rows(), at..at + 1, |_, cell| texts.push(cell.to_text().trim().to_owned()))?;
    Ok(texts)
}

fn fixed_roles(table: &Table, name: &str) -> Result<Vec<Split>, DataError> {
    let words = column(table, name)?;
    let splits = words.iter().enumerate().map(|(row_idx, word)| {
        parse_split(word).ok_or_else(|| SplitError::UnknownSplit {
            row: row_idx + 1,
            column: name.to_owned(),
            word: word.clone(),
        })
    });
    Ok(splits.collect::<Result<_, _>>()?)
}

fn parse_split(word: &str) -> Option<Split> {
    match word.to_ascii_lowercase().as_str() {
        "train" | "training" | "0" => Some(Split::Train),
        "validation" | "val" | "valid" | "dev" | "1" => Some(Split::Validation),
        "test" | "2" => Some(Split::Test),
        _ => None,
    }
}

/// Returns the rows of each value, sorted by value.
fn groups(table: &Table, name: &str) -> Result<Vec<(String, Vec<usize>)>, DataError> {
    let mut rows: HashMap<String, Vec<usize>> = HashMap::new();
    column(table, name)?.into_iter().enumerate().for_each(|(row_idx, value)| rows.entry(value).or_default().push(row_idx));
    let mut groups: Vec<_> = rows.into_iter().collect();
    groups.sort();
    Ok(groups)
}

fn stratified(table: &Table, name: &str, shares: [f64; 3], run_seed: u64) -> Result<Vec<Split>, DataError> {
    let mut roles = vec![Split::Train; table.n_rows()];
    for (value, rows) in groups(table, name)? {
        let order = shuffled(rows, seed(run_seed, &value, 0, 0));
        order
            .iter()
            .enumerate()
            .for_each(|(position, row_idx)| roles[*row_idx] = role((position as f64 + 0.5) / order.len() as f64, shares));
    }
    Ok(roles)
}

/// Assigns whole groups, in a random order, until each split has its fraction of rows. Each row with an empty cell is a group of
/// its own.
fn grouped(table: &Table, name: &str, shares: [f64; 3], run_seed: u64) -> Result<Vec<Split>, DataError> {
    let (empty, named): (Vec<_>, Vec<_>) = groups(table, name)?.into_iter().partition(|(value, _)| value.is_empty());
    let singletons = empty.into_iter().flat_map(|(_, rows)| rows).map(|row_idx| vec![row_idx]);
    let groups: Vec<Vec<usize>> = named.into_iter().map(|(_, rows)| rows).chain(singletons).collect();
    let mut roles = vec![Split::Train; table.n_rows()];
    let mut n_before = 0;
    for group_idx in shuffled(0..groups.len(), run_seed) {
        let group = &groups[group_idx];
        let middle = (n_before as f64 + group.len() as f64 / 2.0) / table.n_rows() as f64;
        group.iter().for_each(|row_idx| roles[*row_idx] = role(middle, shares));
        n_before += group.len();
    }
    Ok(roles)
}

/// Trains on the oldest rows and tests on the newest; rows with the same date stay together.
fn by_date(table: &Table, by: &Datetime, shares: [f64; 3]) -> Result<Vec<Split>, DataError> {
    let dates = dates(table, by)?;
    let mut sorted = dates.clone();
    sorted.sort();
    let positions = dates.iter().map(|date| (sorted.partition_point(|other| other < date) as f64 + 0.5) / sorted.len() as f64);
    Ok(positions.map(|position| role(position, shares)).collect())
}

/// Returns the dates of the rows, in row order.
pub(crate) fn dates(table: &Table, by: &Datetime) -> Result<Vec<NaiveDateTime>, DataError> {
    let texts = column(table, &by.column)?;
    let found = DateReader::of_texts(&texts);
    let reader = DateReader { format: by.datetime_format.clone(), order: by.date_order.or(found.order), ..found };
    let dates = texts.iter().enumerate().map(|(row_idx, text)| reader.read(text).ok_or_else(|| no_date(by, row_idx, text)));
    Ok(dates.collect::<Result<Vec<_>, _>>()?)
}

fn no_date(by: &Datetime, row_idx: usize, text: &str) -> SplitError {
    let (row, column, text) = (row_idx + 1, by.column.clone(), text.to_owned());
    match by.datetime_format.clone() {
        Some(format) => SplitError::OtherFormat { row, column, text, format },
        None => SplitError::NoDate { row, column, text },
    }
}

/// Splits by a hash of the value, so that a row keeps its split when rows are added.
fn by_hash(table: &Table, name: &str, shares: [f64; 3]) -> Result<Vec<Split>, DataError> {
    Ok(column(table, name)?.iter().map(|value| role(hashed_share(value), shares)).collect())
}

/// Returns a number from 0 to below 1 that depends on the value only.
fn hashed_share(value: &str) -> f64 {
    let digest = Sha256::digest(value.as_bytes());
    f64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;

    fn table(values: impl IntoIterator<Item = String>) -> Table {
        let rows = values.into_iter().map(|value| vec![Cell::text(&value)]).collect();
        Table::from_rows(vec!["key".into()], rows, ".".into()).unwrap()
    }

    fn key() -> String {
        "key".to_owned()
    }

    fn probabilities() -> Vec<f64> {
        vec![0.5, 0.25, 0.25]
    }

    fn by_date() -> Datetime {
        Datetime { column: key(), probabilities: probabilities(), datetime_format: None, date_order: None }
    }

    fn count(roles: &[Split]) -> [usize; 3] {
        [Split::Train, Split::Validation, Split::Test].map(|role| roles.iter().filter(|it| **it == role).count())
    }

    #[test]
    fn random_split_has_its_fractions_and_depends_only_on_the_seed() {
        let table = table((0..1000).map(|i| i.to_string()));
        let settings = SplitSettings::Random(mbm_config::defaults());
        let roles = split(&table, &settings, 7).unwrap();
        assert_eq!(count(&roles), [700, 100, 200]);
        assert_eq!(split(&table, &settings, 7).unwrap(), roles);
        assert_ne!(split(&table, &settings, 8).unwrap(), roles);
    }

    #[test]
    fn groups_are_not_divided() {
        let table = table((0..400).map(|i| (i % 40).to_string()));
        let roles = split(&table, &SplitSettings::Group(Group { column: key(), probabilities: probabilities() }), 1).unwrap();
        assert!((0..400).all(|i| roles[i] == roles[i % 40]));
        assert_eq!(count(&roles), [200, 100, 100]);
    }

    #[test]
    fn strata_are_divided_in_the_same_proportions() {
        let table = table((0..80).map(|i| if i < 16 { "rare" } else { "common" }.to_owned()));
        let roles =
            split(&table, &SplitSettings::Stratify(Stratify { column: key(), probabilities: probabilities() }), 1).unwrap();
        assert_eq!(count(&roles[..16]), [8, 4, 4]);
        assert_eq!(count(&roles[16..]), [32, 16, 16]);
    }

    #[test]
    fn latest_dates_are_in_the_test_split() {
        let table = table((1..=8).rev().map(|day| format!("2024-01-0{day}")));
        let roles = split(&table, &SplitSettings::Datetime(by_date()), 1).unwrap();
        assert!(roles[..2].iter().all(|role| *role == Split::Test) && roles[4..].iter().all(|role| *role == Split::Train));
    }

    #[test]
    fn one_date_tells_the_order_of_day_and_month_of_all() {
        let dates = ["01/03/2024", "02/02/2024", "03/01/2024", "31/12/2023"];
        let by_date = SplitSettings::Datetime(by_date());
        let roles = split(&table(dates.map(str::to_owned)), &by_date, 1).unwrap();
        assert_eq!(roles, [Split::Test, Split::Validation, Split::Train, Split::Train]);
        let seconds = [1_735_603_200u64, 999_999_999, 1_704_067_200, 1_000_000_000].map(|seconds| seconds.to_string());
        assert_eq!(split(&table(seconds), &by_date, 1).unwrap(), [Split::Test, Split::Train, Split::Validation, Split::Train]);
    }

    #[test]
    fn dates_are_read_in_the_format_and_order_of_their_column() {
        let day_last = ["2024|05|01", "2024|04|02", "2024|03|03", "2024|02|04"].map(str::to_owned);
        let input = DatePreprocessing { datetime_format: Some("%Y|%d|%m".to_owned()), ..mbm_config::defaults() };
        let roles = split(&table(day_last.clone()), &SplitSettings::Datetime(by_date().read_as(&input)), 1).unwrap();
        assert_eq!(roles, [Split::Train, Split::Train, Split::Validation, Split::Test]);
        let own = Datetime { datetime_format: Some("%Y|%m|%d".to_owned()), ..by_date() };
        let roles = split(&table(day_last), &SplitSettings::Datetime(own.read_as(&input)), 1).unwrap();
        assert_eq!(roles, [Split::Test, Split::Validation, Split::Train, Split::Train]);
        let unclear = ["01/04/2024", "02/03/2024", "03/02/2024", "04/01/2024"].map(str::to_owned);
        let input = DatePreprocessing { date_order: Some(DateOrder::DayFirst), ..mbm_config::defaults() };
        let roles = split(&table(unclear), &SplitSettings::Datetime(by_date().read_as(&input)), 1).unwrap();
        assert_eq!(roles, [Split::Test, Split::Validation, Split::Train, Split::Train]);
    }

    #[test]
    fn hashed_rows_keep_their_split_when_rows_are_added() {
        let few = split(
            &table((0..50).map(|i| i.to_string())),
            &SplitSettings::Hash(Hash { column: key(), probabilities: probabilities() }),
            1,
        )
        .unwrap();
        let many = split(
            &table((0..99).map(|i| i.to_string())),
            &SplitSettings::Hash(Hash { column: key(), probabilities: probabilities() }),
            2,
        )
        .unwrap();
        assert_eq!(few, many[..50]);
    }

    #[test]
    fn errors_name_the_mistake() {
        let table = table(["train".into(), "tset".into()]);
        let fixed =
            |column: &str| split(&table, &SplitSettings::Fixed(Fixed { column: column.into() }), 0).unwrap_err().to_string();
        assert!(fixed("key").contains("row 2, column 'key': 'tset' is not one of"), "{}", fixed("key"));
        assert!(fixed("kex").contains("did you mean 'key'?"), "{}", fixed("kex"));
        let by_format = Datetime { datetime_format: Some("%Y".to_owned()), ..by_date() };
        let error = split(&table, &SplitSettings::Datetime(by_format), 0).unwrap_err().to_string();
        assert!(error.ends_with("row 1, column 'key': 'train' does not match datetime_format '%Y'"), "{error}");
        let shares = Random { probabilities: vec![0.5, 0.1, 0.1] };
        assert!(split(&table, &SplitSettings::Random(shares), 0).unwrap_err().to_string().contains("must sum to 1"));
    }
}
