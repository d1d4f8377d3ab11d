//! Gradient clipping by global norm, computed in the model's order.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use mbm_model::Model;

/// Scales gradients so that their Euclidean norm is at most `max_norm` (Pascanu et al. 2013); returns the norm before clipping.
///
/// An infinite norm turns finite gradients into zeros and infinite ones into NaN, as in PyTorch. With a NaN norm the gradients stay
/// as they are; the NaN among them ends training at the next loss.
pub(crate) fn clip_global_norm(model: &Model, gradients: &mut GradientsParams, max_norm: f64) -> f64 {
    let mut squares = Squares { gradients, sum: None };
    model.visit(&mut squares);
    let norm = squares.sum.map_or(0.0, |sum| sum.into_scalar::<f32>()).sqrt();
    if f64::from(norm) > max_norm {
        model.visit(&mut Scale { gradients, factor: max_norm as f32 / norm });
    }
    f64::from(norm)
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let square = (gradient.clone() * gradient).sum();
        self.sum = Some(self.sum.take().map_or(square.clone(), |sum| sum + square));
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::testing::{Array, ParamGradients, backward, gradients_of, model, stored};

    #[derive(Deserialize)]
    struct Stored {
        start: Vec<Array>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        gradients: ParamGradients,
        max_norm: f64,
        norm: f64,
        want: ParamGradients,
    }

    fn clipped(gradients: &ParamGradients, max_norm: f64) -> (f64, ParamGradients) {
        let model = model(&stored::<Stored>("clipping.json").start);
        let mut params = backward(&model, gradients);
        let norm = clip_global_norm(&model, &mut params, max_norm);
        (norm, gradients_of(&model, &params))
    }

    /// Returns a gradient for each parameter: zero, except for the first value of some parameters.
    fn firsts(values: &[(usize, f32)]) -> ParamGradients {
        let start = stored::<Stored>("clipping.json").start;
        let mut gradients: Vec<Vec<f32>> = start.iter().map(|array| vec![0.0; array.values.len()]).collect();
        values.iter().for_each(|(at, value)| gradients[*at][0] = *value);
        gradients.into_iter().map(Some).collect()
    }

    fn bits(gradients: &ParamGradients) -> Vec<Option<Vec<u32>>> {
        gradients.iter().map(|it| it.as_ref().map(|values| values.iter().map(|value| value.to_bits()).collect())).collect()
    }

    #[test]
    fn norm_is_over_all_gradients_and_each_is_scaled_by_the_same_factor() {
        // A matrix of the encoder and a vector of the decoder: 3^2 + 4^2 = 5^2.
        let (norm, found) = clipped(&firsts(&[(0, 3.0), (6, -4.0)]), 2.5);
        assert_eq!((norm, found), (5.0, firsts(&[(0, 1.5), (6, -2.0)])));
    }

    #[test]
    fn gradients_within_the_limit_keep_their_bits() {
        let mut gradients = firsts(&[(0, 1.0 / 3.0), (3, -1e-30), (5, 0.1), (6, -0.0)]);
        gradients[2] = None;
        let (norm, found) = clipped(&gradients, 1e9);
        assert_eq!(bits(&found), bits(&gradients));
        let (again, found) = clipped(&gradients, norm);
        assert_eq!((again, bits(&found)), (norm, bits(&gradients)), "a norm equal to the limit is within it");
    }

    #[test]
    fn no_gradients_have_norm_zero() {
        let model = model(&stored::<Stored>("clipping.json").start);
        let mut gradients = GradientsParams::new();
        assert_eq!(clip_global_norm(&model, &mut gradients, 1.0), 0.0);
        assert!(gradients.is_empty());
        assert_eq!(clipped(&firsts(&[]), 1.0), (0.0, firsts(&[])));
    }

    #[test]
    fn gradients_that_are_not_finite_stay_visible() {
        let (norm, found) = clipped(&firsts(&[(0, 3.0), (6, f32::INFINITY)]), 1.0);
        assert_eq!((norm, found[0].as_ref().unwrap()[0]), (f64::INFINITY, 0.0));
        assert!(found[6].as_ref().unwrap()[0].is_nan());
        let (norm, found) = clipped(&firsts(&[(0, 3.0), (6, f32::NAN)]), 1.0);
        assert!(norm.is_nan() && found[6].as_ref().unwrap()[0].is_nan());
        assert_eq!(found[0], firsts(&[(0, 3.0)])[0]);
    }

    #[test]
    fn clipped_gradients_match_pytorch() {
        for case in stored::<Stored>("clipping.json").cases {
            let (norm, found) = clipped(&case.gradients, case.max_norm);
            // Single precision against double, and PyTorch divides by the norm plus 1e-6; the norms are above 1.
            let is_near = |found: f64, want: f64| (found - want).abs() <= 1e-6 * want.abs();
            assert!(is_near(norm, case.norm), "expected {}, got {norm}", case.norm);
            assert_eq!(found.len(), case.want.len());
            for (found, want) in found.iter().zip(&case.want) {
                assert_eq!(found.as_ref().map(Vec::len), want.as_ref().map(Vec::len));
                for (found, want) in found.iter().flatten().zip(want.iter().flatten()) {
                    assert!(is_near(f64::from(*found), f64::from(*want)), "expected {want}, got {found}");
                }
            }
        }
    }
}
