//! Arrow IPC files (also called Feather 2) and streams, plain or compressed with LZ4 or Zstandard.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block, MetadataVersion};
use arrow_schema::{ArrowError, SchemaRef};

use super::arrow_error::ArrowFileError;
use super::arrow_message::Budget;
use super::arrow_stream::{MARKER, Stream, stream};
use super::{Input, MAX_COLUMNS, Source};
use crate::catch_panic::catch_panic;
use crate::table::Lifetime;
use crate::{DataError, TableBuilder};

/// Maximum number of bytes of cells per byte of the file, and the number that any file may expand to: a dictionary stores a word
/// once for all rows that hold it.
const MAX_RATIO: u64 = 200;
const FREE: u64 = 1 << 32;

/// Maximum number of dictionaries times fields: the field of a dictionary is searched for.
const MAX_SEARCHES: usize = 1 << 28;

/// What stands at the beginning and at the end of a file.
const MAGIC: &[u8] = b"ARROW1";

pub(super) struct ArrowIpc {
    input: Input,
    columns: Vec<String>,
    file: File,
    schema: SchemaRef,
    version: MetadataVersion,
    /// In the order in which they are read: rows after the dictionaries that they refer to.
    messages: Vec<(Content, MessageLocation)>,
}

/// What a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Dictionary,
    Rows,
}

/// The location of a message in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLocation {
    pub start: u64,
    pub n_metadata_bytes: usize,
    pub n_body_bytes: usize,
}

impl ArrowIpc {
    pub fn open(input: &Input) -> Result<Self, DataError> {
        let file = input.random_access()?;
        let n_bytes = file.metadata().map_err(DataError::io(&input.path))?.len();
        let malformed = |error: ArrowFileError| input.malformed(None, error);
        let Stream { schema, version, messages } = match read_at(&file, 0, n_bytes.min(4) as usize) {
            Ok(start) if start == MARKER => stream(&file, n_bytes),
            Ok(_) => of_footer(&file, n_bytes),
            Err(error) => Err(error.into()),
        }
        .map_err(malformed)?;
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        if !(1..=MAX_COLUMNS).contains(&columns.len()) {
            return Err(malformed(ArrowFileError::ColumnCount(columns.len())));
        }
        let n_dictionaries = messages.iter().filter(|(content, _)| *content == Content::Dictionary).count();
        if n_dictionaries.saturating_mul(schema.flattened_fields().len()) > MAX_SEARCHES {
            return Err(malformed(ArrowFileError::TooManyDictionaries { n_dictionaries, n_columns: columns.len() }));
        }
        Ok(Self { input: input.clone(), columns, file, schema, version, messages })
    }

    /// Reads the bytes of a message that has been found to lie in the file, and checks what it declares.
    fn message(&self, location: MessageLocation, budget: &mut Budget) -> Result<Buffer, DataError> {
        let mut bytes = vec![0; location.n_metadata_bytes + location.n_body_bytes];
        self.file.read_exact_at(&mut bytes, location.start).map_err(DataError::io(&self.input.path))?;
        budget.check(&bytes, location.n_metadata_bytes).map_err(|error| self.malformed(error))?;
        Ok(Buffer::from_vec(bytes))
    }

    /// Returns the result of the decoder, whose panics are errors of the file.
    fn decoded<T>(&self, decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, DataError> {
        let decoded = catch_panic(decode).ok_or_else(|| self.malformed(ArrowFileError::Panicked))?;
        decoded.map_err(|error| self.malformed(error))
    }

    fn malformed(&self, error: impl Into<ArrowFileError>) -> DataError {
        self.input.malformed(None, error.into())
    }
}

impl Source for ArrowIpc {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.input.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let n_bytes = self.input.n_bytes;
        let n_cell_bytes = FREE.max(n_bytes.saturating_mul(MAX_RATIO));
        let mut budget = Budget::new(n_bytes, n_cell_bytes);
        table.limit_bytes(n_cell_bytes);
        let mut decoder = FileDecoder::new(Arc::clone(&self.schema), self.version);
        for (content, location) in &self.messages {
            let message = self.message(*location, &mut budget)?;
            if *content == Content::Dictionary {
                self.decoded(|| decoder.read_dictionary(&location.block(), &message))?;
                continue;
            }
            let batch: Option<RecordBatch> = self.decoded(|| decoder.read_record_batch(&location.block(), &message))?;
            let pushed = catch_panic(|| batch.iter().try_for_each(|batch| table.push_batch(batch, Lifetime::Passed)));
            pushed.ok_or_else(|| self.malformed(ArrowFileError::Panicked))??;
        }
        Ok(())
    }
}

