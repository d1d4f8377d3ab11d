//! Rows side by side as plain numbers, padded to the longest; only present cells take room.

use crate::feature::Preprocessor;
use crate::{Dataset, Frames, Payload, Sample};

/// Rows for one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The rows in the table.
    pub rows: Vec<usize>,
    /// One an input feature.
    pub inputs: Vec<Column>,
    /// One a target.
    pub targets: Vec<Column>,
}

/// One feature over the batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Whether each row has the feature.
    pub present: Vec<bool>,
    /// The values of the rows that have it, in order.
    pub values: Values,
}

/// Values of the present rows, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `[rows, width]`
    Vectors {
        /// Values of a row.
        width: usize,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, steps, width]`, zeros after each row's length.
    Frames {
        /// The longest row.
        steps: usize,
        /// Values of a step.
        width: usize,
        /// Steps of each row.
        lengths: Vec<usize>,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, channels, height, width]`, standardised.
    Images {
        /// Channels, height, width.
        dims: [usize; 3],
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows, steps]`, id 0 after each row's length.
    Tokens {
        /// The longest row.
        steps: usize,
        /// Tokens of each row.
        lengths: Vec<usize>,
        /// All ids.
        ids: Vec<u32>,
    },
    /// `[rows, steps, width]`, zeros after each row's length: inputs that are encoded already.
    Encoded {
        /// The longest row.
        steps: usize,
        /// Values of a step.
        width: usize,
        /// Steps of each row.
        lengths: Vec<usize>,
        /// All values.
        data: Vec<f32>,
    },
    /// `[rows][inputs]`: numbers of the inputs' cells, 0 for an empty one.
    ContentIds(
        /// One list a row.
        Vec<Vec<u64>>,
    ),
    /// `[rows]`
    Classes(
        /// Class numbers.
        Vec<u32>,
    ),
}

impl Batch {
    /// Rows in the batch.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The samples of a dataset side by side.
    pub fn collate(dataset: &Dataset, samples: &[Sample]) -> Self {
        let column = |at: usize| {
            let payloads: Vec<&Payload> = samples.iter().map(|sample| &sample.payloads[at]).collect();
            Column::collate(&dataset.fields[at].preprocessor, &payloads)
        };
        let columns: Vec<Column> = (0..dataset.fields.len()).map(column).collect();
        let mut inputs = columns;
        let targets = inputs.split_off(dataset.n_inputs);
        Self { rows: samples.iter().map(|sample| sample.row_idx).collect(), inputs, targets }
    }
}

impl Column {
    /// One feature's payloads side by side.
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

    /// Rows that have the feature.
    pub fn n_present(&self) -> usize {
        self.present.iter().filter(|is| **is).count()
    }

    /// The same rows, none of which has the feature.
    pub fn absent(&self) -> Self {
        let values = match &self.values {
            Values::Vectors { width, .. } => Values::Vectors { width: *width, data: Vec::new() },
            Values::Frames { width, .. } => Values::Frames { steps: 0, width: *width, lengths: Vec::new(), data: Vec::new() },
            Values::Images { dims, .. } => Values::Images { dims: *dims, data: Vec::new() },
            Values::Encoded { width, .. } => Values::Encoded { steps: 0, width: *width, lengths: Vec::new(), data: Vec::new() },
            Values::Tokens { .. } => Values::Tokens { steps: 0, lengths: Vec::new(), ids: Vec::new() },
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

/// The longest row's steps, the width, each row's steps, and all values with zeros after each row.
fn padded(rows: &[&Frames]) -> (usize, usize, Vec<usize>, Vec<f32>) {
    let width = rows.first().map_or(1, |row| row.width);
    let lengths: Vec<usize> = rows.iter().map(|row| row.data.len() / width).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut data = vec![0.0; rows.len() * steps * width];
    data.chunks_mut((steps * width).max(1)).zip(rows).for_each(|(place, row)| place[..row.data.len()].copy_from_slice(&row.data));
    (steps, width, lengths, data)
}

fn tokens(payloads: &[&Payload]) -> Values {
    let rows: Vec<&Vec<u32>> =
        payloads.iter().filter_map(|it| if let Payload::Tokens(row) = it { Some(row) } else { None }).collect();
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut ids = vec![0; rows.len() * steps];
    ids.chunks_mut(steps.max(1)).zip(&rows).for_each(|(place, row)| place[..row.len()].copy_from_slice(row));
    Values::Tokens { steps, lengths, ids }
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
    fn absent_rows_take_no_room_and_short_rows_are_padded() {
        let rows = [Payload::Tokens(vec![5, 6, 7]), Payload::Missing, Payload::Tokens(vec![8])];
        let values = tokens(&rows.iter().collect::<Vec<_>>());
        assert_eq!(values, Values::Tokens { steps: 3, lengths: vec![3, 1], ids: vec![5, 6, 7, 8, 0, 0] });
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
