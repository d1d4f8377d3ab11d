//! Predictions, and the columns they are written to.

use mbm_data::Preprocessor;

use crate::predict::postprocessor::Postprocessor;
use crate::predict::writer::{OutputColumn, OutputValue};

/// The prediction of one output for one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The probability of each class.
    Classes(Vec<f32>),
    /// The probability of each label.
    Labels(Vec<f32>),
    /// A number in the units of the data.
    Number(f64),
    /// A vector.
    Vector(Vec<f32>),
    /// Texts with their scores, best first.
    Texts(Vec<(String, f64)>),
    /// A unit vector for each aligned input, empty if the input is absent.
    Embeddings(Vec<Vec<f32>>),
}

/// Returns the names of the classes or labels of an output; empty for other types.
pub fn class_names(preprocessor: &Preprocessor) -> Vec<String> {
    match preprocessor {
        Preprocessor::Category(fitted) => fitted.classes.clone(),
        Preprocessor::Binary(fitted) => (0..2).map(|class| fitted.label(class).to_owned()).collect(),
        Preprocessor::Set(fitted) => fitted.labels.clone(),
        _ => Vec::new(),
    }
}

/// Returns the columns of an output, in Ludwig's naming: `<output>_predictions`, `<output>_probability`,
/// `<output>_probabilities_<class>`; for an embedding, the cosine similarity of each pair of inputs,
/// `<output>_similarity_<input>_<input>`; for several texts, each text with its score, `<output>_predictions`, `<output>_score`,
/// `<output>_predictions_2`, ...
pub fn columns(output: &str, preprocessor: &Preprocessor, postprocessor: &Postprocessor) -> Vec<OutputColumn> {
    if let Postprocessor::Embedding { align } = postprocessor {
        return pairs(align.len())
            .map(|(a, b)| OutputColumn::number(format!("{output}_similarity_{}_{}", align[a], align[b])))
            .collect();
    }
    let predictions = format!("{output}_predictions");
    if let Postprocessor::Texts { n_texts: n_texts @ 2.. } = postprocessor {
        return (1..=*n_texts)
            .flat_map(|rank| {
                let ending = if rank == 1 { String::new() } else { format!("_{rank}") };
                [OutputColumn::text(format!("{predictions}{ending}")), OutputColumn::number(format!("{output}_score{ending}"))]
            })
            .collect();
    }
    let probabilities =
        class_names(preprocessor).into_iter().map(|class| OutputColumn::number(format!("{output}_probabilities_{class}")));
    match preprocessor {
        Preprocessor::Category(_) | Preprocessor::Binary(_) => {
            [OutputColumn::text(predictions), OutputColumn::number(format!("{output}_probability"))]
                .into_iter()
                .chain(probabilities)
                .collect()
        }
        Preprocessor::Set(_) => std::iter::once(OutputColumn::text(predictions)).chain(probabilities).collect(),
        Preprocessor::Number(_) => vec![OutputColumn::number(predictions)],
        _ => vec![OutputColumn::text(predictions)],
    }
}

impl Prediction {
    /// Returns the values of [`columns`].
    pub fn values(&self, preprocessor: &Preprocessor, postprocessor: &Postprocessor) -> Vec<OutputValue> {
        let names = class_names(preprocessor);
        let number = |p: &f32| OutputValue::Number(f64::from(*p));
        match self {
            Self::Classes(probabilities) => {
                let best = argmax(probabilities);
                [OutputValue::Text(names[best].clone()), number(&probabilities[best])]
                    .into_iter()
                    .chain(probabilities.iter().map(number))
                    .collect()
            }
            Self::Labels(probabilities) => {
                let held = names
                    .iter()
                    .zip(probabilities)
                    .filter(|(_, p)| **p >= 0.5)
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>();
                let between = if let Preprocessor::Set(fitted) = preprocessor { fitted.delimiter.between() } else { " " };
                std::iter::once(OutputValue::Text(held.join(between))).chain(probabilities.iter().map(number)).collect()
            }
            Self::Number(value) => vec![OutputValue::Number(*value)],
            Self::Texts(texts) => {
                let Postprocessor::Texts { n_texts } = postprocessor else { return Vec::new() };
                let text = |at: usize| texts.get(at).map_or(OutputValue::Null, |(text, _)| OutputValue::Text(text.clone()));
                let score = |at: usize| texts.get(at).map_or(OutputValue::Null, |(_, score)| OutputValue::Number(*score));
                if *n_texts == 1 { vec![text(0)] } else { (0..*n_texts).flat_map(|at| [text(at), score(at)]).collect() }
            }
            Self::Embeddings(vectors) => pairs(vectors.len()).map(|(a, b)| similarity(&vectors[a], &vectors[b])).collect(),
            Self::Vector(values) => vec![OutputValue::Text(values.iter().map(f32::to_string).collect::<Vec<_>>().join(" "))],
        }
    }
}

/// All pairs of `0..n`.
fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

/// The cosine similarity of two unit vectors; null if one is absent.
fn similarity(a: &[f32], b: &[f32]) -> OutputValue {
    let cosine = a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum();
    if a.is_empty() || b.is_empty() { OutputValue::Null } else { OutputValue::Number(cosine) }
}

/// The index of the largest value; the first one on ties.
pub(crate) fn argmax(values: &[f32]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}
