//! A layered graph of neighboring vectors for approximate nearest-neighbor search (HNSW, Malkov and Yashunin 2018).

use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use mbm_kernels::{Query, products};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::neighbors::{NearestNeighbors, Neighbor, SearchLimits};
use crate::sealed::{Sealed, SealedWriter};
use crate::vectors::VectorFile;
use crate::{Cancellation, Damage, IndexError};

/// How a graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphSettings {
    /// Links per vector in each layer; twice as many in the lowest (M).
    pub links: usize,
    /// Candidates kept while the links of a vector are chosen (efConstruction).
    pub candidates: usize,
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self { links: 16, candidates: 200 }
    }
}

/// Maximum number of layers above the lowest.
const MAX_LAYER: usize = 15;

/// Vectors between two calls of the progress callback.
const EVERY: usize = 1000;

/// The entry point of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    row: u32,
    layer: usize,
}

/// The links of a graph, complete or under construction.
trait Links: Sync {
    /// Writes the neighbors of a row in a layer to `out`.
    fn links(&self, row: u32, layer: usize, out: &mut Vec<u32>);

    /// A pool of visit marks that searches reuse.
    fn seen(&self) -> &Mutex<Vec<Seen>>;
}

/// Marks the rows that a search has visited.
#[derive(Debug, Default)]
struct Seen {
    marks: Vec<u16>,
    now: u16,
}

impl Seen {
    fn start(&mut self, n_rows: usize) {
        if self.marks.len() != n_rows || self.now == u16::MAX {
            *self = Self { marks: vec![0; n_rows], now: 0 };
        }
        self.now += 1;
    }

    /// Marks a row; returns whether it exists and had not been visited before.
    fn mark(&mut self, row: u32) -> bool {
        let Some(mark) = self.marks.get_mut(row as usize) else { return false };
        std::mem::replace(mark, self.now) != self.now
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A search for the rows nearest to one query.
struct Search<'a> {
    links: &'a dyn Links,
    vectors: &'a VectorFile,
    query: &'a Query,
    cancellation: &'a Cancellation,
}

impl Search<'_> {
    fn similarity(&self, row: u32) -> Neighbor {
        let mut out = Vec::new();
        products(self.query, self.vectors.stored(), &[row], &mut out);
        Neighbor { similarity: out[0], row }
    }

    /// Descends to layer `to`, moving greedily to nearer rows in each layer above it; returns the nearest row reached.
    fn descend(&self, entry: Entry, to: usize) -> Neighbor {
        let mut best = self.similarity(entry.row);
        let (mut rows, mut similarities) = (Vec::new(), Vec::new());
        for layer in (to + 1..=entry.layer).rev() {
            loop {
                self.links.links(best.row, layer, &mut rows);
                rows.retain(|row| (*row as usize) < self.vectors.n_rows);
                products(self.query, self.vectors.stored(), &rows, &mut similarities);
                let nears =
                    rows.iter().zip(&similarities).map(|(row, similarity)| Neighbor { similarity: *similarity, row: *row });
                match nears.max().filter(|near| near.similarity > best.similarity) {
                    Some(near) => best = near,
                    None => break,
                }
            }
        }
        best
    }

    /// Returns the `width` nearest allowed rows of a layer, as far as the graph leads to them, nearest first.
    fn layer(&self, from: &[Neighbor], layer: usize, width: usize, allowed: Option<&[bool]>) -> Vec<Neighbor> {
        let mut seen = lock(self.links.seen()).pop().unwrap_or_default();
        seen.start(self.vectors.n_rows);
        let is_allowed = |row: u32| allowed.is_none_or(|allowed| allowed[row as usize]);
        let (mut candidates, mut nearest) = (BinaryHeap::new(), NearestNeighbors::new(width));
        for near in from.iter().filter(|near| seen.mark(near.row)) {
            candidates.push(*near);
            if is_allowed(near.row) {
                nearest.push(*near);
            }
        }
        let (mut rows, mut similarities) = (Vec::new(), Vec::new());
        while let Some(candidate) = candidates.pop() {
            if nearest.least().is_some_and(|least| candidate.similarity < least) || self.cancellation.check().is_err() {
                break;
            }
            self.links.links(candidate.row, layer, &mut rows);
            rows.retain(|row| seen.mark(*row));
            products(self.query, self.vectors.stored(), &rows, &mut similarities);
            for (row, similarity) in rows.iter().zip(&similarities) {
                let near = Neighbor { similarity: *similarity, row: *row };
                if nearest.least().is_none_or(|least| near.similarity > least) {
                    candidates.push(near);
                    if is_allowed(near.row) {
                        nearest.push(near);
                    }
                }
            }
        }
        lock(self.links.seen()).push(seen);
        nearest.into_sorted()
    }
}

