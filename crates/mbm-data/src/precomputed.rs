//! Features of frozen encoders, computed once per distinct cell: before training, and while predicting.

use std::collections::HashMap;

use crate::cache::EncoderCache;
use crate::dataset::{Prepared, ReadRow};
use crate::{CacheKey, FeatureCache, Frames, Payload, Sample};

/// A frozen encoder: training does not change it, so its features are computed once.
pub trait Featurize: Sync {
    /// Returns a key for what the features depend on in addition to the cell's bytes.
    fn key(&self) -> CacheKey;

    /// Computes the features of payloads, none of which is missing.
    fn features(&self, payloads: &[&Payload]) -> Vec<Frames>;
}

/// An input that is encoded ahead of training.
pub struct Precomputed<'a> {
    /// The index of the input.
    input: usize,
    encoder: &'a dyn Featurize,
    encoder_cache: Option<EncoderCache>,
    recent: Recent,
}

/// Maximum size of the features in memory that later cells with the same content reuse.
const MAX_RECENT: usize = 64 << 20;

/// The latest features by the content of their cells: two generations, the older of which is dropped when the younger is full.
#[derive(Default)]
struct Recent {
    young: HashMap<CacheKey, Frames>,
    old: HashMap<CacheKey, Frames>,
    n_bytes: usize,
}

impl Recent {
    fn get(&self, key: &CacheKey) -> Option<&Frames> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn insert(&mut self, key: CacheKey, features: &Frames) {
        self.n_bytes += 4 * features.data.len() + size_of::<(CacheKey, Frames)>();
        if self.n_bytes > MAX_RECENT / 2 {
            self.old = std::mem::take(&mut self.young);
            self.n_bytes = 4 * features.data.len();
        }
        self.young.insert(key, features.clone());
    }
}

impl<'a> Precomputed<'a> {
    /// Encodes input number `input`; features are taken from the cache if it has them, and added to it otherwise.
    pub fn new(input: usize, encoder: &'a dyn Featurize, cache: Option<&FeatureCache>) -> Self {
        Self { input, encoder, encoder_cache: cache.map(|cache| cache.encoder_cache(&encoder.key())), recent: Recent::default() }
    }

    /// Encodes several inputs, given by index, with the same cache.
    pub fn all<F: Featurize>(encoders: &'a [(usize, F)], cache: Option<&FeatureCache>) -> Vec<Self> {
        encoders.iter().map(|(input, encoder)| Self::new(*input, encoder, cache)).collect()
    }

    /// Returns the index of the input.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Returns the features of a cell, if they have been computed already.
    pub(crate) fn known(&self, key: &CacheKey) -> Option<Frames> {
        self.encoder_cache.as_ref().and_then(|encoder_cache| encoder_cache.get(key)).or_else(|| self.recent.get(key).cloned())
    }

    fn is_cached(&self, key: Option<CacheKey>) -> bool {
        self.encoder_cache.as_ref().zip(key).is_some_and(|(encoder_cache, key)| encoder_cache.holds(&key))
    }

    /// Writes pending features to the cache.
    fn flush(&mut self) -> std::io::Result<()> {
        self.encoder_cache.as_mut().map_or(Ok(()), EncoderCache::flush)
    }
}

impl Prepared {
    /// Writes pending features to the cache. A failure is recorded, since it does not end the run.
    pub fn flush(&mut self, ahead: &mut [Precomputed]) {
        for ahead in ahead {
            ahead.flush().unwrap_or_else(|error| self.cache_fault = Some(error.to_string()));
        }
    }
}

/// Replaces the payloads of inputs that are encoded ahead by features, and adds features that the cache lacks to it.
pub(crate) fn encode(mut read: Vec<ReadRow>, ahead: &mut [Precomputed], prepared: &mut Prepared) -> Vec<Sample> {
    for (which, ahead) in ahead.iter_mut().enumerate() {
        let input = ahead.input;
        let present = read.iter().filter(|row| row.sample.payloads[input] != Payload::Missing);
        let (mut n_present, mut n_cached) = (0, 0);
        for row in present {
            let is_known = matches!(row.sample.payloads[input], Payload::Encoded(_));
            n_present += 1;
            n_cached += usize::from(is_known && ahead.is_cached(row.keys[which]));
        }
        prepared.n_encoded += n_present;
        prepared.n_cached += n_cached;
        let mut new: Vec<&mut ReadRow> =
            read.iter_mut().filter(|row| !matches!(row.sample.payloads[input], Payload::Missing | Payload::Encoded(_))).collect();
        if !new.is_empty() {
            ahead.encode(which, &mut new, &mut prepared.cache_fault);
        }
    }
    read.into_iter().map(|row| row.sample).collect()
}

