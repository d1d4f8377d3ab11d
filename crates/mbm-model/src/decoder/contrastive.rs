//! Losses of embeddings: rows of one pair near each other, rows of different items apart.
//!
//! Two rows that share an item in either of two inputs (one image with several captions, one caption of several images) are never
//! negatives of each other.

use burn::tensor::{Bool, Device, Tensor, TensorData, activation};
use mbm_config::{choices, settings, tagged};

use super::{Alignment, Loss};

settings! {
    /// Cross-entropy of the pair among all rows of the batch, both ways (van den Oord et al. 2018; Radford et al. 2021).
    pub struct InfoNceSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// What similarities are divided by, at first.
        temperature: f64 = 0.07 => 0.001..=100.0;
        /// Whether the temperature is learnt.
        learn_temperature: bool = true;
    }

    /// Each pair of rows by itself: the same item or not (Zhai et al. 2023).
    pub struct SiglipSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// What similarities are divided by, at first.
        temperature: f64 = 0.1 => 0.001..=100.0;
        /// What is added to them, at first: most pairs are none.
        bias: f64 = -10.0 => -100.0..=100.0;
        /// Whether temperature and bias are learnt.
        learn_temperature: bool = true;
    }

    /// Pairs nearer than negatives by a margin (Faghri et al. 2018).
    pub struct TripletSettings {
        /// Relative to other outputs.
        weight: f64 = 1.0 => 0.0..=1e6;
        /// The margin, of cosines.
        margin: f64 = 0.2 => 0.0..=2.0;
        /// The negatives that count.
        negatives: Negatives = Negatives::Hardest;
    }
}

choices! {
    /// Negatives of a triplet.
    pub enum Negatives {
        /// The nearest one of the batch.
        Hardest = "hardest",
        /// The mean over all of the batch.
        All = "all",
    }
}

tagged! {
    /// Losses of embeddings.
    pub enum EmbeddingLoss: InfoNce {
        InfoNce(InfoNceSettings) = "info_nce",
        Siglip(SiglipSettings) = "siglip",
        Triplet(TripletSettings) = "triplet",
    }
}

impl EmbeddingLoss {
    /// Temperature and bias to start from, and whether they are learnt; none where there are no such.
    pub(super) fn calibration(&self) -> Option<(f64, f64, bool)> {
        match self {
            Self::InfoNce(it) => Some((it.temperature, 0.0, it.learn_temperature)),
            Self::Siglip(it) => Some((it.temperature, it.bias, it.learn_temperature)),
            Self::Triplet(_) => None,
        }
    }
}

impl Loss {
    /// The loss of an embedding and its weight.
    pub fn of_embedding(settings: &EmbeddingLoss) -> (Self, f64) {
        match settings {
            EmbeddingLoss::InfoNce(it) => (Self::InfoNce, it.weight),
            EmbeddingLoss::Siglip(it) => (Self::Siglip, it.weight),
            EmbeddingLoss::Triplet(it) => (Self::Triplet { margin: it.margin, negatives: it.negatives }, it.weight),
        }
    }
}

/// The rows of a batch in one space.
pub(super) struct Rows<'a> {
    /// `[batch, towers * size]`
    pub embeddings: Tensor<2>,
    /// `[batch][inputs]`: numbers of the inputs' cells.
    pub items: &'a [Vec<u64>],
    /// The towers.
    pub alignment: Alignment,
}

/// Two towers of a batch.
pub(super) struct Pair {
    /// `[batch, batch]`: cosines of the first tower's rows with the second's.
    cosines: Tensor<2>,
    /// `[batch]`: 1 where the row has both inputs.
    present: Tensor<1>,
    /// `[batch, batch]`: whether a row and a column are different items, both there.
    negatives: Tensor<2, Bool>,
    calibration: Option<Tensor<1>>,
}

/// A similarity that no softmax sees and no negative has.
const NEVER: f32 = -1e4;

/// Similarities are scaled by this at most (Radford et al. 2021).
const MAX_LOG_SCALE: f64 = 4.605_170_185_988_092;

