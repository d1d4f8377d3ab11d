//! Joint embedding of several inputs: a separate projector maps each aligned input to a unit vector in a shared space.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::contrastive::EmbeddingLoss;
use super::regressor::Regressor;
use super::{Alignment, Decode, Decoder, DecoderConfig, DecoderContext, EmbeddingDecoder};
use crate::{Fused, Target};

/// Specification of an embedding decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingSpec {
    /// How each input is mapped to a vector of the space.
    pub decoder: EmbeddingDecoder,
    /// Names of the inputs that share the space.
    pub align: Vec<String>,
    /// Training loss, which determines what is learned in addition to the projectors.
    pub loss: EmbeddingLoss,
}

/// Embedding decoder that concatenates the unit vectors of the aligned inputs; absent inputs have zeros.
#[derive(Module, Debug)]
pub struct Embedding {
    projectors: Vec<Regressor>,
    /// `[2]`: the log of the scale and the bias of similarities.
    calibration: Option<Param<Tensor<1>>>,
    #[module(skip)]
    inputs: Vec<usize>,
}

impl DecoderConfig for EmbeddingSpec {
    /// Initializes the decoder for the given inputs; the output is as wide as all towers together.
    ///
    /// # Panics
    /// Panics if an aligned name is not an input, which the plan rules out.
    fn init(&self, context: DecoderContext) -> Decoder {
        let inputs = context.inputs;
        let EmbeddingDecoder::Projector(it) = &self.decoder;
        let positions: Vec<usize> = self
            .align
            .iter()
            .map(|name| inputs.names.iter().position(|input| input == name).expect("the plan checks the names"))
            .collect();
        let size = context.output / positions.len();
        let projectors = positions.iter().map(|at| it.regressor(inputs.widths[*at], size, inputs.device)).collect();
        Embedding { projectors, calibration: self.calibration(inputs.device), inputs: positions }.into()
    }

    fn reads_inputs(&self) -> bool {
        true
    }
}

impl EmbeddingSpec {
    fn calibration(&self, device: &Device) -> Option<Param<Tensor<1>>> {
        let (temperature, bias, is_learned) = self.loss.calibration()?;
        let values = [-temperature.ln() as f32, bias as f32];
        let values = Param::from_tensor(Tensor::from_data(TensorData::new(values.to_vec(), [2]), device));
        Some(values.set_require_grad(is_learned))
    }
}

impl Decode for Embedding {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        let towers = self.projectors.iter().zip(&self.inputs).map(|(projector, input)| {
            let input = &fused.inputs[*input];
            unit(projector.forward(input.pooled())) * input.present.clone() // [batch, size]
        });
        Tensor::cat(towers.collect(), 1)
    }

    fn alignment(&self) -> Option<Alignment> {
        Some(Alignment { inputs: self.inputs.clone(), calibration: self.calibration.as_ref().map(Param::val) })
    }
}

/// Normalizes rows to unit length.
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
    fn contrastive_losses_learn_with_absent_cells() {
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
    fn embeddings_have_unit_length_or_are_zero_if_absent() {
        let spec = aligned(EmbeddingLoss::Triplet(mbm_config::defaults::<TripletSettings>()));
        let device = crate::device();
        let [logits] = &spec.init(&device, 1).forward(&crate::testing::batch(&spec), None, &device).logits[..] else { panic!() };
        let values = logits.clone().into_data().try_into_vec::<f32>().unwrap();
        let lengths: Vec<f32> = values.chunks(6).map(|vector| vector.iter().map(|x| x * x).sum::<f32>().sqrt()).collect();
        // Input 0, the second tower, is absent from the first row; input 1, the first tower, is absent from the last row.
        let want = |at: usize| if at == 1 || at == 2 * (N_ROWS - 1) { 0.0 } else { 1.0 };
        assert!(lengths.iter().enumerate().all(|(at, length)| (length - want(at)).abs() < 1e-5), "{lengths:?}");
    }
}
