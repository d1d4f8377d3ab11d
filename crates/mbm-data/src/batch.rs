//! Batches: rows collated as plain numbers and padded to the longest row; only present cells take up memory.

use std::borrow::Borrow;

use crate::feature::Preprocessor;
use crate::{Field, FieldFault, Frames, Payload, Sample};

/// A batch of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The row indices in the table.
    pub rows: Vec<usize>,
    /// One column per input feature.
    pub inputs: Vec<BatchColumn>,
    /// One column per target.
    pub targets: Vec<BatchColumn>,
    /// For each row, why features are missing or shortened.
    pub faults: Vec<Vec<FieldFault>>,
    /// The weight of each row; `None` if all rows count the same.
    pub weights: Option<Vec<f32>>,
}

/// One feature across the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchColumn {
    /// Whether the feature is present in each row.
    pub present: Vec<bool>,
    /// The values of the rows in which it is present, in row order.
    pub values: Values,
}

/// Values of the present rows, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `[rows, width]`
    Vectors {
        /// Values per row.
        width: usize,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, steps, width]`, padded with zeros after each row's length.
    Frames {
        /// Steps of the longest row.
        steps: usize,
        /// Values per step.
        width: usize,
        /// Number of steps of each row.
        lengths: Vec<usize>,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, channels, height, width]`, standardized.
    Images {
        /// Channels, height, width.
        dims: [usize; 3],
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, steps]`, padded with id 0 after each row's length.
    Tokens {
        /// Steps of the longest row.
        steps: usize,
        /// Number of tokens of each row.
        lengths: Vec<usize>,
        /// All token ids.
        ids: Vec<u32>,
        /// The texts themselves, if they are kept for learners other than the network; else empty.
        texts: Vec<String>,
    },
    /// `[rows, steps, width]`, padded with zeros after each row's length: features that an encoder has already computed.
    Encoded {
        /// Steps of the longest row.
        steps: usize,
        /// Values per step.
        width: usize,
        /// Number of steps of each row.
        lengths: Vec<usize>,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows][inputs]`: content ids of the inputs' cells, 0 for an empty cell.
    ContentIds(
        /// One list per row.
        Vec<Vec<u64>>,
    ),
    /// `[rows]`
    Classes(
        /// Class indices.
        Vec<u32>,
    ),
}

impl Batch {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the sum of the weights of the rows.
    pub fn weight(&self) -> f64 {
        self.weights.as_ref().map_or(self.len() as f64, |weights| weights.iter().copied().map(f64::from).sum())
    }

    /// Returns whether the batch has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Collates samples of some fields, the first `n_inputs` of which are inputs, into a batch.
    pub fn collate<S: Borrow<Sample>>(fields: &[Field], n_inputs: usize, samples: &[S]) -> Self {
        let mut inputs: Vec<BatchColumn> = fields
            .iter()
            .enumerate()
            .map(|(at, field)| {
                let payloads: Vec<&Payload> = samples.iter().map(|sample| &sample.borrow().payloads[at]).collect();
                BatchColumn::collate(&field.preprocessor, &payloads)
            })
            .collect();
        let targets = inputs.split_off(n_inputs);
        let rows = samples.iter().map(|sample| sample.borrow().row_idx).collect();
        let faults = samples.iter().map(|sample| sample.borrow().faults.clone()).collect();
        Self { rows, inputs, targets, faults, weights: None }
    }
}

impl BatchColumn {
    /// Collates the payloads of one feature into a column.
    pub fn collate(preprocessor: &Preprocessor, payloads: &[&Payload]) -> Self {
        let present: Vec<bool> = payloads.iter().map(|payload| **payload != Payload::Missing).collect();
        let is_encoded = payloads.iter().any(|payload| matches!(payload, Payload::Encoded(_)));
        let values = match preprocessor {
            _ if is_encoded => encoded(payloads),
            Preprocessor::Image(fitted) => {
                let plane = fitted.height * fitted.width;
                let mut data = Vec::with_capacity(payloads.len() * fitted.channels * plane);
                for payload in payloads {
                    let Payload::Image(image) = payload else { continue };
                    for (channel, pixels) in image.data.chunks(plane).enumerate() {
                        let (mean, std) = (fitted.mean[channel], fitted.std[channel]);
                        data.extend(pixels.iter().map(|value| (f32::from(*value) / 255.0 - mean) / std));
                    }
                }
                Values::Images { dims: [fitted.channels, fitted.height, fitted.width], data }
            }
            Preprocessor::Audio(_) | Preprocessor::Timeseries(_) => frames(payloads),
            Preprocessor::Text(_) | Preprocessor::TargetText(_) => tokens(payloads),
            Preprocessor::Category(_) | Preprocessor::Binary(_) => {
                Values::Classes(payloads.iter().filter_map(|payload| class(payload)).collect())
            }
            Preprocessor::Embedding(_) => Values::ContentIds(payloads.iter().filter_map(|payload| items(payload)).collect()),
            Preprocessor::Number(_) | Preprocessor::Set(_) | Preprocessor::Vector(_) | Preprocessor::Date(_) => vectors(payloads),
        };
        Self { present, values }
    }