impl Rows<'_> {
    /// The mean over all pairs of towers, `[1]`.
    pub fn mean(&self, loss: impl Fn(&Pair) -> Tensor<1>) -> Tensor<1> {
        let n_towers = self.alignment.inputs.len();
        let pairs = (0..n_towers).flat_map(|a| (a + 1..n_towers).map(move |b| (a, b)));
        let losses: Vec<Tensor<1>> = pairs.map(|(a, b)| loss(&self.pair(a, b))).collect();
        let n_pairs = losses.len() as f64;
        losses.into_iter().reduce(|a, b| a + b).expect("an embedding has two towers at least") / n_pairs
    }

    fn pair(&self, a: usize, b: usize) -> Pair {
        let Alignment { inputs, calibration } = &self.alignment;
        let [batch, width] = self.embeddings.dims();
        let size = width / inputs.len();
        let tower = |at: usize| self.embeddings.clone().narrow(1, at * size, size); // [batch, size]
        let (x, y) = (tower(a), tower(b));
        let has = |x: &Tensor<2>| (x.clone() * x.clone()).sum_dim(1).greater_elem(0.5).float().detach(); // [batch, 1]
        let (has_x, has_y) = (has(&x), has(&y));
        let device = x.device();
        let apart = apart(self.items, [inputs[a], inputs[b]], batch, &device).float() * has_x.clone() * has_y.clone().transpose();
        Pair {
            cosines: x.matmul(y.transpose()),
            present: (has_x * has_y).squeeze_dim(1),
            negatives: apart.greater_elem(0.5),
            calibration: calibration.clone(),
        }
    }
}

/// `[batch, batch]`: whether two rows share the item of neither input.
fn apart(items: &[Vec<u64>], [a, b]: [usize; 2], batch: usize, device: &Device) -> Tensor<2, Bool> {
    let differ = |x: &Vec<u64>, y: &Vec<u64>| x.get(a) != y.get(a) && x.get(b) != y.get(b);
    let flags: Vec<bool> = items.iter().flat_map(|x| items.iter().map(move |y| differ(x, y))).collect();
    Tensor::from_data(TensorData::new(flags, [batch, batch]), device)
}

impl Pair {
    fn transpose(&self) -> Self {
        Self {
            cosines: self.cosines.clone().transpose(),
            present: self.present.clone(),
            negatives: self.negatives.clone().transpose(),
            calibration: self.calibration.clone(),
        }
    }

    /// Cosines scaled and shifted: `[batch, batch]`.
    fn logits(&self) -> Tensor<2> {
        let calibration = self.calibration.clone().expect("such a loss has a temperature");
        let scale = calibration.clone().narrow(0, 0, 1).clamp_max(MAX_LOG_SCALE).exp();
        self.cosines.clone() * scale.unsqueeze() + calibration.narrow(0, 1, 1).unsqueeze()
    }

    /// `[batch]`: the pairs themselves.
    fn diagonal(matrix: Tensor<2>) -> Tensor<1> {
        let [batch, _] = matrix.dims();
        let eye = Tensor::<2>::eye(batch, &matrix.device());
        (matrix * eye).sum_dim(1).squeeze_dim(1)
    }

    /// The mean over the rows that have both, `[1]`.
    fn mean(&self, rows: Tensor<1>) -> Tensor<1> {
        (rows * self.present.clone()).sum() / self.present.clone().sum().clamp_min(1e-6)
    }

    /// What may stand beside the pair: itself and its negatives.
    fn rivals(&self) -> Tensor<2, Bool> {
        let [batch, _] = self.negatives.dims();
        let eye = Tensor::<2>::eye(batch, &self.negatives.device());
        (self.negatives.clone().float() + eye).greater_elem(0.5)
    }

    pub fn info_nce(&self) -> Tensor<1> {
        let one_way = |pair: &Self, logits: Tensor<2>| {
            let logits = logits.mask_fill(pair.rivals().bool_not(), NEVER);
            pair.mean(Self::diagonal(activation::log_softmax(logits, 1)).neg())
        };
        let logits = self.logits();
        (one_way(self, logits.clone()) + one_way(&self.transpose(), logits.transpose())) * 0.5
    }

