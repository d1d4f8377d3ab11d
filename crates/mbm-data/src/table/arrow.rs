//! Arrow arrays of any supported type as columns of a table: used as they are where the cells are the same, and converted where
//! they are not. What the Parquet reader gives for a value, an array gives too.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions, downcast_integer, make_array,
    new_null_array,
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use mbm_config::MAX_DEPTH;

use super::arrow_value;
use super::column::{Meaning, TableColumn, cell, field};
use super::column_builder::ColumnBuilder;
use super::error::ColumnError;
use crate::CellRef;

/// Makes a column of an array; cells that are copied take at most `n_bytes`.
///
/// # Errors
/// Says what is not supported, or that the cells take more.
pub(super) fn column(field: &Field, array: &ArrayRef, n_bytes: u64) -> Result<TableColumn, ColumnError> {
    check_type(array.data_type(), MAX_DEPTH)?;
    let plain = |array: ArrayRef| TableColumn::new(array, Meaning::Plain);
    match (array.data_type(), Meaning::of(field)) {
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, Meaning::Mixed) => mixed(array, n_bytes),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Meaning::Json) => {
            Ok(TableColumn::new(Arc::clone(array), Meaning::Json))
        }
        (DataType::Null | DataType::Boolean | DataType::Binary | DataType::LargeBinary | DataType::BinaryView, _) => {
            Ok(plain(Arc::clone(array)))
        }
        (DataType::Utf8, _) => without(array, |at| is_blank(array.as_string::<i32>().value(at))).map(plain),
        (DataType::LargeUtf8, _) => without(array, |at| is_blank(array.as_string::<i64>().value(at))).map(plain),
        (DataType::Utf8View, _) => without(array, |at| is_blank(array.as_string_view().value(at))).map(plain),
        (DataType::List(_), _) => {
            lists(array.as_list::<i32>(), array).map_or_else(|| by_cell(array, n_bytes), |it| Ok(plain(it)))
        }
        (DataType::LargeList(_), _) => {
            lists(array.as_list::<i64>(), array).map_or_else(|| by_cell(array, n_bytes), |it| Ok(plain(it)))
        }
        (DataType::FixedSizeList(..), _) => {
            let array = Arc::new(GenericListArray::<i64>::from(array.as_fixed_size_list().clone())) as ArrayRef;
            column(field, &array, n_bytes)
        }
        _ => match numbers(array) {
            Some(numbers) => finite(&numbers).map(plain),
            None => by_cell(array, n_bytes),
        },
    }
}

