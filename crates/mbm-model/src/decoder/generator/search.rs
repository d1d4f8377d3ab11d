//! Beam search and sampling over any scorer of the next token, on plain numbers.
//!
//! Searches the texts of several contexts in parallel and drops a context once its texts are complete. The texts of a context do
//! not depend on the other contexts.

use std::cmp::Ordering;
use std::collections::HashSet;

use mbm_data::random::{Rng, rng, seed};
use mbm_kernels::log_sums;
use rand::RngExt;
use rayon::prelude::*;

use super::{BEGIN, Decoding, END, Hypothesis, N_SPECIAL};
use crate::decoder::Observe;

/// Partial texts to score.
pub struct Rows<'a> {
    /// The active contexts, with the same number of texts each.
    pub contexts: &'a [usize],
    /// Row of each text at the previous step.
    pub parents: &'a [usize],
    /// The texts so far, all of the same length, starting with the begin token.
    pub texts: Vec<&'a [u32]>,
}

/// Scores the next token.
pub trait Score {
    /// Returns the scores of the next token: `[texts, vocabulary]`.
    fn score(&mut self, rows: &Rows) -> Vec<f32>;
}

/// A partial text.
#[derive(Clone)]
struct Text {
    tokens: Vec<u32>,
    log_probability: f64,
    /// Row of the text at the previous step.
    parent: usize,
}

/// State of the search for one context.
struct Context {
    context: usize,
    texts: Vec<Text>,
    found: Vec<Hypothesis>,
    /// One random generator per sampled text.
    generators: Vec<Rng>,
}

/// Searches the texts of contexts `0..n_contexts` and returns those of each context, best first. If `observe` stops the search,
/// returns what was found so far, including unfinished texts.
pub fn search(scorer: &mut dyn Score, n_contexts: usize, decoding: &Decoding, observe: &mut Observe) -> Vec<Vec<Hypothesis>> {
    let mut found = vec![Vec::new(); n_contexts];
    let mut active: Vec<Context> = (0..n_contexts).map(|context| Context::new(context, decoding)).collect();
    for _ in 0..decoding.max_length {
        if active.is_empty() {
            break;
        }
        let contexts: Vec<usize> = active.iter().map(|it| it.context).collect();
        let parents: Vec<usize> = active.iter().flat_map(|it| it.texts.iter().map(|text| text.parent)).collect();
        let texts = active.iter().flat_map(|it| it.texts.iter().map(|text| text.tokens.as_slice())).collect();
        let scores = scorer.score(&Rows { contexts: &contexts, parents: &parents, texts });
        let each = scores.len() / active.len();
        active.par_iter_mut().zip(scores.par_chunks(each)).enumerate().for_each(|(at, (context, scores))| {
            context.advance(scores, at * decoding.n_rows(), decoding);
        });
        let grown: Vec<(usize, &[u32])> = active
            .iter()
            .filter(|it| decoding.n_rows() == 1 && it.found.is_empty())
            .map(|it| (it.context, &it.texts[0].tokens[1..]))
            .collect();
        if observe(&grown).is_break() {
            break;
        }
        let (done, rest): (Vec<Context>, Vec<Context>) = active.into_iter().partition(|it| it.is_done(decoding));
        done.into_iter().for_each(|it| found[it.context] = best(it.found, decoding));
        active = rest;
    }
    for it in active {
        let context = it.context;
        found[context] = best(it.closed(decoding), decoding);
    }
    found
}

impl Context {
    fn new(context: usize, decoding: &Decoding) -> Self {
        let texts = (0..decoding.n_rows()).map(|at| {
            // All texts start out the same, so only the first is followed at the first step, unless texts are sampled.
            let log_probability = if at == 0 || decoding.settings.do_sample { 0.0 } else { f64::NEG_INFINITY };
            Text { tokens: vec![BEGIN], log_probability, parent: 0 }
        });
        let generators = (0..decoding.n_rows()).map(|at| rng(seed(decoding.seed, "decoding", at as u64, 0)));
        Self { context, texts: texts.collect(), found: Vec::new(), generators: generators.collect() }
    }

