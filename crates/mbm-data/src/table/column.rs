//! How the cells of a column are stored as an Arrow array: one type for cells of one kind, and cells of several kinds as bytes
//! with the number of the kind in front.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, GenericListArray, OffsetSizeTrait};
use arrow_schema::{DataType, Field, FieldRef};

use crate::CellRef;

/// The key of a field's metadata that says what its type does not: [`Meaning::Json`] or [`Meaning::Mixed`].
const MEANING: &str = "mbm.cell";

/// What the values of a field stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Texts, numbers, booleans, bytes or lists, by the type of the field.
    Plain,
    /// Texts that are JSON: [`crate::Cell::Json`].
    Json,
    /// Bytes that hold cells of several kinds: the number of the kind, then the content.
    Mixed,
}

impl Meaning {
    /// Returns the meaning that a field's metadata declares.
    pub fn of(field: &Field) -> Self {
        match field.metadata().get(MEANING).map(String::as_str) {
            Some("json") => Self::Json,
            Some("mixed") => Self::Mixed,
            _ => Self::Plain,
        }
    }

    fn metadata(self) -> HashMap<String, String> {
        let word = match self {
            Self::Plain => return HashMap::new(),
            Self::Json => "json",
            Self::Mixed => "mixed",
        };
        HashMap::from([(MEANING.to_owned(), word.to_owned())])
    }
}

/// A column of a batch. Its field has no name, so that columns of the same type share one; the table knows the names.
#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub field: FieldRef,
    pub array: ArrayRef,
}

impl TableColumn {
    pub fn new(array: ArrayRef, meaning: Meaning) -> Self {
        Self { field: field(array.data_type(), meaning), array }
    }
}

/// The fields of the types that most columns have; a table may have a million of them.
static FIELDS: LazyLock<Vec<FieldRef>> = LazyLock::new(|| {
    let list = |item: DataType| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let plain = [
        DataType::Null,
        DataType::Float64,
        DataType::Utf8,
        DataType::Boolean,
        DataType::Binary,
        list(DataType::Float64),
        list(DataType::Utf8),
    ];
    let plain = plain.into_iter().map(|data_type| new_field(&data_type, Meaning::Plain));
    plain.chain([new_field(&DataType::Utf8, Meaning::Json), new_field(&DataType::Binary, Meaning::Mixed)]).collect()
});

/// Returns a field without a name.
pub(crate) fn field(data_type: &DataType, meaning: Meaning) -> FieldRef {
    let known = FIELDS.iter().find(|field| field.data_type() == data_type && Meaning::of(field) == meaning);
    known.map_or_else(|| new_field(data_type, meaning), Arc::clone)
}

fn new_field(data_type: &DataType, meaning: Meaning) -> FieldRef {
    Arc::new(Field::new("", data_type.clone(), true).with_metadata(meaning.metadata()))
}

/// Returns the cell of a row, for the types that columns of a table have.
pub(crate) fn cell<'a>(array: &'a dyn Array, meaning: Meaning, row_idx: usize) -> CellRef<'a> {
    if array.is_null(row_idx) {
        return CellRef::Empty;
    }
    match array.data_type() {
        DataType::Utf8 => text(array.as_string::<i32>().value(row_idx), meaning),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row_idx), meaning),
        DataType::Utf8View => text(array.as_string_view().value(row_idx), meaning),
        DataType::Float64 => CellRef::Number(array.as_primitive::<Float64Type>().value(row_idx)),
        DataType::Boolean => CellRef::Bool(array.as_boolean().value(row_idx)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row_idx), meaning),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row_idx), meaning),
        DataType::BinaryView => bytes(array.as_binary_view().value(row_idx), meaning),
        DataType::List(_) => list(array.as_list::<i32>(), row_idx),
        DataType::LargeList(_) => list(array.as_list::<i64>(), row_idx),
        DataType::Null => CellRef::Empty,
        other => unreachable!("arrays of {other} are converted before they become columns"),
    }
}

fn text(text: &str, meaning: Meaning) -> CellRef<'_> {
    if meaning == Meaning::Json { CellRef::Json(text) } else { CellRef::Text(text) }
}

fn bytes(bytes: &[u8], meaning: Meaning) -> CellRef<'_> {
    match (meaning, bytes.split_first()) {
        (Meaning::Mixed, Some((tag, content))) => CellRef::read_content(*tag, content).unwrap_or(CellRef::Empty),
        _ => CellRef::Bytes(bytes),
    }
}

fn list<O: OffsetSizeTrait>(lists: &GenericListArray<O>, row_idx: usize) -> CellRef<'_> {
    let offsets = lists.value_offsets();
    let range = offsets[row_idx].as_usize()..offsets[row_idx + 1].as_usize();
    let items = lists.values().as_ref();
    match items.data_type() {
        DataType::Utf8 => CellRef::Words(range.map(|at| items.as_string::<i32>().value(at)).collect()),
        DataType::LargeUtf8 => CellRef::Words(range.map(|at| items.as_string::<i64>().value(at)).collect()),
        DataType::Utf8View => CellRef::Words(range.map(|at| items.as_string_view().value(at)).collect()),
        DataType::Float64 => CellRef::Numbers(Cow::Borrowed(&items.as_primitive::<Float64Type>().values()[range])),
        other => unreachable!("lists of {other} are converted before they become columns"),
    }
}