/// Checks that all values of a type are cells, down to a depth.
fn check_type(data_type: &DataType, depth: usize) -> Result<(), ColumnError> {
    use DataType::*;
    let below = depth.checked_sub(1).ok_or(ColumnError::TooDeep)?;
    match data_type {
        List(item) | LargeList(item) | FixedSizeList(item, _) | Map(item, _) => check_type(item.data_type(), below),
        Struct(fields) => fields.iter().try_for_each(|field| check_type(field.data_type(), below)),
        Dictionary(_, values) => check_type(values, below),
        Interval(_) | Union(..) | RunEndEncoded(..) | ListView(_) | LargeListView(_) => {
            Err(ColumnError::Unsupported(data_type.clone()))
        }
        _ => Ok(()),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Returns the array with null for the valid rows that `is_empty` names.
fn without(array: &ArrayRef, is_empty: impl Fn(usize) -> bool) -> Result<ArrayRef, ColumnError> {
    let is_empty = |at: usize| array.is_valid(at) && is_empty(at);
    if !(0..array.len()).any(is_empty) {
        return Ok(Arc::clone(array));
    }
    let is_valid = BooleanBuffer::collect_bool(array.len(), |at| array.is_valid(at) && !is_empty(at));
    let data = array.to_data().into_builder().nulls(Some(is_valid.into())).build()?;
    Ok(make_array(data))
}

fn finite(array: &ArrayRef) -> Result<ArrayRef, ColumnError> {
    let values = array.as_primitive::<Float64Type>().values();
    if values.iter().all(|value| value.is_finite()) {
        return Ok(Arc::clone(array));
    }
    without(array, |at| !values[at].is_finite())
}

/// Returns an array of numbers as 64-bit floats; `None` for other arrays.
fn numbers(array: &ArrayRef) -> Option<ArrayRef> {
    macro_rules! integers {
        ($type:ty) => {
            Some(Arc::new(array.as_primitive::<$type>().unary::<_, Float64Type>(|value| value as f64)))
        };
    }
    downcast_integer! {
        array.data_type() => (integers),
        DataType::Float16 => Some(Arc::new(array.as_primitive::<Float16Type>().unary::<_, Float64Type>(f64::from))),
        DataType::Float32 => Some(Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float64Type>(f64::from))),
        DataType::Float64 => Some(Arc::clone(array)),
        _ => None,
    }
}

/// Returns lists of numbers or of texts, all of whose cells are [`CellRef::Numbers`] or all [`CellRef::Words`]; `None` for other
/// lists. `array` is the lists themselves.
fn lists<O: OffsetSizeTrait>(lists: &GenericListArray<O>, array: &ArrayRef) -> Option<ArrayRef> {
    let offsets = lists.value_offsets();
    let start = offsets.first()?.as_usize();
    let used = lists.values().slice(start, offsets.last()?.as_usize() - start);
    if used.null_count() > 0 {
        return None;
    }
    if matches!(used.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        // An empty list is one of numbers, whatever its type.
        return (0..lists.len()).all(|at| lists.is_null(at) || offsets[at] < offsets[at + 1]).then(|| Arc::clone(array));
    }
    if !numbers(&used)?.as_primitive::<Float64Type>().values().iter().all(|value| value.is_finite()) {
        return None;
    }
    if used.data_type() == &DataType::Float64 {
        return Some(Arc::clone(array));
    }
    let item = Arc::new(Field::new_list_field(DataType::Float64, true));
    let numbers = numbers(lists.values())?;
    Some(Arc::new(GenericListArray::<O>::new(item, lists.offsets().clone(), numbers, lists.nulls().cloned())))
}

/// Copies an array cell by cell.
fn by_cell(array: &ArrayRef, n_bytes: u64) -> Result<TableColumn, ColumnError> {
    let mut builder = Limited { builder: ColumnBuilder::default(), n_left: n_bytes };
    (0..array.len()).try_for_each(|at| builder.push(&arrow_value::cell(array, at).borrowed()))?;
    Ok(builder.builder.finish())
}

/// Reads cells of several kinds, which this crate wrote, or someone who pretends to be it.
fn mixed(array: &ArrayRef, n_bytes: u64) -> Result<TableColumn, ColumnError> {
    let mut builder = Limited { builder: ColumnBuilder::default(), n_left: n_bytes };
    (0..array.len()).try_for_each(|at| builder.push(&mixed_cell(array, at).ok_or(ColumnError::NotACell { row: at + 1 })?))?;
    Ok(builder.builder.finish())
}

/// Reads a cell from its tag and content; `None` if the content is not that of such a cell.
fn mixed_cell(array: &ArrayRef, at: usize) -> Option<CellRef<'_>> {
    if array.is_null(at) {
        return Some(CellRef::Empty);
    }
    let bytes = match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(at),
        DataType::LargeBinary => array.as_binary::<i64>().value(at),
        _ => array.as_binary_view().value(at),
    };
    let (tag, content) = bytes.split_first()?;
    CellRef::read_content(*tag, content)
}

struct Limited {
    builder: ColumnBuilder,
    n_left: u64,
}

impl Limited {
    fn push(&mut self, cell: &CellRef) -> Result<(), ColumnError> {
        self.n_left = self.n_left.checked_sub(cell.n_bytes() as u64).ok_or(ColumnError::TooLarge)?;
        self.builder.push(cell);
        Ok(())
    }
}

/// Returns the fields that can hold the cells of all batches.
pub(super) fn common_schema<'a>(columns: &[String], schemas: impl Iterator<Item = &'a Schema> + Clone) -> Schema {
    let fields = columns.iter().enumerate().map(|(at, name)| {
        let common = common_field(schemas.clone().map(|schema| schema.field(at)));
        common.as_ref().clone().with_name(name)
    });
    Schema::new(fields.collect::<Vec<_>>())
}

fn common_field<'a>(fields: impl Iterator<Item = &'a Field>) -> FieldRef {
    let mut fields = fields.filter(|field| *field.data_type() != DataType::Null);
    match fields.next() {
        None => field(&DataType::Null, Meaning::Plain),
        Some(first) if fields.all(|field| field == first) => field(first.data_type(), Meaning::of(first)),
        Some(_) => field(&DataType::LargeBinary, Meaning::Mixed),
    }
}

/// Returns a batch with the fields that all batches of the table have.
pub(super) fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let own = batch.schema_ref();
    let columns = schema.fields().iter().zip(own.fields()).zip(batch.columns());
    let columns = columns.map(|((field, own), array)| with_field(array, Meaning::of(own), field)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect("the schema holds the columns of every batch")
}

/// Returns an array of cells with this meaning as an array of the type of a field.
fn with_field(array: &ArrayRef, meaning: Meaning, field: &Field) -> ArrayRef {
    match array.data_type() {
        data_type if data_type == field.data_type() && meaning == Meaning::of(field) => Arc::clone(array),
        DataType::Null => new_null_array(field.data_type(), array.len()),
        _ => {
            let mut builder = ColumnBuilder::default();
            for row_idx in 0..array.len() {
                builder.push(&cell(array, meaning, row_idx));
            }
            builder.finish_mixed().array
        }
    }
}