    /// Extends every text by one token; the texts of this context start at row `first`.
    fn advance(&mut self, scores: &[f32], first: usize, decoding: &Decoding) {
        if decoding.settings.do_sample {
            self.sample(scores, first, decoding);
        } else {
            self.follow(scores, first, decoding);
        }
    }

    /// Returns the texts found, including unfinished ones.
    fn closed(self, decoding: &Decoding) -> Vec<Hypothesis> {
        let open = self
            .texts
            .iter()
            .filter(|text| text.log_probability.is_finite() && text.tokens.last() != Some(&END))
            .map(|text| text.hypothesis(decoding));
        self.found.into_iter().chain(open).collect()
    }

    /// Beam search step: keeps the most probable continuations among all texts.
    fn follow(&mut self, scores: &[f32], first: usize, decoding: &Decoding) {
        let width = self.texts.len();
        let vocabulary = scores.len() / width;
        let sums = log_sums(scores, vocabulary);
        let mut candidates: Vec<(f64, usize, u32)> = Vec::new();
        for (at, text) in self.texts.iter().enumerate().filter(|(_, text)| text.log_probability.is_finite()) {
            let scores = &scores[at * vocabulary..(at + 1) * vocabulary];
            let tokens = most_probable(scores, 2 * width, &Allowed::new(&text.tokens, decoding));
            candidates.extend(tokens.into_iter().map(|token| {
                let log_p = f64::from(scores[token as usize] - sums[at]);
                (text.log_probability + log_p, at, token)
            }));
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut next: Vec<Text> = Vec::with_capacity(width);
        for (rank, (log_probability, at, token)) in candidates.into_iter().enumerate() {
            if next.len() == width {
                break;
            }
            let text = self.texts[at].with(token, log_probability, first + at);
            if token != END {
                next.push(text);
            } else if rank < width {
                self.found.push(text.hypothesis(decoding));
            }
        }
        // With fewer continuations than texts, the remaining rows hold fillers that are not followed.
        let filler = Text { log_probability: f64::NEG_INFINITY, ..self.texts[0].with(END, 0.0, first) };
        next.resize(width, filler);
        self.texts = next;
    }

    /// Sampling step: samples one continuation of each text; finished texts wait for the others.
    fn sample(&mut self, scores: &[f32], first: usize, decoding: &Decoding) {
        let vocabulary = scores.len() / self.texts.len();
        let sums = log_sums(scores, vocabulary);
        for (at, text) in self.texts.iter_mut().enumerate() {
            let scores = &scores[at * vocabulary..(at + 1) * vocabulary];
            let has_ended = text.tokens.last() == Some(&END);
            let token = if has_ended { END } else { sample(scores, text, decoding, &mut self.generators[at]) };
            let log_p = if has_ended { 0.0 } else { f64::from(scores[token as usize] - sums[at]) };
            *text = text.with(token, text.log_probability + log_p, first + at);
            if token == END && !has_ended {
                self.found.push(text.hypothesis(decoding));
            }
        }
    }

    /// Returns whether no text that is still followed can score better than the texts found.
    fn is_done(&self, decoding: &Decoding) -> bool {
        if self.texts.iter().all(|text| text.log_probability == f64::NEG_INFINITY) {
            return true;
        }
        if self.found.len() < decoding.n_rows() {
            return false;
        }
        let mut found: Vec<f64> = self.found.iter().map(|it| it.score).collect();
        found.sort_by(|a, b| b.total_cmp(a));
        let worst = found[decoding.n_rows() - 1];
        let best = self.texts.iter().map(|text| text.score(decoding)).fold(f64::NEG_INFINITY, f64::max);
        decoding.settings.do_sample || best <= worst
    }
}

fn best(mut found: Vec<Hypothesis>, decoding: &Decoding) -> Vec<Hypothesis> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.tokens.cmp(&b.tokens)));
    found.truncate(decoding.settings.num_return_sequences);
    found
}