    /// Returns the number of rows in which the feature is present.
    pub fn n_present(&self) -> usize {
        self.present.iter().filter(|is| **is).count()
    }

    /// Returns a column for the same rows in which the feature is absent from every row.
    pub fn absent(&self) -> Self {
        let values = match &self.values {
            Values::Vectors { width, .. } => Values::Vectors { width: *width, data: Vec::new() },
            Values::Frames { width, .. } => Values::Frames { steps: 0, width: *width, lengths: Vec::new(), data: Vec::new() },
            Values::Images { dims, .. } => Values::Images { dims: *dims, data: Vec::new() },
            Values::Encoded { width, .. } => Values::Encoded { steps: 0, width: *width, lengths: Vec::new(), data: Vec::new() },
            Values::Tokens { .. } => Values::Tokens { steps: 0, lengths: Vec::new(), ids: Vec::new(), texts: Vec::new() },
            Values::ContentIds(_) => Values::ContentIds(Vec::new()),
            Values::Classes(_) => Values::Classes(Vec::new()),
        };
        Self { present: vec![false; self.present.len()], values }
    }
}

fn class(payload: &Payload) -> Option<u32> {
    if let Payload::Class(class) = payload { Some(*class) } else { None }
}

fn items(payload: &Payload) -> Option<Vec<u64>> {
    if let Payload::ContentIds(items) = payload { Some(items.clone()) } else { None }
}

fn vectors(payloads: &[&Payload]) -> Values {
    let rows: Vec<&Vec<f32>> =
        payloads.iter().filter_map(|it| if let Payload::Vector(row) = it { Some(row) } else { None }).collect();
    Values::Vectors { width: rows.first().map_or(1, |row| row.len()), data: rows.concat_all() }
}

fn frames(payloads: &[&Payload]) -> Values {
    let rows: Vec<_> = payloads.iter().filter_map(|it| if let Payload::Frames(row) = it { Some(row) } else { None }).collect();
    let (steps, width, lengths, data) = padded(&rows);
    Values::Frames { steps, width, lengths, data }
}

fn encoded(payloads: &[&Payload]) -> Values {
    let rows: Vec<_> = payloads.iter().filter_map(|it| if let Payload::Encoded(row) = it { Some(row) } else { None }).collect();
    let (steps, width, lengths, data) = padded(&rows);
    Values::Encoded { steps, width, lengths, data }
}

/// Pads rows with zeros to the longest: returns its steps, the width, the steps of each row, and all values.
fn padded(rows: &[&Frames]) -> (usize, usize, Vec<usize>, Vec<f32>) {
    let width = rows.first().map_or(1, |row| row.width);
    let lengths: Vec<usize> = rows.iter().map(|row| row.data.len() / width).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut data = vec![0.0; rows.len() * steps * width];
    data.chunks_mut((steps * width).max(1)).zip(rows).for_each(|(slot, row)| slot[..row.data.len()].copy_from_slice(&row.data));
    (steps, width, lengths, data)
}

fn tokens(payloads: &[&Payload]) -> Values {
    let rows: Vec<&Vec<u32>> = payloads.iter().filter_map(|it| it.tokens()).collect();
    let text = |payload: &&Payload| if let Payload::Text { text, .. } = payload { Some(text.clone()) } else { None };
    let texts = payloads.iter().filter_map(text).collect();
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = vec![0; rows.len() * steps];
    ids.chunks_mut(steps.max(1)).zip(&rows).for_each(|(slot, row)| slot[..row.len()].copy_from_slice(row));
    Values::Tokens { steps, lengths, ids, texts }
}

trait ConcatAll {
    fn concat_all(&self) -> Vec<f32>;
}

impl ConcatAll for Vec<&Vec<f32>> {
    fn concat_all(&self) -> Vec<f32> {
        self.iter().flat_map(|row| row.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_rows_are_omitted_and_short_rows_are_padded() {
        let rows = [Payload::Tokens(vec![5, 6, 7]), Payload::Missing, Payload::Tokens(vec![8])];
        let values = tokens(&rows.iter().collect::<Vec<_>>());
        assert_eq!(values, Values::Tokens { steps: 3, lengths: vec![3, 1], ids: vec![5, 6, 7, 8, 0, 0], texts: Vec::new() });
        let rows = [
            Payload::Frames(Frames { width: 2, data: vec![1.0, 2.0] }),
            Payload::Frames(Frames { width: 2, data: vec![3.0; 4] }),
        ];
        let values = frames(&rows.iter().collect::<Vec<_>>());
        assert_eq!(
            values,
            Values::Frames { steps: 2, width: 2, lengths: vec![1, 2], data: vec![1.0, 2.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0] }
        );
    }
}
