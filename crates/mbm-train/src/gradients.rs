//! Gradient clipping by global norm, computed in the model's order.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use mbm_model::Model;

/// Scales gradients so that their Euclidean norm is at most `max_norm` (Pascanu et al. 2013); returns the norm before clipping.
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