impl Text {
    fn with(&self, token: u32, log_probability: f64, parent: usize) -> Self {
        let mut tokens = self.tokens.clone();
        tokens.push(token);
        Self { tokens, log_probability, parent }
    }

    /// Returns the log-probability divided by the length, including the end token, to the power of the length penalty.
    fn score(&self, decoding: &Decoding) -> f64 {
        self.log_probability / ((self.tokens.len() - 1) as f64).powf(decoding.settings.length_penalty)
    }

    fn hypothesis(&self, decoding: &Decoding) -> Hypothesis {
        let tokens = self.tokens[1..].iter().copied().take_while(|token| *token != END).collect();
        Hypothesis { tokens, score: self.score(decoding) }
    }
}

/// Constraints on the next token.
struct Allowed {
    /// The only allowed token while the text is within the required prefix.
    only: Option<u32>,
    can_end: bool,
    never: HashSet<u32>,
}

impl Allowed {
    fn new(text: &[u32], decoding: &Decoding) -> Self {
        let length = text.len() - 1;
        Self {
            only: decoding.prefix.get(length).copied(),
            can_end: length >= decoding.settings.min_length,
            never: repeating(&text[1..], decoding.settings.no_repeat_ngram_size),
        }
    }

    fn allows(&self, token: u32) -> bool {
        match self.only {
            Some(only) => token == only,
            None if token == END => self.can_end,
            None => token >= N_SPECIAL && !self.never.contains(&token),
        }
    }
}

/// Returns the tokens that would repeat an n-gram of length `n`.
fn repeating(text: &[u32], n: usize) -> HashSet<u32> {
    if n == 0 || text.len() + 1 < n {
        return HashSet::new();
    }
    let last = &text[text.len() + 1 - n..];
    text.windows(n).filter(|run| run[..n - 1] == *last).map(|run| run[n - 1]).collect()
}

/// Number of scores that are skipped together if their maximum is too low.
const RUN: usize = 32;

/// Returns the `n` most probable allowed tokens, most probable first.
fn most_probable(scores: &[f32], n: usize, allowed: &Allowed) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(n + 1);
    let mut worst = f32::NEG_INFINITY;
    for (at, run) in scores.chunks(RUN).enumerate() {
        let top = run.iter().fold(f32::NEG_INFINITY, |top, score| if *score > top { *score } else { top });
        if best.len() == n && top <= worst {
            continue;
        }
        for (token, score) in run.iter().enumerate().map(|(index, score)| ((at * RUN + index) as u32, *score)) {
            if (best.len() < n || score > worst) && allowed.allows(token) {
                let index = best.partition_point(|other| other.0.total_cmp(&score) != Ordering::Less);
                best.insert(index, (score, token));
                best.truncate(n);
                worst = best.last().map_or(worst, |last| last.0);
            }
        }
    }
    best.into_iter().map(|(_, token)| token).collect()
}

/// Samples a token from those that the settings allow, by probability; returns the end token if they allow none.
fn sample(scores: &[f32], text: &Text, decoding: &Decoding, generator: &mut Rng) -> u32 {
    let settings = &decoding.settings;
    let n = if settings.top_k == 0 { scores.len() } else { settings.top_k };
    let allowed = Allowed::new(&text.tokens, decoding);
    let tokens = if n < scores.len() { most_probable(scores, n, &allowed) } else { sorted(scores, &allowed) };
    let top = tokens.first().map_or(0.0, |token| f64::from(scores[*token as usize]));
    let weights: Vec<f64> =
        tokens.iter().map(|token| ((f64::from(scores[*token as usize]) - top) / settings.temperature).exp()).collect();
    let wanted = settings.top_p * weights.iter().sum::<f64>();
    let before = weights.iter().scan(0.0, |sum, weight| Some(std::mem::replace(sum, *sum + weight)));
    let kept = before.take_while(|sum| *sum < wanted).count();
    let mut left = generator.random::<f64>() * weights[..kept].iter().sum::<f64>();
    for (token, weight) in tokens.iter().zip(&weights[..kept]) {
        left -= weight;
        if left <= 0.0 {
            return *token;
        }
    }
    tokens[..kept].last().copied().unwrap_or(END)
}

