//! Images as the other learners read them: histograms of oriented gradients and thumbnails, or the features of a pretrained encoder,
//! projected to a few columns.

use mbm_algo::linear::Rows;
use mbm_algo::{AlgoError, Matrix, TruncatedSvd, image_features, n_image_features};
use mbm_data::{Batch, BatchColumn, Field, Shape, Values, random};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::learn::columns::MAX_WIDTH;

/// The projection of the features of all images of a row, side by side. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageColumns {
    inputs: Vec<ImageInput>,
    projection: TruncatedSvd,
}

/// An input that is an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageInput {
    /// Its position.
    at: usize,
    source: ImageSource,
}

/// Where the features of an image come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ImageSource {
    /// Its pixels.
    Pixels {
        /// Number of channels.
        channels: usize,
    },
    /// An encoder that has read it ahead.
    Encoder {
        /// Number of features.
        width: usize,
    },
}

/// Maximum number of columns.
const N_PROJECTED: usize = 64;

/// Number of rows that the projection is fitted to.
pub(crate) const N_FITTED: usize = 4_000;

/// Features of the images of some rows, `[rows, features]`; zeros for an absent image.
#[derive(Default)]
pub(crate) struct ImageFeatures {
    n_rows: usize,
    data: Vec<f32>,
    /// Whether a row has an image.
    present: Vec<bool>,
}

/// Returns the inputs that are images. If the only input is an image that an encoder has read ahead, its features are columns as they are.
pub(crate) fn image_inputs(inputs: &[Field], first: &Batch) -> Vec<ImageInput> {
    let source = |field: &Field, column: &BatchColumn| match (field.preprocessor.get().shape(), &column.values) {
        (Shape::Image { channels, .. }, Values::Images { .. }) => Some(ImageSource::Pixels { channels }),
        (Shape::Image { .. }, Values::Encoded { width, lengths, .. }) if inputs.len() > 1 && lengths.iter().all(|n| *n == 1) => {
            Some(ImageSource::Encoder { width: *width })
        }
        _ => None,
    };
    let all = inputs.iter().zip(&first.inputs).enumerate();
    all.filter_map(|(at, (field, column))| Some(ImageInput { at, source: source(field, column)? })).collect()
}

impl ImageInput {
    /// Returns its position.
    pub fn at(&self) -> usize {
        self.at
    }

    fn n_features(&self) -> usize {
        match self.source {
            ImageSource::Pixels { channels } => n_image_features(channels),
            ImageSource::Encoder { width } => width,
        }
    }

    /// Returns the features of each row that has an image.
    fn features(&self, values: &Values) -> Vec<Vec<f32>> {
        match values {
            Values::Images { dims, data } => {
                data.par_chunks(dims.iter().product::<usize>().max(1)).map(|image| image_features(image, *dims)).collect()
            }
            Values::Encoded { width, data, .. } => data.chunks((*width).max(1)).map(<[f32]>::to_vec).collect(),
            _ => Vec::new(),
        }
    }
}

impl ImageFeatures {
    /// Computes the features of a batch. Inputs in `absent` are absent from every row.
    pub fn new(inputs: &[ImageInput], batch: &Batch, absent: &[bool]) -> Self {
        let (n_rows, n_features) = (batch.len(), inputs.iter().map(ImageInput::n_features).sum::<usize>());
        let (mut data, mut present) = (vec![0.0; n_rows * n_features], vec![false; n_rows]);
        let mut start = 0;
        for input in inputs {
            let (column, n_own) = (&batch.inputs[input.at], input.n_features());
            if absent.get(input.at) != Some(&true) {
                let rows = (0..n_rows).filter(|row| column.present[*row]);
                for (row, own) in rows.zip(input.features(&column.values)).filter(|(_, own)| own.len() == n_own) {
                    data[row * n_features + start..][..n_own].copy_from_slice(&own);
                    present[row] = true;
                }
            }
            start += n_own;
        }
        Self { n_rows, data, present }
    }

    /// Appends the features of other rows.
    pub fn append(&mut self, other: Self) {
        self.n_rows += other.n_rows;
        self.data.extend(other.data);
        self.present.extend(other.present);
    }
}

impl ImageColumns {
    /// Fits the projection to the features of training rows; `None` if there are no images among them.
    ///
    /// # Errors
    /// Fails if there are no rows.
    pub fn fit(inputs: Vec<ImageInput>, features: &ImageFeatures, seed: u64) -> Result<Option<Self>, AlgoError> {
        let n_components = N_PROJECTED.min(features.n_rows / 4);
        if inputs.is_empty() || n_components == 0 || !features.present.contains(&true) {
            return Ok(None);
        }
        let n_cols = features.data.len() / features.n_rows;
        let rows = Rows::from(Matrix { data: &features.data, n_cols });
        let projection = TruncatedSvd::fit(rows, n_components, &mut random::rng(seed))?;
        Ok((projection.n_components() > 0).then_some(Self { inputs, projection }))
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.projection.n_components()
    }

    /// Returns the columns of a batch, `[rows, n_cols]`; NaN for rows without an image. Inputs in `absent` are absent from every row.
    pub fn transform(&self, batch: &Batch, absent: &[bool]) -> Vec<f32> {
        let features = ImageFeatures::new(&self.inputs, batch, absent);
        let rows = Rows::from(Matrix { data: &features.data, n_cols: self.projection.n_cols.max(1) });
        let mut columns = self.projection.transform(rows);
        for (row, present) in columns.chunks_mut(self.n_cols().max(1)).zip(&features.present) {
            if !present {
                row.fill(f32::NAN);
            }
        }
        columns
    }

    /// Whether it suits these inputs; checks what was read from a file.
    pub fn suits(&self, inputs: &[Field]) -> bool {
        let suits = |input: &ImageInput| match (inputs.get(input.at).map(|field| field.preprocessor.get().shape()), input.source)
        {
            (Some(Shape::Image { channels, .. }), ImageSource::Pixels { channels: own }) => channels == own,
            (Some(Shape::Image { .. }), ImageSource::Encoder { width }) => width <= MAX_WIDTH,
            _ => false,
        };
        self.inputs.iter().all(suits) && self.projection.suits(self.inputs.iter().map(ImageInput::n_features).sum())
    }
}
