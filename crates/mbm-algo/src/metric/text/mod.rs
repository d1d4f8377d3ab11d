//! Metrics of generated text against references; each equals its reference implementation on the stored cases.

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

/// Generated texts, each with its references.
#[derive(Debug, Clone, Default)]
pub struct TextSamples {
    /// The generated texts.
    pub hypotheses: Vec<String>,
    /// The references of each text, at least one per row.
    pub references: Vec<Vec<String>>,
    /// The tokenizer of BLEU.
    pub words: WordCut,
    /// Statistics of the references under teacher forcing, if known.
    pub forced: TeacherForcing,
}

/// Sums over the tokens of the references, each predicted from the reference tokens before it.
#[derive(Debug, Clone, Copy, Default)]
pub struct TeacherForcing {
    /// The sum of `-ln p` over all tokens.
    pub cross_entropy: f64,
    /// Number of tokens.
    pub n_tokens: f64,
    /// Number of tokens to which the model gave the highest probability.
    pub n_right: f64,
}

metrics! {
    /// The metrics of a text output.
    pub TEXTS of TextSamples {
        higher "bleu" = |it| bleu(it).map(|bleu| bleu.score);
        higher "chrf" = |it| chrf(it, 0);
        higher "chrf_plus_plus" = |it| chrf(it, 2);
        lower "ter" = ter::ter;
        higher "rouge_1" = |it| rouge::rouge_n(it, 1);
        higher "rouge_2" = |it| rouge::rouge_n(it, 2);
        higher "rouge_l" = rouge::rouge_l;
        higher "meteor" = meteor::meteor;
        higher "cider_d" = cider::cider_d;
        lower "wer" = edits::word_error_rate;
        lower "cer" = edits::character_error_rate;
        higher "exact_match" = |it| mean(it.rows().map(|(text, references)| f64::from(u8::from(references.contains(text)))));
        higher "token_accuracy" = |it| it.forced.per_token(it.forced.n_right);
        lower "perplexity" = |it| it.forced.per_token(it.forced.cross_entropy).map(f64::exp);
    }
}

impl TextSamples {
    /// Iterates over texts with their references.
    fn rows(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.hypotheses.iter().zip(&self.references)
    }
}

impl TeacherForcing {
    fn per_token(&self, sum: f64) -> Option<f64> {
        (self.n_tokens > 0.0).then(|| sum / self.n_tokens)
    }
}