impl MessageLocation {
    /// Checks that a message lies in a file of `n_bytes`, and that it and those before it take no more than the file has.
    fn new(block: &Block, n_bytes: u64, n_left: &mut u64) -> Result<Self, ArrowFileError> {
        use ArrowFileError::{BeyondFile, Overlap};
        let start = u64::try_from(block.offset()).map_err(|_| BeyondFile)?;
        let n_metadata_bytes = usize::try_from(block.metaDataLength()).map_err(|_| BeyondFile)?;
        let n_body_bytes = usize::try_from(block.bodyLength()).map_err(|_| BeyondFile)?;
        let n_own = (n_metadata_bytes as u64).checked_add(n_body_bytes as u64).ok_or(BeyondFile)?;
        if start.checked_add(n_own).is_none_or(|end| end > n_bytes) {
            return Err(BeyondFile);
        }
        *n_left = n_left.checked_sub(n_own).ok_or(Overlap)?;
        Ok(Self { start, n_metadata_bytes, n_body_bytes })
    }

    fn block(self) -> Block {
        Block::new(self.start as i64, self.n_metadata_bytes as i32, self.n_body_bytes as i64)
    }
}

/// Finds the messages of a file with a footer: all dictionaries, then all rows.
fn of_footer(file: &File, n_bytes: u64) -> Result<Stream, ArrowFileError> {
    let footer = footer(file, n_bytes)?;
    let footer = arrow_ipc::root_as_footer(&footer).map_err(|_| ArrowFileError::MalformedFooter)?;
    let schema = schema_of(footer.schema().ok_or(ArrowFileError::NoSchema)?)?;
    let dictionaries = footer.dictionaries().into_iter().flatten().map(|block| (Content::Dictionary, block));
    let rows = footer.recordBatches().into_iter().flatten().map(|block| (Content::Rows, block));
    let mut n_left = n_bytes;
    let messages = dictionaries.chain(rows).map(|(content, block)| {
        let location = MessageLocation::new(block, n_bytes, &mut n_left)?;
        Ok((content, location))
    });
    Ok(Stream { schema, version: footer.version(), messages: messages.collect::<Result<_, ArrowFileError>>()? })
}

/// Reads the footer, whose length stands before the last magic number.
fn footer(file: &File, n_bytes: u64) -> Result<Vec<u8>, ArrowFileError> {
    let start = read_at(file, 0, n_bytes.min(6) as usize)?;
    if start.starts_with(b"FEA1") {
        return Err(ArrowFileError::FeatherV1);
    }
    if start != MAGIC || n_bytes < 18 {
        return Err(ArrowFileError::NotArrow);
    }
    let end = read_at(file, n_bytes - 10, 10)?;
    let n_footer = i32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    let n_footer = u64::try_from(n_footer).ok().filter(|n_footer| end[4..] == *MAGIC && *n_footer <= n_bytes - 18);
    let n_footer = n_footer.ok_or(ArrowFileError::NoFooter)?;
    Ok(read_at(file, n_bytes - 10 - n_footer, n_footer as usize)?)
}

