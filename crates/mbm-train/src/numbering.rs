//! Deterministic parameter ids. Burn's parameter ids are random in each process and part of the optimizer state. With consecutive
//! numbers instead, two runs write the same bytes, and weights without ids are enough to resume.

use std::collections::HashMap;

use burn::module::{Flag, Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor};
use mbm_model::Model;

/// Renumbers the parameter ids of a model in the model's order; parameters that shared an id still do.
pub(crate) fn numbered(model: Model) -> Model {
    model.map(&mut Numbers::default())
}

#[derive(Default)]
struct Numbers(HashMap<ParamId, u64>);

impl Numbers {
    fn of(&mut self, id: ParamId) -> ParamId {
        let next = self.0.len() as u64 + 1;
        ParamId::from(*self.0.entry(id).or_insert(next))
    }
}

impl ModuleMapper for Numbers {
    fn map_float<const D: usize>(&mut self, mut param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.id = self.of(param.id);
        param
    }

    fn map_int<const D: usize>(&mut self, mut param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param.id = self.of(param.id);
        param
    }

    fn map_bool<const D: usize>(&mut self, mut param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        param.id = self.of(param.id);
        param
    }

    fn map_flag(&mut self, mut flag: Param<Flag>) -> Param<Flag> {
        flag.id = self.of(flag.id);
        flag
    }
}
