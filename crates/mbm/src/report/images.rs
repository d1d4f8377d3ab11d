//! The rows with the worst predictions, with their inputs.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat};
use mbm_data::{Cell, Dataset, Payload, Preprocessor, decode_image};

use super::html::{escape, number};
use crate::error::Error;
use crate::predict::pass::{Pass, Sink};
use crate::predict::postprocessor::Postprocessor;
use crate::predict::prediction::{Prediction, argmax, class_names};
use crate::predict::predictor::Predictor;
use crate::predict::writer::OutputValue;

/// Number of rows shown.
const N_SHOWN: usize = 12;
/// Number of inputs shown per row, the first ones, so that cards of wide tables stay readable.
const N_INPUTS: usize = 24;
/// The longer side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 224;

struct Wrong {
    row_idx: usize,
    cost: f64,
    pred: String,
    truth: String,
}

/// The rows with the largest cost of the first output: `-ln p(true class)`, or the error in standard deviations.
#[derive(Default)]
pub(crate) struct WorstRows(Vec<Wrong>);

impl Sink for WorstRows {
    fn add(&mut self, pass: &Pass) -> Result<(), Error> {
        if pass.predictor.decoding(0).is_some() {
            return Ok(());
        }
        let field = &pass.predictor.outputs[0];
        for (row_idx, prediction) in pass.batch.rows.iter().zip(pass.predictions(0)?) {
            let target = pass.dataset.payload_at(*row_idx, pass.dataset.n_inputs)?;
            let wrong = error_of(prediction, &target, &field.preprocessor);
            self.0.extend(wrong.map(|(cost, pred, truth)| Wrong { row_idx: *row_idx, cost, pred, truth }));
        }
        self.0.sort_by(|a, b| b.cost.total_cmp(&a.cost).then(a.row_idx.cmp(&b.row_idx)));
        self.0.truncate(N_SHOWN);
        Ok(())
    }
}

impl WorstRows {
    /// Renders a card for each row.
    pub fn to_html(&self, predictor: &Predictor, dataset: &Dataset) -> Result<String, Error> {
        let cards = self.0.iter().map(|wrong| card(wrong, predictor, dataset)).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("<div class=grid>{}</div>", cards.concat()))
    }
}

fn error_of(prediction: &Prediction, target: &Payload, preprocessor: &Preprocessor) -> Option<(f64, String, String)> {
    match (prediction, target, preprocessor) {
        (Prediction::Classes(p), Payload::Class(class), _) => {
            let (names, class, best) = (class_names(preprocessor), *class as usize, argmax(p));
            let pred = format!("{} ({:.0} %)", names[best], 100.0 * p[best]);
            Some((-f64::from(p[class].max(1e-9)).ln(), pred, names[class].clone()))
        }
        (Prediction::Number(pred), Payload::Vector(values), Preprocessor::Number(fitted)) => {
            let truth = fitted.restore(values[0]);
            Some((f64::from((fitted.normalize(*pred) - values[0]).abs()), number(*pred), number(truth)))
        }
        (Prediction::Labels(p), Payload::Vector(values), _) => {
            let names = class_names(preprocessor);
            let cost = p.iter().zip(values).map(|(p, value)| f64::from((p - value).abs())).sum();
            let held = |is: &dyn Fn(usize) -> bool| {
                (0..names.len()).filter(|at| is(*at)).map(|at| names[at].clone()).collect::<Vec<_>>().join(" ")
            };
            Some((cost, held(&|at| p[at] >= 0.5), held(&|at| values[at] > 0.5)))
        }
        (Prediction::Vector(pred), Payload::Vector(values), _) => {
            let cost = pred.iter().zip(values).map(|(pred, value)| f64::from((pred - value).powi(2))).sum::<f64>().sqrt();
            Some((cost, format!("{} values", pred.len()), format!("{} values", values.len())))
        }
        (Prediction::Embeddings(_), Payload::ContentIds(_), _) => {
            let Some(OutputValue::Number(cosine)) = prediction.values(preprocessor, &Postprocessor::Linear).into_iter().next()
            else {
                return None;
            };
            Some((1.0 - cosine, format!("cosine {}", number(cosine)), "matching pair".to_owned()))
        }
        (Prediction::Classes(_) | Prediction::Number(_) | Prediction::Labels(_), _, _)
        | (Prediction::Vector(_) | Prediction::Embeddings(_) | Prediction::Texts(_), _, _) => None,
    }
}

/// Renders the inputs of a row.
pub(super) fn inputs(predictor: &Predictor, dataset: &Dataset, row_idx: usize) -> Result<String, Error> {
    let row = dataset.table.row(row_idx)?;
    let mut content = String::new();
    for field in predictor.inputs.iter().take(N_INPUTS) {
        let cell = dataset.table.position(&field.column).map_or(&Cell::Empty, |at| &row[at]);
        content.push_str(&match (&field.preprocessor, cell) {
            (_, Cell::Empty) => format!("<div class=dim>{}: empty</div>", escape(&field.name)),
            (Preprocessor::Image(fitted), cell) => thumbnail(cell, &dataset.table.folder, fitted.max_pixels, &field.name),
            (_, cell) => {
                format!("<div>{}: {}</div>", escape(&field.name), escape(&cell.to_text().chars().take(160).collect::<String>()))
            }
        });
    }
    if let n_more @ 1.. = predictor.inputs.len().saturating_sub(N_INPUTS) {
        content.push_str(&format!("<div class=dim>and {n_more} more inputs</div>"));
    }
    Ok(content)
}

fn card(wrong: &Wrong, predictor: &Predictor, dataset: &Dataset) -> Result<String, Error> {
    let content = inputs(predictor, dataset, wrong.row_idx)?;
    let (pred, truth) = (escape(&wrong.pred), escape(&wrong.truth));
    Ok(format!(
        "<div class=card>{content}<div><b>predicted {pred}</b>, true {truth}</div><div class=dim>row {}, cost {}</div></div>",
        wrong.row_idx + 1,
        number(wrong.cost)
    ))
}

/// Renders an image inline; its name if it cannot be read.
pub(super) fn thumbnail(cell: &Cell, folder: &Path, max_pixels: usize, name: &str) -> String {
    match thumbnail_uri(cell, folder, max_pixels) {
        Some(uri) => format!("<img alt='{}' src='{uri}'>", escape(name)),
        None => format!("<div class=dim>{}: cannot be read</div>", escape(name)),
    }
}

/// Returns a small PNG of an image as a data URI; `None` if the image cannot be read.
pub(crate) fn thumbnail_uri(cell: &Cell, folder: &Path, max_pixels: usize) -> Option<String> {
    let bytes = match cell {
        Cell::Bytes(bytes) => bytes.clone(),
        other => std::fs::read(folder.join(other.to_text().trim())).ok()?,
    };
    let image = decode_image(&bytes, max_pixels).ok()?;
    let small = if image.width().max(image.height()) > THUMBNAIL { image.thumbnail(THUMBNAIL, THUMBNAIL) } else { image };
    png_uri(&small)
}

/// Encodes an image as a PNG in a data URI.
pub(super) fn png_uri(image: &DynamicImage) -> Option<String> {
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).ok()?;
    Some(format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner())))
}
