//! Conversion of plain numbers to tensors. Shapes are checked here once; a wrong shape downstream is a bug.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use mbm_data::{Batch, BatchColumn, Values};

use crate::Steps;

/// The present rows of one input as tensors.
#[derive(Debug, Clone)]
pub enum Tensors {
    /// `[rows, width]`
    Vectors(Tensor<2>),
    /// `[rows, steps, width]` and its mask `[rows, steps]`, true for valid steps.
    Frames(Tensor<3>, Tensor<2, Bool>),
    /// `[rows, channels, height, width]`
    Images(Tensor<4>),
    /// `[rows, steps]` token ids and their mask.
    Tokens(Tensor<2, Int>, Tensor<2, Bool>),
    /// `[rows, steps, width]` and its mask: features already computed by an encoder.
    Encoded(Steps),
    /// `[rows]`
    Classes(Tensor<1, Int>),
}

/// The targets of a batch; rows without a target have zero weight.
#[derive(Debug, Clone)]
pub struct Target {
    /// `[batch]`: 1 where the row has a target, else 0.
    pub weights: Tensor<1>,
    /// `[batch]`: the weight of each row, of mean 1 over the training rows; `None` if all rows count the same.
    pub sample_weights: Option<Tensor<1>>,
    /// The number of rows with a target.
    pub n_present: usize,
    /// `[batch]` classes, 0 where absent.
    pub classes: Option<Tensor<1, Int>>,
    /// `[batch, width]` numbers, 0 where absent.
    pub vectors: Option<Tensor<2>>,
    /// `[batch][inputs]` content ids of the inputs' cells, equal for equal cells; empty where absent.
    pub items: Vec<Vec<u64>>,
    /// Reference texts.
    pub tokens: Option<TargetTokens>,
}

/// Reference texts as plain numbers.
#[derive(Debug, Clone)]
pub struct TargetTokens {
    /// Tokens of the longest text.
    pub steps: usize,
    /// Number of tokens of each row's text, including the end token; 0 where absent.
    pub lengths: Vec<usize>,
    /// `[batch, steps]`, padded with 0 after each text.
    pub ids: Vec<u32>,
}

impl Tensors {
    /// Moves the present rows of a column to a device.
    ///
    /// # Panics
    /// If the values do not fill their shape, which is a bug in collation.
    pub fn new(column: &BatchColumn, device: &Device) -> Self {
        let rows = column.n_present();
        match &column.values {
            Values::Vectors { width, data } => Self::Vectors(tensor(data.clone(), [rows, *width], device)),
            Values::Frames { steps, width, lengths, data } => {
                Self::Frames(tensor(data.clone(), [rows, *steps, *width], device), mask(lengths, *steps, device))
            }
            Values::Images { dims: [channels, height, width], data } => {
                Self::Images(tensor(data.clone(), [rows, *channels, *height, *width], device))
            }
            Values::Encoded { steps, width, lengths, data } => {
                let values = tensor(data.clone(), [rows, *steps, *width], device);
                Self::Encoded(Steps { values, mask: mask(lengths, *steps, device) })
            }
            Values::Tokens { steps, lengths, ids, .. } => {
                let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
                Self::Tokens(Tensor::from_data(TensorData::new(ids, [rows, *steps]), device), mask(lengths, *steps, device))
            }
            Values::ContentIds(_) => unreachable!("items are targets"),
            Values::Classes(classes) => {
                let classes: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
                Self::Classes(Tensor::from_data(TensorData::new(classes, [rows]), device))
            }
        }
    }
}

impl Target {
    /// Moves the targets of a batch to a device, with the weights of its rows.
    pub fn of_batch(batch: &Batch, device: &Device) -> Vec<Self> {
        let weights = batch.weights.as_ref().map(|weights| tensor(weights.clone(), [batch.len()], device));
        let target = |column| Self { sample_weights: weights.clone(), ..Self::new(column, device) };
        batch.targets.iter().map(target).collect()
    }

    /// Multiplies a value per row, `[batch]`, by the weight of the row.
    pub fn weighted(&self, rows: Tensor<1>) -> Tensor<1> {
        match &self.sample_weights {
            Some(weights) => rows * weights.clone(),
            None => rows,
        }
    }

