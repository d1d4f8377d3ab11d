//! Retrieval metrics: the ranks of relevant candidates by descending cosine similarity, computed exactly over all candidates.

use rayon::prelude::*;

use super::{Metric, higher, lower, mean};
use crate::Matrix;

/// The ranks of the relevant candidates of each query. Queries without a relevant candidate are left out of all metrics.
#[derive(Debug, Clone, Default)]
pub struct RetrievalSamples {
    /// For each query, the ranks of its relevant candidates, from 1, ascending.
    pub ranks: Vec<Vec<usize>>,
    /// Number of candidates.
    pub n_candidates: usize,
}

metrics! {
    /// The metrics of retrieval.
    pub RETRIEVAL of RetrievalSamples {
        higher "recall_at_1" = |it| recall(it, 1);
        higher "recall_at_5" = |it| recall(it, 5);
        higher "recall_at_10" = |it| recall(it, 10);
        lower "median_rank" = median_rank;
        lower "mean_rank" = |it| mean(first_ranks(it));
        higher "mrr" = |it| mean(first_ranks(it).map(|rank| 1.0 / rank));
        higher "map" = |it| mean(it.answerable().map(average_precision));
        higher "ndcg" = |it| mean(it.answerable().map(ndcg));
    }
}

metrics! {
    /// Baselines for the metrics of retrieval: the number of candidates and the expected recall of a random order.
    pub CHANCE of RetrievalSamples {
        higher "candidates" = |it| it.answerable().next().map(|_| it.n_candidates as f64);
        higher "random_recall_at_1" = |it| random_recall(it, 1);
        higher "random_recall_at_5" = |it| random_recall(it, 5);
        higher "random_recall_at_10" = |it| random_recall(it, 10);
    }
}

impl RetrievalSamples {
    /// Ranks the relevant candidates of each query among all candidates; both have a vector of unit length per row. In a tie an
    /// irrelevant candidate comes before a relevant one, so that a model that maps everything to the same vector gains nothing.
    pub fn new(queries: Matrix, candidates: Matrix, relevant: &[Vec<usize>]) -> Self {
        let n_candidates = candidates.data.len() / candidates.n_cols.max(1);
        let ranks = queries
            .data
            .par_chunks(queries.n_cols.max(1))
            .zip(relevant)
            .map(|(query, relevant)| {
                let cosines: Vec<f32> =
                    candidates.data.chunks(candidates.n_cols.max(1)).map(|candidate| dot(query, candidate)).collect();
                ranks(&cosines, relevant)
            })
            .collect();
        Self { ranks, n_candidates }
    }

    /// Iterates over the ranks of the queries with a relevant candidate.
    fn answerable(&self) -> impl Iterator<Item = &[usize]> {
        self.ranks.iter().map(Vec::as_slice).filter(|ranks| !ranks.is_empty())
    }
}

/// Returns the ranks of the relevant candidates, ascending.
fn ranks(cosines: &[f32], relevant: &[usize]) -> Vec<usize> {
    let mut is_relevant = vec![false; cosines.len()];
    relevant.iter().for_each(|at| is_relevant[*at] = true);
    let mut own: Vec<f32> = relevant.iter().map(|at| cosines[*at]).collect();
    own.sort_by(|a, b| b.total_cmp(a));
    own.iter()
        .enumerate()
        .map(|(at, own)| {
            let n_before = cosines.iter().zip(&is_relevant).filter(|(cosine, is)| !**is && *cosine >= own).count();
            n_before + at + 1
        })
        .collect()
}

/// Computes an inner product with eight running sums, so that the compiler can vectorize it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0f32; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        (0..8).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(a, b)| a * b).sum::<f32>()
}

/// Returns the rank of the nearest relevant candidate of each query.
fn first_ranks(retrieved: &RetrievalSamples) -> impl Iterator<Item = f64> {
    retrieved.answerable().map(|ranks| ranks[0] as f64)
}

/// Computes the share of queries with a relevant candidate among the first `k`.
fn recall(retrieved: &RetrievalSamples, k: usize) -> Option<f64> {
    mean(first_ranks(retrieved).map(|rank| f64::from(u8::from(rank <= k as f64))))
}

