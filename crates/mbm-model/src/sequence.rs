//! The types that the stages of a model exchange: [`Sequence`] and [`Fused`].

use burn::tensor::{Bool, Int, Tensor, TensorData};

/// The output of an encoder: one or more vectors of equal width per row, some of them padding.
#[derive(Debug, Clone)]
pub struct Steps {
    /// `[batch, steps, width]`
    pub values: Tensor<3>,
    /// `[batch, steps]`, true for valid steps. Every row has at least one valid step.
    pub mask: Tensor<2, Bool>,
}

/// An encoded input feature, as passed to the combiner; rows without the feature hold the learned absence embedding.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// `[batch, steps, width]`
    pub values: Tensor<3>,
    /// `[batch, steps]`
    pub mask: Tensor<2, Bool>,
    /// `[batch, 1]`: 1 where the row has the feature, 0 where it is absent.
    pub present: Tensor<2>,
}

/// The output of a combiner: all inputs fused.
#[derive(Debug, Clone)]
pub struct Fused {
    /// `[batch, width]`, one vector per row.
    pub pooled: Tensor<2>,
    /// The steps that a generator attends to.
    pub sequence: Steps,
    /// The inputs before fusion, in the config's order, for decoders that compare inputs; empty after mixup.
    pub inputs: Vec<Sequence>,
}

impl Steps {
    /// Creates a sequence of one step per row.
    pub fn single(vectors: Tensor<2>) -> Self {
        let [batch, _] = vectors.dims();
        let mask = Tensor::<2, Int>::ones([batch, 1], &vectors.device()).equal_scalar(1);
        Self { values: vectors.unsqueeze_dim(1), mask }
    }

    /// Creates a sequence in which every step is valid.
    pub fn full(values: Tensor<3>) -> Self {
        let [batch, steps, _] = values.dims();
        let mask = Tensor::<2, Int>::ones([batch, steps], &values.device()).equal_scalar(1);
        Self { values, mask }
    }

    /// Selects rows.
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let mask = self.mask.clone().int().select(0, rows.clone()).equal_scalar(1);
        Self { values: self.values.clone().select(0, rows.clone()), mask }
    }

    /// Returns the mask as numbers, `[batch, steps, 1]`: 1 for valid steps, else 0.
    pub fn weights(&self) -> Tensor<3> {
        self.mask.clone().float().unsqueeze_dim(2)
    }

    /// Returns the mean over the valid steps: `[batch, width]`.
    pub fn mean(&self) -> Tensor<2> {
        let weights = self.weights();
        let sum = (self.values.clone() * weights.clone()).sum_dim(1); // [batch, 1, width]
        (sum / weights.sum_dim(1)).squeeze_dim(1)
    }

    /// Returns the maximum of each column over the valid steps: `[batch, width]`.
    pub fn max(&self) -> Tensor<2> {
        let gaps = self.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(self.values.dims());
        self.values.clone().mask_fill(gaps, -1e9).max_dim(1).squeeze_dim(1)
    }
}

impl Sequence {
    /// Returns one vector per row, the mean of its steps: `[batch, width]`.
    pub fn pooled(&self) -> Tensor<2> {
        let [_, steps, _] = self.values.dims();
        if steps == 1 { self.values.clone().squeeze_dim(1) } else { self.steps().mean() }
    }

    /// Returns values and mask.
    pub fn steps(&self) -> Steps {
        Steps { values: self.values.clone(), mask: self.mask.clone() }
    }
}

impl Fused {
    /// Creates the output from a fused vector, which is also its only step.
    pub fn pooled(pooled: Tensor<2>) -> Self {
        Self { sequence: Steps::single(pooled.clone()), pooled, inputs: Vec::new() }
    }

    /// Creates the output from fused steps, pooled by their mean.
    pub fn steps(sequence: Steps) -> Self {
        Self::pooled_steps(sequence.mean(), sequence)
    }

    /// Selects rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [rows.len()]), &self.pooled.device());
        let select = |x: &Tensor<2>| x.clone().select(0, indices.clone());
        let inputs = self
            .inputs
            .iter()
            .map(|input| {
                let Steps { values, mask } = input.steps().select(&indices);
                Sequence { values, mask, present: select(&input.present) }
            })
            .collect();
        Self { pooled: select(&self.pooled), sequence: self.sequence.select(&indices), inputs }
    }

    /// Creates the output from a pooled vector and separate steps.
    pub fn pooled_steps(pooled: Tensor<2>, sequence: Steps) -> Self {
        Self { pooled, sequence, inputs: Vec::new() }
    }
}
