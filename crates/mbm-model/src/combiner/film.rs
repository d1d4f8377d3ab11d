//! Feature-wise linear modulation (FiLM; Perez et al. 2018): one input scales and shifts the features of the others.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::{Mistakes, settings, some_of};

use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::{Fused, InputSummary, Sequence};

settings! {
    /// Settings of feature-wise linear modulation.
    pub struct FilmSettings {
        /// Name of the conditioning input; defaults to the last input.
        condition: Option<String> = None;
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Feature-wise linear modulation: `relu((1 + scale(c)) * f(x) + shift(c)) + own(c)`, with the conditioning input `c`.
#[derive(Module, Debug)]
pub struct Film {
    features: Linear,
    scale: Linear,
    shift: Linear,
    own: Linear,
    #[module(skip)]
    condition: usize,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for FilmSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let last = inputs.names.len() - 1;
        let named = self.condition.as_ref().and_then(|condition| inputs.names.iter().position(|name| name == condition));
        let condition = named.unwrap_or(last);
        let others: usize = inputs.widths.iter().sum::<usize>() - inputs.widths[condition];
        let from_condition = || LinearConfig::new(inputs.widths[condition], self.output_size).init(inputs.device);
        // A single input modulates itself.
        let features = if inputs.names.len() == 1 { inputs.widths[0] } else { others };
        Film {
            features: LinearConfig::new(features, self.output_size).init(inputs.device),
            scale: from_condition(),
            shift: from_condition(),
            own: from_condition(),
            condition,
            width: self.output_size,
        }
        .into()
    }

    fn check(&self, inputs: &[InputSummary], mistakes: &mut Mistakes) {
        let names: Vec<&str> = inputs.iter().map(|input| input.name).collect();
        if let Some(condition) = self.condition.as_deref().filter(|condition| !names.contains(condition)) {
            mistakes.add("condition", format!("'{condition}' is not an input; available: {}", some_of(&names)));
        }
    }
}

impl Combine for Film {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let condition = inputs[self.condition].pooled();
        let others = inputs.iter().enumerate().filter(|(at, _)| *at != self.condition || inputs.len() == 1);
        let others = others.map(|(_, input)| input.pooled()).collect();
        let features = self.features.forward(Tensor::cat(others, 1)); // [batch, width]
        let scale = self.scale.forward(condition.clone()) + 1.0;
        let modulated = features * scale + self.shift.forward(condition.clone());
        Fused::pooled(activation::relu(modulated) + self.own.forward(condition))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn film_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: film, output_size: 16}");
    }
}
