//! Contrastive losses of embeddings, which pull the two sides of a pair together and push different items apart.
//!
//! Two rows that share an item in either of two inputs (an image with several captions, a caption of several images) are never
//! negatives of each other.

use burn::tensor::{Bool, Device, Tensor, TensorData, activation};
use mbm_config::{choices, settings, tagged};

use super::{Alignment, Loss};
use crate::Target;

settings! {
    /// Settings of InfoNCE: symmetric cross-entropy of each pair among all rows of the batch (van den Oord et al. 2018; Radford
    /// et al. 2021).
    pub struct InfoNceSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Initial temperature that similarities are divided by.
        temperature: f64 = 0.07 => 0.001..=100.0;
        /// Whether the temperature is learned.
        learn_temperature: bool = true;
    }

    /// Settings of SigLIP: classifies each pair of rows independently as matching or not (Zhai et al. 2023).
    pub struct SiglipSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Initial temperature that similarities are divided by.
        temperature: f64 = 0.1 => 0.001..=100.0;
        /// Initial bias added to the scaled similarities; negative because most pairs do not match.
        bias: f64 = -10.0 => -100.0..=100.0;
        /// Whether the temperature and the bias are learned.
        learn_temperature: bool = true;
    }

    /// Settings of the triplet loss: pairs must be more similar than negatives by a margin (Faghri et al. 2018).
    pub struct TripletSettings {
        /// Weight relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// Margin between cosine similarities.
        margin: f64 = 0.2 => 0.0..=2.0;
        /// Which negatives count.
        negatives: Negatives = Negatives::Hardest;
    }
}

choices! {
    /// Which negatives a triplet loss counts.
    pub enum Negatives {
        /// The most similar negative in the batch.
        Hardest = "hardest",
        /// The mean over all negatives in the batch.
        All = "all",
    }
}

tagged! {
    /// Contrastive losses of embeddings.
    pub enum EmbeddingLoss: InfoNce {
        InfoNce(InfoNceSettings) = "info_nce",
        Siglip(SiglipSettings) = "siglip",
        Triplet(TripletSettings) = "triplet",
    }
}

impl EmbeddingLoss {
    /// Returns the initial temperature and bias, and whether they are learned; `None` if the loss has neither.
    pub(super) fn calibration(&self) -> Option<(f64, f64, bool)> {
        match self {
            Self::InfoNce(it) => Some((it.temperature, 0.0, it.learn_temperature)),
            Self::Siglip(it) => Some((it.temperature, it.bias, it.learn_temperature)),
            Self::Triplet(_) => None,
        }
    }
}

impl Loss {
    /// Returns the loss of an embedding and its weight.
    pub fn of_embedding(settings: &EmbeddingLoss) -> (Self, f64) {
        match settings {
            EmbeddingLoss::InfoNce(it) => (Self::InfoNce, it.weight),
            EmbeddingLoss::Siglip(it) => (Self::Siglip, it.weight),
            EmbeddingLoss::Triplet(it) => (Self::Triplet { margin: it.margin, negatives: it.negatives }, it.weight),
        }
    }
}

/// The embeddings of a batch in one space.
pub(super) struct Rows<'a> {
    /// `[batch, towers * size]`
    pub embeddings: Tensor<2>,
    /// The ids of the inputs' cells, and the weights of the rows.
    pub target: &'a Target,
    /// The towers, that is, the inputs that share the space.
    pub alignment: Alignment,
}

/// Two towers of a batch, compared with each other.
pub(super) struct Pair<'a> {
    /// `[batch, batch]`: cosine similarities of the first tower's rows to the second's.
    cosines: Tensor<2>,
    /// `[batch]`: 1 where the row has both inputs.
    present: Tensor<1>,
    /// `[batch, batch]`: whether row and column hold different items and both are present.
    negatives: Tensor<2, Bool>,
    calibration: Option<Tensor<1>>,
    target: &'a Target,
}

/// Logit that masks an entry out of a softmax; lower than any real one.
const NEVER: f32 = -1e4;

/// Maximum log scale of similarities, ln 100 (Radford et al. 2021).
const MAX_LOG_SCALE: f64 = 4.605_170_185_988_092;

impl<'a> Rows<'a> {
    /// Returns the mean loss over all pairs of towers: `[1]`.
    pub fn mean(&self, loss: impl Fn(&Pair) -> Tensor<1>) -> Tensor<1> {
        let n_towers = self.alignment.inputs.len();
        let pairs = (0..n_towers).flat_map(|a| (a + 1..n_towers).map(move |b| (a, b)));
        let losses: Vec<Tensor<1>> = pairs.map(|(a, b)| loss(&self.pair(a, b))).collect();
        let n_pairs = losses.len() as f64;
        losses.into_iter().reduce(|a, b| a + b).expect("an embedding has at least two towers") / n_pairs
    }

