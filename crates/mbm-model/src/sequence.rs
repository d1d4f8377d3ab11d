//! The two shapes between the stages.

use burn::tensor::{Bool, Int, Tensor, TensorData};

/// What an encoder gives: vectors of one width, several a row, some of them padding.
#[derive(Debug, Clone)]
pub struct Steps {
    /// `[batch, steps, width]`
    pub values: Tensor<3>,
    /// `[batch, steps]`, true where a step holds something. Every row has at least one such step.
    pub mask: Tensor<2, Bool>,
}

/// An input feature on its way into the combiner; rows without the feature hold the learnt absence embedding.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// `[batch, steps, width]`
    pub values: Tensor<3>,
    /// `[batch, steps]`
    pub mask: Tensor<2, Bool>,
    /// `[batch, 1]`: 1 where the row has the feature, 0 where it is absent.
    pub present: Tensor<2>,
}

/// All inputs joined.
#[derive(Debug, Clone)]
pub struct Fused {
    /// `[batch, width]`, one vector a row.
    pub pooled: Tensor<2>,
    /// The steps that a generator attends to.
    pub sequence: Steps,
    /// What was joined, in the config's order, for decoders that compare inputs; nothing where vectors were mixed.
    pub inputs: Vec<Sequence>,
}

impl Steps {
    /// One step a row.
    pub fn single(vectors: Tensor<2>) -> Self {
        let [batch, _] = vectors.dims();
        let mask = Tensor::<2, Int>::ones([batch, 1], &vectors.device()).equal_scalar(1);
        Self { values: vectors.unsqueeze_dim(1), mask }
    }

    /// Every step holds something.
    pub fn full(values: Tensor<3>) -> Self {
        let [batch, steps, _] = values.dims();
        let mask = Tensor::<2, Int>::ones([batch, steps], &values.device()).equal_scalar(1);
        Self { values, mask }
    }

    /// Some rows.
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let mask = self.mask.clone().int().select(0, rows.clone()).equal_scalar(1);
        Self { values: self.values.clone().select(0, rows.clone()), mask }
    }

    /// `[batch, steps, 1]`: 1 where a step holds something, else 0.
    pub fn weights(&self) -> Tensor<3> {
        self.mask.clone().float().unsqueeze_dim(2)
    }

    /// The mean over the steps that hold something: `[batch, width]`.
    pub fn mean(&self) -> Tensor<2> {
        let weights = self.weights();
        let sum = (self.values.clone() * weights.clone()).sum_dim(1); // [batch, 1, width]
        (sum / weights.sum_dim(1)).squeeze_dim(1)
    }

    /// The largest value of each column over the steps that hold something: `[batch, width]`.
    pub fn max(&self) -> Tensor<2> {
        let gaps = self.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(self.values.dims());
        self.values.clone().mask_fill(gaps, -1e9).max_dim(1).squeeze_dim(1)
    }
}

impl Sequence {
    /// One vector a row, the mean of its steps: `[batch, width]`.
    pub fn pooled(&self) -> Tensor<2> {
        let [_, steps, _] = self.values.dims();
        if steps == 1 { self.values.clone().squeeze_dim(1) } else { self.steps().mean() }
    }

    /// Values and mask.
    pub fn steps(&self) -> Steps {
        Steps { values: self.values.clone(), mask: self.mask.clone() }
    }
}

impl Fused {
    /// A fused vector with no steps but itself.
    pub fn pooled(pooled: Tensor<2>) -> Self {
        Self { sequence: Steps::single(pooled.clone()), pooled, inputs: Vec::new() }
    }

    /// Fused steps, pooled by their mean.
    pub fn steps(sequence: Steps) -> Self {
        Self::pooled_steps(sequence.mean(), sequence)
    }

    /// Some of its rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        let places: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [rows.len()]), &self.pooled.device());
        let select = |x: &Tensor<2>| x.clone().select(0, places.clone());
        let input = |input: &Sequence| {
            let Steps { values, mask } = input.steps().select(&places);
            Sequence { values, mask, present: select(&input.present) }
        };
        let inputs = self.inputs.iter().map(input).collect();
        Self { pooled: select(&self.pooled), sequence: self.sequence.select(&places), inputs }
    }

    /// A vector and the steps beside it.
    pub fn pooled_steps(pooled: Tensor<2>, sequence: Steps) -> Self {
        Self { pooled, sequence, inputs: Vec::new() }
    }
}