pub(super) fn read_at(file: &File, start: u64, n: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

/// Converts a schema, whose numbers must be in this processor's byte order.
pub(super) fn schema_of(schema: arrow_ipc::Schema) -> Result<SchemaRef, ArrowFileError> {
    if !schema.endianness().equals_to_target_endianness() {
        return Err(ArrowFileError::ByteOrder);
    }
    let schema = catch_panic(|| arrow_ipc::convert::try_fb_to_schema(schema)).ok_or(ArrowFileError::Panicked)??;
    Ok(Arc::new(schema))
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        ArrayRef, BinaryViewArray, DictionaryArray, Float64Array, Int32Array, NullArray, StringArray, StringViewArray,
    };
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
    use arrow_schema::{DataType, Field};
    use proptest::prelude::*;

    use super::*;
    use crate::{Cell, Table};

    fn read(name: &str, bytes: &[u8]) -> Result<Table, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Table::read(&path)
    }

    fn batch(n_rows: usize) -> RecordBatch {
        let words = (0..n_rows).map(|row| ["red", "blue"][row % 2]);
        let texts: Vec<Option<String>> = (0..n_rows).map(|row| (row % 3 > 0).then(|| format!("a text of row {row}"))).collect();
        let columns: [(&str, ArrayRef); 7] = [
            ("integer", Arc::new((0..n_rows as i32).collect::<Int32Array>())),
            ("number", Arc::new((0..n_rows).map(|row| (row % 2 > 0).then_some(row as f64 / 2.0)).collect::<Float64Array>())),
            ("text", Arc::new(StringArray::from(texts.clone()))),
            ("view", Arc::new(StringViewArray::from_iter(texts))),
            ("word", Arc::new(words.collect::<DictionaryArray<arrow_array::types::Int32Type>>())),
            ("bytes", Arc::new(BinaryViewArray::from_iter((0..n_rows).map(|row| (row > 1).then(|| vec![7; row % 20]))))),
            ("nothing", Arc::new(NullArray::new(n_rows))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn written(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &batches[0].schema(), options).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    fn streamed(batches: &[RecordBatch]) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    #[test]
    fn files_are_read_in_every_compression() {
        for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            let batches = [batch(5), batch(3000)];
            let bytes = written(&batches, compression);
            let want = Table::from_batches(&batches[0].schema(), batches, ".".into()).unwrap();
            for name in ["t.arrow", "t.feather", "t.ipc"] {
                let table = read(name, &bytes).unwrap();
                assert_eq!((table.n_rows(), &table.hash), (3005, &want.hash), "{compression:?}");
            }
        }
    }

    #[test]
    fn streams_are_read_as_files_with_a_footer() {
        let batches = [batch(5), batch(3000)];
        let bytes = streamed(&batches);
        let want = Table::from_batches(&batches[0].schema(), batches, ".".into()).unwrap();
        assert_eq!(read("t.arrow", &bytes).unwrap().hash, want.hash);
        assert_eq!(read("t.arrow", &bytes[..bytes.len() - 8]).unwrap().hash, want.hash, "without an end");
        assert!(read("t.arrow", &bytes[..bytes.len() - 9]).unwrap_err().to_string().contains("beyond the file"));
        assert!(read("t.arrow", &[&bytes[..], &[255; 4]].concat()).is_ok(), "the stream ends at its end");
        assert!(read("t.arrow", &MARKER).unwrap_err().to_string().contains("truncated"));
    }

    #[test]
    fn files_of_other_formats_are_errors_that_say_what_they_are() {
        let error = |bytes: &[u8]| read("t.arrow", bytes).unwrap_err().to_string();
        assert!(error(b"FEA1 and more").contains("version 1 of Feather"), "{}", error(b"FEA1 and more"));
        let bytes = written(&[batch(5)], None);
        assert!(error(&bytes[..bytes.len() - 1]).contains("truncated"));
        assert!(error(b"").contains("not an Arrow IPC file"));
    }

    #[test]
    fn declared_sizes_are_held_against_the_file() {
        let mut n_left = 100;
        let location = |offset, n_metadata, n_body, n_left: &mut u64| {
            MessageLocation::new(&Block::new(offset, n_metadata, n_body), 100, n_left)
        };
        assert!(matches!(location(0, 8, i64::MAX, &mut n_left), Err(ArrowFileError::BeyondFile)));
        assert!(matches!(location(-1, 8, 8, &mut n_left), Err(ArrowFileError::BeyondFile)));
        assert!(location(60, 40, 0, &mut n_left).is_ok());
        assert!(matches!(location(10, 40, 40, &mut n_left), Err(ArrowFileError::Overlap)));
    }

    #[test]
    fn columns_without_values_do_not_make_endless_rows() {
        let nothing = |n_rows: usize| RecordBatch::try_from_iter([("a", Arc::new(NullArray::new(n_rows)) as ArrayRef)]).unwrap();
        assert_eq!(read("t.arrow", &written(&[nothing(1000)], None)).unwrap().row(999).unwrap(), [Cell::Empty]);
        let error = read("t.arrow", &written(&[nothing(1 << 40)], None)).unwrap_err().to_string();
        assert!(error.contains("more values than a file of this size can hold"), "{error}");
    }

    #[test]
    fn compressed_zeros_beyond_all_proportion_are_rejected() {
        let zeros = |n_rows: usize| {
            let zeros = Arc::new(Float64Array::from(vec![0.0; n_rows])) as ArrayRef;
            written(&[RecordBatch::try_from_iter([("a", zeros)]).unwrap()], Some(CompressionType::ZSTD))
        };
        assert_eq!(read("t.arrow", &zeros(1 << 20)).unwrap().n_rows(), 1 << 20);
        let error = read("t.arrow", &zeros((1 << 23) + 1)).unwrap_err().to_string();
        assert!(error.contains("rewrite it without compression"), "{error}");
    }

    #[test]
    fn deeply_nested_lists_are_read_or_rejected_on_a_small_stack() {
        let read_nested = |depth: usize| {
            let deeper = |item: DataType, _| DataType::List(Arc::new(Field::new_list_field(item, true)));
            let array = arrow_array::new_null_array(&(0..depth).fold(DataType::Float64, deeper), 2);
            let bytes = written(&[RecordBatch::try_from_iter([("a", array)]).unwrap()], None);
            let work = move || read("t.arrow", &bytes).map(|table| table.n_rows()).map_err(|error| error.to_string());
            std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap()
        };
        assert_eq!(read_nested(20), Ok(2));
        assert!(read_nested(100).is_err());
    }

    #[test]
    fn types_that_both_formats_have_are_read_as_from_parquet() {
        let parquet = read("t.parquet", include_bytes!("../../tests/golden/types.parquet")).unwrap();
        let arrow = read("t.arrow", include_bytes!("../../tests/golden/types.arrow")).unwrap();
        for (column, name) in parquet.columns.iter().enumerate() {
            let cells = |table: &Table| (0..table.n_rows()).map(|row| table.cell(row, column).unwrap()).collect::<Vec<_>>();
            assert_eq!(cells(&arrow), cells(&parquet), "{name}");
        }
        assert_eq!(arrow.hash, parquet.hash);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn damaged_files_never_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6), kind in 0..4usize) {
            let batches = [batch(7), batch(3)];
            let compression = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];
            let mut bytes = compression.get(kind).map_or_else(|| streamed(&batches), |it| written(&batches, *it));
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            if let Ok(table) = read("t.arrow", &bytes) {
                (0..table.n_rows()).for_each(|row_idx| drop(table.row(row_idx).unwrap()));
            }
        }
    }
}
