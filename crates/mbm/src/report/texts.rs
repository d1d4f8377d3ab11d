//! Texts that were written: the best and the worst beside what would have been right, and what the words of one looked at.

use mbm_algo::metric::{Written, bleu, chrf};
use mbm_data::feature::FittedTargetText;
use mbm_data::{Batch, Cell, Column, Dataset, Payload, Preprocessor, Values};
use mbm_model::Target;

use super::html::{escape, number};
use super::pictures::inputs;
use crate::error::Error;
use crate::predictor::{Predictor, to_vec};
use crate::texts::TextRows;

/// Texts that are shown of the best, and of the worst.
const N_SHOWN: usize = 6;

/// The section of a text output.
pub(super) fn texts(predictor: &Predictor, dataset: &Dataset, output: usize, rows: &TextRows) -> Result<String, Error> {
    let written = &rows.written;
    let signature = bleu(written).map_or(String::new(), |bleu| bleu.signature);
    let score = |at: usize| {
        let (hypotheses, references) = (vec![written.hypotheses[at].clone()], vec![written.references[at].clone()]);
        chrf(&Written { hypotheses, references, ..Written::default() }, 0).unwrap_or_default()
    };
    let mut order: Vec<(f64, usize)> = (0..written.hypotheses.len()).map(|at| (score(at), at)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let n = N_SHOWN.min(order.len());
    let cards = |order: &[(f64, usize)]| {
        order.iter().map(|(score, at)| card(predictor, dataset, rows, *at, *score)).collect::<Result<Vec<_>, _>>()
    };
    let (best, worst) = (cards(&order[..n])?, cards(&order[order.len() - n..])?);
    let map = match order.first() {
        Some((_, at)) => attention_map(predictor, dataset, output, rows.rows[*at], &written.hypotheses[*at])?,
        None => String::new(),
    };
    Ok(format!(
        "<p>BLEU {}</p><h3>The best, by chrF</h3><div class=grid>{}</div><h3>The worst</h3><div class=grid>{}</div>{map}",
        escape(&signature),
        best.concat(),
        worst.concat()
    ))
}

fn card(predictor: &Predictor, dataset: &Dataset, rows: &TextRows, at: usize, score: f64) -> Result<String, Error> {
    let references = rows.written.references[at].iter().map(|text| format!("<div>right: {}</div>", escape(text)));
    Ok(format!(
        "<div class=card>{}<div><b>{}</b></div>{}<div class=dim>row {}, chrF {}</div></div>",
        inputs(predictor, dataset, rows.rows[at])?,
        escape(&rows.written.hypotheses[at]),
        references.collect::<String>(),
        rows.rows[at] + 1,
        number(score)
    ))
}

/// For each token of a text, how much it looked at each step of what it was written about.
fn attention_map(predictor: &Predictor, dataset: &Dataset, output: usize, row_idx: usize, text: &str) -> Result<String, Error> {
    let Preprocessor::TargetText(fitted) = &predictor.outputs[output].preprocessor else { return Ok(String::new()) };
    let Ok(Payload::Tokens(ids)) = mbm_data::Preprocess::payload(fitted, &Cell::text(text), &dataset.table.folder) else {
        return Ok(String::new());
    };
    let batch = Batch::collate(dataset, &[dataset.sample(row_idx)?]);
    let encoded = predictor.encode(&batch);
    let n_steps: Vec<usize> = encoded.iter().map(|input| input.mask.dims()[1]).collect();
    let fused = predictor.model.fuse(encoded);
    let values = Values::Tokens { steps: ids.len(), lengths: vec![ids.len()], ids: ids.clone() };
    let target = Target::new(&Column { present: vec![true], values }, &predictor.device);
    let Some(weights) = predictor.model.attention(output, &fused, &target) else { return Ok(String::new()) };
    let [_, _, all] = weights.dims();
    let weights = to_vec(weights);
    let columns = columns(predictor, dataset, row_idx, &n_steps, all)?;
    let head: String = columns.iter().map(|name| format!("<th class=turned>{}</th>", escape(name))).collect();
    let row = |(token, weights): (&u32, &[f32])| {
        let cell = |weight: &f32| format!("<td style='background:rgba(37,99,235,{weight:.3})'></td>");
        let name = if *token == FittedTargetText::END { "(end)".to_owned() } else { fitted.tokenizer.decode(&[*token]) };
        format!("<tr><th>{}</th>{}</tr>", escape(&name), weights.iter().map(cell).collect::<String>())
    };
    let rows: String = ids.iter().zip(weights.chunks(all)).map(row).collect();
    Ok(format!(
        "<h3>What each token of row {} looked at</h3><div class=scroll><table class=map><tr><th></th>{head}</tr>{rows}</table></div>",
        row_idx + 1
    ))
}

/// The names of steps: tokens of texts, numbers of patches and frames, the fused vector where it is one of them.
fn columns(
    predictor: &Predictor,
    dataset: &Dataset,
    row_idx: usize,
    n_steps: &[usize],
    all: usize,
) -> Result<Vec<String>, Error> {
    if n_steps.iter().sum::<usize>() > all {
        return Ok((1..=all).map(|step| step.to_string()).collect());
    }
    let sample = dataset.sample(row_idx)?;
    let mut names = Vec::with_capacity(all);
    for ((field, payload), n) in predictor.inputs.iter().zip(&sample.payloads).zip(n_steps) {
        let name = |step: usize| match (&field.preprocessor, payload) {
            (Preprocessor::Text(text), Payload::Tokens(ids)) if ids.len() == *n => {
                Some(text.tokenizer.decode(&[ids[step]])).filter(|token| !token.is_empty())
            }
            (_, _) => None,
        };
        names.extend((0..*n).map(|step| name(step).unwrap_or_else(|| format!("{} {}", field.name, step + 1))));
    }
    names.resize(all, "all inputs".to_owned());
    Ok(names)
}
