//! Modifications of an index. New files are written next to the old ones; a single rename then makes them current. A writer that
//! is killed leaves the previous index intact and some files that `index.json` does not list, which the next writer removes.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::columns::{ColumnFileWriter, IndexValue};
use crate::graph::Graph;
use crate::index::{FORMAT_VERSION, Index, IndexSpec, Manifest};
use crate::segment::{Segment, SegmentEntry, file, removed_file, write_removed};
use crate::vectors::{VectorFile, VectorFileWriter};
use crate::{Cancellation, Filter, IndexError};

/// With more segments than this, all but the largest are merged.
const MAX_SEGMENTS: usize = 8;

/// Segments with fewer rows get no graph: scanning all rows is as fast.
const MIN_GRAPH: usize = 4096;

/// Rows being added to an index; none of them is visible before [`IndexWriter::finish`].
pub struct IndexWriter {
    folder: PathBuf,
    manifest: Manifest,
    segment: SegmentWriter,
    _lock: File,
}

/// A segment being written.
struct SegmentWriter {
    number: u64,
    vectors: VectorFileWriter,
    columns: ColumnFileWriter,
    n_rows: usize,
}

/// Takes the write lock, which is held until the returned file is dropped.
fn lock(folder: &Path) -> Result<File, IndexError> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(IndexError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(IndexError::Busy { path: folder.to_path_buf() }),
        Err(std::fs::TryLockError::Error(source)) => Err(IndexError::Io { path, source }),
    }
}

/// Removes index files that `index.json` does not list. A reader keeps access to files that it has open.
fn sweep(folder: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let named: HashSet<PathBuf> = manifest.segments.iter().flat_map(|entry| files_of(folder, entry)).collect();
    for entry in std::fs::read_dir(folder).map_err(IndexError::io(folder))? {
        let path = entry.map_err(IndexError::io(folder))?.path();
        if is_index_file(&path) && !named.contains(&path) {
            std::fs::remove_file(&path).map_err(IndexError::io(&path))?;
        }
    }
    Ok(())
}

fn files_of(folder: &Path, entry: &SegmentEntry) -> impl Iterator<Item = PathBuf> {
    let files = ["vectors", "columns", "graph"].map(|kind| file(folder, entry.number, kind));
    files.into_iter().chain(entry.removed.map(|generation| removed_file(folder, entry.number, generation)))
}

fn is_index_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    ["vectors", "columns", "graph", "removed"].contains(&ending) && stem.chars().all(|c| c.is_ascii_digit() || c == '-')
}

impl SegmentWriter {
    fn create(folder: &Path, spec: &IndexSpec, number: u64) -> Result<Self, IndexError> {
        Ok(Self {
            number,
            vectors: VectorFileWriter::create(&file(folder, number, "vectors"), spec.precision, spec.width)?,
            columns: ColumnFileWriter::create(&spec.columns)?,
            n_rows: 0,
        })
    }

    fn push(&mut self, vector: &[f32], values: &[IndexValue]) -> Result<(), IndexError> {
        self.vectors.push(vector)?;
        self.columns.push(values)?;
        self.n_rows += 1;
        Ok(())
    }

    fn finish(self, folder: &Path, spec: &IndexSpec, observe: &(dyn Fn(usize) + Sync)) -> Result<SegmentEntry, IndexError> {
        let Self { number, vectors, columns, n_rows } = self;
        vectors.finish()?;
        columns.finish(&file(folder, number, "columns"))?;
        let graph = spec.graph.filter(|_| n_rows >= MIN_GRAPH);
        if let Some(settings) = graph {
            let vectors = VectorFile::open(&file(folder, number, "vectors"))?;
            Graph::build(&file(folder, number, "graph"), &vectors, settings, observe)?;
        }
        Ok(SegmentEntry { number, n_rows, has_graph: graph.is_some(), removed: None })
    }
}

impl IndexWriter {
    /// Starts a new index in a folder that has none.
    ///
    /// # Errors
    /// If the folder already holds an index or another process is writing to it.
    pub fn create(folder: &Path, spec: IndexSpec) -> Result<Self, IndexError> {
        std::fs::create_dir_all(folder).map_err(IndexError::io(folder))?;
        let lock = lock(folder)?;
        if Manifest::path(folder).exists() {
            return Err(IndexError::Exists { path: folder.to_path_buf() });
        }
        Self::start(folder, Manifest { form: FORMAT_VERSION, spec, next: 1, segments: Vec::new() }, lock)
    }

