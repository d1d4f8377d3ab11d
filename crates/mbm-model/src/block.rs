//! The block: all inputs whose encoders have no parameters, concatenated in one tensor, so that a table of ten thousand numbers
//! costs one operation and one parameter instead of ten thousand.
//!
//! For an input in the block, values are those that its encoder would return; absent cells have the learned values of that input.

use std::ops::Range;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use mbm_data::{BatchColumn, Values};

use crate::encoder::write_progress;
use crate::{Sequence, Steps};

/// The learned values of absent cells for all inputs in the block, concatenated: `[width]`.
#[derive(Module, Debug)]
pub struct Block {
    absence: Param<Tensor<1>>,
}

/// The columns of an input in the block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns {
    /// Their positions.
    pub range: Range<usize>,
    /// For a number that is encoded by its progress through bins, the edges of the bins.
    pub edges: Option<Arc<[f32]>>,
}

/// Where an input is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum InputLocation {
    /// In these columns of the block.
    Columns(Columns),
    /// By its own encoder, at this index among the model's encoders.
    Encoder(usize),
}

/// A contiguous part of the concatenated inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Adjacent columns of the block.
    Columns(Range<usize>),
    /// An input with its own encoder: its index among all inputs.
    Input(usize),
}

/// Splits the inputs, in order, into pieces; inputs that are adjacent in the block are merged.
pub(crate) fn pieces(locations: &[InputLocation]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (input, location) in locations.iter().enumerate() {
        match (location, pieces.last_mut()) {
            (InputLocation::Columns(columns), Some(Piece::Columns(before))) if before.end == columns.range.start => {
                before.end = columns.range.end
            }
            (InputLocation::Columns(columns), _) => pieces.push(Piece::Columns(columns.range.clone())),
            (InputLocation::Encoder(_), _) => pieces.push(Piece::Input(input)),
        }
    }
    pieces
}

impl Block {
    /// Creates a block from the initial values of absent cells.
    pub(crate) fn new(absence: Vec<f32>, device: &Device) -> Self {
        let width = absence.len();
        Self { absence: Param::from_tensor(Tensor::from_data(TensorData::new(absence, [width]), device)) }
    }

    /// Returns the learned values of absent cells as plain numbers.
    pub(crate) fn absence_values(&self) -> Vec<f32> {
        self.absence.val().into_data().try_into_vec::<f32>().unwrap_or_default()
    }

    /// Returns the device that holds the block.
    pub(crate) fn device(&self) -> Device {
        self.absence.val().device()
    }

    /// Returns the values of all inputs in the block: `[batch, width]`.
    pub(crate) fn values(&self, locations: &[InputLocation], columns: &[BatchColumn], device: &Device) -> Tensor<2> {
        let of_block = locations.iter().zip(columns).filter_map(|(location, column)| match location {
            InputLocation::Columns(at) => Some((at.clone(), column)),
            InputLocation::Encoder(_) => None,
        });
        filled(of_block, self.absence.val(), device)
    }

    /// Returns one input of the block as a sequence.
    pub(crate) fn sequence(&self, at: &Columns, column: &BatchColumn, device: &Device) -> Sequence {
        let absence = self.absence.val().narrow(0, at.range.start, at.range.len());
        let alone = Columns { range: 0..at.range.len(), edges: at.edges.clone() };
        let Steps { values, mask } = Steps::single(filled(std::iter::once((alone, column)), absence, device));
        let present: Vec<f32> = column.present.iter().map(|is| f32::from(u8::from(*is))).collect();
        let present = Tensor::from_data(TensorData::new(present, [column.present.len(), 1]), device);
        Sequence { values, mask, present }
    }

    /// Returns one input of the block as a sequence in which every row is absent.
    pub(crate) fn absent(&self, at: &Columns, n_rows: usize, device: &Device) -> Sequence {
        let column = BatchColumn { present: vec![false; n_rows], values: Values::Classes(Vec::new()) };
        self.sequence(at, &column, device)
    }
}

/// Concatenates inputs, each in its own columns: `[batch, width]`; `absence` is `[width]`.
fn filled<'a>(inputs: impl Iterator<Item = (Columns, &'a BatchColumn)>, absence: Tensor<1>, device: &Device) -> Tensor<2> {
    let [width] = absence.dims();
    let (mut n_rows, mut values, mut absent, mut is_whole) = (0, Vec::new(), Vec::new(), true);
    for (Columns { range: at, edges }, column) in inputs {
        n_rows = column.present.len();
        values.resize(n_rows * width, 0.0);
        absent.resize(n_rows * width, 0.0);
        let mut next = 0;
        for (row, is_present) in column.present.iter().enumerate() {
            let cells = row * width + at.start..row * width + at.end;
            if *is_present {
                write(&column.values, next, edges.as_deref(), &mut values[cells]);
                next += 1;
            } else {
                absent[cells].fill(1.0);
                is_whole = false;
            }
        }
    }
    let tensor = |data: Vec<f32>| Tensor::<2>::from_data(TensorData::new(data, [n_rows, width]), device);
    if is_whole { tensor(values) } else { tensor(values) + tensor(absent) * absence.unsqueeze_dim(0) }
}

