//! An index at work: opened as it was last left whole, whatever is being written meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::columns::{Column, Value};
use crate::segment::{Looking, Segment, SegmentEntry};
use crate::vectors::unit;
use crate::{Cancellation, Filter, GraphSettings, IndexError, Precision};

/// What an index is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexSpec {
    /// Values of a vector.
    pub width: usize,
    /// What they are stored in.
    pub precision: Precision,
    /// How graphs are built; every search is exact where there are none.
    pub graph: Option<GraphSettings>,
    /// What is known of each vector.
    pub columns: Vec<Column>,
    /// Where the vectors come from: whatever the maker of the index has to know again.
    pub origin: serde_json::Value,
}

/// `index.json`: which files are the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub form: u32,
    pub spec: IndexSpec,
    /// The next number of a file.
    pub next: u64,
    pub segments: Vec<SegmentEntry>,
}

/// The form of `index.json`; a reader refuses what it does not know.
pub(crate) const FORM: u32 = 1;

/// An open index.
#[derive(Debug)]
pub struct Index {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is made of.
    pub spec: IndexSpec,
    pub(crate) segments: Vec<Segment>,
}

/// What a search looks for, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// How many rows.
    pub k: usize,
    /// Candidates that a search of a graph keeps, the more the surer (ef); exact where there are none.
    pub width: Option<usize>,
    /// Which rows may be found.
    pub filter: Option<&'a Filter>,
    /// When it gives up; never where nothing is named.
    pub cancellation: Option<&'a Cancellation>,
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The cosine.
    pub similarity: f32,
    /// A value a column.
    pub values: Vec<Value>,
}

/// What an index holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexInfo {
    /// Rows that can be found.
    pub n_rows: usize,
    /// Rows that have been removed and still take room.
    pub n_removed: usize,
    /// Parts.
    pub n_segments: usize,
    /// Parts that have a graph.
    pub n_graphs: usize,
    /// Bytes of vectors.
    pub vector_bytes: u64,
    /// Bytes of graphs.
    pub graph_bytes: u64,
    /// Bytes of columns.
    pub column_bytes: u64,
}

/// Times that a reader looks again for files that a writer has just replaced.
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
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        if manifest.form != FORM {
            return Err(IndexError::damaged(
                &path,
                format!("an index of form {}; this version reads form {FORM}", manifest.form),
            ));
        }
        if manifest.spec.width == 0 {
            return Err(IndexError::damaged(&path, "vectors of no values"));
        }
        Ok(manifest)
    }

    /// Puts this list in the place of the one before, in one step.
    pub fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let (path, aside) = (Self::path(folder), folder.join("index.json.tmp"));
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let write = || {
            std::fs::write(&aside, text)?;
            File::open(&aside)?.sync_all()?;
            std::fs::rename(&aside, &path)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(IndexError::io(&path))
    }
}

impl Index {
    /// Opens an index and looks whether its files are whole.
    ///
    /// # Errors
    /// A folder that is no index, a damaged file.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        let mut manifest = Manifest::read(folder)?;
        for _ in 0..TRIES {
            let segments = Self::segments(folder, &manifest);
            let again = Manifest::read(folder)?;
            match segments {
                Ok(segments) => return Ok(Self { folder: folder.to_path_buf(), spec: manifest.spec, segments }),
                Err(error) if again == manifest => return Err(error),
                // A writer has replaced files in between.
                Err(_) => manifest = again,
            }
        }
        Err(IndexError::Busy { path: folder.to_path_buf() })
    }

    fn segments(folder: &Path, manifest: &Manifest) -> Result<Vec<Segment>, IndexError> {
        let open = |entry: &SegmentEntry| {
            let segment = Segment::open(folder, entry)?;
            let spec = &manifest.spec;
            if segment.vectors.width != spec.width || !segment.columns.schema().eq(&spec.columns) {
                return Err(IndexError::damaged(
                    &Manifest::path(folder),
                    format!("segment {} is of another index", entry.number),
                ));
            }
            Ok(segment)
        };
        manifest.segments.iter().map(open).collect()
    }

    /// For each query the rows whose vectors have the largest cosines with it, nearest first.
    ///
    /// # Errors
    /// A query of another width or without a direction; a filter that does not fit the columns; [`IndexError::Cancelled`].
    pub fn search(&self, queries: &[Vec<f32>], search: Search) -> Result<Vec<Vec<Hit>>, IndexError> {
        search.filter.map_or(Ok(()), |filter| filter.check(&self.spec.columns))?;
        let direction = |(row, query): (usize, &Vec<f32>)| {
            if query.len() != self.spec.width {
                return Err(IndexError::Width { expected: self.spec.width, found: query.len() });
            }
            unit(query).ok_or(IndexError::NoDirection { row: row + 1 })
        };
        let queries = queries.iter().enumerate().map(direction).collect::<Result<Vec<_>, _>>()?;
        let never = Cancellation::default();
        let cancellation = search.cancellation.unwrap_or(&never);
        let looking = Looking { k: search.k, width: search.width, filter: search.filter, cancellation };
        let found = self.segments.iter().map(|segment| segment.search(&queries, looking)).collect::<Result<Vec<_>, _>>()?;
        let of_query = |query: usize| {
            let of_segment = |(at, nears): (usize, &Vec<Vec<crate::near::Near>>)| {
                nears[query].iter().map(move |near| (at, *near)).collect::<Vec<_>>()
            };
            let mut all: Vec<_> = found.iter().enumerate().flat_map(of_segment).collect();
            all.sort_by(|(a_at, a), (b_at, b)| b.similarity.total_cmp(&a.similarity).then((a_at, a.row).cmp(&(b_at, b.row))));
            all.truncate(search.k);
            let hit = |(at, near): (usize, crate::near::Near)| Hit {
                similarity: near.similarity,
                values: self.segments[at].values(near.row as usize),
            };
            all.into_iter().map(hit).collect()
        };
        Ok((0..queries.len()).map(of_query).collect())
    }

    /// What it holds.
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
