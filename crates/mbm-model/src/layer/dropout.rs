//! Dropout (Srivastava et al. 2014) with a random generator per thread. Burn has one generator per process, so that runs in two
//! threads would change each other's random numbers.

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use mbm_data::random::{Rng, rng};
use rand::Rng as _;

thread_local! {
    static GENERATOR: RefCell<Rng> = RefCell::new(rng(0));
}

/// Seeds the random generator of dropout on the current thread.
pub fn seed_dropout(seed: u64) {
    GENERATOR.with_borrow_mut(|generator| *generator = rng(seed));
}

/// Sets values to zero with the given probability and scales up the remaining ones; the identity outside training.
#[derive(Module, Debug)]
pub struct Dropout {
    #[module(skip)]
    probability: f64,
}

impl Dropout {
    pub(crate) fn new(probability: f64) -> Self {
        Self { probability }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.factors(x.dims(), &x.device()) {
            Some(factors) => x * factors,
            None => x,
        }
    }

    /// Samples the factors to multiply values by; `None` outside training.
    pub(crate) fn factors<const D: usize>(&self, dims: [usize; D], device: &Device) -> Option<Tensor<D>> {
        if self.probability <= 0.0 || !device.is_autodiff() {
            return None;
        }
        let threshold = (self.probability * 65_536.0).round() as u16;
        let kept = (1.0 / (1.0 - self.probability)) as f32;
        // Two random bytes per value.
        let mut draws = vec![0u8; 2 * dims.iter().product::<usize>()];
        GENERATOR.with_borrow_mut(|generator| generator.fill_bytes(&mut draws));
        let factors: Vec<f32> =
            draws.as_chunks::<2>().0.iter().map(|draw| if u16::from_le_bytes(*draw) < threshold { 0.0 } else { kept }).collect();
        Some(Tensor::from_data(TensorData::new(factors, dims), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_depends_on_the_seed_and_preserves_the_mean() {
        let device = Device::flex().autodiff();
        let drop = |seed: u64| {
            seed_dropout(seed);
            Dropout::new(0.25).forward(Tensor::<2>::ones([100, 100], &device)).into_data().try_into_vec::<f32>().unwrap()
        };
        let dropped = drop(1);
        assert_eq!(drop(1), dropped);
        assert_ne!(drop(2), dropped);
        // For 10,000 samples, the standard deviation of the share is 0.0043.
        let share = dropped.iter().filter(|value| **value == 0.0).count() as f64 / 10_000.0;
        assert!((share - 0.25).abs() < 0.02, "{share}");
        assert!(dropped.iter().all(|value| *value == 0.0 || (*value - 4.0 / 3.0).abs() < 1e-6));
        let plain = Tensor::<2>::ones([2, 2], &Device::flex());
        assert_eq!(Dropout::new(0.5).forward(plain.clone()).into_data(), plain.into_data());
    }
}
