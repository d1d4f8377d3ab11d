//! Weight averaging: the mean of the parameters after the last epochs, which often generalizes better than the last parameters
//! (Vaswani et al. 2017, section 6.1; Izmailov et al. 2018).

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use mbm_model::Model;

/// The models to average, oldest first.
#[derive(Default)]
pub(crate) struct Recent {
    pub models: VecDeque<Model>,
}

impl Recent {
    /// Adds a model and returns the mean of the last `n` models, or of all if there are fewer.
    pub fn mean_with(&mut self, model: Model, n: usize) -> Model {
        if n < 2 {
            return model;
        }
        self.models.push_back(model.clone());
        while self.models.len() > n {
            self.models.pop_front();
        }
        let mut sums = Sums::default();
        for model in &self.models {
            sums.at = 0;
            model.visit(&mut sums);
        }
        sums.at = 0;
        model.map(&mut Means { sums, n: self.models.len() })
    }
}

/// Visitor that sums parameters, in the model's order.
#[derive(Default)]
struct Sums {
    each: Vec<Vec<f64>>,
    at: usize,
}

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data().try_into_vec::<f32>().unwrap_or_default();
        match self.each.get_mut(self.at) {
            Some(sums) => sums.iter_mut().zip(&values).for_each(|(sum, value)| *sum += f64::from(*value)),
            None => self.each.push(values.into_iter().map(f64::from).collect()),
        }
        self.at += 1;
    }
}

struct Means {
    sums: Sums,
    n: usize,
}

impl ModuleMapper for Means {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let means: Vec<f32> = self.sums.each[self.sums.at].iter().map(|sum| (sum / self.n as f64) as f32).collect();
        self.sums.at += 1;
        param.map(|tensor| Tensor::from_data(TensorData::new(means, tensor.dims()), &tensor.device()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, model, parameters};

    /// Returns a model whose parameters all have the same value.
    fn constant(value: f32) -> Model {
        let dims = [vec![4, 3], vec![3], vec![3], vec![3, 5], vec![5], vec![5, 2], vec![2]];
        let array = |dims: Vec<usize>| Array { values: vec![value; dims.iter().product()], dims };
        model(&dims.map(array)).valid()
    }

    fn values(model: &Model) -> Vec<f32> {
        let mut values: Vec<f32> = parameters(model).into_iter().flat_map(|(_, values)| values).collect();
        values.dedup();
        values
    }

    #[test]
    fn mean_is_over_the_last_models_or_all_if_there_are_fewer() {
        let mut recent = Recent::default();
        let means = [1.0, 2.0, 6.0, 10.0].map(|value| values(&recent.mean_with(constant(value), 3)));
        assert_eq!(means, [[1.0], [1.5], [3.0], [6.0]]);
        assert_eq!(recent.models.iter().map(values).collect::<Vec<_>>(), [[2.0], [6.0], [10.0]]);
    }

    #[test]
    fn without_averaging_models_are_returned_and_not_kept() {
        let mut recent = Recent::default();
        let means = [1.0, 2.0].map(|value| values(&recent.mean_with(constant(value), 1)));
        assert_eq!(means, [[1.0], [2.0]]);
        assert!(recent.models.is_empty());
    }
}
