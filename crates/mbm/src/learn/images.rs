//! Images as the other learners read them: histograms of oriented gradients and thumbnails, projected to a few columns.

use mbm_algo::linear::Rows;
use mbm_algo::{AlgoError, Matrix, TruncatedSvd, image_features, n_image_features};
use mbm_data::{Batch, BatchColumn, Field, Shape, Values, random};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The projection of the features of all images of a row, side by side. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageColumns {
    /// The inputs that are images, with their numbers of channels.
    inputs: Vec<(usize, usize)>,
    projection: TruncatedSvd,
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

/// Returns the inputs that are images which no encoder has read ahead, with their numbers of channels.
pub(crate) fn image_inputs(inputs: &[Field], first: &Batch) -> Vec<(usize, usize)> {
    let channels =
        |(at, (field, column)): (usize, (&Field, &BatchColumn))| match (field.preprocessor.get().shape(), &column.values) {
            (Shape::Image { channels, .. }, Values::Images { .. }) => Some((at, channels)),
            _ => None,
        };
    inputs.iter().zip(&first.inputs).enumerate().filter_map(channels).collect()
}

impl ImageFeatures {
    /// Computes the features of a batch. Inputs in `absent` are absent from every row.
    pub fn new(inputs: &[(usize, usize)], batch: &Batch, absent: &[bool]) -> Self {
        let (n_rows, n_features) = (batch.len(), inputs.iter().map(|(_, channels)| n_image_features(*channels)).sum::<usize>());
        let (mut data, mut present) = (vec![0.0; n_rows * n_features], vec![false; n_rows]);
        let mut start = 0;
        for (input, n_channels) in inputs {
            let (column, n_own) = (&batch.inputs[*input], n_image_features(*n_channels));
            if let (Values::Images { dims, data: images }, false) = (&column.values, absent.get(*input) == Some(&true)) {
                let features: Vec<Vec<f32>> =
                    images.par_chunks(dims.iter().product::<usize>().max(1)).map(|image| image_features(image, *dims)).collect();
                let rows = (0..n_rows).filter(|row| column.present[*row]);
                for (row, own) in rows.zip(features).filter(|(_, own)| own.len() == n_own) {
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
    pub fn fit(inputs: Vec<(usize, usize)>, features: &ImageFeatures, seed: u64) -> Result<Option<Self>, AlgoError> {
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
        let suits = |(input, n_channels): &(usize, usize)| match inputs.get(*input).map(|field| field.preprocessor.get().shape())
        {
            Some(Shape::Image { channels, .. }) => channels == *n_channels,
            _ => false,
        };
        let n_features = self.inputs.iter().map(|(_, n_channels)| n_image_features(*n_channels)).sum();
        self.inputs.iter().all(suits) && self.projection.suits(n_features)
    }
}
