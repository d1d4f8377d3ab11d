//! Embeddings of evaluated rows, each distinct item once, and cross-modal retrieval metrics.

use std::collections::{BTreeMap, HashMap};

use mbm_algo::Matrix;
use mbm_algo::metric::{CHANCE, RETRIEVAL, RetrievalSamples, evaluate};

/// The rows of an embedding output.
#[derive(Debug, Clone)]
pub struct EmbeddedRows {
    /// Names of the aligned inputs.
    pub align: Vec<String>,
    /// Their indices among all inputs.
    inputs: Vec<usize>,
    galleries: Vec<Gallery>,
    /// For each row, the index of its item in each gallery, if the row has the input.
    rows: Vec<Vec<Option<usize>>>,
}

/// The distinct items of one input.
#[derive(Debug, Clone, Default)]
struct Gallery {
    positions: HashMap<u64, usize>,
    /// `[items, size]`
    vectors: Vec<f32>,
}

/// Returns every retrieval direction: from, to, and a name such as `image_to_caption`.
pub(crate) fn directions(align: &[String]) -> Vec<(usize, usize, String)> {
    let pairs = (0..align.len()).flat_map(|a| (0..align.len()).map(move |b| (a, b)));
    pairs.filter(|(a, b)| a != b).map(|(a, b)| (a, b, format!("{}_to_{}", align[a], align[b]))).collect()
}

impl EmbeddedRows {
    /// Creates an empty collection; `inputs` are the names of all inputs.
    pub fn new(align: &[String], inputs: &[&str]) -> Self {
        Self {
            align: align.to_vec(),
            inputs: align.iter().map(|name| inputs.iter().position(|input| input == name).unwrap_or_default()).collect(),
            galleries: vec![Gallery::default(); align.len()],
            rows: Vec::new(),
        }
    }

    /// Adds a row: a vector for each aligned input, empty if absent, and the content ids of all inputs' cells.
    pub fn add(&mut self, vectors: &[Vec<f32>], items: &[u64]) {
        let towers = self.galleries.iter_mut().zip(&self.inputs).zip(vectors);
        self.rows.push(
            towers
                .map(|((gallery, input), vector)| (!vector.is_empty()).then(|| gallery.insert(items[*input], vector)))
                .collect(),
        );
    }

    /// Computes the metrics of every direction with their random baselines, and the means over directions under the plain names.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (from, to, way) in directions(&self.align) {
            let retrieved = self.retrieved(from, to);
            values.extend(evaluate(CHANCE, &retrieved).into_iter().map(|(name, value)| (format!("{way}.{name}"), value)));
            for (name, value) in evaluate(RETRIEVAL, &retrieved) {
                values.insert(format!("{way}.{name}"), value);
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + value, sum.1 + 1);
            }
        }
        values.extend(sums.into_iter().map(|(name, (sum, n))| (name.to_owned(), sum / n as f64)));
        values
    }

    /// Searches the items of one input with each item of another as the query: `from` are the queries, `to` the candidates.
    pub fn retrieved(&self, from: usize, to: usize) -> RetrievalSamples {
        let n_queries = self.galleries[from].positions.len();
        let mut relevant: Vec<Vec<usize>> = vec![Vec::new(); n_queries];
        for row in &self.rows {
            if let (Some(query), Some(candidate)) = (row[from], row[to])
                && !relevant[query].contains(&candidate)
            {
                relevant[query].push(candidate);
            }
        }
        let (queries, candidates) = (self.galleries[from].vectors(), self.galleries[to].vectors());
        let mut retrieved = RetrievalSamples::new(queries, candidates, &relevant);
        // An item whose rows all lack the other input has no relevant candidate.
        retrieved.ranks.retain(|ranks| !ranks.is_empty());
        retrieved
    }
}

impl Gallery {
    /// Returns the index of an item, which is added if it is new.
    fn insert(&mut self, item: u64, vector: &[f32]) -> usize {
        let next = self.positions.len();
        let position = *self.positions.entry(item).or_insert(next);
        if position == next {
            self.vectors.extend(vector);
        }
        position
    }

    fn vectors(&self) -> Matrix<'_> {
        Matrix { data: &self.vectors, n_cols: self.vectors.len() / self.positions.len().max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_with_two_captions_is_a_single_candidate() {
        let mut embedded = EmbeddedRows::new(&["image".into(), "caption".into()], &["caption", "image"]);
        let [x, y] = [vec![1.0, 0.0], vec![0.0, 1.0]];
        embedded.add(&[x.clone(), x.clone()], &[11, 1]);
        embedded.add(&[x.clone(), y.clone()], &[12, 1]);
        embedded.add(&[y.clone(), vec![]], &[0, 2]);
        let metrics = embedded.metrics();
        assert_eq!(metrics["caption_to_image.candidates"], 2.0);
        assert_eq!(metrics["image_to_caption.candidates"], 2.0);
        assert_eq!(metrics["caption_to_image.mean_rank"], 1.5);
        assert_eq!(metrics["image_to_caption.recall_at_1"], 1.0);
        assert_eq!(metrics["recall_at_1"], 0.75);
        assert!(!metrics.contains_key("candidates"));
    }
}
