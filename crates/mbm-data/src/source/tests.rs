//! Tests of all sources of rows: what they read, and what they reject.

use std::io::Write;

use super::testing::{gzip, zip};
use super::{DelimitedError, DuplicateColumns, RaggedError, RaggedRows, TableOptions};
use crate::{Cell, DataError, Table};

fn table(name: &str, content: &[u8]) -> Result<Table, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    Table::read(&path)
}

#[test]
fn csv_keeps_quotes_line_breaks_and_non_utf8_bytes() {
    let table = table("t.csv", b"a,b\n\"x, \"\"y\"\"\nz\",1\n,\xff\n").unwrap();
    assert_eq!(table.columns, ["a", "b"]);
    assert_eq!(table.row(0).unwrap(), [Cell::Text("x, \"y\"\nz".into()), Cell::Text("1".into())]);
    assert_eq!(table.row(1).unwrap(), [Cell::Empty, Cell::NotUtf8(vec![0xff])]);
}

#[test]
fn unclosed_quote_is_an_error_in_the_row_that_opened_it() {
    let row = |row_idx: usize| format!("{row_idx},\"a note\"\n");
    let rows = |range: std::ops::Range<usize>| range.map(row).collect::<String>();
    let unclosed = format!("id,note\n{}300,\"a note\n301,another\n{}", rows(1..300), "302,plain\n".repeat(300));
    let error = table("t.csv", unclosed.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("t.csv, row 300: the quote that opens field 2 in line 301 is never closed"), "{error}");
    let closed_later = format!("id,note\n{}300,\"a note\n{}", rows(1..300), rows(301..601));
    let error = table("t.csv", closed_later.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("row 300: the quote that opens field 2 in line 301 is closed before 'a' in line 302"), "{error}");
    let error = table("t.tsv", b"a\tb\n1\t\"x\n").unwrap_err().to_string();
    assert!(error.contains("t.tsv, row 1: the quote that opens field 2 in line 2"), "{error}");
    let error = table("t.csv", b"\"a,b\n1,2\n").unwrap_err().to_string();
    assert!(error.contains("t.csv: the quote that opens field 1 in line 1 is never closed"), "{error}");
    let error = table("t.jsonl", b"{\"a\": \"x\"}\n{\"a\": \"x}\n{\"a\": \"x\"}\n").unwrap_err().to_string();
    assert!(error.contains("t.jsonl, row 2: not a JSON object"), "{error}");
}

#[test]
fn row_with_wrong_number_of_fields_is_an_error() {
    let error = table("t.csv", b"a,b\n1,2\n3\n").unwrap_err().to_string();
    assert!(error.contains("t.csv, row 2: 1 fields, but the header has 2; --ragged pad"), "{error}");
}

#[test]
fn errors_carry_the_row_and_the_error_of_the_source() {
    let DataError::Malformed { row, source, .. } = table("t.csv", b"a,b\n1,2\n3\n").unwrap_err() else { panic!() };
    let error = source.downcast_ref::<DelimitedError>();
    assert!(
        matches!((row, error), (Some(2), Some(DelimitedError::Ragged(RaggedError::FieldCount { found: 1, expected: 2 })))),
        "{error:?}"
    );
}

#[test]
fn json_lines_may_lack_keys() {
    let table = table("t.jsonl", b"{\"a\": 1}\n\n{\"b\": \"x\", \"a\": null}\n").unwrap();
    assert_eq!(table.columns, ["a", "b"]);
    assert_eq!(table.row(0).unwrap(), [Cell::Number(1.0), Cell::Empty]);
    assert_eq!(table.row(1).unwrap(), [Cell::Empty, Cell::Text("x".into())]);
}

#[test]
fn idx_images_and_their_labels_are_joined() {
    let folder = tempfile::tempdir().unwrap();
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 9]).unwrap();
    let path = folder.path().join("t10k-images-idx3-ubyte");
    std::fs::write(&path, images).unwrap();
    std::fs::write(folder.path().join("t10k-labels-idx1-ubyte.gz"), gzip.finish().unwrap()).unwrap();
    let table = Table::read(&path).unwrap();
    assert_eq!(table.columns, ["image", "label"]);
    assert_eq!(table.row(1).unwrap(), [Cell::Bytes(b"P5 2 1 255\n\x03\x04".to_vec()), Cell::Text("9".into())]);
}

#[test]
fn idx_images_and_labels_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x-images-idx3-ubyte");
    std::fs::write(&path, [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9]).unwrap();
    let labels = folder.path().join("x-labels-idx1-ubyte");
    std::fs::write(&labels, [0, 0, 8, 1, 255, 255, 255, 255, 3]).unwrap();
    let error = Table::read(&path).unwrap_err().to_string();
    assert!(error.contains("4294967295 values declared in 9 bytes"), "{error}");
    std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 2, 3, 4]).unwrap();
    assert!(Table::read(&path).unwrap_err().to_string().contains("2 labels for 1 images"));
}