/// Computes the expected [`recall`] of a random order: 1 minus the probability that the first `k` are all irrelevant.
fn random_recall(retrieved: &RetrievalSamples, k: usize) -> Option<f64> {
    let n = retrieved.n_candidates;
    mean(retrieved.answerable().map(|ranks| 1.0 - all_irrelevant(n, n - ranks.len(), k)))
}

/// Computes the probability that `k` of `n` candidates, drawn without replacement, are all among the irrelevant ones.
fn all_irrelevant(n: usize, n_irrelevant: usize, k: usize) -> f64 {
    (0..k.min(n)).map(|at| n_irrelevant.saturating_sub(at) as f64 / (n - at) as f64).product()
}

fn median_rank(retrieved: &RetrievalSamples) -> Option<f64> {
    let mut ranks: Vec<f64> = first_ranks(retrieved).collect();
    ranks.sort_by(f64::total_cmp);
    let (low, high) = (ranks.get(ranks.len().checked_sub(1)? / 2)?, ranks.get(ranks.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Computes the mean of the precision at each relevant candidate.
fn average_precision(ranks: &[usize]) -> f64 {
    ranks.iter().enumerate().map(|(at, rank)| (at + 1) as f64 / *rank as f64).sum::<f64>() / ranks.len() as f64
}

/// Computes the normalized discounted cumulative gain (Järvelin and Kekäläinen 2002) over all candidates.
fn ndcg(ranks: &[usize]) -> f64 {
    let gain = |rank: usize| 1.0 / ((rank + 1) as f64).log2();
    let best: f64 = (1..=ranks.len()).map(gain).sum();
    ranks.iter().map(|rank| gain(*rank)).sum::<f64>() / best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::evaluate;

    fn values(retrieved: &RetrievalSamples) -> std::collections::BTreeMap<&'static str, f64> {
        evaluate(RETRIEVAL, retrieved).into_iter().chain(evaluate(CHANCE, retrieved)).collect()
    }

    #[test]
    fn ties_rank_irrelevant_candidates_first() {
        assert_eq!(ranks(&[0.9, 0.5, 0.7, 0.5], &[1]), [4]);
        assert_eq!(ranks(&[0.9, 0.5, 0.7, 0.1], &[0, 1]), [1, 3]);
        assert_eq!(ranks(&[0.5; 4], &[0, 3]), [3, 4]);
    }

    #[test]
    fn metrics_match_their_formulas() {
        let found = values(&RetrievalSamples { ranks: vec![vec![1, 4], vec![6]], n_candidates: 20 });
        let want = [
            ("recall_at_1", 0.5),
            ("recall_at_5", 0.5),
            ("recall_at_10", 1.0),
            ("median_rank", 3.5),
            ("mean_rank", 3.5),
            ("mrr", (1.0 + 1.0 / 6.0) / 2.0),
            ("map", ((1.0 + 0.5) / 2.0 + 1.0 / 6.0) / 2.0),
            ("ndcg", ((1.0 + 1.0 / 5f64.log2()) / (1.0 + 1.0 / 3f64.log2()) + 1.0 / 7f64.log2()) / 2.0),
            ("candidates", 20.0),
            ("random_recall_at_1", (0.1 + 0.05) / 2.0),
            ("random_recall_at_5", (1.0 - 15.0 * 14.0 / (20.0 * 19.0) + 0.25) / 2.0),
            ("random_recall_at_10", (1.0 - 10.0 * 9.0 / (20.0 * 19.0) + 0.5) / 2.0),
        ];
        for (name, want) in want {
            assert!((found[name] - want).abs() < 1e-12, "{name}: {} is not {want}", found[name]);
        }
        assert!(values(&RetrievalSamples::default()).is_empty());
    }

    #[test]
    fn candidates_are_ranked_by_cosine_similarity() {
        let queries: Vec<f32> = [[1.0, 0.0], [0.0, 1.0]].concat();
        let candidates: Vec<f32> = [[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]].concat();
        let of = |data| Matrix { data, n_cols: 2 };
        let found = RetrievalSamples::new(of(&queries), of(&candidates), &[vec![0, 2], vec![1]]);
        assert_eq!((found.ranks, found.n_candidates), (vec![vec![2, 3], vec![3]], 3));
        let none = RetrievalSamples::new(of(&queries), Matrix { data: &[], n_cols: 0 }, &[vec![], vec![]]);
        assert_eq!((none.ranks, none.n_candidates), (vec![vec![], vec![]], 0));
    }
}