    pub fn siglip(&self) -> Tensor<1> {
        let [batch, _] = self.cosines.dims();
        let is_pair = Tensor::<2>::eye(batch, &self.cosines.device());
        let signed = self.logits() * (is_pair * 2.0 - 1.0);
        // ln(1 + e^-x), which does not overflow.
        let costs = activation::relu(signed.clone().neg()) + (signed.abs().neg().exp() + 1.0).log();
        let costs = costs * self.rivals().float();
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
    use super::*;

    /// Two towers of two numbers a row, three rows; the first two share the first tower's item.
    fn value(loss: impl Fn(&Pair) -> Tensor<1>, items: &[[u64; 2]], calibration: [f32; 2]) -> f64 {
        let device = crate::device();
        let rows = [[1.0f32, 0.0, 0.6, 0.8], [1.0, 0.0, 0.8, 0.6], [0.0, 1.0, 0.0, 1.0]];
        let embeddings = Tensor::from_data(TensorData::new(rows.as_flattened().to_vec(), [3, 4]), &device);
        let calibration = Some(Tensor::from_data(TensorData::new(calibration.to_vec(), [2]), &device));
        let items: Vec<Vec<u64>> = items.iter().map(|row| row.to_vec()).collect();
        f64::from(
            Rows { embeddings, items: &items, alignment: Alignment { inputs: vec![0, 1], calibration } }
                .mean(loss)
                .into_scalar::<f32>(),
        )
    }

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-5, "{got} is not {want}");
    }

    // cosines: [[.6, .8, 0], [.6, .8, 0], [.8, .6, 1]]
    const DISTINCT: [[u64; 2]; 3] = [[1, 4], [2, 5], [3, 6]];
    const SHARED: [[u64; 2]; 3] = [[1, 4], [1, 5], [3, 6]];

    fn softmax(logits: &[f64]) -> f64 {
        logits[0] - logits.iter().map(|x| x.exp()).sum::<f64>().ln()
    }

    #[test]
    fn info_nce_is_the_cross_entropy_both_ways_without_shared_items() {
        let scale = 2f32.ln();
        let ways = [
            softmax(&[1.2, 1.6, 0.0]) + softmax(&[1.6, 1.2, 0.0]) + softmax(&[2.0, 1.6, 1.2]),
            softmax(&[1.2, 1.2, 1.6]) + softmax(&[1.6, 1.6, 1.2]) + softmax(&[2.0, 0.0, 0.0]),
        ];
        close(value(Pair::info_nce, &DISTINCT, [scale, 0.0]), -(ways[0] + ways[1]) / 6.0);
        let ways = [
            softmax(&[1.2, 0.0]) + softmax(&[1.6, 0.0]) + softmax(&[2.0, 1.6, 1.2]),
            softmax(&[1.2, 1.6]) + softmax(&[1.6, 1.2]) + softmax(&[2.0, 0.0, 0.0]),
        ];
        close(value(Pair::info_nce, &SHARED, [scale, 0.0]), -(ways[0] + ways[1]) / 6.0);
    }

    #[test]
    fn siglip_judges_each_pair_by_itself() {
        let cost = |x: f64| (1.0 + (-x).exp()).ln();
        let own = cost(0.6 - 1.0) + cost(0.8 - 1.0) + cost(0.0);
        let others = |cosines: &[f64]| cosines.iter().map(|x| cost(1.0 - x)).sum::<f64>();
        close(value(Pair::siglip, &DISTINCT, [0.0, -1.0]), (own + others(&[0.8, 0.0, 0.6, 0.0, 0.8, 0.6])) / 3.0);
        close(value(Pair::siglip, &SHARED, [0.0, -1.0]), (own + others(&[0.0, 0.0, 0.8, 0.6])) / 3.0);
    }

    #[test]
    fn triplets_count_the_hardest_negative_or_all() {
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