    /// Moves a target column to a device; absent rows are filled with zeros and have zero weight.
    pub fn new(column: &BatchColumn, device: &Device) -> Self {
        let batch = column.present.len();
        let weights: Vec<f32> = column.present.iter().map(|is| f32::from(u8::from(*is))).collect();
        let positions: Vec<usize> = (0..batch).filter(|row| column.present[*row]).collect();
        let (mut classes, mut vectors, mut items, mut tokens) = (None, None, Vec::new(), None);
        match &column.values {
            Values::Classes(present) => {
                let mut all = vec![0i64; batch];
                positions.iter().zip(present).for_each(|(row, class)| all[*row] = i64::from(*class));
                classes = Some(Tensor::from_data(TensorData::new(all, [batch]), device));
            }
            Values::Vectors { width, data } => {
                let mut all = vec![0f32; batch * width];
                for (row, values) in positions.iter().zip(data.chunks((*width).max(1))) {
                    all[row * width..(row + 1) * width].copy_from_slice(values);
                }
                vectors = Some(tensor(all, [batch, *width], device));
            }
            Values::ContentIds(present) => {
                items = vec![Vec::new(); batch];
                positions.iter().zip(present).for_each(|(row, numbers)| items[*row] = numbers.clone());
            }
            Values::Tokens { steps, lengths: present, ids: own, .. } => {
                let (mut lengths, mut ids) = (vec![0; batch], vec![0; batch * steps]);
                for ((row, length), own) in positions.iter().zip(present).zip(own.chunks((*steps).max(1))) {
                    lengths[*row] = *length;
                    ids[row * steps..(row + 1) * steps].copy_from_slice(own);
                }
                tokens = Some(TargetTokens { steps: *steps, lengths, ids });
            }
            Values::Frames { .. } | Values::Images { .. } | Values::Encoded { .. } => {}
        }
        let (weights, n_present) = (tensor(weights, [batch], device), positions.len());
        Self { weights, sample_weights: None, n_present, classes, vectors, items, tokens }
    }

    /// Concatenates the rows of several targets of one output. Reference texts are dropped: their costs are already computed.
    pub fn cat(targets: Vec<Self>) -> Self {
        let vectors = targets.iter().map(|target| target.vectors.clone()).collect::<Option<Vec<_>>>();
        let vectors = vectors.map(|parts| {
            // A part in which no row has a target does not know its width.
            let width = parts.iter().map(|part| part.dims()[1]).max().unwrap_or(1);
            let wide = parts
                .into_iter()
                .map(|part| if part.dims()[1] == width { part } else { part.clone().expand([part.dims()[0], width]) });
            Tensor::cat(wide.collect(), 0)
        });
        let classes = targets.iter().map(|target| target.classes.clone()).collect::<Option<Vec<_>>>();
        let sample_weights = targets.iter().map(|target| target.sample_weights.clone()).collect::<Option<Vec<_>>>();
        Self {
            sample_weights: sample_weights.map(|parts| Tensor::cat(parts, 0)),
            weights: Tensor::cat(targets.iter().map(|target| target.weights.clone()).collect(), 0),
            n_present: targets.iter().map(|target| target.n_present).sum(),
            classes: classes.map(|parts| Tensor::cat(parts, 0)),
            vectors,
            items: targets.into_iter().flat_map(|target| target.items).collect(),
            tokens: None,
        }
    }

    /// Reorders the rows; `rows` are positions in the batch. Items and texts stay as they are, since they are not mixed.
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            weights: self.weights.clone().select(0, rows.clone()),
            sample_weights: self.sample_weights.clone().map(|weights| weights.select(0, rows.clone())),
            n_present: self.n_present,
            classes: self.classes.clone().map(|classes| classes.select(0, rows.clone())),
            vectors: self.vectors.clone().map(|vectors| vectors.select(0, rows.clone())),
            items: self.items.clone(),
            tokens: self.tokens.clone(),
        }
    }
}

fn tensor<const D: usize>(data: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(data, dims), device)
}

fn mask(lengths: &[usize], steps: usize, device: &Device) -> Tensor<2, Bool> {
    let flags: Vec<bool> = lengths.iter().flat_map(|length| (0..steps).map(move |step| step < *length)).collect();
    Tensor::from_data(TensorData::new(flags, [lengths.len(), steps]), device)
}