impl Precomputed<'_> {
    /// Encodes the input of rows of which it is input number `which`. Cells with the same content, such as an image with several
    /// captions, are encoded once.
    fn encode(&mut self, which: usize, rows: &mut [&mut ReadRow], cache_fault: &mut Option<String>) {
        let (mut first, mut distinct): (HashMap<CacheKey, usize>, Vec<usize>) = (HashMap::new(), Vec::new());
        let mut slots = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let slot = row.keys[which].map_or(distinct.len(), |key| *first.entry(key).or_insert(distinct.len()));
            if slot == distinct.len() {
                distinct.push(at);
            }
            slots.push(slot);
        }
        let payloads: Vec<&Payload> = distinct.iter().map(|at| &rows[*at].sample.payloads[self.input]).collect();
        let features = self.encoder.features(&payloads);
        for (at, features) in distinct.iter().zip(&features) {
            let Some(key) = rows[*at].keys[which] else { continue };
            self.recent.insert(key, features);
            if let (Some(encoder_cache), None) = (self.encoder_cache.as_mut(), &cache_fault) {
                // A cache that cannot be written to does not end the run.
                encoder_cache.put(key, features.clone()).unwrap_or_else(|error| *cache_fault = Some(error.to_string()));
            }
        }
        for (row, slot) in rows.iter_mut().zip(slots) {
            row.sample.payloads[self.input] = Payload::Encoded(features[slot].clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cell, Dataset, MissingValueStrategy, Table, Unfitted, feature::NumberPreprocessing, fit};

    fn dataset(cells: [&str; 4]) -> Dataset {
        let rows = cells.map(|text| vec![Cell::text(text)]).to_vec();
        let table = Table::from_rows(vec!["a".into()], rows, ".".into()).unwrap();
        let unfitted = Unfitted {
            name: "a".into(),
            column: "a".into(),
            fitter: mbm_config::defaults::<NumberPreprocessing>().fitter(),
            missing_value_strategy: MissingValueStrategy::Absent,
            shares_with: None,
        };
        let inputs = fit(&table, &[0, 1, 2, 3], vec![unfitted]).unwrap();
        Dataset::new(table, inputs, vec![])
    }

    /// Counts the cells that it encodes; features are the number itself and its half.
    #[derive(Default)]
    struct Halves(std::sync::atomic::AtomicUsize);

    impl Featurize for Halves {
        fn key(&self) -> CacheKey {
            [5; 32]
        }

        fn features(&self, payloads: &[&Payload]) -> Vec<Frames> {
            self.0.fetch_add(payloads.len(), std::sync::atomic::Ordering::Relaxed);
            let features = |payload: &&Payload| match payload {
                Payload::Vector(values) => Frames { width: 2, data: vec![values[0], values[0] / 2.0] },
                other => panic!("{other:?}"),
            };
            payloads.iter().map(features).collect()
        }
    }

    #[test]
    fn second_run_finds_encoded_inputs_in_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache { folder: folder.path().to_owned(), max_bytes: 1 << 20 };
        let encoder = Halves::default();
        let mut samples = Vec::new();
        for (n_cached, n_calls) in [(0, 2), (2, 2)] {
            let mut dataset = dataset(["1", "x", "", "4"]);
            let mut ahead = [Precomputed::new(0, &encoder, Some(&cache))];
            let mut seen = 0;
            let prepared = dataset.prepare(&[0, 1, 2, 3], 0, &mut ahead, &mut |n_done| seen = n_done).unwrap();
            assert_eq!((prepared.n_encoded, prepared.n_cached, seen), (2, n_cached, 4));
            assert_eq!(encoder.0.load(std::sync::atomic::Ordering::Relaxed), n_calls);
            assert_eq!(prepared.faults.lines(), ["a: 1 empty (row 3)", "a: 1 malformed (row 2: 'x' is not a number)"]);
            let sample = dataset.sample(1).unwrap();
            assert_eq!((&sample.payloads[0], sample.faults[0].field), (&Payload::Missing, 0));
            samples.push((0..4).map(|row_idx| dataset.sample(row_idx).unwrap()).collect::<Vec<_>>());
        }
        assert_eq!(samples[0], samples[1]);
        assert!(matches!(samples[0][0].payloads[0], Payload::Encoded(_)));
    }

    #[test]
    fn equal_cells_are_encoded_once() {
        let encoder = Halves::default();
        let mut dataset = dataset(["1", "2", "1", "1"]);
        let prepared = dataset.prepare(&[0, 1, 2, 3], 0, &mut [Precomputed::new(0, &encoder, None)], &mut |_| ()).unwrap();
        assert_eq!((prepared.n_encoded, encoder.0.load(std::sync::atomic::Ordering::Relaxed)), (4, 2));
        let first = |row_idx: usize| match &dataset.sample(row_idx).unwrap().payloads[0] {
            Payload::Encoded(frames) => frames.data[0],
            other => panic!("{other:?}"),
        };
        assert!(first(0) == first(2) && first(0) == first(3) && first(0) != first(1));
    }

    #[test]
    fn unwritable_cache_does_not_end_the_run() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = FeatureCache { folder: file.path().to_owned(), max_bytes: 1 << 20 };
        let encoder = Halves::default();
        let mut dataset = dataset(["1", "x", "", "4"]);
        let prepared = dataset.prepare(&[0, 3], 0, &mut [Precomputed::new(0, &encoder, Some(&cache))], &mut |_| ()).unwrap();
        assert_eq!(prepared.rows, [0, 3]);
        let fault = prepared.cache_fault.unwrap();
        assert!(fault.contains(&file.path().display().to_string()), "{fault}");
    }
    #[test]
    fn equal_cells_of_later_batches_are_not_encoded_again() {
        let encoder = Halves::default();
        let dataset = dataset(["1", "2", "1", "2"]);
        let (mut ahead, mut prepared) = ([Precomputed::new(0, &encoder, None)], Prepared::default());
        for rows in [[0, 1], [2, 3]] {
            dataset.read_ahead(&rows, &mut ahead, &mut prepared).unwrap();
        }
        assert_eq!((prepared.n_encoded, prepared.n_cached), (4, 0));
        assert_eq!(encoder.0.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn recent_features_take_bounded_memory() {
        let mut recent = Recent::default();
        let features = Frames { width: 1, data: vec![0.0; 1 << 18] };
        for at in 0..100 {
            recent.insert([at; 32], &features);
        }
        let n_bytes = (recent.young.len() + recent.old.len()) << 20;
        assert!(n_bytes <= MAX_RECENT && n_bytes > MAX_RECENT / 4, "{n_bytes}");
        assert!(recent.get(&[99; 32]).is_some() && recent.get(&[0; 32]).is_none());
    }
}
