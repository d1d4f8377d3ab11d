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
