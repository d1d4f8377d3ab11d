//! Exact search: compares the query with every vector.

use mbm_kernels::{Query, products, products_from};
use rayon::prelude::*;

use crate::neighbors::{NearestNeighbors, Neighbor, SearchLimits};
use crate::vectors::VectorFile;

/// Bytes of vectors in a block, which all queries scan while it is in the cache.
const BLOCK: usize = 1 << 18;

/// Returns, for each query, the `k` nearest allowed rows.
pub(crate) fn search(vectors: &VectorFile, queries: &[Query], limits: SearchLimits) -> Vec<Vec<Neighbor>> {
    let SearchLimits { k, allowed, cancellation } = limits;
    let height = (BLOCK / (vectors.width * 4)).clamp(16, 4096);
    let blocks = vectors.n_rows.div_ceil(height);
    let none = || vec![NearestNeighbors::new(k); queries.len()];
    let block = |mut nearest: Vec<NearestNeighbors>, block: usize| {
        if cancellation.check().is_err() {
            return nearest;
        }
        let first = block * height;
        let n = height.min(vectors.n_rows - first);
        match allowed.map(|allowed| &allowed[first..first + n]) {
            Some(allowed) if allowed.contains(&false) => some(vectors, queries, first, allowed, &mut nearest),
            _ => all(vectors, queries, first, n, &mut nearest),
        }
        nearest
    };
    let nearest = (0..blocks).into_par_iter().fold(none, block).reduce(none, join);
    nearest.into_iter().map(NearestNeighbors::into_sorted).collect()
}

fn join(a: Vec<NearestNeighbors>, b: Vec<NearestNeighbors>) -> Vec<NearestNeighbors> {
    a.into_iter().zip(b).map(|(a, b)| a.join(b)).collect()
}

fn all(vectors: &VectorFile, queries: &[Query], first: usize, n: usize, nearest: &mut [NearestNeighbors]) {
    let mut similarities = vec![0.0; n];
    for (query, nearest) in queries.iter().zip(nearest) {
        products_from(query, vectors.stored(), first, &mut similarities);
        for (at, similarity) in similarities.iter().enumerate() {
            // Most rows are farther away than those already found.
            if nearest.least().is_none_or(|least| *similarity >= least) {
                nearest.push(Neighbor { similarity: *similarity, row: (first + at) as u32 });
            }
        }
    }
}

fn some(vectors: &VectorFile, queries: &[Query], first: usize, allowed: &[bool], nearest: &mut [NearestNeighbors]) {
    let rows: Vec<u32> = (0..allowed.len()).filter(|at| allowed[*at]).map(|at| (first + at) as u32).collect();
    let mut similarities = Vec::new();
    for (query, nearest) in queries.iter().zip(nearest) {
        products(query, vectors.stored(), &rows, &mut similarities);
        rows.iter()
            .zip(&similarities)
            .for_each(|(row, similarity)| nearest.push(Neighbor { similarity: *similarity, row: *row }));
    }
}
