//! Embeddings of measured rows, each image or text once, and the metrics of finding one by the other.

use std::collections::{BTreeMap, HashMap};

use mbm_algo::metric::{CHANCE, RETRIEVAL, Retrieved, Vectors, evaluate};

/// The rows of an embedding output.
#[derive(Debug, Clone)]
pub struct EmbeddedRows {
    /// The aligned inputs' names.
    pub align: Vec<String>,
    /// Their positions among all inputs.
    inputs: Vec<usize>,
    galleries: Vec<Gallery>,
    /// For each row, the place in each gallery, if the row has the input.
    rows: Vec<Vec<Option<usize>>>,
}

/// The items of one input, each once.
#[derive(Debug, Clone, Default)]
struct Gallery {
    places: HashMap<u64, usize>,
    /// `[items, size]`
    vectors: Vec<f32>,
}

/// Every way to search: from, to, and the name such as `image_to_caption`.
pub(crate) fn directions(align: &[String]) -> Vec<(usize, usize, String)> {
    let pairs = (0..align.len()).flat_map(|a| (0..align.len()).map(move |b| (a, b)));
    pairs.filter(|(a, b)| a != b).map(|(a, b)| (a, b, format!("{}_to_{}", align[a], align[b]))).collect()
}

impl EmbeddedRows {
    /// No rows yet; `inputs` are the names of all inputs.
    pub fn new(align: &[String], inputs: &[&str]) -> Self {
        let position = |name: &String| inputs.iter().position(|input| input == name).unwrap_or_default();
        Self {
            align: align.to_vec(),
            inputs: align.iter().map(position).collect(),
            galleries: vec![Gallery::default(); align.len()],
            rows: Vec::new(),
        }
    }

    /// A row: a vector for each aligned input, empty where absent, and the numbers of all inputs' cells.
    pub fn add(&mut self, vectors: &[Vec<f32>], items: &[u64]) {
        let towers = self.galleries.iter_mut().zip(&self.inputs).zip(vectors);
        let place = |((gallery, input), vector): ((&mut Gallery, &usize), &Vec<f32>)| {
            (!vector.is_empty()).then(|| gallery.place(items[*input], vector))
        };
        self.rows.push(towers.map(place).collect());
    }

    /// The metrics of every direction beside what chance would give, and the means of the metrics under the plain names.
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

    /// Every item of one input as a query among the items of another.
    pub fn retrieved(&self, from: usize, to: usize) -> Retrieved {
        let n_queries = self.galleries[from].places.len();
        let mut relevant: Vec<Vec<usize>> = vec![Vec::new(); n_queries];
        for row in &self.rows {
            if let (Some(query), Some(candidate)) = (row[from], row[to])
                && !relevant[query].contains(&candidate)
            {
                relevant[query].push(candidate);
            }
        }
        let (queries, candidates) = (self.galleries[from].vectors(), self.galleries[to].vectors());
        let mut retrieved = Retrieved::new(queries, candidates, &relevant);
        // An item whose rows all lack the other input asks for nothing.
        retrieved.ranks.retain(|ranks| !ranks.is_empty());
        retrieved
    }
}

impl Gallery {
    fn place(&mut self, item: u64, vector: &[f32]) -> usize {
        let next = self.places.len();
        let place = *self.places.entry(item).or_insert(next);
        if place == next {
            self.vectors.extend(vector);
        }
        place
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors { data: &self.vectors, width: self.vectors.len() / self.places.len().max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_image_with_two_captions_is_one_candidate_and_each_caption_finds_it() {
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
