//! Gathers the cells of a column and makes an Arrow array of them, whose type follows from the kinds of cells it has seen.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::types::{ByteArrayType, GenericBinaryType, GenericStringType};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, GenericByteArray, GenericListArray, NullArray, OffsetSizeTrait};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::Field;

use super::column::{Meaning, TableColumn};
use crate::CellRef;
use crate::cell_ref::words;

/// The cells of a column: their tags, their contents one after the other, and where each ends.
#[derive(Debug, Default)]
pub(crate) struct ColumnBuilder {
    tags: Vec<u8>,
    ends: Vec<usize>,
    content: Vec<u8>,
}

impl ColumnBuilder {
    /// Appends a cell.
    pub fn push(&mut self, cell: &CellRef) {
        self.tags.push(cell.tag());
        cell.write_content(&mut self.content);
        self.ends.push(self.content.len());
    }

    /// Appends cells by their tags and contents.
    pub fn extend<'a>(&mut self, cells: impl Iterator<Item = (u8, &'a [u8])> + Clone) {
        self.content.reserve(cells.clone().map(|(_, content)| content.len()).sum());
        for (tag, content) in cells {
            self.tags.push(tag);
            self.content.extend(content);
            self.ends.push(self.content.len());
        }
    }

    /// Returns the cells that were pushed as a column, and is empty again.
    pub fn finish(&mut self) -> TableColumn {
        let mut kinds = self.tags.iter().copied().filter(|tag| *tag != 0);
        let kind = kinds.next().map_or(0, |kind| if kinds.all(|tag| tag == kind) { kind } else { MIXED });
        let cells = self.cells();
        let column = match kind {
            0 => TableColumn::new(Arc::new(NullArray::new(cells.tags.len())), Meaning::Plain),
            1 => TableColumn::new(cells.texts(), Meaning::Plain),
            2 => TableColumn::new(cells.numbers(), Meaning::Plain),
            3 => TableColumn::new(cells.booleans(), Meaning::Plain),
            4 => TableColumn::new(cells.bytes(), Meaning::Plain),
            5 => TableColumn::new(cells.number_lists(), Meaning::Plain),
            6 => TableColumn::new(cells.texts(), Meaning::Json),
            7 => TableColumn::new(cells.word_lists(), Meaning::Plain),
            _ => TableColumn::new(cells.with_tags().bytes(), Meaning::Mixed),
        };
        self.tags.clear();
        self.ends.clear();
        column
    }

    /// Returns the cells that were pushed as bytes with 64-bit offsets, for a column whose other batches have cells of other kinds.
    pub fn finish_mixed(mut self) -> TableColumn {
        TableColumn::new(self.cells().with_tags().byte_array::<GenericBinaryType<i64>>(), Meaning::Mixed)
    }

    fn cells(&mut self) -> Cells<'_> {
        let content = match self.content.len() < LARGE {
            true => Vec::from(self.content.as_slice()),
            false => std::mem::take(&mut self.content),
        };
        self.content.clear();
        let tags = self.tags.as_slice();
        let nulls = tags.contains(&0).then(|| BooleanBuffer::collect_bool(tags.len(), |at| tags[at] != 0).into());
        Cells { tags, ends: Cow::Borrowed(&self.ends), content, nulls }
    }
}

/// Contents up to this size are copied, so that the next batch finds memory that is already there.
const LARGE: usize = 1 << 20;

/// A number that is no cell's tag.
const MIXED: u8 = u8::MAX;

/// The cells of a finished column; an empty cell is null.
struct Cells<'a> {
    tags: &'a [u8],
    ends: Cow<'a, [usize]>,
    content: Vec<u8>,
    nulls: Option<NullBuffer>,
}

