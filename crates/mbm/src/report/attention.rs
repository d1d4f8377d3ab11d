//! Attention maps of generated texts: over the words of a text, the patches of an image, or the steps of any other input.

use std::ops::Range;

use image::{DynamicImage, Rgb, RgbImage};
use mbm_data::feature::FittedTargetText;
use mbm_data::{BatchColumn, Cell, Dataset, Field, Payload, Pixels, Preprocess, Preprocessor, Values};
use mbm_model::Target;

use super::html::escape;
use super::images::png_uri;
use crate::error::Error;
use crate::predict::forward::to_vec;
use crate::predict::predictor::Predictor;

/// The attention weights of the tokens of one text, `[tokens, steps]`; each token's weights sum to 1.
struct AttentionMap {
    tokens: Vec<String>,
    weights: Vec<f32>,
    n_steps: usize,
    parts: Vec<TokenSpan>,
}

/// Consecutive steps that are displayed together.
struct TokenSpan {
    name: String,
    steps: Range<usize>,
    view: View,
}

/// How the steps of a part are displayed.
enum View {
    /// One column per step.
    Steps(Vec<String>),
    /// Patches of an image in row-major order, and the image as the model saw it.
    Patches { columns: usize, image: Pixels },
}

/// Renders the attention of a text's tokens to the inputs of a row; empty if the output's decoder does not attend.
pub(super) fn attention(
    predictor: &Predictor,
    dataset: &Dataset,
    output: usize,
    row_idx: usize,
    text: &str,
) -> Result<String, Error> {
    let Some(map) = AttentionMap::new(predictor, dataset, output, row_idx, text)? else { return Ok(String::new()) };
    let images = map.parts.iter().map(|part| map.images(part)).collect::<String>();
    Ok(format!("<details><summary>Attention of each token</summary>{}{images}</details>", map.table()))
}

impl AttentionMap {
    fn new(predictor: &Predictor, dataset: &Dataset, output: usize, row_idx: usize, text: &str) -> Result<Option<Self>, Error> {
        let Preprocessor::TargetText(fitted) = &predictor.outputs[output].preprocessor else { return Ok(None) };
        let Ok(Payload::Tokens(ids)) = fitted.payload(&Cell::text(text), &dataset.table.folder) else { return Ok(None) };
        let encoded = predictor.encode(&dataset.collate(&[dataset.sample(row_idx)?]));
        let each: Vec<usize> = encoded.iter().map(|input| input.mask.dims()[1]).collect();
        let fused = predictor.model.fuse(encoded);
        let values = Values::Tokens { steps: ids.len(), lengths: vec![ids.len()], ids: ids.clone(), texts: Vec::new() };
        let target = Target::new(&BatchColumn { present: vec![true], values }, &predictor.device);
        let Some(weights) = predictor.model.attention(output, &fused, &target) else { return Ok(None) };
        let [_, _, n_steps] = weights.dims();
        let tokens = ids
            .iter()
            .map(|id| if *id == FittedTargetText::END { "(end)".to_owned() } else { fitted.tokenizer.decode(&[*id]) })
            .collect();
        let parts = parts(predictor, dataset, row_idx, &each, n_steps)?;
        Ok(Some(Self { tokens, weights: to_vec(weights), n_steps, parts }))
    }

    fn of_token(&self, token: usize, part: &TokenSpan) -> &[f32] {
        &self.weights[token * self.n_steps..][part.steps.clone()]
    }

    /// Renders a row for each token, with an image as one column; empty if the image is the only part.
    fn table(&self) -> String {
        if let [TokenSpan { view: View::Patches { .. }, .. }] = self.parts[..] {
            return String::new();
        }
        let names = self.parts.iter().flat_map(TokenSpan::column_names);
        let head = names.map(|name| format!("<th class=turned>{}</th>", escape(&name)));
        let rows: String = self
            .tokens
            .iter()
            .enumerate()
            .map(|(token, name)| {
                let cells: String = self.parts.iter().map(|part| self.cells(token, part)).collect();
                format!("<tr><th>{}</th>{cells}</tr>", escape(name))
            })
            .collect();
        format!("<div class=scroll><table class=map><tr><th></th>{}</tr>{rows}</table></div>", head.collect::<String>())
    }

    fn cells(&self, token: usize, part: &TokenSpan) -> String {
        let weights = self.of_token(token, part);
        let weights = if matches!(part.view, View::Steps(_)) { weights.to_vec() } else { vec![weights.iter().sum()] };
        weights.iter().map(|weight| format!("<td style='background:rgba(37,99,235,{weight:.3})'></td>")).collect()
    }

    /// Renders the image for each token, darker where the token attends less; empty for a part that is not an image.
    fn images(&self, part: &TokenSpan) -> String {
        let View::Patches { columns, image } = &part.view else { return String::new() };
        let size = format!("grid-template-columns:repeat({columns},1fr);aspect-ratio:{}/{}", image.width, image.height);
        let figures = self.tokens.iter().enumerate().map(|(token, name)| {
            let weights = self.of_token(token, part);
            let most = weights.iter().fold(f32::MIN_POSITIVE, |most, weight| most.max(*weight));
            let patches: String =
                weights.iter().map(|weight| format!("<i style='opacity:{:.2}'></i>", 0.85 * (1.0 - weight / most))).collect();
            format!("<figure><div style='{size}'>{patches}</div><figcaption>{}</figcaption></figure>", escape(name))
        });
        let figures = figures.collect::<String>();
        format!("<div class=seen style='--seen:url({})'>{figures}</div>", png_uri(&shown(image)).unwrap_or_default())
    }
}

