//! Texts beside what they should have been: each metric equals its reference implementation on the stored cases.

mod bleu;
mod chrf;
mod cider;
mod edits;
mod meteor;
mod ngrams;
mod rouge;
mod ter;
mod words;

pub use bleu::{Bleu, bleu};
pub use chrf::chrf;
pub use edits::edit_distance;
pub use words::WordCut;

use super::{Metric, higher, lower, mean};

/// Texts that a model wrote, each with all texts that would have been right.
#[derive(Debug, Clone, Default)]
pub struct TextSamples {
    /// What was written.
    pub hypotheses: Vec<String>,
    /// What would have been right: one text a row at least.
    pub references: Vec<Vec<String>>,
    /// How BLEU cuts texts into words.
    pub words: WordCut,
    /// What the references cost the model, where that is known.
    pub forced: TeacherForcing,
}

/// References token by token, each given the right ones before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TeacherForcing {
    /// The sum of `-ln p` over all tokens.
    pub cross_entropy: f64,
    /// Tokens.
    pub n_tokens: f64,
    /// Tokens that the model held for the likeliest.
    pub n_right: f64,
}

/// The metrics of texts.
pub const TEXTS: &[Metric<TextSamples>] = &[
    higher("bleu", |it| bleu(it).map(|bleu| bleu.score)),
    higher("chrf", |it| chrf(it, 0)),
    higher("chrf_plus_plus", |it| chrf(it, 2)),
    lower("ter", ter::ter),
    higher("rouge_1", |it| rouge::rouge_n(it, 1)),
    higher("rouge_2", |it| rouge::rouge_n(it, 2)),
    higher("rouge_l", rouge::rouge_l),
    higher("meteor", meteor::meteor),
    higher("cider_d", cider::cider_d),
    lower("wer", edits::word_error_rate),
    lower("cer", edits::character_error_rate),
    higher("exact_match", |it| mean(it.rows().map(|(text, references)| f64::from(u8::from(references.contains(text)))))),
    higher("token_accuracy", |it| it.forced.per_token(it.forced.n_right)),
    lower("perplexity", |it| it.forced.per_token(it.forced.cross_entropy).map(f64::exp)),
];

impl TextSamples {
    /// Each text with its references.
    fn rows(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.hypotheses.iter().zip(&self.references)
    }
}

impl TeacherForcing {
    fn per_token(&self, sum: f64) -> Option<f64> {
        (self.n_tokens > 0.0).then(|| sum / self.n_tokens)
    }
}
