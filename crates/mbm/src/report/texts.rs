//! Generated texts: the best and the worst with their references, and the attention of their tokens.

use mbm_algo::metric::{TextSamples, bleu, chrf};
use mbm_data::Dataset;

use super::attention::attention;
use super::html::{escape, number};
use super::images::inputs;
use crate::error::Error;
use crate::predict::predictor::Predictor;
use crate::predict::text_rows::TextRows;

/// Number of texts shown, of the best and of the worst each.
const N_SHOWN: usize = 6;

/// Renders the section of a text output.
pub(super) fn texts(predictor: &Predictor, dataset: &Dataset, output: usize, rows: &TextRows) -> Result<String, Error> {
    let written = &rows.written;
    let signature = bleu(written).map_or(String::new(), |bleu| bleu.signature);
    let mut order: Vec<(f64, usize)> = (0..written.hypotheses.len()).map(|at| (score(written, at), at)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let n = N_SHOWN.min(order.len());
    let shown = Shown { predictor, dataset, output, rows };
    let cards =
        |order: &[(f64, usize)]| order.iter().map(|(score, at)| shown.card(*at, *score)).collect::<Result<Vec<_>, Error>>();
    let (best, worst) = (cards(&order[..n])?, cards(&order[order.len() - n..])?);
    Ok(format!(
        "<p>BLEU {}</p><h3>Best by chrF</h3><div class=grid>{}</div><h3>Worst by chrF</h3><div class=grid>{}</div>",
        escape(&signature),
        best.concat(),
        worst.concat()
    ))
}

/// Returns the chrF of a single text.
fn score(written: &TextSamples, at: usize) -> f64 {
    let (hypotheses, references) = (vec![written.hypotheses[at].clone()], vec![written.references[at].clone()]);
    chrf(&TextSamples { hypotheses, references, ..TextSamples::default() }, 0).unwrap_or_default()
}

/// The data that cards are rendered from.
struct Shown<'a> {
    predictor: &'a Predictor,
    dataset: &'a Dataset,
    output: usize,
    rows: &'a TextRows,
}

impl Shown<'_> {
    fn card(&self, at: usize, score: f64) -> Result<String, Error> {
        let (row_idx, text) = (self.rows.rows[at], &self.rows.written.hypotheses[at]);
        let references = self.rows.written.references[at].iter().map(|text| format!("<div>reference: {}</div>", escape(text)));
        Ok(format!(
            "<div class=card>{}<div><b>{}</b></div>{}<div class=dim>row {}, chrF {}</div>{}</div>",
            inputs(self.predictor, self.dataset, row_idx)?,
            escape(text),
            references.collect::<String>(),
            row_idx + 1,
            number(score),
            attention(self.predictor, self.dataset, self.output, row_idx, text)?
        ))
    }
}