/// A file with a column each of integers, strings, and lists of numbers.
fn parquet(properties: parquet::file::properties::WriterPropertiesBuilder, n_rows: usize) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    let schema = "message m { required int64 a; optional binary b (UTF8); optional group c (LIST) { repeated group list { optional double element; } } }";
    let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = parquet::file::writer::SerializedFileWriter::new(&mut bytes, schema, properties.build().into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&vec![7; n_rows], None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let words: Vec<ByteArray> = (0..n_rows).map(|row| ByteArray::from(["red", "blue"][row % 2])).collect();
    column.typed::<ByteArrayType>().write_batch(&words, Some(&vec![1; n_rows]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let starts: Vec<i16> = (0..2 * n_rows).map(|at| (at % 2) as i16).collect();
    column.typed::<DoubleType>().write_batch(&vec![0.0; 2 * n_rows], Some(&vec![3; 2 * n_rows]), Some(&starts)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_is_read_in_every_compression_and_encoding() {
    use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    let compressed = |compression| WriterProperties::builder().set_compression(compression);
    let delta = |encoding| WriterProperties::builder().set_dictionary_enabled(false).set_column_encoding("b".into(), encoding);
    let ways = [
        compressed(Compression::UNCOMPRESSED),
        compressed(Compression::SNAPPY),
        compressed(Compression::GZIP(GzipLevel::default())),
        compressed(Compression::ZSTD(ZstdLevel::default())),
        compressed(Compression::LZ4_RAW),
        delta(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        delta(Encoding::DELTA_BYTE_ARRAY),
    ];
    let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
    for (way, version) in ways.iter().flat_map(|way| versions.map(|version| (way, version))) {
        for n_rows in [1, 20_000] {
            let table = table("t.parquet", &parquet(way.clone().set_writer_version(version), n_rows)).unwrap();
            let want = [Cell::Number(7.0), Cell::Text("red".into()), Cell::Numbers(vec![0.0, 0.0])];
            assert_eq!((table.n_rows(), table.row(0).unwrap()), (n_rows, want.to_vec()), "{way:?} {version:?}");
        }
    }
}

#[test]
fn panic_of_the_parquet_reader_is_an_error() {
    // A page of deltas that declares no values: parquet 60 panics in builds with overflow checks, such as this one.
    let error = table("t.parquet", include_bytes!("../../tests/golden/damaged_deltas.parquet")).unwrap_err();
    assert!(error.to_string().contains("t.parquet"), "{error}");
}

#[test]
fn json_lines_with_many_keys_are_read_in_linear_time() {
    // A linear search through all known keys for each key would take minutes here; a map takes a second.
    let start = std::time::Instant::now();
    let line: Vec<String> = (0..100_000).map(|key| format!("\"a key with a long name {key}\": {key}")).collect();
    let content = format!("{{{}}}\n", line.join(",")).repeat(2);
    let table = table("t.jsonl", content.as_bytes()).unwrap();
    assert_eq!((table.columns.len(), table.n_rows()), (100_000, 2));
    let at = table.position("a key with a long name 99999").unwrap();
    assert_eq!(table.row(1).unwrap()[at], Cell::Number(99_999.0));
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn json_lines_whose_keys_are_values_are_rejected() {
    let content: String = (0..9000).map(|line| format!("{{\"{line}\":1}}\n")).collect();
    let error = table("t.jsonl", content.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("9000 different keys in 9000 lines"), "{error}");
    assert!(table("t.jsonl", content[..content.len() / 3].rsplit_once('\n').unwrap().0.as_bytes()).is_ok());
}

#[test]
fn json_cells_of_every_kind_are_read() {
    let content =
        b"{\"b\": [1, 2.5], \"a\": [[1, 2.50], [\"x\"]], \"c\": {\"z\": 1, \"y\": [null]}, \"d\": [\"p\", \"q\"], \"b\": [3]}\n";
    let table = table("t.jsonl", content).unwrap();
    assert_eq!(table.columns, ["a", "b", "c", "d"]);
    let want = [
        Cell::Json("[[1,2.5],[\"x\"]]".into()),
        Cell::Numbers(vec![3.0]),
        Cell::Json("{\"y\":[null],\"z\":1}".into()),
        Cell::Words(vec!["p".into(), "q".into()]),
    ];
    assert_eq!(table.row(0).unwrap(), want);
}

#[test]
fn idx_file_that_declares_more_than_it_holds_is_an_error() {
    let error = table("x-idx3-ubyte", &[0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 2, 1]).unwrap_err();
    assert!(error.to_string().contains("ends early"), "{error}");
}

#[test]
fn class_folder_names_become_labels_and_splits() {
    let folder = tempfile::tempdir().unwrap();
    for (class, name) in [("train/cat", "a.png"), ("train/dog", "b.png"), ("val/cat", "c.png")] {
        std::fs::create_dir_all(folder.path().join(class)).unwrap();
        std::fs::write(folder.path().join(class).join(name), b"").unwrap();
    }
    let table = Table::read(folder.path()).unwrap();
    assert_eq!(table.columns, ["image", "label", "split"]);
    let text = |idx: usize| table.row(idx).unwrap().iter().map(Cell::to_text).collect::<Vec<_>>();
    assert_eq!(text(0), ["train/cat/a.png", "cat", "train"]);
    assert_eq!(text(2), ["val/cat/c.png", "cat", "val"]);
}

#[test]
fn a_folder_of_other_files_is_no_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    };
    ["penguins/README.md", "houses/config.yaml", "train/a/b.md"].iter().for_each(|name| write(name));
    let error = Table::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("b.md, are neither images nor sounds"), "{error}");
    write("train/a/c.png");
    assert!(Table::read(folder.path()).is_ok(), "one image makes classes");
    std::fs::remove_file(folder.path().join("train/a/c.png")).unwrap();
    write("houses/1");
    assert!(Table::read(folder.path()).is_ok(), "a file without an extension can be an image");
}

#[test]
fn a_folder_with_a_table_beside_its_media_is_not_read_as_classes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(name), b"a\n1\n").unwrap();
    };
    ["houses.csv", "photos/1.jpg", "notes/readme.md"].iter().for_each(|name| write(name));
    let error = Table::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("the table houses.csv and subfolders that are not classes") && error.ends_with("houses.csv"),
        "{error}"
    );
    ["cats/1.jpg", "dogs/1.jpg"].iter().for_each(|name| write(name));
    assert_eq!(Table::read(folder.path()).unwrap().columns, ["image", "label"], "photos, cats and dogs are classes");
}