impl TokenSpan {
    /// Returns a span whose steps are numbered.
    fn numbered(name: &str, steps: Range<usize>) -> Self {
        let names = (1..=steps.len()).map(|step| format!("{name} {step}")).collect();
        Self { name: name.to_owned(), steps, view: View::Steps(names) }
    }

    /// Returns the names of its columns in a table.
    fn column_names(&self) -> Vec<String> {
        match &self.view {
            View::Steps(names) => names.clone(),
            View::Patches { .. } => vec![self.name.clone()],
        }
    }
}

/// Returns the steps of each input in order, then those that belong to no input.
fn parts(
    predictor: &Predictor,
    dataset: &Dataset,
    row_idx: usize,
    each: &[usize],
    n_steps: usize,
) -> Result<Vec<TokenSpan>, Error> {
    if each.iter().sum::<usize>() > n_steps {
        return Ok(vec![TokenSpan::numbered("step", 0..n_steps)]);
    }
    let row = dataset.table.row(row_idx)?;
    let (mut parts, mut start) = (Vec::new(), 0);
    for (field, n) in predictor.inputs.iter().zip(each) {
        let steps = start..start + n;
        start = steps.end;
        let cell = dataset.table.position(&field.column).map_or(&Cell::Empty, |at| &row[at]);
        let payload = field.preprocessor.get().payload(cell, &dataset.table.folder).ok();
        let view = payload.and_then(|payload| view(field, payload, *n));
        parts.push(match view {
            Some(view) => TokenSpan { name: field.name.clone(), steps, view },
            None => TokenSpan::numbered(&field.name, steps),
        });
    }
    if start < n_steps {
        let names = vec!["all inputs".to_owned(); n_steps - start];
        parts.push(TokenSpan { name: names[0].clone(), steps: start..n_steps, view: View::Steps(names) });
    }
    Ok(parts)
}

/// Returns the words of a text, or an image whose patches are the steps; `None` for other inputs.
fn view(field: &Field, payload: Payload, n_steps: usize) -> Option<View> {
    match (&field.preprocessor, payload) {
        (Preprocessor::Text(text), Payload::Tokens(ids) | Payload::Text { tokens: ids, .. }) if ids.len() == n_steps => {
            // A token that is only a part of a character has no text of its own.
            Some(View::Steps(
                ids.iter()
                    .map(|id| Some(text.tokenizer.decode(&[*id])).filter(|token| !token.is_empty()).unwrap_or("·".to_owned()))
                    .collect(),
            ))
        }
        (_, Payload::Image(image)) => Some(View::Patches { columns: columns(n_steps, &image)?, image }),
        (_, _) => None,
    }
}

/// Returns the number of columns of a grid of nearly square patches; `None` if the patches do not fill one.
fn columns(n_patches: usize, image: &Pixels) -> Option<usize> {
    let unevenness = |columns: &usize| {
        let (width, height) = (image.width as f64 / *columns as f64, image.height as f64 / (n_patches / columns) as f64);
        (width / height).ln().abs()
    };
    let grids = (1..=n_patches).filter(|columns| n_patches.is_multiple_of(*columns));
    grids.min_by(|a, b| unevenness(a).total_cmp(&unevenness(b))).filter(|columns| unevenness(columns) < 0.5)
}

/// Converts pixels, as the model saw them, to an RGB image.
fn shown(image: &Pixels) -> DynamicImage {
    let (width, height) = (image.width as u32, image.height as u32);
    let plane = image.height * image.width;
    RgbImage::from_fn(width, height, |x, y| {
        let at = (y * width + x) as usize;
        Rgb([0, 1, 2].map(|channel: usize| image.data[channel.min(image.channels - 1) * plane + at]))
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_form_a_nearly_square_grid_or_none() {
        let image = |height, width| Pixels { channels: 1, height, width, data: vec![0; height * width] };
        assert_eq!(columns(20, &image(64, 80)), Some(5));
        assert_eq!(columns(16, &image(112, 112)), Some(4));
        assert_eq!(columns(12, &image(30, 40)), Some(4));
        assert_eq!(columns(17, &image(112, 112)), None, "a class token in addition to sixteen patches");
    }

    #[test]
    fn words_are_columns_and_images_are_shown_per_token() {
        let image = Pixels { channels: 1, height: 1, width: 2, data: vec![7, 9] };
        assert_eq!(shown(&image).to_rgb8().into_raw(), [7, 7, 7, 9, 9, 9]);
        let words = TokenSpan { name: "de".into(), steps: 0..2, view: View::Steps(vec!["ein".into(), "<Hund>".into()]) };
        let image = TokenSpan { name: "image".into(), steps: 2..4, view: View::Patches { columns: 2, image } };
        let weights = vec![0.5, 0.25, 0.125, 0.125, 0.0, 0.0, 0.25, 0.75];
        let mut map = AttentionMap { tokens: vec!["a".into(), "(end)".into()], weights, n_steps: 4, parts: vec![words, image] };
        let table = map.table();
        for head in ["ein", "&lt;Hund&gt;", "image"] {
            assert!(table.contains(&format!("<th class=turned>{head}</th>")), "{table}");
        }
        let shades: Vec<&str> = table.split("37,99,235,").skip(1).map(|rest| &rest[..5]).collect();
        assert_eq!(shades, ["0.500", "0.250", "0.250", "0.000", "0.000", "1.000"]);
        assert_eq!(map.images(&map.parts[0]), "");
        let veils = map.images(&map.parts[1]);
        let veils: Vec<&str> = veils.split("opacity:").skip(1).map(|rest| &rest[..4]).collect();
        assert_eq!(veils, ["0.00", "0.00", "0.57", "0.00"], "0.85 (1 - 1/3) at a third of the maximum");
        map.parts.remove(0);
        assert_eq!(map.table(), "", "an image alone needs no table");
    }
}