/// Returns all allowed tokens, most probable first.
fn sorted(scores: &[f32], allowed: &Allowed) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..scores.len() as u32).filter(|token| allowed.allows(*token)).collect();
    tokens.sort_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    tokens
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::decoder::generator::DecodingSettings;

    /// Scores by the text so far, in a language with tokens 4 to 7.
    struct Language(fn(&[u32], u32) -> f32);

    impl Score for Language {
        fn score(&mut self, rows: &Rows) -> Vec<f32> {
            rows.texts.iter().flat_map(|text| (0..8).map(|token| self.0(text, token))).collect()
        }
    }

    fn decoding(change: impl FnOnce(&mut DecodingSettings)) -> Decoding {
        let mut settings: DecodingSettings = mbm_config::defaults();
        change(&mut settings);
        Decoding { settings, max_length: 6, prefix: Vec::new(), seed: 1, is_cached: true }
    }

    fn texts(language: fn(&[u32], u32) -> f32, decoding: &Decoding) -> Vec<Vec<u32>> {
        let found = search(&mut Language(language), 2, decoding, &mut |_| ControlFlow::Continue(()));
        assert_eq!(found[0], found[1], "equal contexts must have the same texts");
        found[0].iter().map(|it| it.tokens.clone()).collect()
    }

    /// The most probable first token leads to poor texts: any token may follow `4`, but `5` is always followed by `6` and the
    /// end.
    fn garden_path(text: &[u32], token: u32) -> f32 {
        let p: f32 = match (text.last(), token) {
            (Some(&BEGIN), 4) => 0.55,
            (Some(&BEGIN), 5) => 0.45,
            (Some(4), 4..8) => 0.25,
            (Some(5), 6) => 1.0,
            (Some(6 | 7), END) => 1.0,
            _ => 0.0,
        };
        p.max(1e-6).ln()
    }

    #[test]
    fn beam_finds_text_that_greedy_search_misses() {
        assert_eq!(texts(garden_path, &decoding(|_| ()))[0][0], 4);
        let beam = decoding(|it| {
            it.beam_width = 3;
            it.num_return_sequences = 2;
        });
        let found = texts(garden_path, &beam);
        assert_eq!((found.len(), &found[0]), (2, &vec![5, 6]));
    }

    #[test]
    fn exhaustive_beam_matches_brute_force() {
        // Brute force over all texts of at most two tokens.
        fn two(text: &[u32], token: u32) -> f32 {
            let seed = text.iter().fold(token, |sum, token| sum * 31 + token) % 17;
            let length = text.len();
            if length > 2 { if token == END { 0.0 } else { -50.0 } } else { seed as f32 / 4.0 }
        }
        let log_p = |text: &[u32], token: u32| {
            let sum: f32 = (0..8).map(|token| two(text, token).exp()).sum();
            f64::from(two(text, token) - sum.ln())
        };
        let mut all: Vec<(f64, Vec<u32>)> = vec![(log_p(&[BEGIN], END), vec![])];
        for a in 4..8 {
            let first = log_p(&[BEGIN], a);
            all.push(((first + log_p(&[BEGIN, a], END)) / 2.0, vec![a]));
            for b in 4..8 {
                let both = first + log_p(&[BEGIN, a], b) + log_p(&[BEGIN, a, b], END);
                all.push((both / 3.0, vec![a, b]));
            }
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let wide = decoding(|it| {
            it.beam_width = 21;
            it.num_return_sequences = 3;
        });
        assert_eq!(texts(two, &wide), all.into_iter().take(3).map(|it| it.1).collect::<Vec<_>>());
    }

    #[test]
    fn top_tokens_match_a_full_sort() {
        let mut generator = rng(7);
        let allowed = Allowed::new(&[BEGIN], &decoding(|it| it.min_length = 1));
        for (n, size) in [(1, 40), (5, 64), (10, 1000), (50, 30)] {
            // Few distinct values, so that there are many ties, which the lower token wins.
            let scores: Vec<f32> = (0..size).map(|_| generator.random_range(-9..9) as f32 / 2.0).collect();
            let sorted_tokens = sorted(&scores, &allowed);
            assert_eq!(most_probable(&scores, n, &allowed), sorted_tokens[..n.min(sorted_tokens.len())], "{n} of {size}");
        }
    }

    /// Scores all tokens equally.
    fn even(_text: &[u32], _token: u32) -> f32 {
        0.0
    }

    #[test]
    fn search_respects_length_prefix_and_repetition_settings() {
        let long = decoding(|it| it.min_length = 4);
        assert_eq!(texts(|_, token| if token == END { 5.0 } else { 0.0 }, &long)[0].len(), 4);
        let endless = texts(|_, token| if token == END { -50.0 } else { token as f32 }, &decoding(|_| ()));
        assert_eq!(endless, [[7; 6]]);
        let once = texts(|_, token| if token == END { -50.0 } else { token as f32 }, &decoding(|it| it.no_repeat_ngram_size = 2));
        assert_eq!(once, [[7, 7, 6, 7, 5, 7]]);
        let prefixed = Decoding { prefix: vec![4, 5], ..decoding(|_| ()) };
        assert_eq!(texts(garden_path, &prefixed)[0][..3], [4, 5, 6]);
    }

    #[test]
    fn sampling_follows_the_seed_and_the_probabilities() {
        let sampled = |seed: u64, change: fn(&mut DecodingSettings)| {
            let mut it = decoding(|it| it.do_sample = true);
            change(&mut it.settings);
            texts(even, &Decoding { seed, ..it })
        };
        let five = |it: &mut DecodingSettings| it.num_return_sequences = 5;
        assert_eq!(sampled(3, five), sampled(3, five));
        assert_ne!(sampled(3, five), sampled(4, five));
        let distinct: HashSet<Vec<u32>> = sampled(3, five).into_iter().collect();
        assert!(distinct.len() > 1);
        let first = texts(
            garden_path,
            &decoding(|it| {
                it.do_sample = true;
                it.top_p = 0.5;
            }),
        );
        assert_eq!(first[0][0], 4, "top_p 0.5 leaves only the most probable token");
        let firsts: Vec<u32> =
            (0..400).map(|seed| texts(garden_path, &Decoding { seed, ..decoding(|it| it.do_sample = true) })[0][0]).collect();
        let share = firsts.iter().filter(|token| **token == 5).count() as f64 / 400.0;
        // The standard deviation of a share of 400 samples is 0.025.
        assert!((share - 0.45).abs() < 0.1, "{share}");
    }

    #[test]
    fn top_k_and_temperature_narrow_the_sampling() {
        let firsts = |change: fn(&mut DecodingSettings)| -> HashSet<u32> {
            let first = |seed: u64| {
                let mut it = decoding(|it| it.do_sample = true);
                change(&mut it.settings);
                texts(garden_path, &Decoding { seed, ..it })[0][0]
            };
            (0..50).map(first).collect()
        };
        assert_eq!(firsts(|it| it.top_k = 1), HashSet::from([4]));
        assert_eq!(firsts(|it| it.top_k = 2), HashSet::from([4, 5]));
        // 0.55 to the power of 100 is 500 million times 0.45 to the power of 100.
        assert_eq!(firsts(|it| it.temperature = 0.01), HashSet::from([4]));
    }
}