/// A graph under construction, with the links of each row behind a lock.
struct Growing<'a> {
    vectors: &'a VectorFile,
    settings: GraphSettings,
    layers: Vec<u8>,
    /// For each row, its links in each of its layers, lowest first.
    rows: Vec<Mutex<Vec<Vec<u32>>>>,
    entry: RwLock<Entry>,
    seen: Mutex<Vec<Seen>>,
    /// Construction is never cancelled.
    never: Cancellation,
}

impl Links for Growing<'_> {
    fn links(&self, row: u32, layer: usize, out: &mut Vec<u32>) {
        out.clear();
        out.extend_from_slice(lock(&self.rows[row as usize]).get(layer).map_or(&[], Vec::as_slice));
    }

    fn seen(&self) -> &Mutex<Vec<Seen>> {
        &self.seen
    }
}

impl Growing<'_> {
    fn most(&self, layer: usize) -> usize {
        if layer == 0 { 2 * self.settings.links } else { self.settings.links }
    }

    fn insert(&self, row: u32) {
        let own = usize::from(self.layers[row as usize]);
        let mut entry = *self.entry.read().unwrap_or_else(PoisonError::into_inner);
        // A row with a new highest layer is inserted alone: later searches start from it.
        let mut highest = None;
        if own > entry.layer {
            let held = self.entry.write().unwrap_or_else(PoisonError::into_inner);
            entry = *held;
            highest = Some(held).filter(|held| own > held.layer);
        }
        let query = self.vectors.stored().row(row as usize, self.vectors.width);
        let search = Search { links: self, vectors: self.vectors, query: &query, cancellation: &self.never };
        let mut from = vec![search.descend(entry, own)];
        for layer in (0..=own.min(entry.layer)).rev() {
            from = search.layer(&from, layer, self.settings.candidates, None);
            from.retain(|near| near.row != row);
            let links = self.chosen(&from, self.settings.links);
            let mut own: Vec<u32> = links.iter().map(|near| near.row).collect();
            {
                // Other threads may have linked to the row since they found it in a higher layer.
                let list = &mut lock(&self.rows[row as usize])[layer];
                list.retain(|row| !own.contains(row));
                own.append(list);
                own.truncate(self.most(layer));
                *list = own;
            }
            links.iter().for_each(|near| self.link(near.row, Neighbor { row, ..*near }, layer));
        }
        if let Some(mut held) = highest {
            *held = Entry { row, layer: own };
        }
    }

    /// Selects from candidates, sorted nearest first, those that are nearer to the row than to any candidate already selected
    /// (algorithm 4 of the paper).
    fn chosen(&self, candidates: &[Neighbor], most: usize) -> Vec<Neighbor> {
        let (mut chosen, mut rows): (Vec<Neighbor>, Vec<u32>) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut similarities = Vec::new();
        for near in candidates {
            if chosen.len() == most {
                break;
            }
            let query = self.vectors.stored().row(near.row as usize, self.vectors.width);
            products(&query, self.vectors.stored(), &rows, &mut similarities);
            if similarities.iter().all(|similarity| *similarity < near.similarity) {
                chosen.push(*near);
                rows.push(near.row);
            }
        }
        chosen
    }

    /// Adds a link back to a row; if it then has too many links, selects among them again.
    fn link(&self, row: u32, to: Neighbor, layer: usize) {
        let mut layers = lock(&self.rows[row as usize]);
        let Some(links) = layers.get_mut(layer) else { return };
        if links.len() < self.most(layer) {
            return links.push(to.row);
        }
        let query = self.vectors.stored().row(row as usize, self.vectors.width);
        let mut similarities = Vec::new();
        products(&query, self.vectors.stored(), links, &mut similarities);
        let mut candidates: Vec<Neighbor> =
            links.iter().zip(similarities).map(|(row, similarity)| Neighbor { similarity, row: *row }).chain([to]).collect();
        candidates.sort_by(|a, b| b.cmp(a));
        *links = self.chosen(&candidates, self.most(layer)).iter().map(|near| near.row).collect();
    }
}

/// The footer of a graph file.
#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    graph: GraphSettings,
    entry: Entry,
    n_rows: usize,
    /// Number of lists in the layers above the lowest.
    n_upper: usize,
}

/// A graph in a file: the lists of the lowest layer, then the position of each row's other lists, then those lists. Each list
/// starts with its length.
#[derive(Debug)]
pub(crate) struct Graph {
    file: Sealed,
    footer: Footer,
    seen: Mutex<Vec<Seen>>,
}