    fn pair(&self, a: usize, b: usize) -> Pair<'a> {
        let Alignment { inputs, calibration } = &self.alignment;
        let [batch, width] = self.embeddings.dims();
        let size = width / inputs.len();
        let tower = |at: usize| self.embeddings.clone().narrow(1, at * size, size); // [batch, size]
        let (x, y) = (tower(a), tower(b));
        let (has_x, has_y) = (has_vector(&x), has_vector(&y)); // [batch, 1]
        let device = x.device();
        let apart =
            apart(&self.target.items, [inputs[a], inputs[b]], batch, &device).float() * has_x.clone() * has_y.clone().transpose();
        Pair {
            cosines: x.matmul(y.transpose()),
            present: (has_x * has_y).squeeze_dim(1),
            negatives: apart.greater_elem(0.5),
            calibration: calibration.clone(),
            target: self.target,
        }
    }
}

/// Returns `[batch, 1]`: 1 for rows with a unit vector, 0 for rows without one.
fn has_vector(x: &Tensor<2>) -> Tensor<2> {
    (x.clone() * x.clone()).sum_dim(1).greater_elem(0.5).float().detach()
}

/// Returns `[batch, batch]`: whether two rows share neither input's item.
fn apart(items: &[Vec<u64>], [a, b]: [usize; 2], batch: usize, device: &Device) -> Tensor<2, Bool> {
    let flags: Vec<bool> =
        items.iter().flat_map(|x| items.iter().map(move |y| x.get(a) != y.get(a) && x.get(b) != y.get(b))).collect();
    Tensor::from_data(TensorData::new(flags, [batch, batch]), device)
}

