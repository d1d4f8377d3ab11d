//! Property tests: the same table, written in every format and compressed in every way, is read as the same cells.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use proptest::prelude::*;
use serde_json::Value;

use super::testing::{SheetCell, gzip, workbook, zip, zstandard};
use super::{TableFormat, TableOptions};
use crate::{Cell, Row, Table};

/// A table whose first column has no empty cells: a row without any cells is no row of a sheet.
#[derive(Debug, Clone)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Row>,
}

fn rows(cell: BoxedStrategy<Cell>) -> impl Strategy<Value = Rows> {
    (2usize..5).prop_flat_map(move |n_columns| {
        let others = prop::collection::vec(prop_oneof![3 => cell.clone(), 1 => Just(Cell::Empty)], n_columns - 1);
        let row = (cell.clone(), others).prop_map(|(first, others)| std::iter::once(first).chain(others).collect());
        let columns = (0..n_columns).map(|column| format!("c{column}")).collect::<Vec<_>>();
        prop::collection::vec(row, 1..6).prop_map(move |rows| Rows { columns: columns.clone(), rows })
    })
}

fn texts() -> BoxedStrategy<Cell> {
    let text = "[a-c1,;|\t\"'\n\r äß😀_x{}\\[\\]\\\\&<>=.-]{1,8}".prop_filter("blank", |text| !text.trim().is_empty());
    text.prop_map(Cell::Text).boxed()
}

fn numbers() -> BoxedStrategy<Cell> {
    prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), (-9..99i32).prop_map(f64::from)]
        .prop_map(Cell::Number)
        .boxed()
}

