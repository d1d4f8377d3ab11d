//! A segment: an immutable part of an index with vectors, their columns, an optional graph, and the rows removed since.

use std::path::{Path, PathBuf};

use mbm_kernels::Query;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{ColumnFile, IndexValue};
use crate::graph::Graph;
use crate::neighbors::{Neighbor, SearchLimits};
use crate::sealed::{Sealed, SealedWriter};
use crate::vectors::VectorFile;
use crate::{Cancellation, Damage, Filter, IndexError};

/// The entry of a segment in `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    /// The prefix of its file names.
    pub number: u64,
    pub n_rows: usize,
    pub has_graph: bool,
    /// The number in the name of its file of removed rows, if there is one.
    pub removed: Option<u64>,
}

/// A segment with its files open.
#[derive(Debug)]
pub(crate) struct Segment {
    pub vectors: VectorFile,
    pub columns: ColumnFile,
    pub graph: Option<Graph>,
    /// For each row, whether it is still present; `None` if all are.
    pub alive: Option<Vec<bool>>,
}

/// The parameters of a search in a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentSearch<'a> {
    pub k: usize,
    /// Candidates that a graph search keeps (ef); the search is exact if `None`.
    pub width: Option<usize>,
    pub filter: Option<&'a Filter>,
    pub cancellation: &'a Cancellation,
}

pub(crate) fn file(folder: &Path, number: u64, kind: &str) -> PathBuf {
    folder.join(format!("{number:06}.{kind}"))
}

pub(crate) fn removed_file(folder: &Path, number: u64, generation: u64) -> PathBuf {
    folder.join(format!("{number:06}-{generation:06}.removed"))
}

#[derive(Serialize, Deserialize)]
struct Footer {
    removed: usize,
}

/// Writes the file of a segment's removed rows.
pub(crate) fn write_removed(path: &Path, alive: &[bool]) -> Result<(), IndexError> {
    let removed: Vec<u32> = (0..alive.len()).filter(|row| !alive[*row]).map(|row| row as u32).collect();
    let mut out = SealedWriter::create(path)?;
    out.write(bytemuck::cast_slice(&removed))?;
    out.finish(&Footer { removed: removed.len() })
}

fn read_removed(path: &Path, n_rows: usize) -> Result<Vec<bool>, IndexError> {
    let file = Sealed::open(path)?;
    let Footer { removed } = file.footer()?;
    let mut alive = vec![true; n_rows];
    for row in file.numbers::<u32>(0, removed)? {
        let slot = alive.get_mut(*row as usize);
        *slot.ok_or_else(|| IndexError::damaged(path, Damage::RemovedRow { row: *row, n_rows }))? = false;
    }
    Ok(alive)
}

impl Segment {
    pub fn open(folder: &Path, entry: &SegmentEntry) -> Result<Self, IndexError> {
        let path = |kind| file(folder, entry.number, kind);
        let vectors = VectorFile::open(&path("vectors"))?;
        let columns = ColumnFile::open(&path("columns"))?;
        if [vectors.n_rows, columns.n_rows()] != [entry.n_rows; 2] {
            let (n_vectors, n_rows, expected) = (vectors.n_rows, columns.n_rows(), entry.n_rows);
            return Err(IndexError::damaged(&path("vectors"), Damage::RowCount { n_vectors, n_rows, expected }));
        }
        let graph = entry.has_graph.then(|| Graph::open(&path("graph"), entry.n_rows)).transpose()?;
        let removed = entry.removed.map(|generation| removed_file(folder, entry.number, generation));
        let alive = removed.map(|path| read_removed(&path, entry.n_rows)).transpose()?;
        Ok(Self { vectors, columns, graph, alive })
    }

    pub fn n_alive(&self) -> usize {
        self.alive.as_ref().map_or(self.vectors.n_rows, |alive| alive.iter().filter(|is| **is).count())
    }

    pub fn is_alive(&self, row: usize) -> bool {
        self.alive.as_ref().is_none_or(|alive| alive[row])
    }

    pub fn values(&self, row: usize) -> Vec<IndexValue> {
        (0..self.columns.schema().count()).map(|column| self.columns.value(column, row)).collect()
    }

    /// Returns a row's vector, of unit length up to the rounding of its precision.
    pub fn vector(&self, row: usize) -> Vec<f32> {
        match self.vectors.stored().row(row, self.vectors.width) {
            Query::Float(values) => values,
            Query::Byte(values, scale) => values.iter().map(|x| f32::from(*x) * scale).collect(),
        }
    }

    /// Returns the nearest rows for each query.
    pub fn search(&self, queries: &[Vec<f32>], parameters: SegmentSearch) -> Result<Vec<Vec<Neighbor>>, IndexError> {
        let allowed = match parameters.filter {
            None => self.alive.clone(),
            Some(filter) => {
                let mut rows = filter.rows(&self.columns, parameters.cancellation)?;
                rows.iter_mut().enumerate().for_each(|(row, allowed)| *allowed &= self.is_alive(row));
                Some(rows)
            }
        };
        let n_allowed = allowed.as_ref().map_or(self.vectors.n_rows, |allowed| allowed.iter().filter(|is| **is).count());
        let queries: Vec<Query> = queries.iter().map(|query| self.vectors.stored().query(query)).collect();
        let (allowed, k) = (allowed.as_deref(), parameters.k.min(n_allowed));
        let limits = SearchLimits { k, allowed, cancellation: parameters.cancellation };
        let found = match (&self.graph, parameters.width) {
            (Some(graph), Some(width)) if !is_quicker_exactly(n_allowed, self.vectors.n_rows, width) => {
                queries.par_iter().map(|query| graph.search(&self.vectors, query, width, limits)).collect()
            }
            _ => crate::exact::search(&self.vectors, &queries, limits),
        };
        // A cancelled search has covered only part of the rows.
        parameters.cancellation.check().map(|()| found)
    }
}

/// Whether scanning all allowed rows costs less than a graph search, which also visits rows that are not allowed.
fn is_quicker_exactly(n_allowed: usize, n_rows: usize, width: usize) -> bool {
    /// Rows that a search visits per candidate.
    const NEIGHBOURS: f64 = 32.0;
    let (n_allowed, n_rows) = (n_allowed as f64, n_rows as f64);
    n_allowed * n_allowed < width as f64 * NEIGHBOURS * n_rows
}