    /// Starts adding rows to an existing index.
    ///
    /// # Errors
    /// If the folder does not hold an index or another process is writing to it.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        // Without an index, do not create a lock file.
        Manifest::read(folder)?;
        let lock = lock(folder)?;
        Self::start(folder, Manifest::read(folder)?, lock)
    }

    fn start(folder: &Path, mut manifest: Manifest, lock: File) -> Result<Self, IndexError> {
        sweep(folder, &manifest)?;
        let segment = SegmentWriter::create(folder, &manifest.spec, manifest.next)?;
        manifest.next += 1;
        Ok(Self { folder: folder.to_path_buf(), manifest, segment, _lock: lock })
    }

    /// The specification of the index.
    pub fn spec(&self) -> &IndexSpec {
        &self.manifest.spec
    }

    /// Adds a row: its vector, normalized to unit length, and one value per column.
    ///
    /// # Errors
    /// If the vector has the wrong width or no direction, or the disk is full.
    pub fn push(&mut self, vector: &[f32], values: &[IndexValue]) -> Result<(), IndexError> {
        self.segment.push(vector, values)
    }

    /// Makes the rows part of the index and returns their number. `observe` is called from any thread with the number of rows in
    /// the graph so far.
    ///
    /// # Errors
    /// If the disk is full; the index is then unchanged.
    pub fn finish(self, observe: &(dyn Fn(usize) + Sync)) -> Result<usize, IndexError> {
        let Self { folder, mut manifest, segment, _lock } = self;
        let n_rows = segment.n_rows;
        if n_rows > 0 {
            let entry = segment.finish(&folder, &manifest.spec, observe)?;
            manifest.segments.push(entry);
        }
        if manifest.segments.len() > MAX_SEGMENTS {
            merge(&folder, &mut manifest, observe)?;
        }
        manifest.write(&folder)?;
        sweep(&folder, &manifest)?;
        Ok(n_rows)
    }
}

/// Merges all segments but the largest into one, dropping removed rows.
fn merge(folder: &Path, manifest: &mut Manifest, observe: &(dyn Fn(usize) + Sync)) -> Result<(), IndexError> {
    let largest = manifest.segments.iter().map(|entry| entry.n_rows).max().unwrap_or(0);
    let at = manifest.segments.iter().position(|entry| entry.n_rows == largest).unwrap_or(0);
    let largest = manifest.segments.remove(at);
    let mut merged = SegmentWriter::create(folder, &manifest.spec, manifest.next)?;
    manifest.next += 1;
    for entry in &manifest.segments {
        let segment = Segment::open(folder, entry)?;
        for row in (0..entry.n_rows).filter(|row| segment.is_alive(*row)) {
            merged.push(&segment.vector(row), &segment.values(row))?;
        }
    }
    manifest.segments = vec![largest, merged.finish(folder, &manifest.spec, observe)?];
    manifest.segments.retain(|entry| entry.n_rows > 0);
    Ok(())
}

