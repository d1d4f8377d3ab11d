//! Where rows come from. A new source is one file here and one line in [`open`].

mod class_folder;
mod coco;
mod delimited;
mod idx;
mod json_lines;
mod parquet;

use std::path::{Path, PathBuf};

use crate::{DataError, Row};

/// A stream of rows with named columns.
pub trait Source {
    /// The columns' names, known before the first row.
    fn columns(&self) -> &[String];

    /// The folder that relative paths in cells start from.
    fn folder(&self) -> &Path;

    /// Gives every row in order.
    ///
    /// # Errors
    /// Malformed rows, or what `sink` answers.
    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError>;
}

/// Opens a file or folder by its kind.
///
/// # Errors
/// A path that is not there, or of no known kind.
pub fn open(path: &Path) -> Result<Box<dyn Source>, DataError> {
    let metadata = std::fs::metadata(path).map_err(DataError::io(path))?;
    if metadata.is_dir() {
        return Ok(Box::new(class_folder::ClassFolder::open(path)?));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    match () {
        () if ends(&[".csv", ".csv.gz"]) => Ok(Box::new(delimited::Delimited::open(path, b',')?)),
        () if ends(&[".tsv", ".tsv.gz"]) => Ok(Box::new(delimited::Delimited::open(path, b'\t')?)),
        () if ends(&[".jsonl", ".ndjson", ".jsonl.gz"]) => Ok(Box::new(json_lines::JsonLines::open(path)?)),
        () if ends(&[".parquet"]) => Ok(Box::new(parquet::Parquet::open(path)?)),
        () if ends(&[".json"]) => Ok(Box::new(coco::Coco::open(path)?)),
        () if ends(&["-ubyte", "-ubyte.gz", ".idx"]) => Ok(Box::new(idx::Idx::open(path)?)),
        () => Err(DataError::UnknownKind(path.to_path_buf())),
    }
}

/// Rows in memory.
pub struct Memory {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; each is given once.
    pub rows: Vec<Row>,
}

impl Source for Memory {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        Path::new(".")
    }

    fn read(&mut self, sink: &mut dyn FnMut(Row) -> Result<(), DataError>) -> Result<(), DataError> {
        std::mem::take(&mut self.rows).into_iter().try_for_each(sink)
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

/// The file's bytes, decompressed where its name ends in `.gz`.
fn open_file(path: &Path) -> Result<Box<dyn std::io::Read>, DataError> {
    let file = std::fs::File::open(path).map_err(DataError::io(path))?;
    let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_gzip { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::{Cell, DataError, Table};

    fn table(name: &str, content: &[u8]) -> Result<Table, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Table::read(&path)
    }

    #[test]
    fn a_csv_keeps_quotes_line_breaks_and_bytes_that_are_not_utf8() {
        let table = table("t.csv", b"a,b\n\"x, \"\"y\"\"\nz\",1\n,\xff\n").unwrap();
        assert_eq!(table.columns, ["a", "b"]);
        assert_eq!(table.row(0).unwrap(), [Cell::Text("x, \"y\"\nz".into()), Cell::Text("1".into())]);
        assert_eq!(table.row(1).unwrap(), [Cell::Empty, Cell::NotUtf8(vec![0xff])]);
    }

    #[test]
    fn a_row_of_another_length_is_an_error_with_its_number() {
        let error = table("t.csv", b"a,b\n1,2\n3\n").unwrap_err().to_string();
        assert!(error.ends_with("t.csv, row 2: 1 fields where the header has 2"), "{error}");
        assert!(table("t.csv", b"a,a\n1,2\n").unwrap_err().to_string().contains("column 'a' occurs twice"));
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
    fn an_idx_file_that_promises_more_than_it_holds_is_an_error() {
        let error = table("x-idx3-ubyte", &[0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 1, 0, 0, 0, 2, 1]).unwrap_err();
        assert!(error.to_string().contains("ends early"), "{error}");
    }

    #[test]
    fn a_class_folder_gives_its_folders_as_labels_and_splits() {
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
    fn coco_captions_give_a_row_a_caption_and_instances_a_row_a_picture() {
        let captions = br#"{"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": [{"image_id": 1, "caption": "A dog."}, {"image_id": 1, "caption": "Dog"}]}"#;
        let table_of_captions = table("captions_val2017.json", captions).unwrap();
        assert_eq!(table_of_captions.columns, ["image", "caption"]);
        assert_eq!(table_of_captions.n_rows(), 2);
        let instances = br#"{"images": [{"id": 1, "file_name": "x.jpg"}], "categories": [{"id": 3, "name": "hot dog"}], "annotations": [{"image_id": 1, "category_id": 3}, {"image_id": 1, "category_id": 3}]}"#;
        let table_of_instances = table("instances_val2017.json", instances).unwrap();
        assert_eq!(table_of_instances.row(0).unwrap()[1], Cell::Words(vec!["hot dog".into()]));
    }

    #[test]
    fn an_unknown_kind_lists_what_is_read() {
        assert!(table("x.xlsx", b"").unwrap_err().to_string().contains(".csv, .tsv, .jsonl, .parquet"));
    }

    proptest::proptest! {
        #[test]
        fn readers_of_foreign_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for name in ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.json", "t-ubyte", "t-ubyte.gz"] {
                let _ = table(name, &bytes);
            }
        }
    }
}