#[test]
fn coco_yields_a_row_per_caption_or_per_image() {
    let captions = br#"{"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": [{"image_id": 1, "caption": "A dog."}, {"image_id": 1, "caption": "Dog"}]}"#;
    let table_of_captions = table("captions_val2017.json", captions).unwrap();
    assert_eq!(table_of_captions.columns, ["image", "caption"]);
    assert_eq!(table_of_captions.n_rows(), 2);
    let instances = br#"{"images": [{"id": 1, "file_name": "x.jpg"}], "categories": [{"id": 3, "name": "hot dog"}], "annotations": [{"image_id": 1, "category_id": 3}, {"image_id": 1, "category_id": 3}]}"#;
    let table_of_instances = table("instances_val2017.json", instances).unwrap();
    assert_eq!(table_of_instances.row(0).unwrap()[1], Cell::Words(vec!["hot dog".into()]));
}

#[test]
fn unknown_kind_error_lists_the_supported_kinds() {
    assert!(table("x.doc", b"").unwrap_err().to_string().contains(".csv, .tsv, .jsonl, .parquet"));
}

proptest::proptest! {
    #[test]
    fn readers_of_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        for name in ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.arrow", "t.json", "t-ubyte", "t-ubyte.gz", "t.zip", "t.xlsx"] {
            let _ = table(name, &bytes);
        }
    }
}

fn table_with(name: &str, content: &[u8], options: &TableOptions) -> Result<Table, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    Table::read_with(&path, options)
}

#[test]
fn what_was_assumed_about_a_file_is_noted() {
    assert_eq!(table("t.csv", b"a,b\n1,2\n").unwrap().notes, [""; 0]);
    assert_eq!(table("t.csv", b"a\tb\n1\t2\n").unwrap().notes, ["the delimiter is a tab"]);
    let utf16: Vec<u8> = "\u{feff}a;a\n1,5;2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table = table("t.csv", &utf16).unwrap();
    assert_eq!(table.row(0).unwrap(), [Cell::Text("1,5".into()), Cell::Text("2".into())]);
    let renamed = "columns with the name of an earlier one were renamed: a_2";
    assert_eq!(table.notes, ["the text is in UTF-16", "the delimiter is ';'", renamed]);
}