/// Removes the rows that meet a condition and returns their number.
///
/// # Errors
/// If the folder does not hold an index, another process is writing to it, or the condition does not fit its columns.
pub fn remove(folder: &Path, filter: &Filter) -> Result<usize, IndexError> {
    Manifest::read(folder)?;
    let _lock = lock(folder)?;
    let mut manifest = Manifest::read(folder)?;
    filter.check(&manifest.spec.columns)?;
    let index = Index::open(folder)?;
    let mut n_removed = 0;
    for (entry, segment) in manifest.segments.iter_mut().zip(&index.segments) {
        let is_removed = filter.rows(&segment.columns, &Cancellation::default())?;
        let alive: Vec<bool> = (0..entry.n_rows).map(|row| segment.is_alive(row) && !is_removed[row]).collect();
        let n_alive = alive.iter().filter(|is| **is).count();
        if n_alive == segment.n_alive() {
            continue;
        }
        n_removed += segment.n_alive() - n_alive;
        write_removed(&removed_file(folder, entry.number, manifest.next), &alive)?;
        entry.removed = Some(manifest.next);
        manifest.next += 1;
    }
    if n_removed > 0 {
        manifest.write(folder)?;
        sweep(folder, &manifest)?;
    }
    Ok(n_removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GraphSettings, Hit, IndexColumn, Precision, Search};

    fn spec(graph: Option<GraphSettings>) -> IndexSpec {
        let column = |name: &str, is_number| IndexColumn { name: name.into(), is_number };
        let columns = vec![column("id", true), column("kind", false)];
        IndexSpec { width: 4, precision: Precision::F32, graph, columns, origin: serde_json::Value::Null }
    }

    fn vector(id: usize) -> Vec<f32> {
        (0..4).map(|at| ((id * 4 + at) as f32 * 0.7).sin()).collect()
    }

    fn push(writer: &mut IndexWriter, ids: std::ops::Range<usize>) {
        for id in ids {
            let kind = if id.is_multiple_of(2) { "even" } else { "odd" };
            writer.push(&vector(id), &[IndexValue::Number(id as f64), IndexValue::Text(kind.into())]).unwrap();
        }
    }

    fn ids(hits: &[Hit]) -> Vec<usize> {
        hits.iter().map(|hit| if let IndexValue::Number(id) = hit.values[0] { id as usize } else { panic!("{hit:?}") }).collect()
    }

    fn nearest(folder: &Path, id: usize, filter: Option<&str>) -> Vec<usize> {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let search = Search { k: 3, width: Some(64), filter: filter.as_ref(), cancellation: None };
        ids(&Index::open(folder).unwrap().search(&[vector(id)], search).unwrap()[0])
    }

    #[test]
    fn added_rows_are_found_and_removed_rows_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut writer = IndexWriter::create(&path, spec(None)).unwrap();
        push(&mut writer, 0..50);
        assert!(matches!(Index::open(&path), Err(IndexError::NoIndex { .. })), "rows are invisible before finish");
        assert!(matches!(IndexWriter::create(&path, spec(None)), Err(IndexError::Busy { .. })));
        assert_eq!(writer.finish(&|_| ()).unwrap(), 50);
        assert!(matches!(IndexWriter::create(&path, spec(None)), Err(IndexError::Exists { .. })));
        assert_eq!(nearest(&path, 7, None)[0], 7);
        assert!(nearest(&path, 7, Some("kind = 'even'")).iter().all(|id| id % 2 == 0));
        let reader = Index::open(&path).unwrap();
        for part in 1..=12 {
            let mut writer = IndexWriter::open(&path).unwrap();
            push(&mut writer, 50 * part..50 * (part + 1));
            writer.finish(&|_| ()).unwrap();
            assert_eq!(nearest(&path, 50 * part + 7, None)[0], 50 * part + 7);
        }
        assert!(
            reader.search(&[vector(3)], Search { k: 1, width: None, filter: None, cancellation: None }).is_ok(),
            "a reader keeps the files that it opened"
        );
        assert_eq!(remove(&path, &Filter::parse("id = 7 OR id >= 600").unwrap()).unwrap(), 51);
        assert_ne!(nearest(&path, 7, None)[0], 7);
        let info = Index::open(&path).unwrap().info();
        assert_eq!((info.n_rows, info.n_removed), (599, 51));
        assert!(info.n_segments <= MAX_SEGMENTS);
        assert_eq!(remove(&path, &Filter::parse("id = 7").unwrap()).unwrap(), 0);
    }

    #[test]
    fn dropped_addition_leaves_the_index_unchanged_and_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = IndexWriter::create(folder.path(), spec(None)).unwrap();
        push(&mut writer, 0..5);
        writer.finish(&|_| ()).unwrap();
        let files = |ending: &str| {
            std::fs::read_dir(folder.path())
                .unwrap()
                .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|it| it == ending))
                .count()
        };
        let mut dropped = IndexWriter::open(folder.path()).unwrap();
        push(&mut dropped, 5..9);
        drop(dropped);
        assert_eq!((Index::open(folder.path()).unwrap().info().n_rows, files("vectors")), (5, 2));
        let mut writer = IndexWriter::open(folder.path()).unwrap();
        push(&mut writer, 5..6);
        writer.finish(&|_| ()).unwrap();
        assert_eq!((Index::open(folder.path()).unwrap().info().n_rows, files("vectors")), (6, 2));
    }

    #[test]
    fn graph_of_a_large_segment_agrees_with_the_exact_search() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = IndexWriter::create(folder.path(), spec(Some(GraphSettings::default()))).unwrap();
        push(&mut writer, 0..MIN_GRAPH + 10);
        writer.finish(&|_| ()).unwrap();
        let index = Index::open(folder.path()).unwrap();
        assert_eq!(index.info().n_graphs, 1);
        let find =
            |width| ids(&index.search(&[vector(1234)], Search { k: 10, width, filter: None, cancellation: None }).unwrap()[0]);
        assert_eq!(find(Some(100)), find(None));
    }

    #[test]
    fn cancelled_search_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = IndexWriter::create(folder.path(), spec(Some(GraphSettings::default()))).unwrap();
        push(&mut writer, 0..MIN_GRAPH);
        writer.finish(&|_| ()).unwrap();
        let index = Index::open(folder.path()).unwrap();
        let (filter, cancellation) = (Filter::parse("id >= 0").unwrap(), Cancellation::default());
        cancellation.cancel();
        for (width, filter) in [(None, None), (None, Some(&filter)), (Some(64), None), (Some(64), Some(&filter))] {
            let search = Search { k: 3, width, filter, cancellation: Some(&cancellation) };
            assert!(matches!(index.search(&[vector(3)], search), Err(IndexError::Cancelled)), "{search:?}");
        }
    }

    #[test]
    fn damaged_or_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = IndexWriter::create(folder.path(), spec(None)).unwrap();
        push(&mut writer, 0..5);
        writer.finish(&|_| ()).unwrap();
        for kind in ["vectors", "columns"] {
            let path = file(folder.path(), 1, kind);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
            assert!(matches!(Index::open(folder.path()), Err(IndexError::Damaged { .. })));
            std::fs::remove_file(&path).unwrap();
            assert!(matches!(Index::open(folder.path()), Err(IndexError::Io { .. })));
            std::fs::write(&path, &whole).unwrap();
        }
        std::fs::write(Manifest::path(folder.path()), "{").unwrap();
        assert!(matches!(Index::open(folder.path()), Err(IndexError::Damaged { .. })));
    }
}
