//! COCO annotations: one row per caption, or one row per image with the set of its categories.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Input, Source};
use crate::{Cell, DataError, Row, TableBuilder};

#[derive(Deserialize)]
struct Annotations {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: Option<String>,
    category_id: Option<u64>,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

pub(super) struct Coco {
    folder: PathBuf,
    columns: Vec<String>,
    annotations: Annotations,
}

/// A file that does not hold COCO annotations.
#[derive(Debug, thiserror::Error)]
#[error("not COCO annotations: {0}")]
pub struct CocoError(#[source] pub serde_json::Error);

impl Coco {
    pub fn open(input: &Input) -> Result<Self, DataError> {
        let reader = std::io::BufReader::new(input.text()?.reader);
        let annotations: Annotations =
            serde_json::from_reader(reader).map_err(|error| input.malformed(None, CocoError(error)))?;
        let has_captions = annotations.annotations.iter().any(|annotation| annotation.caption.is_some());
        let target = if has_captions { "caption" } else { "categories" };
        let columns = vec!["image".to_owned(), target.to_owned()];
        Ok(Self { folder: images_folder(input, &annotations), columns, annotations })
    }

    fn captions(&self) -> Vec<Row> {
        let names: HashMap<u64, &str> = self.annotations.images.iter().map(|it| (it.id, it.file_name.as_str())).collect();
        let rows = self.annotations.annotations.iter().map(|annotation| {
            let image = names.get(&annotation.image_id).map_or(Cell::Empty, |name| Cell::text(name));
            vec![image, Cell::text(annotation.caption.as_deref().unwrap_or_default())]
        });
        rows.collect()
    }

    fn instances(&self) -> Vec<Row> {
        let names: HashMap<u64, &str> = self.annotations.categories.iter().map(|it| (it.id, it.name.as_str())).collect();
        let mut of_image: HashMap<u64, BTreeMap<u64, &str>> = HashMap::new();
        for annotation in &self.annotations.annotations {
            let name = annotation.category_id.and_then(|id| names.get(&id).map(|name| (id, *name)));
            of_image.entry(annotation.image_id).or_default().extend(name);
        }
        let rows = self.annotations.images.iter().map(|image| {
            let categories = of_image.get(&image.id).map(|found| found.values().map(|name| name.to_string()).collect());
            vec![Cell::text(&image.file_name), Cell::Words(categories.unwrap_or_default())]
        });
        rows.collect()
    }
}

impl Source for Coco {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&mut self, table: &mut TableBuilder) -> Result<(), DataError> {
        let rows = if self.columns[1] == "caption" { self.captions() } else { self.instances() };
        rows.iter().try_for_each(|row| table.push_row(row))
    }
}

/// Returns the folder that holds the first image, here or in the usual layout of COCO: `annotations/captions_val2017.json` next
/// to `val2017/`.
fn images_folder(input: &Input, annotations: &Annotations) -> PathBuf {
    let here = input.folder.clone();
    let stem = input.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let set = stem.rsplit('_').next().unwrap_or_default();
    let candidates =
        [here.clone(), here.join(set), here.join("..").join(set), here.join("../images").join(set), here.join("images")];
    let first = annotations.images.first().map(|image| image.file_name.clone()).unwrap_or_default();
    candidates.into_iter().find(|folder| folder.join(&first).is_file()).unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use crate::Table;

    /// Number of rows of a file, read on a thread with a stack of 256 KiB, an eighth of the default.
    fn n_rows(name: &'static str, content: String) -> Result<usize, String> {
        let work = move || {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            Table::read(&path).map(|table| table.n_rows()).map_err(|error| error.to_string())
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn deeply_nested_json_is_rejected_on_a_small_stack() {
        let coco = |value: &str| format!(r#"{{"images": [{{"id": 1, "file_name": "x", "x": {value}}}], "annotations": []}}"#);
        let lists = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(n_rows("t.json", coco(&"[".repeat(1_000_000))).unwrap_err().contains("not COCO annotations"));
        assert_eq!(n_rows("t.json", coco(&lists(100))), Ok(1));
        assert!(n_rows("t.jsonl", format!("{{\"a\": {}}}", lists(1_000_000))).unwrap_err().contains("row 1: not a JSON object"));
        assert_eq!(n_rows("t.jsonl", format!("{{\"a\": {}}}", lists(100))), Ok(1));
    }
}
