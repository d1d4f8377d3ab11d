//! Single values of Arrow arrays of any supported type: as cells, and as JSON inside lists and structs. The texts of dates, times
//! and decimals are those that the Parquet reader gives.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Number, Value};

use crate::Cell;

/// Returns the cell of a row.
pub(super) fn cell(array: &dyn Array, row_idx: usize) -> Cell {
    if array.is_null(row_idx) {
        return Cell::Empty;
    }
    if let Some(bytes) = bytes(array, row_idx) {
        return Cell::Bytes(bytes.to_vec());
    }
    if let Some(text) = text(array, row_idx) {
        return Cell::text(text.trim_end_matches(" +00:00"));
    }
    match array.data_type() {
        DataType::Dictionary(..) => dictionary(array, row_idx).map_or(Cell::Empty, |(values, at)| cell(values, at)),
        DataType::Struct(_) => media(array.as_struct(), row_idx)
            .map_or_else(|| Cell::Json(value(array, row_idx).to_string()), |bytes| Cell::Bytes(bytes.to_vec())),
        _ => Cell::json(value(array, row_idx)),
    }
}

/// Returns the bytes of a struct `{bytes, path}`, in which Hugging Face datasets store media.
fn media(array: &StructArray, row_idx: usize) -> Option<&[u8]> {
    let column = array.column_by_name("bytes")?;
    if column.is_null(row_idx) { None } else { bytes(column, row_idx) }
}

/// Returns the JSON of a row.
pub(super) fn value(array: &dyn Array, row_idx: usize) -> Value {
    if array.is_null(row_idx) {
        return Value::Null;
    }
    if let Some(bytes) = bytes(array, row_idx) {
        return Value::String(BASE64_STANDARD.encode(bytes));
    }
    if let Some(text) = text(array, row_idx) {
        return Value::String(text);
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row_idx)),
        DataType::Dictionary(..) => dictionary(array, row_idx).map_or(Value::Null, |(values, at)| value(values, at)),
        DataType::List(_) => items(&array.as_list::<i32>().value(row_idx)),
        DataType::LargeList(_) => items(&array.as_list::<i64>().value(row_idx)),
        DataType::FixedSizeList(..) => items(&array.as_fixed_size_list().value(row_idx)),
        DataType::Struct(_) => object(array.as_struct(), row_idx),
        DataType::Map(..) => entries(&array.as_map().value(row_idx)),
        _ => number(array, row_idx).map_or(Value::Null, Value::Number),
    }
}

fn items(items: &ArrayRef) -> Value {
    (0..items.len()).map(|at| value(items, at)).collect()
}

fn object(array: &StructArray, row_idx: usize) -> Value {
    let fields = array.fields().iter().zip(array.columns());
    Value::Object(fields.map(|(field, column)| (field.name().clone(), value(column, row_idx))).collect())
}

fn entries(entries: &StructArray) -> Value {
    let [keys, values] = entries.columns() else { return Value::Null };
    let entries = (0..entries.len()).map(|at| {
        let key = match value(keys, at) {
            Value::String(key) => key,
            key => key.to_string(),
        };
        (key, value(values, at))
    });
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Returns the values of a dictionary and the position of a row's value.
fn dictionary(array: &dyn Array, row_idx: usize) -> Option<(&dyn Array, usize)> {
    let dictionary = array.as_any_dictionary_opt()?;
    let at = integer(dictionary.keys(), row_idx)?;
    Some((dictionary.values().as_ref(), usize::try_from(at).ok()?))
}

fn bytes(array: &dyn Array, row_idx: usize) -> Option<&[u8]> {
    match array.data_type() {
        DataType::Binary => Some(array.as_binary::<i32>().value(row_idx)),
        DataType::LargeBinary => Some(array.as_binary::<i64>().value(row_idx)),
        DataType::BinaryView => Some(array.as_binary_view().value(row_idx)),
        DataType::FixedSizeBinary(_) => Some(array.as_fixed_size_binary().value(row_idx)),
        _ => None,
    }
}

fn number(array: &dyn Array, row_idx: usize) -> Option<Number> {
    match array.data_type() {
        DataType::Float16 => Number::from_f64(of::<Float16Type>(array, row_idx).into()),
        DataType::Float32 => Number::from_f64(of::<Float32Type>(array, row_idx).into()),
        DataType::Float64 => Number::from_f64(of::<Float64Type>(array, row_idx)),
        DataType::UInt64 => Some(of::<UInt64Type>(array, row_idx).into()),
        _ => integer(array, row_idx).map(Number::from),
    }
}

/// Returns an integer or a duration in its unit; `None` for other types, and for integers beyond the signed ones.
fn integer(array: &dyn Array, row_idx: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Int8 => Some(of::<Int8Type>(array, row_idx).into()),
        DataType::Int16 => Some(of::<Int16Type>(array, row_idx).into()),
        DataType::Int32 => Some(of::<Int32Type>(array, row_idx).into()),
        DataType::Int64 => Some(of::<Int64Type>(array, row_idx)),
        DataType::UInt8 => Some(of::<UInt8Type>(array, row_idx).into()),
        DataType::UInt16 => Some(of::<UInt16Type>(array, row_idx).into()),
        DataType::UInt32 => Some(of::<UInt32Type>(array, row_idx).into()),
        DataType::UInt64 => of::<UInt64Type>(array, row_idx).try_into().ok(),
        DataType::Duration(TimeUnit::Second) => Some(of::<DurationSecondType>(array, row_idx)),
        DataType::Duration(TimeUnit::Millisecond) => Some(of::<DurationMillisecondType>(array, row_idx)),
        DataType::Duration(TimeUnit::Microsecond) => Some(of::<DurationMicrosecondType>(array, row_idx)),
        DataType::Duration(TimeUnit::Nanosecond) => Some(of::<DurationNanosecondType>(array, row_idx)),
        _ => None,
    }
}

