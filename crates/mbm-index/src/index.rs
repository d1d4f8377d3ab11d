//! An open index: a snapshot of its last complete state, unaffected by concurrent writers.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::columns::{IndexColumn, IndexValue};
use crate::neighbors::Neighbor;
use crate::segment::{Segment, SegmentEntry, SegmentSearch};
use crate::vectors::unit;
use crate::{Cancellation, Damage, Filter, GraphSettings, IndexError, Precision};

/// The specification of an index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// Dimensions of a vector.
    pub width: usize,
    /// The number format of the stored vectors.
    pub precision: Precision,
    /// How graphs are built; without graphs every search is exact.
    pub graph: Option<GraphSettings>,
    /// The columns stored with each vector.
    pub columns: Vec<IndexColumn>,
    /// Where the vectors come from: opaque data stored for the creator of the index.
    pub origin: serde_json::Value,
}

/// `index.json`: the list of files that make up the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub form: u32,
    pub spec: IndexSpec,
    /// The number of the next file.
    pub next: u64,
    pub segments: Vec<SegmentEntry>,
}

/// Version of the `index.json` format; readers refuse any other.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// An open index.
#[derive(Debug)]
pub struct Index {
    /// The folder of the index.
    pub folder: PathBuf,
    /// The specification of the index.
    pub spec: IndexSpec,
    pub(crate) segments: Vec<Segment>,
}

/// The parameters of a search.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Search<'a> {
    /// Number of rows to return.
    pub k: usize,
    /// Candidates that a graph search keeps (ef): more give a higher recall. The search is exact if `None`.
    pub width: Option<usize>,
    /// The condition that returned rows must meet.
    pub filter: Option<&'a Filter>,
    /// Cancels the search; it is never cancelled if `None`.
    pub cancellation: Option<&'a Cancellation>,
}

impl<'a> Search<'a> {
    /// Candidates that a graph search keeps by default.
    const WIDTH: usize = 128;

    /// Searches the `k` rows nearest to a query, through the graph if the index has one.
    pub fn nearest(k: usize) -> Self {
        Self { k, width: Some(Self::WIDTH), filter: None, cancellation: None }
    }

    /// Sets the number of candidates that a graph search keeps; `None` for an exact search.
    pub fn width(self, width: Option<usize>) -> Self {
        Self { width, ..self }
    }

    /// Sets the condition that returned rows must meet.
    pub fn filter(self, filter: impl Into<Option<&'a Filter>>) -> Self {
        Self { filter: filter.into(), ..self }
    }

    /// Sets what cancels the search.
    pub fn cancellation(self, cancellation: &'a Cancellation) -> Self {
        Self { cancellation: Some(cancellation), ..self }
    }
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Cosine similarity to the query.
    pub similarity: f32,
    /// One value per column.
    pub values: Vec<IndexValue>,
}

/// Size statistics of an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexInfo {
    /// Rows that can be found.
    pub n_rows: usize,
    /// Removed rows that still take up space.
    pub n_removed: usize,
    /// Segments.
    pub n_segments: usize,
    /// Segments with a graph.
    pub n_graphs: usize,
    /// Size of the vectors in bytes.
    pub vector_bytes: u64,
    /// Size of the graphs in bytes.
    pub graph_bytes: u64,
    /// Size of the columns in bytes.
    pub column_bytes: u64,
}

/// How often a reader retries when a writer has just replaced files.
const TRIES: usize = 20;

impl Manifest {
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("index.json")
    }

    pub fn read(folder: &Path) -> Result<Self, IndexError> {
        let path = Self::path(folder);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(IndexError::NoIndex { path: folder.to_path_buf() });
            }
            other => other.map_err(IndexError::io(&path))?,
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| IndexError::damaged(&path, error))?;
        if manifest.form != FORMAT_VERSION {
            return Err(IndexError::damaged(&path, Damage::Format { found: manifest.form, expected: FORMAT_VERSION }));
        }
        if manifest.spec.width == 0 {
            return Err(IndexError::damaged(&path, Damage::ZeroWidth));
        }
        Ok(manifest)
    }

    /// Atomically replaces the previous list.
    pub fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let path = Self::path(folder);
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        replace(&path, folder, &text).map_err(IndexError::io(&path))
    }
}