impl Links for Graph {
    fn links(&self, row: u32, layer: usize, out: &mut Vec<u32>) {
        out.clear();
        out.extend_from_slice(self.list(row as usize, layer).unwrap_or_default());
    }

    fn seen(&self) -> &Mutex<Vec<Seen>> {
        &self.seen
    }
}

impl Graph {
    /// Builds the graph of all vectors and writes it; `observe` is called from any thread with the number of vectors inserted so
    /// far.
    pub fn build(
        path: &Path,
        vectors: &VectorFile,
        settings: GraphSettings,
        observe: &(dyn Fn(usize) + Sync),
    ) -> Result<(), IndexError> {
        let mut rng = ChaCha8Rng::seed_from_u64(vectors.n_rows as u64);
        let factor = 1.0 / (settings.links as f64).ln();
        let draws = (0..vectors.n_rows).map(|_| (-(1.0 - rng.random::<f64>()).ln() * factor).min(MAX_LAYER as f64) as u8);
        let layers: Vec<u8> = draws.collect();
        let rows = layers.iter().map(|layer| Mutex::new(vec![Vec::new(); usize::from(*layer) + 1])).collect();
        let entry = RwLock::new(Entry { row: 0, layer: layers.first().map_or(0, |layer| usize::from(*layer)) });
        let growing = Growing { vectors, settings, layers, rows, entry, seen: Mutex::default(), never: Cancellation::default() };
        let n_done = AtomicUsize::new(1);
        (1..vectors.n_rows as u32).into_par_iter().with_max_len(256).for_each(|row| {
            growing.insert(row);
            let n_done = n_done.fetch_add(1, Ordering::Relaxed) + 1;
            if n_done.is_multiple_of(EVERY) {
                observe(n_done);
            }
        });
        growing.write(path)
    }

    pub fn open(path: &Path, n_rows: usize) -> Result<Self, IndexError> {
        let file = Sealed::open(path)?;
        let graph = Self { footer: file.footer()?, file, seen: Mutex::default() };
        let Footer { entry, graph: settings, n_rows: own, .. } = graph.footer;
        if own != n_rows || entry.row as usize >= n_rows || entry.layer > MAX_LAYER || !(2..=1024).contains(&settings.links) {
            return Err(IndexError::damaged(path, Damage::Graph { found: own, expected: n_rows }));
        }
        graph.starts()?;
        graph.upper()?;
        Ok(graph)
    }

    pub fn n_bytes(&self) -> u64 {
        self.file.n_bytes()
    }

    fn lowest_size(&self) -> usize {
        2 * self.footer.graph.links + 1
    }

    fn upper_size(&self) -> usize {
        self.footer.graph.links + 1
    }

    fn starts(&self) -> Result<&[u32], IndexError> {
        self.file.numbers(self.footer.n_rows.saturating_mul(self.lowest_size() * 4), self.footer.n_rows + 1)
    }

    fn upper(&self) -> Result<&[u32], IndexError> {
        let start = self.footer.n_rows.saturating_mul(self.lowest_size() * 4) + (self.footer.n_rows + 1) * 4;
        self.file.numbers(start, self.footer.n_upper.saturating_mul(self.upper_size()))
    }

    /// Returns the links of a row in a layer; `None` if the row is not in that layer.
    fn list(&self, row: usize, layer: usize) -> Option<&[u32]> {
        let list = if layer == 0 {
            self.file.numbers::<u32>(row * self.lowest_size() * 4, self.lowest_size()).ok()?
        } else {
            let starts = self.starts().ok()?;
            let (start, end) = (*starts.get(row)? as usize, *starts.get(row + 1)? as usize);
            let at = start.checked_add(layer - 1).filter(|at| *at < end)?;
            let first = at.checked_mul(self.upper_size())?;
            self.upper().ok()?.get(first..first + self.upper_size())?
        };
        let (length, links) = list.split_first()?;
        links.get(..*length as usize)
    }

    /// Returns the nearest allowed rows, as far as the graph leads to them; `width` candidates are kept on the way.
    pub fn search(&self, vectors: &VectorFile, query: &Query, width: usize, limits: SearchLimits) -> Vec<Neighbor> {
        let SearchLimits { k, allowed, cancellation } = limits;
        let search = Search { links: self, vectors, query, cancellation };
        let from = search.descend(self.footer.entry, 0);
        let mut nearest = search.layer(&[from], 0, width.max(k), allowed);
        nearest.truncate(k);
        nearest
    }
}