fn of<T: ArrowPrimitiveType>(array: &dyn Array, row_idx: usize) -> T::Native {
    array.as_primitive::<T>().value(row_idx)
}

/// Returns a text, or the text of a date, time or decimal; `None` for other types.
fn text(array: &dyn Array, row_idx: usize) -> Option<String> {
    let text = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row_idx).to_owned(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row_idx).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row_idx).to_owned(),
        DataType::Date32 => date(i64::from(of::<Date32Type>(array, row_idx)).saturating_mul(86_400_000)),
        DataType::Date64 => date(of::<Date64Type>(array, row_idx)),
        DataType::Time32(TimeUnit::Second) => time(of::<Time32SecondType>(array, row_idx).into(), 1),
        DataType::Time32(_) => time(of::<Time32MillisecondType>(array, row_idx).into(), 1000),
        DataType::Time64(TimeUnit::Microsecond) => time(of::<Time64MicrosecondType>(array, row_idx), 1_000_000),
        DataType::Time64(_) => time(of::<Time64NanosecondType>(array, row_idx), 1_000_000_000),
        DataType::Timestamp(TimeUnit::Second, _) => instant(of::<TimestampSecondType>(array, row_idx), 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => instant(of::<TimestampMillisecondType>(array, row_idx), 1000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => instant(of::<TimestampMicrosecondType>(array, row_idx), 1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => instant(of::<TimestampNanosecondType>(array, row_idx), 1_000_000_000),
        DataType::Decimal32(_, scale) => decimal(of::<Decimal32Type>(array, row_idx).to_string(), *scale),
        DataType::Decimal64(_, scale) => decimal(of::<Decimal64Type>(array, row_idx).to_string(), *scale),
        DataType::Decimal128(_, scale) => decimal(of::<Decimal128Type>(array, row_idx).to_string(), *scale),
        DataType::Decimal256(_, scale) => decimal(of::<Decimal256Type>(array, row_idx).to_string(), *scale),
        _ => return None,
    };
    Some(text)
}

/// Returns the date of a time in milliseconds since 1970, or the number if it is beyond all calendars.
fn date(milliseconds: i64) -> String {
    let date = DateTime::from_timestamp_millis(milliseconds);
    date.map_or_else(|| milliseconds.to_string(), |date| date.format("%Y-%m-%d").to_string())
}

/// Returns a time of day, of which a second has so many units, with three, six or nine decimals.
fn time(value: i64, of_second: i64) -> String {
    let (seconds, rest) = (value.div_euclid(of_second), value.rem_euclid(of_second));
    let nanoseconds = rest * (1_000_000_000 / of_second);
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    match of_second {
        1 | 1000 => format!("{clock}.{:03}", nanoseconds / 1_000_000),
        _ if nanoseconds % 1000 == 0 => format!("{clock}.{:06}", nanoseconds / 1000),
        _ => format!("{clock}.{nanoseconds:09}"),
    }
}

/// Returns date and time in UTC, with three, six or nine decimals.
fn instant(value: i64, of_second: i64) -> String {
    let nanoseconds = value.rem_euclid(of_second) * (1_000_000_000 / of_second);
    let Some(instant) = DateTime::<Utc>::from_timestamp(value.div_euclid(of_second), nanoseconds as u32) else {
        return value.to_string();
    };
    let format = match of_second {
        1 | 1000 => "%Y-%m-%d %H:%M:%S%.3f %:z",
        _ if nanoseconds % 1000 == 0 => "%Y-%m-%d %H:%M:%S%.6f %:z",
        _ => "%Y-%m-%d %H:%M:%S%.9f %:z",
    };
    instant.format(format).to_string()
}

/// Puts the point into the digits of a decimal.
fn decimal(digits: String, scale: i8) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let Ok(n_decimals) = usize::try_from(scale) else {
        return format!("{sign}{digits}{}.", "0".repeat(usize::from(scale.unsigned_abs())));
    };
    let digits = format!("{digits:0>width$}", width = n_decimals + usize::from(digits.len() <= n_decimals));
    let (whole, decimals) = digits.split_at(digits.len() - n_decimals);
    format!("{sign}{whole}.{decimals}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_a_point_before_their_last_digits() {
        let cases = [
            ("150", 0, "150."),
            ("150", 2, "1.50"),
            ("5", 2, "0.05"),
            ("-5", 2, "-0.05"),
            ("-150", 2, "-1.50"),
            ("0", 1, "0.0"),
            ("7", -2, "700."),
        ];
        for (digits, scale, want) in cases {
            assert_eq!(decimal(digits.to_owned(), scale), want);
        }
    }

    #[test]
    fn times_have_the_decimals_of_their_unit() {
        assert_eq!(time(3_723_004, 1000), "01:02:03.004");
        assert_eq!(time(1_000_001, 1_000_000), "00:00:01.000001");
        assert_eq!(time(1, 1_000_000_000), "00:00:00.000000001");
        assert_eq!(instant(-1, 1000), "1969-12-31 23:59:59.999 +00:00");
        assert_eq!(instant(1_700_000_000_000_000, 1_000_000), "2023-11-14 22:13:20.000000 +00:00");
        assert_eq!(instant(i64::MAX, 1), i64::MAX.to_string());
        assert_eq!((date(86_400_000 * 19_000), date(i64::MIN)), ("2022-01-08".to_owned(), i64::MIN.to_string()));
    }
}