impl Pair<'_> {
    fn transpose(&self) -> Self {
        Self {
            cosines: self.cosines.clone().transpose(),
            present: self.present.clone(),
            negatives: self.negatives.clone().transpose(),
            calibration: self.calibration.clone(),
            target: self.target,
        }
    }

    /// Returns the scaled and shifted cosine similarities: `[batch, batch]`.
    fn logits(&self) -> Tensor<2> {
        let calibration = self.calibration.clone().expect("InfoNCE and SigLIP have a temperature");
        let scale = calibration.clone().narrow(0, 0, 1).clamp_max(MAX_LOG_SCALE).exp();
        self.cosines.clone() * scale.unsqueeze() + calibration.narrow(0, 1, 1).unsqueeze()
    }

    /// Returns the diagonal, that is, the values of the matching pairs: `[batch]`.
    fn diagonal(matrix: Tensor<2>) -> Tensor<1> {
        let [batch, _] = matrix.dims();
        let eye = Tensor::<2>::eye(batch, &matrix.device());
        (matrix * eye).sum_dim(1).squeeze_dim(1)
    }

    /// Returns the mean over the rows in which both inputs are present, each multiplied by the row's weight: `[1]`.
    fn mean(&self, rows: Tensor<1>) -> Tensor<1> {
        self.target.weighted(rows * self.present.clone()).sum() / self.present.clone().sum().clamp_min(1e-6)
    }

    /// Returns which entries each row competes with: its own pair and its negatives.
    fn candidates(&self) -> Tensor<2, Bool> {
        let [batch, _] = self.negatives.dims();
        let eye = Tensor::<2>::eye(batch, &self.negatives.device());
        (self.negatives.clone().float() + eye).greater_elem(0.5)
    }

    pub fn info_nce(&self) -> Tensor<1> {
        let logits = self.logits();
        (self.cross_entropy(logits.clone()) + self.transpose().cross_entropy(logits.transpose())) * 0.5
    }

    /// Returns the loss of picking each row's own column among its candidates.
    fn cross_entropy(&self, logits: Tensor<2>) -> Tensor<1> {
        let logits = logits.mask_fill(self.candidates().bool_not(), NEVER);
        self.mean(Self::diagonal(activation::log_softmax(logits, 1)).neg())
    }

    pub fn siglip(&self) -> Tensor<1> {
        let [batch, _] = self.cosines.dims();
        let is_pair = Tensor::<2>::eye(batch, &self.cosines.device());
        let signed = self.logits() * (is_pair * 2.0 - 1.0);
        // ln(1 + e^-x) in a form that does not overflow.
        let costs = activation::relu(signed.clone().neg()) + (signed.abs().neg().exp() + 1.0).log();
        let costs = costs * self.candidates().float();
        self.mean(costs.sum_dim(1).squeeze_dim(1))
    }

    pub fn triplet(&self, margin: f64, negatives: Negatives) -> Tensor<1> {
        let one_way = |pair: &Self| {
            let own = Self::diagonal(pair.cosines.clone()).unsqueeze_dim::<2>(1); // [batch, 1]
            let costs = activation::relu(pair.cosines.clone() - own + margin) * pair.negatives.clone().float();
            let rows = match negatives {
                Negatives::Hardest => costs.max_dim(1),
                Negatives::All => costs.sum_dim(1) / pair.negatives.clone().float().sum_dim(1).clamp_min(1.0),
            };
            pair.mean(rows.squeeze_dim(1))
        };
        one_way(self) + one_way(&self.transpose())
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::{BatchColumn, Values};

    use super::*;

    /// Computes a loss for three rows with two 2-dimensional towers; the first two rows have equal vectors in the first tower.
    fn value(loss: impl Fn(&Pair) -> Tensor<1>, items: &[[u64; 2]], calibration: [f32; 2]) -> f64 {
        weighted_value(loss, items, calibration, None)
    }

    fn weighted_value(
        loss: impl Fn(&Pair) -> Tensor<1>,
        items: &[[u64; 2]],
        calibration: [f32; 2],
        weights: Option<[f32; 3]>,
    ) -> f64 {
        let device = crate::device();
        let rows = [[1.0f32, 0.0, 0.6, 0.8], [1.0, 0.0, 0.8, 0.6], [0.0, 1.0, 0.0, 1.0]];
        let embeddings = Tensor::from_data(TensorData::new(rows.as_flattened().to_vec(), [3, 4]), &device);
        let calibration = Some(Tensor::from_data(TensorData::new(calibration.to_vec(), [2]), &device));
        let items = Values::ContentIds(items.iter().map(|row| row.to_vec()).collect());
        let sample_weights = weights.map(|weights| Tensor::from_data(TensorData::new(weights.to_vec(), [3]), &device));
        let target = Target::new(&BatchColumn { present: vec![true; 3], values: items }, &device);
        let target = Target { sample_weights, ..target };
        f64::from(
            Rows { embeddings, target: &target, alignment: Alignment { inputs: vec![0, 1], calibration } }
                .mean(loss)
                .into_scalar::<f32>(),
        )
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-5, "got {got}, expected {want}");
    }

    // Cosine similarities: [[.6, .8, 0], [.6, .8, 0], [.8, .6, 1]]
    const DISTINCT: [[u64; 2]; 3] = [[1, 4], [2, 5], [3, 6]];
    const SHARED: [[u64; 2]; 3] = [[1, 4], [1, 5], [3, 6]];

    fn softmax(logits: &[f64]) -> f64 {
        logits[0] - logits.iter().map(|x| x.exp()).sum::<f64>().ln()
    }

    #[test]
    fn info_nce_is_symmetric_cross_entropy_without_shared_items() {
        let scale = 2f32.ln();
        let ways = [
            softmax(&[1.2, 1.6, 0.0]) + softmax(&[1.6, 1.2, 0.0]) + softmax(&[2.0, 1.6, 1.2]),
            softmax(&[1.2, 1.2, 1.6]) + softmax(&[1.6, 1.6, 1.2]) + softmax(&[2.0, 0.0, 0.0]),
        ];
        close(value(|pair| pair.info_nce(), &DISTINCT, [scale, 0.0]), -(ways[0] + ways[1]) / 6.0);
        let ways = [
            softmax(&[1.2, 0.0]) + softmax(&[1.6, 0.0]) + softmax(&[2.0, 1.6, 1.2]),
            softmax(&[1.2, 1.6]) + softmax(&[1.6, 1.2]) + softmax(&[2.0, 0.0, 0.0]),
        ];
        close(value(|pair| pair.info_nce(), &SHARED, [scale, 0.0]), -(ways[0] + ways[1]) / 6.0);
    }

    #[test]
    fn siglip_scores_each_pair_independently() {
        let cost = |x: f64| (1.0 + (-x).exp()).ln();
        let own = cost(0.6 - 1.0) + cost(0.8 - 1.0) + cost(0.0);
        let others = |cosines: &[f64]| cosines.iter().map(|x| cost(1.0 - x)).sum::<f64>();
        close(value(|pair| pair.siglip(), &DISTINCT, [0.0, -1.0]), (own + others(&[0.8, 0.0, 0.6, 0.0, 0.8, 0.6])) / 3.0);
        close(value(|pair| pair.siglip(), &SHARED, [0.0, -1.0]), (own + others(&[0.0, 0.0, 0.8, 0.6])) / 3.0);
        let third = weighted_value(|pair| pair.siglip(), &SHARED, [0.0, -1.0], Some([0.0, 0.0, 3.0]));
        close(third, cost(0.0) + others(&[0.8, 0.6]));
    }

    #[test]
    fn triplet_counts_hardest_or_all_negatives() {
        let hardest = |pair: &Pair| pair.triplet(0.2, Negatives::Hardest);
        close(value(hardest, &DISTINCT, [0.0; 2]), 0.4 / 3.0 + (0.4 + 0.2) / 3.0);
        close(value(hardest, &SHARED, [0.0; 2]), 0.4 / 3.0);
        let all = |pair: &Pair| pair.triplet(0.3, Negatives::All);
        close(
            value(all, &DISTINCT, [0.0; 2]),
            ((0.5 / 2.0) + 0.1 / 2.0 + 0.1 / 2.0) / 3.0 + ((0.3 + 0.5) / 2.0 + (0.3 + 0.1) / 2.0) / 3.0,
        );
    }
}
