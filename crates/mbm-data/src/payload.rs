//! Payloads: the few forms, as plain numbers, that the cells of every modality are converted to.

/// The content of one cell, ready for an encoder or as a target.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// `[width]`: numbers, dates, and multi-hot sets.
    Vector(Vec<f32>),
    /// `[steps, width]`: audio and time series.
    Frames(Frames),
    /// `[channels, height, width]`.
    Image(Pixels),
    /// `[steps]` token ids of a vocabulary.
    Tokens(Vec<u32>),
    /// Token ids of a text with the text itself, which learners other than the network read.
    Text {
        /// `[steps]` token ids of a vocabulary.
        tokens: Vec<u32>,
        /// The text.
        text: String,
    },
    /// A class index.
    Class(u32),
    /// `[steps, width]`: features that a frozen encoder has computed from the cell.
    Encoded(Frames),
    /// `[inputs]`: a content id for each input's cell, equal for equal cells, 0 for an empty one.
    ContentIds(Vec<u64>),
    /// No readable value.
    Missing,
}

/// A sequence of vectors, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Values per step.
    pub width: usize,
    /// `steps * width` values.
    pub data: Vec<f32>,
}

/// An image, channels first, in unscaled bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// 1 for gray, 3 for RGB.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// `channels * height * width` bytes.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Reverses the order of the channels.
    pub(crate) fn reversed(self) -> Self {
        let n_pixels = (self.height * self.width).max(1);
        let data = self.data.chunks(n_pixels).rev().flatten().copied().collect();
        Self { data, ..self }
    }
}

impl Payload {
    /// Returns the number of steps of a sequence; 1 for any other payload, and 0 for a missing one.
    pub fn n_steps(&self) -> usize {
        match self {
            Payload::Frames(frames) | Payload::Encoded(frames) => frames.data.len() / frames.width.max(1),
            Payload::Tokens(ids) | Payload::Text { tokens: ids, .. } => ids.len(),
            Payload::Vector(_) | Payload::Image(_) | Payload::Class(_) | Payload::ContentIds(_) => 1,
            Payload::Missing => 0,
        }
    }

    /// Returns the token ids of a text.
    pub fn tokens(&self) -> Option<&Vec<u32>> {
        match self {
            Payload::Tokens(ids) | Payload::Text { tokens: ids, .. } => Some(ids),
            _ => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Payload::Missing => write_words(out, &[0, 0]),
            Payload::Vector(values) => {
                write_words(out, &[1, values.len()]);
                write_floats(out, values);
            }
            Payload::Frames(frames) => {
                write_words(out, &[2, frames.data.len(), frames.width]);
                write_floats(out, &frames.data);
            }
            Payload::Image(image) => {
                write_words(out, &[3, image.data.len(), image.channels, image.height, image.width]);
                out.extend(&image.data);
            }
            Payload::Tokens(ids) => {
                write_words(out, &[4, ids.len()]);
                ids.iter().for_each(|id| out.extend(id.to_le_bytes()));
            }
            Payload::Class(class) => write_words(out, &[5, *class as usize]),
            Payload::Encoded(frames) => {
                write_words(out, &[6, frames.data.len(), frames.width]);
                write_floats(out, &frames.data);
            }
            Payload::Text { tokens, text } => {
                write_words(out, &[8, tokens.len(), text.len()]);
                tokens.iter().for_each(|id| out.extend(id.to_le_bytes()));
                out.extend(text.as_bytes());
            }
            Payload::ContentIds(items) => {
                write_words(out, &[7, items.len()]);
                items.iter().for_each(|item| out.extend(item.to_le_bytes()));
            }
        }
    }

    /// Reads a payload written by [`Payload::write`] and advances `bytes` past it.
    pub(crate) fn read(bytes: &mut &[u8]) -> Self {
        let (tag, len) = (read_word(bytes), read_word(bytes) as usize);
        match tag {
            1 => Payload::Vector(floats(take(bytes, 4 * len))),
            2 | 6 => {
                let width = read_word(bytes) as usize;
                let frames = Frames { width, data: floats(take(bytes, 4 * len)) };
                if tag == 2 { Payload::Frames(frames) } else { Payload::Encoded(frames) }
            }
            3 => {
                let [channels, height, width] = [read_word(bytes), read_word(bytes), read_word(bytes)].map(|it| it as usize);
                Payload::Image(Pixels { channels, height, width, data: take(bytes, len).to_vec() })
            }
            4 => Payload::Tokens(words(take(bytes, 4 * len))),
            8 => {
                let n_bytes = read_word(bytes) as usize;
                let tokens = words(take(bytes, 4 * len));
                Payload::Text { tokens, text: String::from_utf8_lossy(take(bytes, n_bytes)).into_owned() }
            }
            5 => Payload::Class(len as u32),
            7 => Payload::ContentIds(
                take(bytes, 8 * len).as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect(),
            ),
            _ => Payload::Missing,
        }
    }
}

fn write_words(out: &mut Vec<u8>, words: &[usize]) {
    words.iter().for_each(|word| out.extend((*word as u32).to_le_bytes()));
}

fn write_floats(out: &mut Vec<u8>, values: &[f32]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn read_word(bytes: &mut &[u8]) -> u32 {
    let head = take(bytes, 4);
    u32::from_le_bytes([head[0], head[1], head[2], head[3]])
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| u32::from_le_bytes(*chunk)).collect()
}

/// Returns the first bytes and advances `bytes` past them.
fn take<'a>(bytes: &mut &'a [u8], n_bytes: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(n_bytes);
    *bytes = tail;
    head
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn payload() -> impl Strategy<Value = Payload> {
        let frames = (1usize..4, vec(-9f32..9.0, 0..5)).prop_map(|(width, steps)| Frames { width, data: steps.repeat(width) });
        let image = (prop_oneof![Just(1usize), Just(3)], 1usize..4, 1usize..4, any::<u8>()).prop_map(
            |(channels, height, width, value)| Pixels {
                channels,
                height,
                width,
                data: [value].repeat(channels * height * width),
            },
        );
        prop_oneof![
            Just(Payload::Missing),
            vec(-9f32..9.0, 0..5).prop_map(Payload::Vector),
            frames.clone().prop_map(Payload::Frames),
            frames.prop_map(Payload::Encoded),
            image.prop_map(Payload::Image),
            vec(any::<u32>(), 0..5).prop_map(Payload::Tokens),
            (vec(any::<u32>(), 0..5), any::<String>()).prop_map(|(tokens, text)| Payload::Text { tokens, text }),
            any::<u32>().prop_map(Payload::Class),
            vec(any::<u64>(), 0..5).prop_map(Payload::ContentIds),
        ]
    }

    proptest! {
        #[test]
        fn payloads_read_back_as_they_were_written(payloads in vec(payload(), 0..6)) {
            let mut bytes = Vec::new();
            payloads.iter().for_each(|payload| payload.write(&mut bytes));
            let mut rest = bytes.as_slice();
            let read: Vec<Payload> = payloads.iter().map(|_| Payload::read(&mut rest)).collect();
            prop_assert_eq!(read, payloads);
            prop_assert!(rest.is_empty());
        }
    }
}
