//! One space for several inputs: each aligned input through a projector of its own to a vector of unit length.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::contrastive::EmbeddingLoss;
use super::regressor::Regressor;
use super::{Alignment, Decode, EmbeddingDecoder};
use crate::combiner::Inputs;
use crate::{Fused, Target};

/// What an embedding decoder is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingSpec {
    /// How an input becomes a vector of the space.
    pub decoder: EmbeddingDecoder,
    /// The inputs that share the space.
    pub align: Vec<String>,
    /// What training minimises: it says what is learnt beside the projectors.
    pub loss: EmbeddingLoss,
}

/// Vectors of unit length, those of the aligned inputs side by side; zeros where an input is absent.
#[derive(Module, Debug)]
pub struct Embedding {
    projectors: Vec<Regressor>,
    /// `[2]`: the logarithm of the scale of similarities, and their bias.
    calibration: Option<Param<Tensor<1>>>,
    #[module(skip)]
    inputs: Vec<usize>,
}

impl EmbeddingSpec {
    /// For these inputs, `output` values of all towers together.
    ///
    /// # Panics
    /// An aligned name that is no input: the plan has checked them.
    pub(super) fn init(&self, inputs: &Inputs, output: usize) -> Embedding {
        let EmbeddingDecoder::Projector(it) = &self.decoder;
        let position = |name: &String| inputs.names.iter().position(|input| input == name).expect("the plan knows the inputs");
        let positions: Vec<usize> = self.align.iter().map(position).collect();
        let size = output / positions.len();
        let projectors = positions.iter().map(|at| it.init(inputs.widths[*at], size, inputs.device)).collect();
        Embedding { projectors, calibration: self.calibration(inputs.device), inputs: positions }
    }

    fn calibration(&self, device: &Device) -> Option<Param<Tensor<1>>> {
        let (temperature, bias, is_learnt) = self.loss.calibration()?;
        let values = [-temperature.ln() as f32, bias as f32];
        let values = Param::from_tensor(Tensor::from_data(TensorData::new(values.to_vec(), [2]), device));
        Some(values.set_require_grad(is_learnt))
    }
}

impl Decode for Embedding {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        let tower = |(projector, input): (&Regressor, &usize)| {
            let input = &fused.inputs[*input];
            unit(projector.forward(input.pooled())) * input.present.clone() // [batch, size]
        };
        Tensor::cat(self.projectors.iter().zip(&self.inputs).map(tower).collect(), 1)
    }

    fn alignment(&self) -> Option<Alignment> {
        Some(Alignment { inputs: self.inputs.clone(), calibration: self.calibration.as_ref().map(Param::val) })
    }
}

/// Rows of unit length.
fn unit(rows: Tensor<2>) -> Tensor<2> {
    let squares = (rows.clone() * rows.clone()).sum_dim(1); // [batch, 1]
    rows / (squares + 1e-12).sqrt()
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use super::*;
    use crate::decoder::{DecoderSettings, Loss, TripletSettings};
    use crate::encoder::{EncoderSettings, VectorEncoder};
    use crate::testing::{N_ROWS, check, spec};
    use crate::{ModelSpec, OutputSpec};

    fn aligned(loss: EmbeddingLoss) -> ModelSpec {
        let vector = |width| (EncoderSettings::Vector(VectorEncoder::Dense(mbm_config::defaults())), Shape::Vector { width });
        let combiner = crate::combiner::CombinerSettings::Concat(mbm_config::defaults());
        let decoder = EmbeddingSpec {
            decoder: EmbeddingDecoder::Projector(mbm_config::defaults()),
            align: vec!["input1".into(), "input0".into()],
            loss: loss.clone(),
        };
        let (loss, loss_weight) = Loss::of_embedding(&loss);
        let output =
            OutputSpec { name: "space".into(), decoder: DecoderSettings::Embedding(decoder), width: 12, loss, loss_weight };
        ModelSpec { outputs: vec![output], ..spec(vec![vector(5), vector(7)], combiner) }
    }

    #[test]
    fn every_contrastive_loss_brings_pairs_together_with_absent_cells() {
        for text in [
            "info_nce",
            "{type: triplet, negatives: all}",
            "triplet",
            "{type: info_nce, temperature: 0.1, learn_temperature: false}",
        ] {
            let loss = crate::testing::read::<EmbeddingLoss>(text);
            check(text, &aligned(loss));
        }
        let siglip = crate::testing::read::<EmbeddingLoss>("{type: siglip, bias: -2}");
        check("siglip", &aligned(siglip));
    }

    #[test]
    fn vectors_have_unit_length_and_absent_inputs_none() {
        let spec = aligned(EmbeddingLoss::Triplet(mbm_config::defaults::<TripletSettings>()));
        let device = crate::device();
        let [logits] = &spec.init(&device, 1).forward(&crate::testing::batch(&spec), None, &device).logits[..] else { panic!() };
        let values = logits.clone().into_data().try_into_vec::<f32>().unwrap();
        let lengths: Vec<f32> = values.chunks(6).map(|vector| vector.iter().map(|x| x * x).sum::<f32>().sqrt()).collect();
        // The first row lacks input 0, which is the second tower; the last row lacks input 1.
        let want = |at: usize| if at == 1 || at == 2 * (N_ROWS - 1) { 0.0 } else { 1.0 };
        assert!(lengths.iter().enumerate().all(|(at, length)| (length - want(at)).abs() < 1e-5), "{lengths:?}");
    }
}