#[test]
fn options_pad_ragged_rows_set_the_delimiter_and_reject_duplicates() {
    let ragged = TableOptions { ragged: RaggedRows::Pad, ..TableOptions::default() };
    let padded = table_with("t.csv", b"a,b\n1\n2,x,rest\n3,y\n", &ragged).unwrap();
    assert_eq!(padded.row(0).unwrap(), [Cell::Text("1".into()), Cell::Empty]);
    assert_eq!(padded.row(1).unwrap(), [Cell::Text("2".into()), Cell::Text("x".into())]);
    assert!(padded.notes[0].ends_with("; the first is row 1"), "{:?}", padded.notes);
    let delimited = TableOptions { delimiter: Some(":".parse().unwrap()), ..TableOptions::default() };
    assert_eq!(table_with("t.csv", b"a,x:b\n1:2\n", &delimited).unwrap().columns, ["a,x", "b"]);
    let strict = TableOptions { duplicate_columns: DuplicateColumns::Error, ..TableOptions::default() };
    let error = table_with("t.csv", b"a,a\n1,2\n", &strict).unwrap_err().to_string();
    assert!(error.contains("t.csv: the column 'a' occurs twice; --duplicate-columns rename"), "{error}");
}

#[test]
fn a_format_is_named_for_files_with_other_names() {
    let options = TableOptions { format: Some("csv".parse().unwrap()), ..TableOptions::default() };
    assert_eq!(table_with("adult.data", b"a,b\n1,2\n", &options).unwrap().columns, ["a", "b"]);
    let error = table("adult.data", b"a,b\n1,2\n").unwrap_err().to_string();
    assert!(error.contains("adult.data: not a supported dataset") && error.contains("--format"), "{error}");
    let archive = zip(&[("adult.data", "a,b\n1,2\n")]);
    assert_eq!(table_with("t.zip", &archive, &options).unwrap().columns, ["a", "b"]);
}

#[test]
fn streams_without_a_format_say_what_they_are_read_as() {
    let read = |content: &[u8]| Table::read_stream(content, "standard input", &TableOptions::default());
    assert_eq!(read(b"a;b\n1;2\n").unwrap().notes, ["standard input is read as csv", "the delimiter is ';'"]);
    assert_eq!(read(b" {\"a\": 1}\n{\"a\": 2}").unwrap().notes, ["standard input is read as json"]);
    assert_eq!(read(&gzip(b"a\n1\n")).unwrap().notes, ["standard input is read as csv"]);
    assert_eq!(read(&zip(&[("t.jsonl", "{\"a\": 1}")])).unwrap().notes, [""; 0]);
    let error = read(b"a,b\n1\n").unwrap_err().to_string();
    assert!(error.starts_with("standard input, row 1: 1 fields"), "{error}");
    let error = read(b"").unwrap_err().to_string();
    assert_eq!(error, "standard input: the file has no header line with column names");
}

#[test]
fn tables_without_rows_say_so_where_rows_are_needed() {
    for (name, content) in [("t.csv", "a,b\n"), ("t.csv", "a,b")] {
        let error = table(name, content.as_bytes()).unwrap().require_rows().unwrap_err().to_string();
        assert_eq!(error, "no rows: the dataset has 2 columns and no rows");
    }
    for name in ["t.jsonl", "t.json"] {
        assert!(table(name, b"\n").unwrap_err().to_string().contains(&format!("{name}: no rows")), "{name}");
    }
    assert!(table("t.csv", b"a\n1\n").unwrap().require_rows().is_ok());
}

#[test]
fn archives_hold_one_table_that_is_neither_encrypted_nor_damaged() {
    let error = |bytes: &[u8]| table("t.zip", bytes).unwrap_err().to_string();
    let several = error(&zip(&[("train.csv", "a\n1\n"), ("test.csv", "a\n2\n")]));
    assert!(several.contains("t.zip: the archive holds several tables: train.csv, test.csv; unpack it"), "{several}");
    assert!(error(&zip(&[("readme.md", "a")])).contains("the archive holds no table; its files: readme.md"));
    assert!(error(&zip::<&str, &str>(&[])).contains("the archive holds no table"));
    let archive = zip(&[("t.csv", "a,b\n1,2\n")]);
    let changed = |at: usize, byte: u8| {
        let mut archive = archive.clone();
        archive[at] = byte;
        archive
    };
    let directory = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    assert!(error(&changed(directory + 8, 1)).contains("is encrypted"), "{}", error(&changed(directory + 8, 1)));
    assert!(error(&changed(directory + 10, 12)).contains("is compressed with"), "{}", error(&changed(directory + 10, 12)));
    let damaged = error(&changed(directory + 16, archive[directory + 16] ^ 1));
    assert!(damaged.contains("t.zip/t.csv") && damaged.contains("does not have its checksum"), "{damaged}");
    assert!(error(&archive[..archive.len() - 3]).contains("the zip archive cannot be read"));
}