impl Cells<'_> {
    fn texts(self) -> ArrayRef {
        match self.content.len() > i32::MAX as usize {
            true => self.byte_array::<GenericStringType<i64>>(),
            false => self.byte_array::<GenericStringType<i32>>(),
        }
    }

    fn bytes(self) -> ArrayRef {
        match self.content.len() > i32::MAX as usize {
            true => self.byte_array::<GenericBinaryType<i64>>(),
            false => self.byte_array::<GenericBinaryType<i32>>(),
        }
    }

    fn byte_array<T: ByteArrayType>(self) -> ArrayRef {
        Arc::new(GenericByteArray::<T>::new(offsets(&self.ends), buffer(self.content), self.nulls))
    }

    fn numbers(self) -> ArrayRef {
        let mut numbers = as_numbers(&self.content).into_iter();
        let values = self.tags.iter().map(|tag| if *tag == 0 { 0.0 } else { numbers.next().unwrap_or_default() });
        let values: Vec<f64> = values.collect();
        Arc::new(Float64Array::new(ScalarBuffer::from(values), self.nulls))
    }

    fn booleans(self) -> ArrayRef {
        let values =
            BooleanBuffer::collect_bool(self.tags.len(), |at| self.tags[at] != 0 && self.content[self.ends[at] - 1] == 1);
        Arc::new(BooleanArray::new(values, self.nulls))
    }

    fn number_lists(self) -> ArrayRef {
        let ends: Vec<usize> = self.ends.iter().map(|end| end / 8).collect();
        let items = Float64Array::new(ScalarBuffer::from(as_numbers(&self.content)), None);
        lists(&ends, Arc::new(items), self.nulls)
    }

    fn word_lists(self) -> ArrayRef {
        let (mut n_words, mut start) = (0, 0);
        let (mut list_ends, mut word_ends, mut texts) = (Vec::with_capacity(self.ends.len()), Vec::new(), Vec::new());
        for end in self.ends.iter() {
            for word in words(&self.content[start..*end]).unwrap_or_default() {
                texts.extend(word.as_bytes());
                word_ends.push(texts.len());
                n_words += 1;
            }
            start = *end;
            list_ends.push(n_words);
        }
        lists(&list_ends, Cells { tags: &[], ends: Cow::Owned(word_ends), content: texts, nulls: None }.texts(), self.nulls)
    }

    /// Puts the tag of each cell in front of its content.
    fn with_tags(self) -> Self {
        let (mut content, mut ends, mut start) = (Vec::new(), Vec::with_capacity(self.ends.len()), 0);
        for (tag, end) in self.tags.iter().zip(self.ends.iter()) {
            content.extend((*tag != 0).then_some(*tag));
            content.extend(&self.content[start..*end]);
            start = *end;
            ends.push(content.len());
        }
        Self { content, ends: Cow::Owned(ends), ..self }
    }
}

fn lists(ends: &[usize], items: ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    match items.len() > i32::MAX as usize {
        true => Arc::new(GenericListArray::<i64>::new(field, offsets(ends), items, nulls)),
        false => Arc::new(GenericListArray::<i32>::new(field, offsets(ends), items, nulls)),
    }
}

fn offsets<O: OffsetSizeTrait>(ends: &[usize]) -> OffsetBuffer<O> {
    OffsetBuffer::new(std::iter::once(0).chain(ends.iter().copied()).map(O::usize_as).collect())
}

fn buffer(mut bytes: Vec<u8>) -> Buffer {
    bytes.shrink_to_fit();
    Buffer::from_vec(bytes)
}

fn as_numbers(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;

    use super::super::column::cell;
    use super::*;

    fn check(cells: &[CellRef], data_type: &str) {
        let mut builder = ColumnBuilder::default();
        cells.iter().for_each(|cell| builder.push(cell));
        let TableColumn { field, array } = builder.finish();
        assert_eq!(field.data_type().to_string(), data_type);
        let meaning = Meaning::of(&field);
        assert_eq!((0..array.len()).map(|row_idx| cell(&array, meaning, row_idx)).collect::<Vec<_>>(), cells);
    }

    #[test]
    fn cells_of_one_kind_have_a_typed_column_and_of_several_kinds_lose_nothing() {
        use CellRef::{Bool, Bytes, Empty, Json, NotUtf8, Number, Numbers, Text, Words};
        check(&[Empty, Empty], "Null");
        check(&[Text(""), Empty, Text("ä"), Text(" ")], "Utf8");
        check(&[Empty, Number(-0.5), Number(f64::INFINITY)], "Float64");
        check(&[Bool(true), Empty, Bool(false)], "Boolean");
        check(&[Bytes(b""), Bytes(b"\xff"), Empty], "Binary");
        check(&[Numbers(vec![].into()), Empty, Numbers(vec![1.0, 2.0].into())], "List(Float64)");
        check(&[Words(vec![]), Words(vec!["a", "", "b\0"]), Empty], "List(Utf8)");
        check(&[Json("[[]]"), Empty], "Utf8");
        check(&[NotUtf8(b"\xff"), Empty], "Binary");
        let all =
            [Text("a"), Number(2.0), Empty, Bool(true), Bytes(b"\0"), Numbers(vec![7.0].into()), Json("{}"), Words(vec!["w"])];
        check(&all, "Binary");
    }

    #[test]
    fn large_offsets_are_for_contents_beyond_two_gigabytes_only() {
        assert_eq!(offsets::<i64>(&[1, 3]).as_ref(), [0, 1, 3]);
        let items = lists(&[0, 2], Arc::new(Float64Array::from(vec![1.0, 2.0])), None);
        assert!(matches!(items.data_type(), DataType::List(_)));
    }
}