/// Writes present row number `next` as an encoder without parameters would return it.
fn write(values: &Values, next: usize, edges: Option<&[f32]>, into: &mut [f32]) {
    match values {
        Values::Vectors { data, .. } if let Some(edges) = edges => write_progress(data[next], edges, into),
        Values::Vectors { width, data } => into.copy_from_slice(&data[next * width..(next + 1) * width]),
        Values::Classes(classes) => into[classes[next] as usize] = 1.0,
        Values::Frames { .. }
        | Values::Images { .. }
        | Values::Tokens { .. }
        | Values::Encoded { .. }
        | Values::ContentIds(_) => {
            unreachable!("these inputs have encoders with parameters")
        }
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use super::*;
    use crate::combiner::CombinerSettings;
    use crate::encoder::{CategoryEncoder, EncoderSettings, NumberEncoder, VectorEncoder};
    use crate::testing::{batch, check, read, spec};
    use crate::{ModelSpec, load_weights, save_weights};

    /// A number, one in bins, a class and a vector that pass through unchanged, with a trainable vector encoder between them.
    fn mixed() -> ModelSpec {
        let number = EncoderSettings::Number(NumberEncoder::Passthrough(mbm_config::defaults()));
        let bins = EncoderSettings::Number(read::<NumberEncoder>("{type: ple, output_size: null}"));
        let class = EncoderSettings::Category(CategoryEncoder::OneHot(mbm_config::defaults()));
        let vector = |text: &str| EncoderSettings::Vector(read::<VectorEncoder>(text));
        let inputs = vec![
            (number, Shape::Number { quantiles: vec![0.0] }),
            (bins, Shape::Number { quantiles: vec![-1.0, 0.5, 1.0] }),
            (class, Shape::Class { n_classes: 3 }),
            (vector("{type: dense, output_size: 4}"), Shape::Vector { width: 5 }),
            (vector("passthrough"), Shape::Vector { width: 2 }),
        ];
        spec(inputs, CombinerSettings::Concat(mbm_config::defaults()))
    }

    fn numbers(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn block_trains_alongside_encoded_inputs() {
        check("block", &mixed());
    }

    #[test]
    fn block_output_equals_encoding_inputs_separately() {
        let (spec, device) = (mixed(), Device::flex());
        let (model, batch) = (spec.init(&device, 1), batch(&spec));
        let together = model.fused(&batch, &device).pooled;
        assert_eq!(together.dims(), [8, 1 + 2 + 3 + 4 + 2]);
        assert_eq!(numbers(together), numbers(model.fuse(model.encode(&batch, &device)).pooled));
    }

    #[test]
    fn weights_with_one_absence_vector_per_input_can_be_loaded() {
        let (spec, device) = (mixed(), Device::flex());
        let (model, batch, folder) = (spec.init(&device, 1), batch(&spec), tempfile::tempdir().unwrap());
        let path = folder.path().join("weights.safetensors");
        save_weights(&model.clone().without_block(), &path).unwrap();
        let loaded = load_weights(spec.init(&device, 2), &path).unwrap();
        assert_eq!(numbers(loaded.fused(&batch, &device).pooled), numbers(model.fused(&batch, &device).pooled));
        save_weights(&model, &path).unwrap();
        let loaded = load_weights(spec.init(&device, 2), &path).unwrap();
        assert_eq!(numbers(loaded.fused(&batch, &device).pooled), numbers(model.fused(&batch, &device).pooled));
    }

    #[test]
    fn ten_thousand_numbers_share_one_parameter() {
        use burn::module::{Module, ModuleVisitor};
        struct Count(usize);
        impl ModuleVisitor for Count {
            fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
                self.0 += 1;
            }
        }
        let number = EncoderSettings::Number(NumberEncoder::Passthrough(mbm_config::defaults()));
        let inputs = vec![(number, Shape::Number { quantiles: vec![0.0] }); 10_000];
        let model = spec(inputs, CombinerSettings::Concat(mbm_config::defaults())).init(&Device::flex(), 1);
        let mut count = Count(0);
        model.visit(&mut count);
        // The block's absence vector, and the decoder's weight and bias.
        assert_eq!((count.0, model.num_params()), (3, 10_000 + 2 * 10_000 + 2));
    }

    fn column(present: &[bool], data: &[f32]) -> BatchColumn {
        BatchColumn { present: present.to_vec(), values: Values::Vectors { width: 1, data: data.to_vec() } }
    }

    #[test]
    fn adjacent_block_columns_merge_into_one_piece() {
        let columns = |range| InputLocation::Columns(Columns { range, edges: None });
        let locations = [columns(0..1), columns(1..3), InputLocation::Encoder(0), columns(3..4)];
        assert_eq!(pieces(&locations), [Piece::Columns(0..3), Piece::Input(2), Piece::Columns(3..4)]);
    }

    #[test]
    fn absent_cells_take_the_learned_values_of_their_input() {
        let device = Device::flex();
        let block = Block::new(vec![10.0, 20.0, 30.0], &device);
        let at = |range| Columns { range, edges: None };
        let locations = [InputLocation::Columns(at(0..1)), InputLocation::Encoder(0), InputLocation::Columns(at(1..3))];
        let number = column(&[true, false], &[0.5]);
        let class = BatchColumn { present: vec![false, true], values: Values::Classes(vec![1]) };
        let columns = [number.clone(), number.clone(), class.clone()];
        let values = block.values(&locations, &columns, &device).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [0.5, 20.0, 30.0, 10.0, 0.0, 1.0]);
        let sequence = block.sequence(&at(1..3), &class, &device);
        assert_eq!(sequence.pooled().into_data().try_into_vec::<f32>().unwrap(), [20.0, 30.0, 0.0, 1.0]);
        let absent = block.absent(&at(0..1), 2, &device);
        assert_eq!(absent.pooled().into_data().try_into_vec::<f32>().unwrap(), [10.0, 10.0]);
        assert_eq!(absent.present.into_data().try_into_vec::<f32>().unwrap(), [0.0, 0.0]);
    }
}