fn replace(path: &Path, folder: &Path, text: &[u8]) -> std::io::Result<()> {
    let aside = folder.join("index.json.tmp");
    std::fs::write(&aside, text)?;
    File::open(&aside)?.sync_all()?;
    std::fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

impl Index {
    /// Opens an index and verifies that its files are intact.
    ///
    /// # Errors
    /// If the folder does not hold an index or a file is damaged.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        let mut manifest = Manifest::read(folder)?;
        for _ in 0..TRIES {
            let segments = Self::segments(folder, &manifest);
            let again = Manifest::read(folder)?;
            match segments {
                Ok(segments) => return Ok(Self { folder: folder.to_path_buf(), spec: manifest.spec, segments }),
                Err(error) if again == manifest => return Err(error),
                // A writer replaced files in the meantime.
                Err(_) => manifest = again,
            }
        }
        Err(IndexError::Busy { path: folder.to_path_buf() })
    }

    fn segments(folder: &Path, manifest: &Manifest) -> Result<Vec<Segment>, IndexError> {
        manifest.segments.iter().map(|entry| Self::segment(folder, entry, &manifest.spec)).collect()
    }

    fn segment(folder: &Path, entry: &SegmentEntry, spec: &IndexSpec) -> Result<Segment, IndexError> {
        let segment = Segment::open(folder, entry)?;
        if segment.vectors.width != spec.width || !segment.columns.schema().eq(&spec.columns) {
            return Err(IndexError::damaged(&Manifest::path(folder), Damage::OtherIndex { segment: entry.number }));
        }
        Ok(segment)
    }

    /// Returns, for each query, the rows whose vectors have the highest cosine similarity to it, nearest first.
    ///
    /// # Errors
    /// If a query has the wrong width or no direction, if the filter does not fit the columns, or [`IndexError::Cancelled`].
    pub fn search(&self, queries: &[Vec<f32>], search: Search) -> Result<Vec<Vec<Hit>>, IndexError> {
        search.filter.map_or(Ok(()), |filter| filter.check(&self.spec.columns))?;
        let queries = queries
            .iter()
            .enumerate()
            .map(|(row, query)| {
                if query.len() != self.spec.width {
                    return Err(IndexError::Width { expected: self.spec.width, found: query.len() });
                }
                unit(query).ok_or(IndexError::NoDirection { row: row + 1 })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let never = Cancellation::default();
        let cancellation = search.cancellation.unwrap_or(&never);
        let parameters = SegmentSearch { k: search.k, width: search.width, filter: search.filter, cancellation };
        let found = self.segments.iter().map(|segment| segment.search(&queries, parameters)).collect::<Result<Vec<_>, _>>()?;
        Ok((0..queries.len()).map(|query| self.merged(&found, query, search.k)).collect())
    }

    /// Merges what each segment found for each query: returns the `k` rows nearest to one query.
    fn merged(&self, found: &[Vec<Vec<Neighbor>>], query: usize, k: usize) -> Vec<Hit> {
        let mut all: Vec<_> = found
            .iter()
            .enumerate()
            .flat_map(|(at, neighbors)| neighbors[query].iter().map(move |neighbor| (at, *neighbor)).collect::<Vec<_>>())
            .collect();
        all.sort_by(|(a_at, a), (b_at, b)| b.similarity.total_cmp(&a.similarity).then((a_at, a.row).cmp(&(b_at, b.row))));
        all.truncate(k);
        let hits = all.into_iter().map(|(at, neighbor)| Hit {
            similarity: neighbor.similarity,
            values: self.segments[at].values(neighbor.row as usize),
        });
        hits.collect()
    }

    /// Returns size statistics.
    pub fn info(&self) -> IndexInfo {
        let sum = |of: &dyn Fn(&Segment) -> u64| self.segments.iter().map(of).sum::<u64>();
        let n_rows = sum(&|segment| segment.n_alive() as u64) as usize;
        IndexInfo {
            n_rows,
            n_removed: sum(&|segment| segment.vectors.n_rows as u64) as usize - n_rows,
            n_segments: self.segments.len(),
            n_graphs: self.segments.iter().filter(|segment| segment.graph.is_some()).count(),
            vector_bytes: sum(&|segment| segment.vectors.n_bytes()),
            graph_bytes: sum(&|segment| segment.graph.as_ref().map_or(0, |graph| graph.n_bytes())),
            column_bytes: sum(&|segment| segment.columns.n_bytes()),
        }
    }
}