impl Rows {
    fn csv(&self, delimiter: u8) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
        writer.write_record(&self.columns).unwrap();
        self.rows.iter().for_each(|row| writer.write_record(row.iter().map(Cell::to_text)).unwrap());
        writer.into_inner().unwrap()
    }

    fn objects(&self) -> Vec<Value> {
        let value = |cell: &Cell| match cell {
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Number(value) => Value::from(*value),
            _ => Value::Null,
        };
        let object = |row: &Row| self.columns.iter().cloned().zip(row.iter().map(value)).collect();
        self.rows.iter().map(object).map(Value::Object).collect()
    }

    fn json_lines(&self, pretty: bool) -> Vec<u8> {
        let text = |object: &Value| if pretty { format!("{object:#}") } else { format!("{object}\n") };
        self.objects().iter().map(text).collect::<String>().into_bytes()
    }

    fn column(&self, column: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().map(move |row| &row[column])
    }

    /// The numbers of a column of numbers.
    fn numbers(&self, column: usize) -> Vec<Option<f64>> {
        let number = |cell: &Cell| if let Cell::Number(value) = cell { Some(*value) } else { None };
        self.column(column).map(number).collect()
    }

    fn texts(&self, column: usize) -> Vec<Option<&str>> {
        let texts = self.column(column).map(|cell| match cell {
            Cell::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn is_number(&self) -> bool {
        matches!(self.rows[0][0], Cell::Number(_))
    }

    fn arrow(&self) -> Vec<u8> {
        let array = |column: usize| match self.is_number() {
            true => Arc::new(Float64Array::from(self.numbers(column))) as ArrayRef,
            false => Arc::new(StringArray::from(self.texts(column))) as ArrayRef,
        };
        let columns = self.columns.iter().enumerate().map(|(at, name)| (name, array(at), true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut writer = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn parquet(&self) -> Vec<u8> {
        let kind = if self.is_number() { "optional double {} ;" } else { "optional binary {} (UTF8);" };
        let fields: String = self.columns.iter().map(|column| kind.replace("{}", column)).collect();
        let schema = Arc::new(parquet::schema::parser::parse_message_type(&format!("message m {{ {fields} }}")).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, WriterProperties::builder().build().into()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for at in 0..self.columns.len() {
            let mut column = group.next_column().unwrap().unwrap();
            let levels: Vec<i16> = self.column(at).map(|cell| i16::from(*cell != Cell::Empty)).collect();
            if self.is_number() {
                let values: Vec<f64> = self.numbers(at).into_iter().flatten().collect();
                column.typed::<DoubleType>().write_batch(&values, Some(&levels), None).unwrap();
            } else {
                let values: Vec<ByteArray> = self.texts(at).into_iter().flatten().map(ByteArray::from).collect();
                column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            }
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    fn workbook(&self) -> Vec<u8> {
        let cell = |cell: &Cell| match cell {
            Cell::Text(text) => Some(SheetCell::Text(text.clone())),
            Cell::Number(value) => Some(SheetCell::Number(*value)),
            _ => None,
        };
        let header = self.columns.iter().map(|column| Some(SheetCell::Text(column.clone()))).collect();
        let rows: Vec<_> = std::iter::once(header).chain(self.rows.iter().map(|row| row.iter().map(cell).collect())).collect();
        workbook(&rows)
    }

    /// The files of formats that tell numbers from texts.
    fn typed_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("t.json", Value::from(self.objects()).to_string().into_bytes()),
            ("pretty.json", format!("{:#}", Value::from(self.objects())).into_bytes()),
            ("sequence.json", self.json_lines(true)),
            ("lines.json", self.json_lines(false)),
            ("t.jsonl", self.json_lines(false)),
            ("list.ndjson", Value::from(self.objects()).to_string().into_bytes()),
            ("t.arrow", self.arrow()),
            ("t.feather", self.arrow()),
            ("t.parquet", self.parquet()),
            ("t.xlsx", self.workbook()),
        ]
    }

    /// The files of formats in which every cell is a text.
    fn text_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let utf16 = |order: fn(u16) -> [u8; 2]| {
            let text = String::from_utf8(self.csv(b';')).unwrap();
            format!("\u{feff}{text}").encode_utf16().flat_map(order).collect()
        };
        vec![
            ("comma.csv", self.csv(b',')),
            ("semicolon.csv", self.csv(b';')),
            ("tab.csv", self.csv(b'\t')),
            ("bar.csv", self.csv(b'|')),
            ("t.txt", self.csv(b'\t')),
            ("t.tsv", self.csv(b'\t')),
            ("t.psv", self.csv(b'|')),
            ("little.csv", utf16(u16::to_le_bytes)),
            ("big.csv", utf16(u16::to_be_bytes)),
            ("mark.csv", [b"\xef\xbb\xbf".to_vec(), self.csv(b',')].concat()),
        ]
    }
}

/// Compresses a file in every way.
fn compressed(name: &str, content: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![
        (name.to_owned(), content.to_vec()),
        (format!("{name}.gz"), gzip(content)),
        (format!("{name}.zst"), zstandard(content)),
        (format!("{name}.zip"), zip(&[("folder/", &b""[..]), ("__MACOSX/._a.csv", b"x"), (&format!("folder/{name}"), content)])),
        (format!("named {name}"), gzip(content)),
    ]
}

fn check(want: &Table, files: &[(&'static str, Vec<u8>)]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        for (name, content) in compressed(name, content) {
            let path = folder.path().join(&name);
            std::fs::write(&path, &content).unwrap();
            let table = Table::read(&path).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(
                (&table.columns, table.n_rows(), &table.hash),
                (&want.columns, want.n_rows(), &want.hash),
                "{}",
                name
            );
            let format = TableFormat::of_name(Path::new(&name));
            for options in [TableOptions { format, ..TableOptions::default() }, TableOptions::default()] {
                // Without a name, tabs and bars in a file are found as in any CSV file.
                let table = Table::read_stream(content.as_slice(), "standard input", &options);
                let table = table.map_err(|error| TestCaseError::fail(format!("{name}: {error}")))?;
                prop_assert_eq!(&table.hash, &want.hash, "{} as a stream", name);
            }
        }
    }
    Ok(())
}

fn table(rows: &Rows) -> Table {
    Table::from_rows(rows.columns.clone(), rows.rows.clone(), ".".into()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn texts_are_the_same_in_every_format(rows in rows(texts())) {
        check(&table(&rows), &[rows.text_files(), rows.typed_files()].concat())?;
    }

    #[test]
    fn numbers_are_the_same_in_every_format(rows in rows(numbers())) {
        check(&table(&rows), &rows.typed_files())?;
        let digits = |cell: &Cell| if *cell == Cell::Empty { Cell::Empty } else { Cell::Text(cell.to_text()) };
        let rows = Rows { rows: rows.rows.iter().map(|row| row.iter().map(digits).collect()).collect(), ..rows };
        check(&table(&rows), &rows.text_files())?;
    }

    #[test]
    fn parts_are_the_same_as_the_whole(rows in rows(texts()), end in 0usize..6) {
        let folder = tempfile::tempdir().unwrap();
        let end = end.min(rows.rows.len());
        for (name, part) in [("part-1.csv", &rows.rows[..end]), ("part-2.csv.gz", &rows.rows[end..])] {
            let part = Rows { rows: part.to_vec(), ..rows.clone() }.csv(b';');
            let content = if name.ends_with(".gz") { gzip(&part) } else { part };
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        prop_assert_eq!(Table::read(folder.path()).unwrap().hash, table(&rows).hash);
    }

    #[test]
    fn damaged_files_are_tables_or_errors(rows in rows(texts()), changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [rows.text_files(), rows.typed_files()].concat() {
            let mut content = content;
            for (at, byte) in &changes {
                let at = usize::from(*at) % content.len();
                content[at] = *byte;
            }
            for (name, mut content) in compressed(name, &content) {
                let path = folder.path().join(name);
                std::fs::write(&path, &content).unwrap();
                let _ = Table::read(&path);
                let at = usize::from(changes[0].0) % content.len();
                content[at] = changes[0].1;
                let _ = Table::read_stream(content.as_slice(), "stream", &TableOptions::default());
            }
        }
    }
}