impl Growing<'_> {
    fn write(self, path: &Path) -> Result<(), IndexError> {
        let mut out = SealedWriter::create(path)?;
        let entry = *self.entry.read().unwrap_or_else(PoisonError::into_inner);
        let (lowest, upper) = (self.most(0), self.most(1));
        let rows: Vec<Vec<Vec<u32>>> = self.rows.into_iter().map(|row| row.into_inner().unwrap_or_default()).collect();
        for row in &rows {
            out.write(bytemuck::cast_slice(&padded(&row[0], lowest)))?;
        }
        let starts = rows.iter().scan(0u32, |next, row| Some(std::mem::replace(next, *next + row.len() as u32 - 1)));
        let n_upper = rows.iter().map(|row| row.len() - 1).sum::<usize>();
        let starts: Vec<u32> = starts.chain([n_upper as u32]).collect();
        out.write(bytemuck::cast_slice(&starts))?;
        for links in rows.iter().flat_map(|row| &row[1..]) {
            out.write(bytemuck::cast_slice(&padded(links, upper)))?;
        }
        out.finish(&Footer { graph: self.settings, entry, n_rows: rows.len(), n_upper })
    }
}

/// Returns a list of links as it is stored: its length, the links, and zeros as padding up to `most` links.
fn padded(links: &[u32], most: usize) -> Vec<u32> {
    let mut list = vec![links.len() as u32];
    list.extend(links);
    list.resize(most + 1, 0);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::exact;
    use crate::vectors::VectorFileWriter;

    /// Seeded points around 20 centers.
    pub fn clustered(n: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut point = |spread: f32| (0..width).map(|_| rng.random_range(-spread..spread)).collect::<Vec<f32>>();
        let centres: Vec<Vec<f32>> = (0..20).map(|_| point(1.0)).collect();
        (0..n).map(|at| centres[at % 20].iter().zip(point(0.7)).map(|(a, b)| a + b).collect()).collect()
    }

    #[test]
    fn graph_search_has_high_recall_and_returns_only_allowed_rows() {
        let folder = tempfile::tempdir().unwrap();
        for (name, precision) in Precision::ALL {
            let (path, graph_path) = (folder.path().join(name), folder.path().join(format!("{name}.graph")));
            let mut writer = VectorFileWriter::create(&path, precision, 24).unwrap();
            clustered(3000, 24, 1).iter().for_each(|vector| writer.push(vector).unwrap());
            writer.finish().unwrap();
            let vectors = VectorFile::open(&path).unwrap();
            Graph::build(&graph_path, &vectors, GraphSettings { links: 12, candidates: 100 }, &|_| ()).unwrap();
            let graph = Graph::open(&graph_path, 3000).unwrap();
            let queries: Vec<Query> = clustered(50, 24, 2).iter().map(|query| vectors.stored().query(query)).collect();
            let thirds: Vec<bool> = (0..3000).map(|row| row % 3 == 0).collect();
            for allowed in [None, Some(&thirds[..])] {
                let limits = SearchLimits { k: 10, allowed, cancellation: &Cancellation::default() };
                let exact = exact::search(&vectors, &queries, limits);
                let found = |(query, exact): (&Query, &Vec<Neighbor>)| {
                    let found = graph.search(&vectors, query, 100, limits);
                    assert!(found.is_sorted_by(|a, b| a >= b) && found.len() == 10);
                    assert!(allowed.is_none() || found.iter().all(|near| near.row % 3 == 0));
                    exact.iter().filter(|near| found.iter().any(|found| found.row == near.row)).count()
                };
                let recall = queries.iter().zip(&exact).map(found).sum::<usize>() as f64 / 500.0;
                assert!(recall > 0.97, "{name}: {recall}");
            }
        }
    }

    #[test]
    fn graph_of_a_single_vector_can_be_searched() {
        let folder = tempfile::tempdir().unwrap();
        let (path, graph_path) = (folder.path().join("v"), folder.path().join("g"));
        let mut writer = VectorFileWriter::create(&path, Precision::F32, 2).unwrap();
        writer.push(&[1.0, 1.0]).unwrap();
        writer.finish().unwrap();
        let vectors = VectorFile::open(&path).unwrap();
        Graph::build(&graph_path, &vectors, GraphSettings::default(), &|_| ()).unwrap();
        let graph = Graph::open(&graph_path, 1).unwrap();
        let limits = SearchLimits { k: 5, allowed: None, cancellation: &Cancellation::default() };
        assert_eq!(graph.search(&vectors, &vectors.stored().query(&[1.0, 0.0]), 10, limits).len(), 1);
        assert!(Graph::open(&graph_path, 2).is_err());
    }
}
